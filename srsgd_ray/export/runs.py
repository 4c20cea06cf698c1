"""A study as every tracker takes it: runs with a configuration, metrics by epoch, and an end.

Runs are made of flat rows of the trials and epochs tables, whether these come from the Parquet or
from the record of a study that runs: both give the same runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from srsgd_ray import analysis
from srsgd_ray.results import (
    Column,
    Columns,
    read_epochs,
    read_predictions,
    read_record,
    read_trials,
    schema_of,
)
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.results.tables import AGAIN, made

MOMENTS = ("started", "ended")  # outcomes that are times, for which trackers have a place
KINDS: dict[str, Callable[[Any], Any]] = {"int64": int, "double": float, "bool": bool}
Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Epoch:
    """One epoch: its number, when it ended (Unix seconds), and its finite metrics and measures."""

    step: int
    time: float
    values: dict[str, float]


@dataclass(frozen=True)
class Run:
    """One trial.

    Attributes:
        trial: its name, unique in the study.
        phase: ``search`` or ``confirm``.
        arm: of the study.
        search: number of the independent search that it belongs to.
        state: one of ``results.STATES``.
        reason: why it ended, unless complete; "" for none.
        started: when it was assigned, in Unix seconds.
        ended: when it ended; None while it runs.
        config: every knob.
        searched: those that its arm's search had a range for.
        epochs: what it reported, in order.
        outcomes: its other numbers, such as the best value over the epochs.
    """

    trial: str
    phase: str
    arm: str
    search: int
    state: str
    reason: str
    started: float
    ended: float | None
    config: dict[str, Any]
    searched: dict[str, Any]
    epochs: tuple[Epoch, ...]
    outcomes: dict[str, float]

    @property
    def last(self) -> int:
        """The last epoch; 0 before the first."""
        return self.epochs[-1].step if self.epochs else 0

    @property
    def tags(self) -> dict[str, str]:
        """What it is found by: phase, arm, search, state, and a reason if there is one."""
        found = {"phase": self.phase, "arm": self.arm, "search": str(self.search)}
        found |= {"trial": self.trial, "state": self.state}
        found |= {"superseded": "true"} if self.superseded else {}
        return {**found, "reason": self.reason} if self.reason else found

    @property
    def superseded(self) -> bool:
        """Whether it counts no more; see the column."""
        return bool(self.outcomes.get("superseded"))

    @property
    def key(self) -> str:
        """Distinguishes it from those of other studies of one name, and from earlier attempts.

        What was reported before a trial was run again is no part of it.
        """
        again = self.reason.partition(AGAIN)[2]
        return f"{self.trial} {self.started!r}{again and f' after {again}'}"


@dataclass(frozen=True)
class Exported:
    """A study's runs, and what is said of it as a whole.

    Attributes:
        name: of the study.
        folder: that it was read from.
        question: that it asks; "" where no record says it.
        verdicts: its answers as sentences; none before the confirmation.
        meanings: what each metric and measure is, with unit and direction.
        runs: one for each trial, in order.
        trials: its trials table.
        epochs: its epochs table.
    """

    name: str
    folder: Path
    question: str
    verdicts: list[str]
    meanings: dict[str, str]
    runs: list[Run]
    trials: pd.DataFrame = field(repr=False)
    epochs: pd.DataFrame = field(repr=False)

    def about(self) -> str:
        """Question and verdicts as text, a paragraph each."""
        return "\n\n".join(filter(None, [self.question, *self.verdicts]))

    def config(self, run: Run) -> dict[str, Any]:
        """All knobs of a run, and under the package's name what else there is to know of it."""
        return {**run.config, "srsgd_ray": {**run.tags, "metrics": self.meanings}}


