"""``srsgd-ray compare``: several studies side by side."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.analysis.target_report import WIDTH
from srsgd_ray.cli.results import BASELINE, asked_target, drawn_profile, profile_of
from srsgd_ray.knobs import one_of
from srsgd_ray.results import read_predictions, read_trials, schema_of
from srsgd_ray.table import FORMATS, table


def compare_verb(given: argparse.Namespace) -> None:
    """Print verdicts, values, budgets and times to a target of several studies."""
    one_of("format", given.format, FORMATS)
    folders = [str(folder) for folder in dict.fromkeys(map(Path, given.folders))]
    if len(folders) < 2:
        raise ValueError(
            f"compare takes two studies or more, but got {', '.join(folders)}. For one study: "
            f"srsgd-ray table."
        )
    given.to_target = given.to_target or BASELINE
    asked, studies = asked_target(given), {folder: read_trials(folder) for folder in folders}
    values = analysis.side_by_side(studies)
    if given.format == "csv":
        print(table(values, "csv"))
    else:
        said = [f"{name}: {text}" for name, own in studies.items() for text in _verdicts(name, own)]
        paragraphs = [*said, _values(values, studies, given.format), analysis.pairing(studies)]
        text = "\n\n".join([*paragraphs, _targets(folders, asked, given.format)])
        print(_filled(text) if given.format == "text" else text)
    if given.out is not None:
        print(*drawn_profile(folders, asked, ["png", "svg"], given.out), sep="\n")


def _verdicts(folder: str, trials: pd.DataFrame) -> list[str]:
    """The study's own sentences."""
    rivals = analysis.baselines(trials)
    found = analysis.confirmation(trials, rivals, predictions=read_predictions(folder))
    return [c.verdict for c in found.comparisons] or ["No arm is compared with another."]


def _values(values: pd.DataFrame, studies: Mapping[str, pd.DataFrame], form: str) -> str:
    trials = next(iter(studies.values()))
    metric = analysis.confirm_metric(trials)
    unit = schema_of(trials)[metric].unit
    digits = ".2f" if unit == "%" else ".4g"
    several = values["search_metric"].nunique() > 1
    shown = []
    for row in values.to_dict("records"):
        judged = f" {row['search_metric']}" if several else ""
        best = f"{row['best']:{digits}}{judged}" if row["best"] == row["best"] else "-"
        shown.append(
            {
                "study": row["study"],
                "arm": analysis.arm_label(row["arm"]),
                "trials": row["search_trials"],
                "epochs": row["search_epochs"],
                "best of search": best,
                "runs": row["runs"],
                "mean": row["mean"],
                "95 % interval": _interval(row["low"], row["high"], digits),
                "hours": row["seconds"] / 3600,
            }
        )
    what = f"{analysis.in_words(metric)} {unit}".rstrip()
    title = f"Search, and confirmation: {what} ({analysis.better_of(trials, metric)} is better)"
    numbers = {"hours": ".3g", "mean": digits}
    return table(pd.DataFrame(shown), form, title=title, align="llr", numbers=numbers)


def _interval(low: float, high: float, digits: str) -> str:
    return f"{low:{digits}} to {high:{digits}}" if low == low and high == high else "-"


def _targets(folders: list[str], asked: dict[str, Any], form: str) -> str:
    """Times to the target and performance profiles; or why there are none."""
    try:
        return analysis.profile_text(profile_of(folders, asked), form)
    except ValueError as error:
        if asked["target"] != BASELINE:
            raise
        return f"No times to a target: {error}"


def _filled(text: str) -> str:
    """Sentences that fit a terminal; the lines of tables are as wide as they are."""
    return "\n\n".join(
        part if "\n" in part else textwrap.fill(part, WIDTH) for part in text.split("\n\n")
    )
