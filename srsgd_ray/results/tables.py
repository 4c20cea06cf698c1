"""From the record to Parquet, and from Parquet to pandas.

``write_tables`` replaces ``epochs.parquet`` and ``trials.parquet`` as whole files, so that a
reader never sees half a table, also while the study runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from srsgd_ray.results.columns import Table, arrow_schema
from srsgd_ray.results.columns import columns as _columns
from srsgd_ray.results.record import Contents, RecordError, TrialRecord

__all__ = [
    "epoch_rows",
    "read_epochs",
    "read_trials",
    "replace_table",
    "trial_rows",
    "write_tables",
]


def write_tables(folder: Path, contents: Contents, columns: Any = None) -> None:
    for name, made in (("epochs", epoch_rows(contents)), ("trials", trial_rows(contents, columns))):
        table = pa.Table.from_pylist(list(made), schema=arrow_schema(name, columns))
        replace_table(folder / f"{name}.parquet", table)
    names = {n for t in contents.trials.values() for n in t.artifacts}
    for n in names:
        rows = []
        for t in contents.trials.values():
            if n in t.artifacts:
                cols = t.artifacts[n]
                for i in range(len(next(iter(cols.values())))):
                    rows.append(
                        {
                            **_identity(contents, t),
                            **_flat(t.config),
                            **{k: v[i] for k, v in cols.items()},
                        }
                    )
        replace_table(folder / f"{n}.parquet", pa.Table.from_pylist(rows))


def read_table(folder: Any, name: str) -> pd.DataFrame:
    return pd.read_parquet(Path(folder) / f"{name}.parquet")


def _flat(config: Any) -> Any:
    import json

    found = {}
    for k, v in config.items():
        found[k] = json.dumps(v) if isinstance(v, dict) else v
        if isinstance(v, dict):
            found.update({f"{k}.{n}": x for n, x in v.items()})
        if isinstance(v, list):
            found.update({f"{k}.{n}": x for n, x in enumerate(v)})
    return found


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
            yield {**identity, **_flat(trial.config), **row}


def trial_rows(contents: Contents, columns: Any = None) -> Iterator[dict[str, Any]]:
    session = contents.sessions[-1] if contents.sessions else {}
    spec = contents.header.get("spec", {})
    cols = columns["trials"] if columns else _columns("trials")
    design = {c.name: spec.get(c.name) for c in cols if c.role == "design"}
    against = {arm["name"]: arm.get("against") for arm in spec.get("arms", [])}
    metrics = [c for c in cols if c.role in ("metric", "measure")]
    for trial in contents.trials.values():
        last = trial.rows[-1] if trial.rows else {}
        best = {}
        for m in metrics:
            if m.better:
                vals = [
                    (r[m.name] * (1 if m.better == "lower" else -1), r["epoch"], r[m.name])
                    for r in trial.rows
                    if r.get(m.name) is not None
                ]
                if vals:
                    best[f"best_{m.name}"] = min(vals)[2]
                    at = {"val_error": "best_epoch", "test_error": "best_test_epoch"}.get(m.name)
                    if at:
                        best[at] = min(vals)[1]
        yield {
            **session,
            **design,
            "baseline": _baseline(trial.arm, spec.get("baseline"), against.get(trial.arm)),
            **_identity(contents, trial),
            **_flat(trial.config),
            **{m.name: last.get(m.name) for m in metrics},
            **best,
            "epochs_done": len(trial.rows),
            "train_seconds": sum(row["train_seconds"] for row in trial.rows),
            "started": trial.started,
            "state": trial.state,
            **(trial.end or {}),
        }


def _baseline(arm: str, of_study: str | None, own: str | None) -> str | None:
    said = of_study if own is None else own
    return said if said and said != arm else None


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
            tables.append(pq.read_table(opened))
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return frame
