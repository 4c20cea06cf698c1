"""Weights & Biases, offline: a folder a trial, which ``wandb sync`` uploads if one wants it to."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from srsgd_ray.export.place import environment, library
from srsgd_ray.export.runs import Exported, Run

DONE = "srsgd_ray.txt"  # in a run's folder when it is whole, with the end that it had then


def write(study: Exported, out: Path) -> Path:
    """Write the runs of a study that are not there as they are, each by W&B's own process."""
    with environment(WANDB_ERROR_REPORTING="false"):  # nothing leaves this machine
        wandb = library("wandb")
        out.mkdir(parents=True, exist_ok=True)
        for run in study.runs:
            there = list((out / "wandb").glob(f"offline-run-*-{name_of(study, run)}"))
            end = f"{run.state} {run.last}{' superseded' * run.superseded}".encode()
            if any((p / DONE).is_file() and (p / DONE).read_bytes() == end for p in there):
                continue
            for old in there:
                shutil.rmtree(old)
            (_write(wandb, study, run, out) / DONE).write_bytes(end)
    return out / "wandb"


def name_of(study: Exported, run: Run) -> str:
    """W&B's name of a run, the same in each export, so that an upload finds it again."""
    return hashlib.sha256(f"{study.name} {run.key}".encode()).hexdigest()[:16]


def _write(wandb: Any, study: Exported, run: Run, out: Path) -> Path:
    """Write one run; returns its folder."""
    settings = wandb.Settings(
        mode="offline", root_dir=str(out.resolve()), silent=True, console="off", disable_git=True,
        disable_code=True, x_disable_stats=True, x_disable_meta=True, x_save_requirements=False,
    )  # fmt: skip
    made = wandb.init(
        project=study.name,
        id=name_of(study, run),
        name=run.trial,
        group=run.arm,
        job_type=run.phase,
        tags=[run.phase, run.state],
        notes=run.reason or None,
        config=study.config(run),
        settings=settings,
        reinit="create_new",
    )
    for epoch in run.epochs:
        made.log({**epoch.values, "_timestamp": epoch.time}, step=epoch.step)
    made.summary.update(run.outcomes)
    folder = Path(made.dir).parent
    made.finish(exit_code=int(run.state in ("diverged", "failed")))
    return folder
