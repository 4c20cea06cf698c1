"""From the record to Parquet, and from Parquet to pandas.

Tables are replaced as whole files: a reader never sees half of one, also while the study runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srsgd_ray.knobs import value_in
from srsgd_ray.results.columns import (
    IDENTITY,
    Column,
    Columns,
    arrow_schema,
    columns_from_plain,
    first_edition,
)
from srsgd_ray.results.contents import Contents, TrialRecord
from srsgd_ray.results.planned import superseded

AGAIN = "run again after: "  # begins what the reason of a trial says of its earlier attempts
SIZE = b"record"  # in a table: of how many bytes of the record it was made


def columns_in(contents: Contents) -> Columns:
    """The columns that a record says its tables have; those of the first edition said none."""
    plain = contents.header.get("columns")
    return first_edition() if plain is None else columns_from_plain(plain)


def write_tables(
    folder: Path, contents: Contents, columns: Columns | None = None, kept: Kept | None = None
) -> None:
    """Write the Parquet tables of a study into its folder, each by an atomic rename.

    Args:
        folder: of the study.
        contents: of its record.
        columns: of its tables; None: those that the record says.
        kept: of the last time, if the same study was written before in this process.
    """
    given, kept = columns or columns_in(contents), kept or Kept()
    own = dict.fromkeys(name for trial in contents.trials.values() for name in trial.artifacts)
    for path in folder.glob("*.parquet"):  # of trials that ran again, and made none then
        if path.stem not in {*own, *ROWS} and stamp(path, b"trials") is not None:
            path.unlink()
    for name in (*own, *reversed(ROWS)):  # the trials' last: it says that all were written
        path = folder / f"{name}.parquet"
        if name in ROWS or stamp(path, b"trials") != _whose(of_name(contents, name)):
            replace_table(path, made(contents, name, given, kept))


class Kept:
    """The rows of a growing record's first trials that have ended, which are converted once."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[int, Any, pa.Table]] = {}  # of how many trials, and of what

    def rows(self, contents: Contents, name: str, columns: Columns) -> pa.Table:
        """All rows of a table."""
        gone, trials = superseded(contents), list(contents.trials.items())
        changes = [(trial.confirms, trial.look, which in gone) for which, trial in trials]
        known, of, *tables = self._tables.get(name, (0, None))
        if of != (contents.header, changes[:known]):  # what else a trial that has ended says stays
            known, tables = 0, []
        running = (number for number, (_, trial) in enumerate(trials) if trial.end is None)
        ended = next(running, len(trials))
        for part in (trials[known:ended], trials[ended:]):
            tables.append(ROWS[name](replace(contents, trials=dict(part)), columns))
        kept = pa.concat_tables(tables[:-1]).combine_chunks()
        self._tables[name] = ended, (contents.header, changes[:ended]), kept
        return pa.concat_tables([kept, tables[-1]]).combine_chunks()


def made(contents: Contents, name: str, columns: Columns, kept: Kept | None = None) -> pa.Table:
    """A table of a record; what it was made of is written into it."""
    size = contents.size
    if name not in ROWS:
        return _artifact(contents, name, columns)
    table = (kept or Kept()).rows(contents, name, columns)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), SIZE: b"%d" % size})


