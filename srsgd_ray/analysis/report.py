"""The summary of a study: one row an arm, and the same as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd

from srsgd_ray.analysis.confirm import Confirmation, confirmation
from srsgd_ray.analysis.pareto import epochs_saved, error_by_epochs
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    baselines,
    finite,
    number_column,
    numbers,
    restarting,
    rows,
)
from srsgd_ray.analysis.search import best_trial, expected_best
from srsgd_ray.analysis.words import in_words, lost_text
from srsgd_ray.config import one_of

__all__ = ["render", "summary"]

WIDTH = 100
ENDS = ("complete", "pruned", "diverged", "failed", "running")
KNOBS = ("lr", "weight_decay", "restart_f1", "restart_growth", "restart_kind")


def summary(trials: pd.DataFrame, metric: str = "test_error") -> pd.DataFrame:
    """What each arm was given, and what came of it.

    Returns:
        One row for each arm: ``arm``; ``trials`` of the search, of which ``complete``, ``pruned``,
        ``diverged``, ``failed``, ``running``; ``epochs`` that the search has spent;
        ``best_val_error`` (%, the lowest of a complete trial); ``lr``, ``weight_decay``,
        ``restart_f1`` (steps), ``restart_growth`` and ``restart_kind`` of the configuration that
        was confirmed, or else of the best trial so far; ``confirmed`` (complete confirmation runs)
        and ``mean`` and ``std`` of the metric over them. What does not exist is NaN or None, also
        the restart columns of an arm without restarts.

    Raises:
        UnknownNameError: if there is no such metric.
        ValueError: if it holds no numbers, or the table holds more than one study.
    """
    found = confirmation(trials, None, metric)
    return pd.DataFrame([_summary_row(trials, arm, found) for arm in arms(trials)])


def _summary_row(trials: pd.DataFrame, arm: str, found: Confirmation) -> dict[str, Any]:
    search, confirm = rows(trials, "search", arm), rows(trials, "confirm", arm)
    value = numbers(search, "val_error")
    good = (search["state"] == "complete") & finite(value)
    chosen = None
    if len(confirm):
        chosen = confirm.iloc[0]
    elif good.any():
        chosen = best_trial(trials, arm)
    has_restarts = arm in restarting(trials)
    result = found.arm(arm).estimate
    return {
        "arm": arm,
        "trials": len(search),
        **{state: int((search["state"] == state).sum()) for state in ENDS},
        "epochs": int(search["epochs_done"].fillna(0).sum()),
        "best_val_error": float(value[good].min()),
        **{
            knob: chosen[knob]
            if chosen is not None and (has_restarts or not knob.startswith("restart_"))
            else (None if knob == "restart_kind" else math.nan)
            for knob in KNOBS
        },
        "confirmed": result.n,
        "mean": result.mean,
        "std": result.std,
    }


def render(trials: pd.DataFrame, baseline: str | None = None, metric: str = "test_error") -> str:
    """A study's summary and verdict as plain text, at most 100 columns wide.

    Args:
        trials: the trials of one study.
        baseline: the arm that the others are compared with; by default what the study says.
        metric: what the confirmation is judged by; lower is better.

    Raises:
        UnknownNameError: for an unknown baseline or metric.
        ValueError: see :func:`confirmation`.
    """
    number_column(metric)
    if baseline is not None:
        one_of("baseline", baseline, arms(trials))
    if trials.empty:
        return "No trials yet."
    if _many_lengths(trials):
        return "\n\n".join([_search_text(trials), *_epochs_text(trials, baseline, metric)])
    table = summary(trials, metric)
    found = confirmation(trials, baseline or baselines(trials), metric)
    searched = (trials["phase"] == "search").any()
    parts = [_search_text(trials), _expected_text(trials)] if searched else []
    knobs = _table(
        f"{'Best c' if searched else 'C'}onfiguration of each arm",
        ["arm", "lr", "weight decay", "F1 (steps)", "growth", "restarts"],
        [
            [arm_label(row["arm"]), *(_number(row[knob], ".4g") for knob in KNOBS[:4]),
             "-" if pd.isna(row["restart_kind"]) else row["restart_kind"]]
            for _, row in table.iterrows()
        ],
    )  # fmt: skip
    return "\n\n".join([*(part for part in parts if part), knobs, _confirmation_text(found)])


def _search_text(trials: pd.DataFrame) -> str:
    table = summary(trials[trials["phase"] == "search"])
    return _table(
        "Search, on the validation split",
        ["arm", "trials", *ENDS, "epochs", "best error %"],
        [
            [arm_label(row["arm"]), row["trials"], *(row[s] for s in ENDS), row["epochs"],
             _number(row["best_val_error"], ".2f")]
            for _, row in table.iterrows()
        ],
    )  # fmt: skip


def _expected_text(trials: pd.DataFrame) -> str:
    """Expected best after k trials, for some k that all arms have."""
    tables = {}
    for arm in arms(trials):
        own = rows(trials, "search", arm)
        if (own["state"] == "complete").any():
            tables[arm] = expected_best(trials, arm).set_index("trials")
    most = min((len(table) for table in tables.values()), default=0)
    counts = [k for k in (1, 2, 4, 8, 16, 32, 64) if k < most] + [most]
    if most < 4:
        return ""
    return _table(
        "Expected best validation error % after k trials (middle 95 % of the orders of trials)",
        ["k", *(arm_label(arm) for arm in tables)],
        [
            [
                k,
                *(
                    f"{table['expected'][k]:.2f} ({table['low'][k]:.2f}-{table['high'][k]:.2f})"
                    for table in tables.values()
                ),
            ]
            for k in counts
        ],
    )


def _many_lengths(trials: pd.DataFrame) -> bool:
    """Whether an arm has search trials or confirmation runs of several numbers of epochs."""
    return bool((trials.groupby(["arm", "phase"])["epochs"].nunique() > 1).any())


def _epochs_text(trials: pd.DataFrame, baseline: str | None, metric: str) -> list[str]:
    """Error by epochs over the confirmation, and the epochs saved."""
    table = error_by_epochs(trials, metric)
    if table.empty:
        return ["No confirmation runs yet."]
    unit = number_column(metric).unit
    shown = _table(
        f"Confirmation, {in_words(metric)} {unit} by epochs, over seeds",
        ["arm", "epochs", "runs", "mean", "std", "95 % interval"],
        [
            [arm_label(row["arm"]), row["epochs"], row["n"], _number(row["mean"], ".2f"),
             _number(row["std"], ".2f"),
             "-" if row["n"] < 2 else f"{row['low']:.2f} to {row['high']:.2f}"]
            for _, row in table.iterrows()
        ],
    )  # fmt: skip
    there = set(table["arm"])
    rivals = baselines(trials)
    if baseline is not None:
        rivals = {arm: baseline for arm in arms(trials) if arm != baseline}
    said = [
        textwrap.fill(epochs_saved(trials, arm, rival, metric).verdict, WIDTH)
        for arm, rival in rivals.items()
        if {arm, rival} <= there
    ]
    return [shown, *said]


def _confirmation_text(found: Confirmation) -> str:
    if not any(arm.seeds or arm.lost for arm in found.arms):
        return "No confirmation runs yet."
    what = f"{in_words(found.metric)} {found.unit}".rstrip()
    table = _table(
        f"Confirmation, {what} over seeds",
        ["arm", "runs", "mean", "std", f"{100 * found.level:g} % interval"],
        [
            [
                arm_label(arm.arm),
                arm.estimate.n,
                _number(arm.estimate.mean, ".2f"),
                _number(arm.estimate.std, ".2f"),
                "-" if arm.estimate.n < 2 else f"{arm.estimate.low:.2f} to {arm.estimate.high:.2f}",
            ]
            for arm in found.arms
        ],
    )
    said = [comparison.verdict for comparison in found.comparisons]
    if not said:
        lost = [text for arm in found.arms if (text := lost_text(arm.arm, arm.lost))]
        said = [f"Not counted: {'; '.join(lost)}."] if lost else []
    lines = [textwrap.fill(text, WIDTH) for text in said]
    return "\n\n".join([table, *lines])


def _number(value: float, form: str) -> str:
    return "-" if pd.isna(value) else f"{value:{form}}"


def _table(title: str, header: Sequence[str], table: Sequence[Sequence[object]]) -> str:
    """Columns of equal width: the first to the left, the others to the right."""
    texts = [list(header), *([str(cell) for cell in row] for row in table)]
    rest = [max(len(row[i]) for row in texts) for i in range(1, len(header))]
    room = WIDTH - sum(width + 2 for width in rest)
    first = min(room, max(len(row[0]) for row in texts))
    lines = [title]
    for name, *cells in texts:
        shown = name if len(name) <= first else name[: first - 2] + ".."
        lines.append(
            shown.ljust(first)
            + "".join(cell.rjust(width + 2) for cell, width in zip(cells, rest, strict=True))
        )
    return "\n".join([title, "-" * len(lines[1]), *lines[1:]])
