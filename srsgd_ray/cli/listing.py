"""``srsgd-ray list``: all of a results folder in a table."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.backends.ends import said_by
from srsgd_ray.cli.seen import Seen, fitted, holds_study, study_folders
from srsgd_ray.knobs import one_of
from srsgd_ray.results import RecordError, schema_of
from srsgd_ray.table import FORMATS, table


def list_verb(given: argparse.Namespace) -> None:
    """Print a line for each study of a results folder, or for the study that it is."""
    one_of("format", given.format, FORMATS)
    path = Path(given.folder)
    if not path.is_dir():
        raise ValueError(f"list needs a results folder, but {path} is none.")
    folders = [path] if holds_study(path) else study_folders(path)
    found = pd.DataFrame([_line(folder) for folder in folders])
    if found.empty:
        print(f"No study in {path}.")
        return
    if given.format == "text":
        found["disk"] = [f"{size / 1e6:.1f} MB" for size in found["disk"]]
        print(fitted(table(found, align="llrrrl")))
    else:
        print(table(found, given.format, align="llrrrl"))


def _line(folder: Path) -> dict[str, Any]:
    """A study in a row; of one that cannot be read, what is wrong."""
    row: dict[str, Any] = {"study": folder.resolve().name, "state": "broken", "trials": "-"}
    row |= {"last": "-", "disk": _size(folder), "result": "", "question": ""}
    try:
        seen = Seen.of(folder)
        planned = seen.ended if seen.now is None else seen.now["planned"]
        row |= {"state": seen.state, "trials": f"{seen.ended} of {planned}"}
        row |= {"question": seen.question}
        if seen.last == seen.last:
            row["last"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(seen.last))
        row["result"] = "" if seen.trials.empty or seen.single else _result(seen.trials)
    except Exception as error:  # whatever it is, the other studies are shown
        said = str(error) if isinstance(error, RecordError) else said_by(error)
        row |= {"state": "broken", "result": said.splitlines()[0]}
    return row


def _result(trials: pd.DataFrame) -> str:
    """The verdict in a few words, or else the best so far."""
    metric = analysis.confirm_metric(trials)
    if not analysis.several_points(trials) and metric in trials:
        compared = analysis.confirmation(trials, analysis.baselines(trials)).comparisons
        if any(c.estimate.n for c in compared):
            return "; ".join(_short(c) for c in compared)
    judged, mode = analysis.search_goal(trials)
    complete = trials[(trials["state"] == "complete") & (trials["phase"] == "search")]
    if judged not in trials or complete[judged].isna().all():
        return ""
    value = complete[judged].min() if mode == "min" else complete[judged].max()
    return f"best {analysis.in_words(judged)} {value:.4g} {schema_of(trials)[judged].unit}".rstrip()


def _short(c: analysis.Comparison) -> str:
    found, other = c.estimate, c.baseline if c.better == c.arm else c.arm
    unit = "points" if c.unit == "%" else c.unit
    size = f"{abs(found.mean):.3g} {unit}".rstrip()
    if c.better is None:
        arms = f"{analysis.arm_label(c.arm)} and {analysis.arm_label(c.baseline)}"
        return f"{arms}: undecided, {found.mean:+.3g} {unit}".rstrip() + f" (n = {found.n})"
    label = analysis.arm_label(c.better)
    return f"{label} better than {analysis.arm_label(other)} by {size} (n = {found.n})"


def _size(folder: Path) -> int:
    """Bytes on disk."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size if not file.is_dir() else 0
        except OSError:  # a checkpoint that was deleted meanwhile
            continue
    return total
