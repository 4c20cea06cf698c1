"""trackio: a project a study and a run a trial, in trackio's own database."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from srsgd_ray.export.place import environment, library
from srsgd_ray.export.runs import Exported, Run


def write(study: Exported, out: Path) -> Path:
    """Add what trackio's database of the study does not hold yet."""
    with environment(TRACKIO_DIR=str(out.resolve())):  # where it looks for its projects
        storage = library("trackio.sqlite_storage")
    out.mkdir(parents=True, exist_ok=True)
    if Path(storage.TRACKIO_DIR) != out.resolve():
        raise ValueError(
            f"trackio writes to one folder in a process, and that is {storage.TRACKIO_DIR} here. "
            f"Export to {out} in another process."
        )
    for run in study.runs:
        _put(storage.SQLiteStorage, study, run)
    return out


def _put(storage: Any, study: Exported, run: Run) -> None:
    """Log a run; what has been logged under the same name of a line is not taken twice."""
    lines = [(epoch.step, epoch.time, f"{epoch.step}", epoch.values) for epoch in run.epochs]
    if run.ended is not None:
        lines.append((run.last, run.ended, f"end{' superseded' * run.superseded}", run.outcomes))
    storage.bulk_log(
        project=study.name,
        run=run.trial,
        metrics_list=[values for *_, values in lines],
        steps=[step for step, *_ in lines],
        timestamps=[_moment(time) for _, time, *_ in lines],
        config=study.config(run),
        log_ids=[f"{run.key} {line}" for *_, line, _ in lines],
        run_id=run.key,
    )


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