def replace_table(path: Path, table: pa.Table, *, sync: bool = False) -> None:
    """Write a Parquet file by an atomic rename, on the disk when this returns with ``sync``."""
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with partial.open("wb") as file:  # of a path Arrow would ask whether it is a URI
            pq.write_table(table, file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink()  # what was not finished; on a full disk its room is needed


def stamp(path: Path, key: bytes) -> bytes | None:
    """What a Parquet file says that it was made of; None for one that is missing, or says none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found: bytes | None = (pq.read_metadata(file).metadata or {}).get(key)
        return found


def of_name(contents: Contents, name: str) -> list[TrialRecord]:
    """The trials that made a table of that name."""
    return [trial for trial in contents.trials.values() if name in trial.artifacts]


def _artifact(contents: Contents, name: str, columns: Columns) -> pa.Table:
    """The tables that trials made under one name, as one."""
    mine = of_name(contents, name)
    knobs = [c for c in columns["trials"] if c.role == "knob"]
    shared = [column.field() for column in (*IDENTITY, *knobs)]
    parts = []
    for trial in mine:
        own = pa.table(trial.artifacts[name])
        row = _texts({**_identity(contents, trial), **flat(trial.config, knobs)})
        repeated = [pa.array([row.get(f.name)] * len(own), f.type) for f in shared]
        schema = pa.schema([*shared, *(f for f in own.schema if f.name not in row)])
        kept = [own[f.name] for f in own.schema if f.name not in row]
        parts.append(pa.Table.from_arrays([*repeated, *kept], schema=schema))
    table = pa.concat_tables(parts, promote_options="permissive")
    return table.replace_schema_metadata({"trials": _whose(mine)})


def _whose(trials: list[TrialRecord]) -> bytes:
    """Which trials have a table, and which attempt of each, as a digest."""
    attempts = [[trial.trial, len(trial.failures)] for trial in trials]
    return hashlib.sha256(json.dumps(attempts).encode()).hexdigest().encode()


def flat(config: Mapping[str, Any], columns: Iterable[Column]) -> dict[str, Any]:
    """Knobs as columns, with those parts of a knob that have a column of their own."""
    parts = [c.name for c in columns if "." in c.name]
    return {**config, **{name: value_in(config, name) for name in parts}}


def _epochs(contents: Contents, columns: Columns) -> pa.Table:
    """One row for each finished epoch, trial by trial; what a trial repeats is converted once."""
    schema, gone = arrow_schema("epochs", columns), superseded(contents)
    trials = [trial for trial in contents.trials.values() if trial.rows]
    once = [
        _texts({**_identity(contents, trial), **flat(trial.config, columns["epochs"])})
        | {"superseded": trial.trial in gone}
        for trial in trials
    ]
    repeated = pa.Table.from_pylist(once, schema=schema).take(
        pa.array([at for at, trial in enumerate(trials) for _ in trial.rows], pa.int64())
    )
    rows, shared = [row for trial in trials for row in trial.rows], {n for one in once for n in one}
    return pa.table(
        [
            repeated[name] if name in shared else pa.array([r.get(name) for r in rows], kind)
            for name, kind in zip(schema.names, schema.types, strict=True)
        ],
        schema=schema,
    )


def _trial_rows(contents: Contents, columns: Columns) -> Iterator[dict[str, Any]]:
    """One flat row for each trial, also those that failed, diverged or still run."""
    group = columns["trials"]
    reported = [c.name for c in group if c.role in ("metric", "measure")]
    bests = [pair for pair in pairwise(group) if pair[0].role == "outcome" and pair[0].better]
    spec = contents.header.get("spec", {})
    design = {c.name: spec.get(c.name) for c in group if c.role == "design"}
    design["extended"] = "; ".join(contents.header.get("remarks", ())) or None
    gone = superseded(contents)
    against = {arm["name"]: arm.get("against") for arm in spec.get("arms", [])}
    spaces = {arm["name"]: _search_space(spec, arm.get("space")) for arm in spec.get("arms", [])}
    for trial in contents.trials.values():
        last = trial.rows[-1] if trial.rows else {}
        made = {
            **trial.session,
            **design,
            "baseline": _baseline(trial.arm, spec.get("baseline"), against.get(trial.arm)),
            "search_space": spaces.get(trial.arm),
            "confirm_seeds": trial.planned and trial.planned.seeds,
            "searches": trial.planned and trial.planned.searches,
            "search_trials": trial.planned and trial.planned.trials,
            "superseded": trial.trial in gone,
            **_identity(contents, trial),
            **flat(trial.config, group),
            **{name: last.get(name) for name in reported},
            **{name: value for pair in bests for name, value in _best(trial, *pair).items()},
            "epochs_done": len(trial.rows),
            "train_seconds": sum(row.get("train_seconds") or 0 for row in trial.rows),
            "started": trial.started,
            "state": trial.state,
            **(trial.end or {}),
        }
        if trial.failures:
            why = AGAIN + "; ".join(trial.failures)
            made["reason"] = f"{made['reason']}; {why}" if made.get("reason") else why
        yield _texts(made)


def _trials(contents: Contents, columns: Columns) -> pa.Table:
    rows = list(_trial_rows(contents, columns))
    return pa.Table.from_pylist(rows, schema=arrow_schema("trials", columns))


ROWS = {"trials": _trials, "epochs": _epochs}


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    """The row with texts that UTF-8 can hold: names of files, in knobs and reasons, need not be."""
    for name, value in row.items():
        if isinstance(value, str) and not value.isascii():
            row[name] = value.encode(errors="backslashreplace").decode()
    return row


def _best(trial: TrialRecord, best: Column, at: Column) -> dict[str, Any]:
    """The best value of a metric over the epochs, and the first epoch that reached it."""
    metric, sign = best.name.removeprefix("best_"), 1 if best.better == "lower" else -1
    values = [(sign * r[metric], r["epoch"]) for r in trial.rows if r.get(metric) is not None]
    value, epoch = min(values, default=(None, None))
    return {best.name: None if value is None else sign * value, at.name: epoch}


def _baseline(arm: str, of_study: str | None, own: str | None) -> str | None:
    said = of_study if own is None else own
    return said if said and said != arm else None


def _search_space(spec: Mapping[str, Any], space: Any) -> str | None:
    """The ranges of a recorded space: their ends or choices, and the conditions they have."""
    found = {}
    for name, text in (space or {}).get("ranges", {}).items():
        said = json.loads(text)["attributes"]
        grid = space.get("grid", {}).get(name)
        if spec.get("searcher") == "grid" and grid and "low" in said:
            said |= {"low": min(grid), "high": max(grid)}
        when = space.get("conditions", {}).get(name)
        found[name] = said | ({"when": when} if when else {})
    return json.dumps(found) if found else None


def _identity(contents: Contents, trial: TrialRecord) -> dict[str, Any]:
    return {
        "study": contents.header["study"],
        "phase": trial.phase,
        "arm": trial.arm,
        "trial": trial.trial,
        "number": trial.number,
        "search": trial.search,
        "look": trial.look,
        "confirms": trial.confirms or None,
    }
