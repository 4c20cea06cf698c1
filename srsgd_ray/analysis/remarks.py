"""What a careful reader of a study's tables would remark, as sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from srsgd_ray.analysis.confirm import confirmation
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    baselines,
    confirm_metric,
    design,
    numbers,
    rows,
    search_goal,
    search_numbers,
    several_lengths,
    several_points,
)
from srsgd_ray.analysis.summary import selected
from srsgd_ray.analysis.words import in_words
from srsgd_ray.results import schema_of

EDGE = 0.03  # of a range, on its scale
UNLIKE = 0.1  # budgets that differ by less are alike
FEW = 3  # seeds


def remarks(
    trials: pd.DataFrame, baseline: str | Mapping[str, str] | None = None, metric: str | None = None
) -> list[str]:
    """What a careful reader of a study's tables would remark, as sentences.

    - A best value lies within 3 % of an end of its searched range, on the range's scale.
    - Arms that are compared had budgets that differ by more than a tenth (of the larger one).
    - A search has one complete trial, or most trials of an arm diverged or failed.
    - The confirmation is judged on the split by which the search selected.
    - The confirmation has fewer than 3 seeds, or 2 searches.
    - A search was extended, and would have tried other trials had it been as long from the start.
    - Lower is better, and the interval of an arm goes below 0 while no run does.

    Args:
        baseline: as in :func:`srsgd_ray.analysis.confirmation`; None: as the study says.
        metric: what the confirmation is judged by; None: as the study says.

    Returns:
        A sentence each; empty if there is nothing to remark. What may change until all trials
        have ended (budgets, counts) is left out before.
    """
    if trials.empty:
        return []
    rivals = baseline if isinstance(baseline, Mapping) else baselines(trials)
    if isinstance(baseline, str):
        rivals = {arm: baseline for arm in arms(trials) if arm != baseline}
    metric = metric or confirm_metric(trials)
    found = [_edges(trials, arm) for arm in arms(trials)]
    found += [_same_split(trials, metric), _below_zero(trials, metric)]
    found.append(str(design(trials, "extended") or ""))
    if not (trials["state"] == "running").any():  # until then, what is few may become more
        found = [_barren(trials, arm) for arm in arms(trials)] + found
        found += [_budgets(trials, arm, rival) for arm, rival in rivals.items()]
        found.append(_few_seeds(trials))
    return [text for text in found if text]


def _barren(trials: pd.DataFrame, arm: str) -> str:
    """Whether an arm's searches had few trials to choose from."""
    search = rows(trials, "search", arm)
    ended = search["state"]
    found = [states for _, states in ended.groupby(search_numbers(search))]
    lone = [states for states in found if len(states) > 1 and (states == "complete").sum() == 1]
    label, lost = arm_label(arm), int(ended.isin(["diverged", "failed"]).sum())
    if lone and len(found) == 1:
        return (
            f"One of {len(ended)} search trials of {label} is complete, which was the best without "
            f"a rival."
        )
    if lone:
        return (
            f"{len(lone)} of {len(found)} searches of {label} had one complete trial, which was "
            f"the best without a rival."
        )
    if not (ended == "complete").any():
        return ""  # the tables say that it has none
    if lost > len(ended) / 2:
        return (
            f"{lost} of {len(ended)} search trials of {label} diverged or failed: what was left of "
            f"the budget chose its best configuration."
        )
    return ""


def _edges(trials: pd.DataFrame, arm: str) -> str:
    """Whether the best values lie at an end of their ranges."""
    best = selected(trials, arm)
    space = design(best, "search_space")
    if space is None or several_points(trials):
        return ""  # of several points, none is the best
    there = []
    for name, spread in json.loads(space).items():
        own = best[[_active(row, spread) for _, row in best.iterrows()]]
        known = "low" in spread and name in own
        ends = [v for v in numbers(own, name).dropna() if _at_edge(v, spread)] if known else []
        if ends:
            share = f" in {len(ends)} of {len(best)} searches" if len(best) > 1 else ""
            there.append(
                f"{in_words(name)} {' and '.join(f'{value:.4g}' for value in ends)}{share} (range "
                f"{spread['low']:.4g} to {spread['high']:.4g})"
            )
    if not there:
        return ""
    return (
        f"The best configuration of {arm_label(arm)} lies at an end of its space, beyond which a "
        f"better one may lie: {', '.join(there)}."
    )


