"""Tables as files: CSV with all columns and digits; Markdown and LaTeX for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.export.place import replace
from srsgd_ray.export.runs import Exported, plain
from srsgd_ray.results import read_predictions, schema_of
from srsgd_ray.table import table

NAMES = {"csv": "csv", "markdown": "md", "latex": "tex"}


def write_csv(study: Exported, out: Path) -> Path:
    """Write ``trials.csv`` and ``epochs.csv``: the Parquet tables, column by column."""
    for name, frame in (("trials", study.trials), ("epochs", study.epochs)):
        lists = frame.map(lambda value: list(value) if isinstance(value, np.ndarray) else value)
        _put(out / f"{name}.csv", table(lists, "csv"))
    return out


def write_markdown(study: Exported, out: Path) -> Path:
    """Write the study's tables, its verdict and its trials as Markdown."""
    return _write(study, out, "markdown")


def write_latex(study: Exported, out: Path) -> Path:
    """Write the same as LaTeX, to be read in by ``\\input``."""
    return _write(study, out, "latex")


def _write(study: Exported, out: Path, form: str) -> Path:
    folder = study.folder
    whole = analysis.render(study.trials, predictions=read_predictions(folder), form=form)
    _put(out / f"study.{NAMES[form]}", whole)
    for phase in ("search", "confirm"):
        own = study.trials[study.trials["phase"] == phase]
        if len(own):
            _put(out / f"{phase}.{NAMES[form]}", table(trial_table(study, phase), form))
    return out


def trial_table(study: Exported, phase: str) -> pd.DataFrame:
    """The trials of a phase: name, end, searched knobs, seed and final metrics, with all digits."""
    runs = [run for run in study.runs if run.phase == phase]
    knobs = list(dict.fromkeys(name for run in study.runs for name in run.searched))
    knobs += ["seed"] * any("seed" in run.config for run in runs)
    metrics = schema_of(study.trials).named("metric")
    rows: list[dict[str, Any]] = []
    for run in runs:
        final = run.epochs[-1].values if run.epochs else {}
        row = {"trial": run.trial, "arm": run.arm, "state": run.state, "reason": run.reason or None}
        row |= {"superseded": "yes" if run.superseded else None}
        # What an arm did not search says nothing of it, unless it is a fixed one.
        own = {**run.searched, "seed": run.config.get("seed")} if run.searched else run.config
        row |= {name: own.get(name) for name in knobs}
        rows.append({**row, "epochs": run.last, **{name: final.get(name) for name in metrics}})
    shown = pd.DataFrame(rows).dropna(axis="columns", how="all")
    return shown.map(lambda value: None if value is None or value != value else str(plain(value)))


def _put(path: Path, text: str) -> None:
    replace(path, (text + "\n").encode())
