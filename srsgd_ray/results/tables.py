"""From the record to Parquet, and from Parquet to pandas.

``write_tables`` replaces ``epochs.parquet`` and ``trials.parquet`` as whole files, so that a
reader never sees half a table, also while the study runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from srsgd_ray.results.columns import DESIGN, METRICS, Table, arrow_schema
from srsgd_ray.results.record import Contents, RecordError, TrialRecord

__all__ = [
    "epoch_rows",
    "read_epochs",
    "read_trials",
    "replace_table",
    "trial_rows",
    "write_tables",
]


def write_tables(folder: Path, contents: Contents) -> None:
    """Write both Parquet tables of a study into its folder, each by an atomic rename."""
    rows: dict[Table, Iterator[dict[str, Any]]] = {
        "epochs": epoch_rows(contents),
        "trials": trial_rows(contents),
    }
    for name, made in rows.items():
        table = pa.Table.from_pylist(list(made), schema=arrow_schema(name))
        replace_table(folder / f"{name}.parquet", table)


def replace_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file by an atomic rename: a reader sees the old table or the new one."""
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    pq.write_table(table, partial)
    partial.replace(path)


def epoch_rows(contents: Contents) -> Iterator[dict[str, Any]]:
    """One flat row for each finished epoch, trial by trial."""
    for trial in contents.trials.values():
        identity = _identity(contents, trial)
        for row in trial.rows:
            yield {**identity, **_config(trial), **row}


def trial_rows(contents: Contents) -> Iterator[dict[str, Any]]:
    """One flat row for each trial, also those that failed, diverged or still run."""
    session = contents.sessions[-1] if contents.sessions else {}
    spec = contents.header.get("spec", {})
    design = {column.name: spec.get(column.name) for column in DESIGN}
    against = {arm["name"]: arm.get("against") for arm in spec.get("arms", [])}
    for trial in contents.trials.values():
        last = trial.rows[-1] if trial.rows else {}
        errors = [(r["val_error"], r["epoch"]) for r in trial.rows if r["val_error"] is not None]
        best_error, best_epoch = min(errors, default=(None, None))
        tests = [(r["test_error"], r["epoch"]) for r in trial.rows if r["test_error"] is not None]
        best_test, best_test_epoch = min(tests, default=(None, None))
        yield {
            **session,
            **design,
            "baseline": _baseline(trial.arm, spec.get("baseline"), against.get(trial.arm)),
            **_identity(contents, trial),
            **_config(trial),
            **{metric.name: last.get(metric.name) for metric in METRICS},
            "epochs_done": len(trial.rows),
            "best_val_error": best_error,
            "best_epoch": best_epoch,
            "best_test_error": best_test,
            "best_test_epoch": best_test_epoch,
            "train_seconds": sum(row["train_seconds"] for row in trial.rows),
            "started": trial.started,
            "state": trial.state,
            **(trial.end or {}),
        }


def _baseline(arm: str, of_study: str | None, own: str | None) -> str | None:
    said = of_study if own is None else own
    return said if said and said != arm else None


def _config(trial: TrialRecord) -> dict[str, Any]:
    """The knobs; those that are dicts as JSON text."""
    return {k: json.dumps(v) if isinstance(v, dict) else v for k, v in trial.config.items()}


def _identity(contents: Contents, trial: TrialRecord) -> dict[str, Any]:
    return {
        "study": contents.header["study"],
        "phase": trial.phase,
        "arm": trial.arm,
        "trial": trial.trial,
        "number": trial.number,
    }


def read_epochs(*paths: Path | str) -> pd.DataFrame:
    """One row an epoch: of a study's folder, of several, or of a folder of studies.

    Returns:
        The columns of ``EPOCH_COLUMNS``.

    Raises:
        RecordError: if no table is found.
    """
    return _read("epochs", paths)


def read_trials(*paths: Path | str) -> pd.DataFrame:
    """One row a trial; otherwise as :func:`read_epochs`, with ``TRIAL_COLUMNS``."""
    return _read("trials", paths)


def _read(name: Table, paths: Iterable[Path | str]) -> pd.DataFrame:
    files: list[Path] = []
    for path in map(Path, paths):
        own = path / f"{name}.parquet"
        found = [own] if own.is_file() else sorted(path.glob(f"*/{name}.parquet"))
        if not found:
            raise RecordError(f"no results: expected {own}, or studies with {name}.parquet in it.")
        files += found
    tables = []
    for file in files:
        # Opened once: pyarrow opens a path twice, and a study may replace it in between.
        with file.open("rb") as opened:
            tables.append(_fit(pq.read_table(opened), arrow_schema(name)))
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def _fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in today's columns; what an older version did not write is empty."""
    there = set(table.column_names)
    made = [
        table[field.name].cast(field.type)
        if field.name in there
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(made, schema=schema)
