"""The configuration that an arm has won with, and what its confirmation says of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from srsgd_ray.analysis.confirm import confirmation
from srsgd_ray.analysis.interval import Estimate
from srsgd_ray.analysis.rows import (
    confirm_metric,
    outcomes,
    rows,
    search_goal,
    search_numbers,
    searched_knobs,
)
from srsgd_ray.analysis.search import best_trial


@dataclass(frozen=True)
class Winner:
    """The best configuration of an arm.

    Attributes:
        trial: a run of it: the first of its confirmation, or else the search trial itself.
        found: the search trial that found it; "" if the arm is one configuration.
        metric, value: what the search judged by.
        trials: of all searches of the arm, complete or not.
        confirmed: the metric of the confirmation over the runs of this configuration.
    """

    arm: str
    trial: str
    found: str
    metric: str
    value: float
    trials: int
    confirm_metric: str
    confirmed: Estimate | None


def winner(trials: pd.DataFrame, arm: str) -> Winner:
    """The best configuration of an arm, chosen by the search metric alone.

    Of several searches it is that of the best trial of all.

    Raises:
        UnknownNameError: for an unknown arm.
        ValueError: if no trial of the arm is complete.
    """
    metric, judged = search_goal(trials)[0], confirm_metric(trials)
    search, runs = rows(trials, "search", arm), rows(trials, "confirm", arm)
    found, value = "", math.nan
    if len(search):
        best = best_trial(trials, arm)
        found, value = str(best["trial"]), float(best[metric])
        same = search_numbers(runs) == int(search_numbers(best.to_frame().T).iloc[0])
        for knob in searched_knobs(trials):  # there may be others: of a front, or of earlier times
            same &= runs[knob].map(str) == str(best[knob])
        runs = runs[same]
    complete = runs[outcomes(runs, judged).notna()] if judged in runs else runs[:0]
    if complete.empty and not found:
        states = ", ".join(f"{n} {state}" for state, n in runs["state"].value_counts().items())
        raise ValueError(
            f"arm {arm!r} needs a complete run, but has none ({states or 'none begun'}). Resume "
            f"the study, or see its log."
        )
    first = found if complete.empty else str(complete["trial"].iloc[0])
    estimate = None if complete.empty else confirmation(runs, None).arm(arm).estimate
    return Winner(arm, first, found, metric, value, len(search), judged, estimate)
