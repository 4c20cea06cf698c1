"""What the search found: the best trial, how fast it was found, and what it depends on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from srsgd_ray.analysis.interval import check_level
from srsgd_ray.analysis.rows import (
    arms,
    design,
    goal_of,
    numbers,
    outcomes,
    rows,
    search_goal,
    searched_knobs,
)
from srsgd_ray.results import schema_of


def best_trial(
    trials: pd.DataFrame, arm: str, metric: str | None = None, mode: str | None = None
) -> pd.Series[Any]:
    """The row of an arm's best complete search trial.

    Args:
        metric, mode: the column that is judged, and min or max; None: the study's.

    Ties are broken by the study's tie-breaking metric, then by the lower number.

    Raises:
        UnknownNameError: for an unknown arm, metric or mode.
        ValueError: if the metric holds no numbers, or no complete trial has one.
    """
    metric, sign = goal_of(trials, metric, mode)
    own = rows(trials, "search", arm)
    ranked = _best_first(own, sign * outcomes(own, metric))
    if ranked.empty:
        states = own["state"].value_counts()
        seen = ", ".join(f"{count} {state}" for state, count in states.items()) or "none begun"
        raise ValueError(
            f"arm {arm!r} needs a complete search trial with a {metric}, but has none ({seen}). "
            f"Give it more trials, or a narrower search space."
        )
    return next(row for _, row in own.loc[ranked[:1]].iterrows())


def _best_first(table: pd.DataFrame, value: pd.Series[float]) -> pd.Index[Any]:
    """Index of the trials that have a value, by it, by the tie-breaking metric and by number."""
    keys = {"value": value}
    tie = str(design(table, "tie_break") or ("val_loss" if "val_loss" in table else ""))
    if tie in table:
        higher = schema_of(table)[tie].better == "higher"
        keys["tie"] = -numbers(table, tie) if higher else numbers(table, tie)
    keys["number"] = table["number"]
    return pd.DataFrame(keys)[value.notna()].sort_values(list(keys)).index


def best_so_far(trials: pd.DataFrame) -> pd.DataFrame:
    """Best value of the search metric of each arm against what the search had spent by then.

    Trials that ended otherwise than complete spend budget, but are never the best.

    Returns:
        One row for each search trial that has ended, arm by arm in the order of their ends:
        ``arm``, ``trial``, ``state``, ``trials`` (how many had ended, with this one), ``epochs``
        (spent by those together), the metric under its own name (of this trial; NaN unless
        complete) and as ``best_METRIC`` (so far; NaN before the first complete trial).
    """
    metric, mode = search_goal(trials)
    best = f"best_{metric}"
    search = _ended(trials)
    tables = []
    for arm in arms(search):
        own = search[search["arm"] == arm]
        own = own.assign(ended=numbers(own, "ended")).sort_values(["ended", "number"])
        value = outcomes(own, metric)
        found = own[["arm", "trial", "state"]].assign(
            trials=np.arange(1, len(own) + 1),
            epochs=own["epochs_done"].fillna(0).astype("int64").cumsum(),
        )
        found[metric] = value
        found[best] = (value.cummin() if mode == "min" else value.cummax()).ffill()
        tables.append(found)
    names = ["arm", "trial", "state", "trials", "epochs", metric, best]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=names)


def _ended(trials: pd.DataFrame, arm: str | None = None) -> pd.DataFrame:
    search = rows(trials, "search", arm)
    return search[search["state"] != "running"]


def expected_best(trials: pd.DataFrame, arm: str, level: float = 0.95) -> pd.DataFrame:
    """Expected best value of the search metric if only k of an arm's n trials had been made.

    Every set of k trials is taken as equally likely, which suits a random search; of a search
    that learns from its trials it says only what its trials are worth in another order. With
    the values from best to worst, the i-th is the best of k with probability
    ``C(n - i, k - 1) / C(n, k)``. A trial that is not complete counts as the worst complete one.

    Source: Dodge et al., Show Your Work (2019), there with replacement.

    Returns:
        One row for each k: ``trials`` (k), ``expected``, and ``low`` and ``high``, between which
        the best of k lies with probability ``level``: chance of the order, not of the seed.

    Raises:
        ValueError: if no trial is complete, or ``level`` is not between 0 and 1.
    """
    check_level(level)
    metric, sign = goal_of(trials, None, None)
    worst = float(best_trial(trials, arm, mode="max" if sign == 1 else "min")[metric])
    ordered = np.sort(sign * outcomes(_ended(trials, arm), metric).fillna(worst).to_numpy())
    n = len(ordered)
    table = []
    for k in range(1, n + 1):
        chance = np.array([math.comb(n - i, k - 1) / math.comb(n, k) for i in range(1, n + 1)])
        quantiles = np.array([(1 - level) / 2, (1 + level) / 2]) - 1e-12
        ends = ordered[np.minimum(n - 1, np.searchsorted(np.cumsum(chance), quantiles))]
        table.append((k, sign * (chance @ ordered), *sorted(sign * ends)))
    return pd.DataFrame(table, columns=["trials", "expected", "low", "high"])


def main_knobs(trials: pd.DataFrame) -> tuple[str, ...]:
    """At most two searched knobs that hold numbers, to draw a search against.

    The restart frequency and the learning rate come first where they were searched; otherwise
    those that go best with the ranks of the metric.
    """
    known = schema_of(trials)
    if {"restart_f1", "lr"} <= set(known):
        return "restart_f1", "lr"
    search = trials[(trials["phase"] == "search") & (trials["state"] == "complete")]
    value = numbers(search, search_goal(trials)[0]).rank()

    def strength(name: str) -> float:
        ranks = numbers(search, name).rank()
        tie = ranks.nunique() < 2 or value.nunique() < 2
        return 0.0 if tie else -abs(float(ranks.corr(value)))

    found = [n for n in searched_knobs(trials) if str(known[n].type) in ("double", "int64")]
    return tuple(sorted(found, key=strength)[:2])


def sensitivity(trials: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """How the search metric of the trials depends on two knobs, the columns ``x`` and ``y``.

    Returns:
        One row for each search trial that has ended: ``arm``, ``trial``, ``state``, the two knobs,
        the metric under its own name (NaN unless the trial is complete, since one that was stopped
        early cannot be compared with it) and ``best`` (the best value of its arm, ties broken as
        in :func:`best_trial`).

    Raises:
        UnknownNameError: for an unknown column.
        ValueError: if a column holds no numbers, or two of the three are the same.
    """
    metric, sign = goal_of(trials, None, None)
    for name in (x, y):
        schema_of(trials).number(name)
    if len({x, y, metric}) < 3:
        raise ValueError(f"x, y and the metric must differ, but got {x!r}, {y!r} and {metric!r}.")
    search = _ended(trials)
    table = search[["arm", "trial", "state"]].assign(
        **{x: numbers(search, x), y: numbers(search, y), metric: outcomes(search, metric)}
    )
    ranked = table.loc[_best_first(search, sign * table[metric])]
    table["best"] = table.index.isin(ranked.drop_duplicates("arm").index)
    return table.reset_index(drop=True)
