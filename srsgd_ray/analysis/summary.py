"""The summary of a study: what each arm was given, and what came of it, one row an arm."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd

from srsgd_ray.analysis.confirm import Confirmation, confirmation
from srsgd_ray.analysis.rows import (
    arms,
    current,
    outcomes,
    restarting,
    rows,
    search_goal,
    search_numbers,
    searched_knobs,
)
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
        ``best_METRIC`` (the best value of the search metric of a complete trial); the knobs of the
        first of its :func:`configurations`; ``confirmed`` (complete confirmation runs) and
        ``mean`` and ``std`` of the metric over them. What does not exist is NaN or None.

    Raises:
        UnknownNameError: if there is no such metric.
        ValueError: if it holds no numbers, or the table holds more than one study.
    """
    found = confirmation(trials, None, metric)
    knobs = configurations(trials).drop(columns="search").drop_duplicates("arm")
    return pd.DataFrame(
        [_summary_row(trials, own, found) for own in knobs.astype(object).to_dict("records")]
    )


def _summary_row(
    trials: pd.DataFrame, knobs: dict[Hashable, Any], found: Confirmation
) -> dict[Hashable, Any]:
    search = rows(trials, "search", knobs["arm"])
    metric, mode = search_goal(trials)
    value = outcomes(search, metric)
    result = found.arm(knobs["arm"])
    return {
        "arm": knobs.pop("arm"),
        "trials": len(search),
        **{state: int((search["state"] == state).sum()) for state in ENDS},
        "epochs": int(search["epochs_done"].fillna(0).sum()),
        f"best_{metric}": float(value.min() if mode == "min" else value.max()),
        **knobs,
        "confirmed": len(result.values),
        "mean": result.estimate.mean,
        "std": result.estimate.std,
    }


def configurations(trials: pd.DataFrame, most: int | None = MOST_KNOBS) -> pd.DataFrame:
    """The knobs of :func:`shown_knobs` of each arm's :func:`selected` configurations.

    Returns:
        A row for each: ``arm``, ``search`` (its number) and the knobs, NaN or None where there is
        none: of an arm with nothing to show yet, and of the restarts of an arm without restarts.
    """
    known, names, table = schema_of(trials), shown_knobs(trials, most), []
    for arm in arms(trials):
        own = selected(trials, arm)
        without = arm not in restarting(trials)
        for at in range(max(1, len(own))):
            row = {"arm": arm, "search": own["search"].iloc[at] if len(own) else 0}
            for knob in names:
                none = own.empty or (without and knob.startswith("restart_"))
                empty = None if str(known[knob].type) == "string" else math.nan
                row[knob] = empty if none else own[knob].iloc[at]
            table.append(row)
    return pd.DataFrame(table)


def selected(trials: pd.DataFrame, arm: str) -> pd.DataFrame:
    """What each search of an arm has found: a row of a trial with that configuration.

    Returns:
        Of each search in order, the first confirmation run, or else the best trial so far, if one
        is complete; of an arm without a search, its first run. ``search`` is the number.
    """
    own = current(trials[trials["arm"] == arm]).reset_index(drop=True)
    own = own.assign(search=search_numbers(own))
    metric = search_goal(trials)[0]
    found = []
    for _, of_search in own.groupby("search"):
        confirm = rows(of_search, "confirm")
        if confirm.empty and outcomes(rows(of_search, "search"), metric).notna().any():
            confirm = of_search[of_search["trial"] == best_trial(of_search, arm)["trial"]]
        found += list(confirm["trial"][:1])
    searched = (own["phase"] == "search").any()
    return own[own["trial"].isin(found if searched else found[:1])].sort_values("search")


def shown_knobs(trials: pd.DataFrame, most: int | None = MOST_KNOBS) -> list[str]:
    """The knobs that a study's table shows: those that were searched, or that arms differ in."""
    known, searched = schema_of(trials), searched_knobs(trials)
    if set(RESTARTS) <= set(known):
        return list(dict.fromkeys([*RESTARTS, *searched]))[:most]
    confirm = rows(trials, "confirm")
    table = confirm if len(confirm) else trials
    others = [n for n in known.named("knob") if n in table and n != "seed" and n not in searched]
    differ = [name for name in others if table[name].map(str).nunique() > 1]
    return [*searched, *differ][:most]