def _active(row: pd.Series[Any], spread: Mapping[str, Any]) -> bool:
    """Whether a knob was searched where the others have the values of a row."""
    return all(row.get(other) in allowed for other, allowed in spread.get("when", {}).items())


def _at_edge(value: float, spread: Mapping[str, Any]) -> bool:
    ends = float(spread["low"]), float(spread["high"])
    low, high, at = (
        math.log(v) if spread.get("log") and v > 0 else v for v in (*ends, float(value))
    )
    return high > low and not EDGE < (at - low) / (high - low) < 1 - EDGE


def _budgets(trials: pd.DataFrame, arm: str, rival: str) -> str:
    """What two arms that are compared were given, where it differs."""
    unlike = []
    given = [dict(_given(trials, name)) for name in (arm, rival)]
    for what in dict.fromkeys([*given[0], *given[1]]):
        one, other = (found.get(what, 0) for found in given)
        if "run" in what and not (one and other):
            continue  # what has no run gets no verdict either
        if abs(one - other) > UNLIKE * max(one, other):
            unlike.append(f"{one:,} and {other:,} {what}")
    if not unlike:
        return ""
    return f"{arm_label(arm)} and {arm_label(rival)} had different budgets: {', '.join(unlike)}."


def _given(trials: pd.DataFrame, arm: str) -> Iterator[tuple[str, int]]:
    unit = schema_of(trials)["epochs_done"].unit or "epochs"
    search, confirm = rows(trials, "search", arm), rows(trials, "confirm", arm)
    yield "search trials", len(search)
    yield f"{unit} of search", int(search["epochs_done"].fillna(0).sum())
    yield "confirmation runs", len(confirm)
    complete = confirm[confirm["state"] == "complete"]
    if len(complete) and not several_lengths(trials):
        yield f"{unit} a confirmation run", int(complete["epochs_done"].max())


def _same_split(trials: pd.DataFrame, metric: str) -> str:
    """Whether the confirmation is judged on what the search selected by."""
    known = schema_of(trials)
    judged = search_goal(trials)[0]
    splits = {known[name].split for name in (metric, judged) if name in known}
    searched, confirmed = ((trials["phase"] == name).any() for name in ("search", "confirm"))
    if not (searched and confirmed and len(splits) == 1 and splits <= {"validation", "test"}):
        return ""
    return (
        f"The confirmation is judged on the {splits.pop()} split, on which the search selected: "
        f"its results are better than on new data, most so for an arm that was searched more."
    )


def _few_seeds(trials: pd.DataFrame) -> str:
    """Whether there are too few runs for an interval to be trusted."""
    confirm = rows(trials, "confirm")
    searches = search_numbers(confirm).nunique()
    count, what = (searches, "search") if searches > 1 else (confirm["seed"].nunique(), "seed")
    if not 0 < count < FEW:
        return ""
    many = {"search": "es", "seed": "s"}[what] if count > 1 else ""
    return (
        f"A confirmation over {count} {what}{many} says little of how much results differ from "
        f"{what} to {what}."
    )


def _below_zero(trials: pd.DataFrame, metric: str) -> str:
    """Whether an interval holds values that an error, a loss or a time cannot have."""
    if several_points(trials):
        return ""
    found = confirmation(trials, None, metric)
    below = [arm_label(arm.arm) for arm in found.arms if arm.estimate.low < 0]
    negative = any(value < 0 for arm in found.arms for value in arm.values)
    if not below or negative or found.direction != "lower":
        return ""  # what is better higher, such as a reward, may well be negative
    return (
        f"No {in_words(metric)} is below 0, but the interval of {' and of '.join(below)} is: if "
        f"there are no such values, the runs are too few or too uneven for such an interval."
    )