def exported(folder: Path | str) -> Exported:
    """The study in a folder, from its Parquet tables.

    Raises:
        RecordError: if the folder holds none.
        ValueError: if it holds several.
    """
    folder = Path(folder)
    trials, epochs = read_trials(folder), read_epochs(folder)
    analysis.arms(trials)  # refuses several studies
    header = read_record(folder).header if (folder / RECORD).exists() else {}
    columns = {"trials": (*schema_of(trials).values(),), "epochs": (*schema_of(epochs).values(),)}
    return Exported(
        str(trials["study"].iloc[0]) if len(trials) else folder.resolve().name,
        folder,
        str(header.get("spec", {}).get("question", "")),
        analysis.verdicts(trials, read_predictions(folder)),
        {c.name: meaning(c) for c in _reported(columns["epochs"])},
        runs_of(trials.to_dict("records"), epochs.to_dict("records"), columns),
        trials,
        epochs,
    )


def run_of(contents: Contents, trial: str, columns: Columns) -> Run:
    """One trial of a record, which may still run."""
    own = Contents(contents.header, contents.sessions, {trial: contents.trials[trial]})
    trials, epochs = (made(own, name, columns).to_pylist() for name in ("trials", "epochs"))
    return runs_of(trials, epochs, columns)[0]


def runs_of(trials: Iterable[Row], epochs: Iterable[Row], columns: Columns) -> list[Run]:
    """The runs that rows of both tables tell of."""
    knobs = [c for c in columns["trials"] if c.role == "knob"]
    reported = _reported(columns["epochs"])
    taken = {*MOMENTS, "time", *(c.name for c in reported)}
    outcomes = [c for c in columns["trials"] if c.role in ("outcome", "measure", "metric")]
    outcomes = [c for c in outcomes if c.name not in taken]
    by_trial: dict[str, list[Row]] = {}
    for row in epochs:
        by_trial.setdefault(str(row["trial"]), []).append(row)
    found = []
    for row in trials:
        config = {c.name: _value(row.get(c.name), c) for c in knobs}
        config = {name: value for name, value in config.items() if value is not None}
        ranges = json.loads(_text(row.get("search_space")) or "{}")
        started, ended = (_finite(row.get(name)) for name in MOMENTS)
        own = sorted(by_trial.get(str(row["trial"]), ()), key=lambda one: int(one["epoch"]))
        found.append(
            Run(
                str(row["trial"]),
                str(row["phase"]),
                str(row["arm"]),
                int(_finite(row.get("search")) or 0),
                str(row["state"]),
                _text(row.get("reason")),
                started or 0.0,
                ended,
                config,
                {name: config[name] for name in ranges if name in config},
                tuple(
                    Epoch(
                        int(one["epoch"]),
                        _finite(one.get("time")) or started or 0.0,
                        _numbers(one, reported),
                    )
                    for one in own
                ),
                _numbers(row, outcomes),
            )
        )
    return found


def meaning(column: Column) -> str:
    """What a column is, with its unit, its direction and its split."""
    better = f"{column.better} is better" if column.better else ""
    split = f"{column.split} split" if column.split else ""
    more = ", ".join(filter(None, [column.unit, better, split]))
    return f"{column.doc} ({more})" if more else column.doc


def plain(value: Any) -> str | float | bool:
    """A knob as a number, a flag or a text: what is neither is JSON."""
    return value if isinstance(value, str | bool | int | float) else json.dumps(value)


def _reported(columns: Iterable[Column]) -> list[Column]:
    """What epochs report, but for the moment at which they ended."""
    return [c for c in columns if c.role in ("metric", "measure") and c.name != "time"]


def _numbers(row: Row, columns: Iterable[Column]) -> dict[str, float]:
    """The finite numbers of a row; whole ones are ints."""
    found = {}
    for column in columns:
        value = _finite(row.get(column.name))
        if value is not None:
            whole = str(column.type) == "int64"
            found[column.name] = int(value) if whole else value
    return found


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float | np.number) and math.isfinite(value)
    return float(value) if number else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _value(value: Any, column: Column) -> Any:
    """A knob as Python has it; None for none. Pandas has whole numbers with gaps as floats."""
    kind = column.type.value_type if pa.types.is_list(column.type) else column.type
    made = KINDS.get(str(kind), str)
    if isinstance(value, np.ndarray | list | tuple):
        return [made(item) for item in value]
    return None if value is None or pd.isna(value) else made(value)
