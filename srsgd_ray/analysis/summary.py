"""The summary of a study: what each arm was given, and what came of it, one row an arm."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from srsgd_ray.analysis.confirm import Confirmation, confirmation
from srsgd_ray.analysis.rows import arms, outcomes, restarting, rows, search_goal, searched_knobs
from srsgd_ray.analysis.search import best_trial
from srsgd_ray.results import schema_of

ENDS = ("complete", "pruned", "diverged", "failed", "running")
# What is always shown of studies of SRSGD.
RESTARTS = ("lr", "weight_decay", "restart_f1", "restart_growth", "restart_kind")
MOST_KNOBS = 12


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
    value = outcomes(search, metric)
    selected = None
    if len(confirm):
        selected = confirm.iloc[0]
    elif value.notna().any():
        selected = best_trial(trials, arm)
    without = arm not in restarting(trials)
    known = schema_of(trials)
    knobs: dict[str, Any] = {}
    for knob in shown_knobs(trials):
        if selected is None or (without and knob.startswith("restart_")):
            knobs[knob] = None if str(known[knob].type) == "string" else math.nan
        else:
            knobs[knob] = selected[knob]
    result = found.arm(arm).estimate
    return {
        "arm": arm,
        "trials": len(search),
        **{state: int((search["state"] == state).sum()) for state in ENDS},
        "epochs": int(search["epochs_done"].fillna(0).sum()),
        f"best_{metric}": float(value.min() if mode == "min" else value.max()),
        **knobs,
        "confirmed": result.n,
        "mean": result.mean,
        "std": result.std,
    }


def shown_knobs(trials: pd.DataFrame) -> list[str]:
    """The knobs that a study's table shows: those that were searched, or that arms differ in."""
    known, searched = schema_of(trials), searched_knobs(trials)
    if set(RESTARTS) <= set(known):
        return list(dict.fromkeys([*RESTARTS, *searched]))[:MOST_KNOBS]
    confirm = trials[trials["phase"] == "confirm"]
    table = confirm if len(confirm) else trials
    others = [n for n in known.named("knob") if n in table and n != "seed" and n not in searched]
    differ = [name for name in others if table[name].map(str).nunique() > 1]
    return [*searched, *differ][:MOST_KNOBS]
