"""The summary of a study: one row an arm, and the same as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from srsgd_ray.analysis.chosen import SHORT, knob_text, shown_knobs
from srsgd_ray.analysis.confirm import Confirmation, confirmation
from srsgd_ray.analysis.pareto import epochs_saved, error_by_epochs
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    baselines,
    confirm_metric,
    design,
    finite,
    length_column,
    number_column,
    numbers,
    restarting,
    rows,
    search_goal,
)
from srsgd_ray.analysis.search import best_trial, expected_best
from srsgd_ray.analysis.words import in_words, lost_text
from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of

__all__ = ["render", "summary"]

WIDTH = 100
ENDS = ("complete", "pruned", "diverged", "failed", "running")


def summary(trials: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """What each arm was given, and what came of it.

    Returns:
        One row for each arm: ``arm``; ``trials`` of the search, of which ``complete``, ``pruned``,
        ``diverged``, ``failed``, ``running``; ``epochs`` that the search has spent;
        ``best_METRIC`` (the best value of the search metric of a complete trial); the knobs of
        :func:`shown_knobs` of the configuration that was confirmed, or else of the best trial so
        far; ``confirmed`` (complete confirmation runs) and ``mean`` and ``std`` of the metric over
        them. What does not exist is NaN or None, also the restart columns of an arm without
        restarts.

    Raises:
        UnknownNameError: if there is no such metric.
        ValueError: if it holds no numbers, or the table holds more than one study.
    """
    found = confirmation(trials, None, metric)
    return pd.DataFrame([_summary_row(trials, arm, found) for arm in arms(trials)])


def _summary_row(trials: pd.DataFrame, arm: str, found: Confirmation) -> dict[str, Any]:
    search, confirm = rows(trials, "search", arm), rows(trials, "confirm", arm)
    metric, mode = search_goal(trials)
    value = numbers(search, metric)
    good = (search["state"] == "complete") & finite(value)
    chosen = None
    if len(confirm):
        chosen = confirm.iloc[0]
    elif good.any():
        chosen = best_trial(trials, arm)
    has_restarts = arm in restarting(trials)
    known = schema_of(trials)
    result = found.arm(arm).estimate
    knobs: dict[str, Any] = {}
    for knob in shown_knobs(trials):
        there = chosen is not None and (has_restarts or not knob.startswith("restart_"))
        nothing = None if str(known[knob].type) == "string" else math.nan
        knobs[knob] = chosen[knob] if chosen is not None and there else nothing
    return {
        "arm": arm,
        "trials": len(search),
        **{state: int((search["state"] == state).sum()) for state in ENDS},
        "epochs": int(search["epochs_done"].fillna(0).sum()),
        f"best_{metric}": float(value[good].min() if mode == "min" else value[good].max()),
        **knobs,
        "confirmed": result.n,
        "mean": result.mean,
        "std": result.std,
    }


def render(trials: pd.DataFrame, baseline: str | None = None, metric: str | None = None) -> str:
    """A study's summary and verdict as plain text, at most 100 columns wide.

    Args:
        trials: the trials of one study.
        baseline: the arm that the others are compared with; by default what the study says.
        metric: what the confirmation is judged by; None: as the study says.

    Raises:
        UnknownNameError: for an unknown baseline or metric.
        ValueError: see :func:`confirmation`.
    """
    metric = metric or confirm_metric(trials)
    number_column(trials, metric)
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
    knobs = _knobs_text(trials, table, bool(searched))
    return "\n\n".join([*(part for part in parts if part), knobs, _confirmation_text(found)])


def _knobs_text(trials: pd.DataFrame, table: pd.DataFrame, searched: bool) -> str:
    """The configuration of each arm that was chosen, or that it is."""
    names = shown_knobs(trials)
    if not names:
        return ""
    heads = [
        name if name == "lr" else SHORT.get(name, in_words(name).removeprefix("options."))
        for name in names
    ]
    return _table(
        f"{'Best c' if searched else 'C'}onfiguration of each arm",
        ["arm", *heads],
        [[arm_label(row["arm"]), *(knob_text(row[name]) for name in names)]
         for _, row in table.iterrows()],
    )  # fmt: skip


def _search_text(trials: pd.DataFrame) -> str:
    table = summary(trials[trials["phase"] == "search"])
    metric, mode = search_goal(trials)
    column = number_column(trials, metric)
    validation = metric == "val_error"
    where = {"validation": ", on the validation split", "train": ", on the training split"}
    unit = f" {column.unit}" if column.unit else ""
    word = "best error" if validation else f"{'lowest' if mode == 'min' else 'highest'} {metric}"
    spent = schema_of(trials)["epochs_done"].unit or "epochs"
    form = _form(table[f"best_{metric}"], column.unit)
    return _table(
        f"Search{where.get(column.split, '')}{_better_words(mode == 'min', validation)}",
        ["arm", "trials", *ENDS, spent, f"{word}{unit}"],
        [
            [arm_label(row["arm"]), row["trials"], *(row[s] for s in ENDS), row["epochs"],
             _number(row[f"best_{metric}"], form)]
            for _, row in table.iterrows()
        ],
    )  # fmt: skip


def _better_words(lower: bool, known: bool = False) -> str:
    """Which values are better, where the name of the metric does not say so already."""
    return "" if known else f" ({'lower' if lower else 'higher'} is better)"


def _form(values: Iterable[Any], unit: str) -> str:
    """Two digits after the point, or as many as show four of the largest value."""
    sizes = [abs(float(v)) for v in values if pd.notna(v) and v]
    if unit == "%" or not sizes or max(sizes) >= 2:
        return ".2f"
    return ".4f" if max(sizes) >= 0.01 else ".3e"


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
    metric = search_goal(trials)[0]
    unit = number_column(trials, metric).unit
    what = f"{in_words(metric)} {unit}".rstrip()
    form = _form([value for table in tables.values() for value in table["high"]], unit)
    return _table(
        f"Expected best {what} after k trials (middle 95 % of the orders of trials)",
        ["k", *(arm_label(arm) for arm in tables)],
        [
            [
                k,
                *(
                    f"{table['expected'][k]:{form}} "
                    f"({table['low'][k]:{form}}-{table['high'][k]:{form}})"
                    for table in tables.values()
                ),
            ]
            for k in counts
        ],
    )


def _many_lengths(trials: pd.DataFrame) -> bool:
    """Whether an arm has search trials or confirmation runs of several numbers of epochs."""
    name = length_column(trials)
    if name == "epochs_done":
        trials = trials[trials["state"] == "complete"]
    several = trials.groupby(["arm", "phase"])[name].nunique() > 1
    # A second aim that is no length has its points at one length.
    return bool(several.any()) or bool(design(trials, "pareto_metric"))


def _epochs_text(trials: pd.DataFrame, baseline: str | None, metric: str) -> list[str]:
    """Error by epochs over the confirmation, and the epochs saved."""
    table = error_by_epochs(trials, metric)
    if table.empty:
        return ["No confirmation runs yet."]
    unit = number_column(trials, metric).unit
    shown = _table(
        f"Confirmation, {f'{in_words(metric)} {unit}'.rstrip()} by epochs, over seeds",
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
    plain = found.metric == "test_error" or not found.direction
    values = [v for arm in found.arms for v in (arm.estimate.mean, arm.estimate.high)]
    form = _form(values, found.unit)
    table = _table(
        f"Confirmation, {what} over seeds{_better_words(found.direction == 'lower', plain)}",
        ["arm", "runs", "mean", "std", f"{100 * found.level:g} % interval"],
        [
            [
                arm_label(arm.arm),
                arm.estimate.n,
                _number(arm.estimate.mean, form),
                _number(arm.estimate.std, form),
                "-"
                if arm.estimate.n < 2
                else f"{arm.estimate.low:{form}} to {arm.estimate.high:{form}}",
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
