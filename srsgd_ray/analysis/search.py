"""What the search found: the best trial, how fast it was found, and what it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from srsgd_ray.analysis.interval import check_level
from srsgd_ray.analysis.rows import (
    design,
    goal_of,
    numbers,
    outcomes,
    rows,
    search_goal,
    search_numbers,
    searched_knobs,
)
from srsgd_ray.results import schema_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def best_trial(
    trials: pd.DataFrame, arm: str, metric: str | None = None, mode: str | None = None
) -> pd.Series[Any]:
    """The row of an arm's best complete search trial.

    Of several independent searches, that is the best of all; give the rows of one to ask for its.

    Args:
        metric, mode: the column that is judged, and min or max; None: the study's.

    Ties are broken by the study's tie-breaking metric, then by the lower number.

    Raises:
        UnknownNameError: for an unknown arm, metric or mode.
        ValueError: if the metric holds no numbers, or no complete trial has one.
    """
    metric, sign = goal_of(trials, metric, mode)
    own = rows(trials, "search", arm)
    ranked = best_first(own, sign * outcomes(own, metric))
    if ranked.empty:
        states = own["state"].value_counts()
        seen = ", ".join(f"{count} {state}" for state, count in states.items()) or "none begun"
        raise ValueError(
            f"arm {arm!r} needs a complete search trial with a {metric}, but has none ({seen}). "
            f"Give it more trials, or a narrower search space."
        )
    return next(row for _, row in own.loc[ranked[:1]].iterrows())


def best_first(table: pd.DataFrame, value: pd.Series[float]) -> pd.Index[Any]:
    """Index of the trials that have a value, the lowest first.

    Ties are broken by the study's tie-breaking metric, then by the lower number.
    """
    keys = {"value": value}
    tie = str(design(table, "tie_break") or ("val_loss" if "val_loss" in table else ""))
    if tie in table:
        higher = schema_of(table)[tie].better == "higher"
        keys["tie"] = -numbers(table, tie) if higher else numbers(table, tie)
    keys["number"] = table["number"]
    return pd.DataFrame(keys)[value.notna()].sort_values(list(keys)).index


def best_so_far(trials: pd.DataFrame) -> pd.DataFrame:
    """Best value of the search metric of each arm against what the search had spent by then.

    Trials that ended otherwise than complete spend budget, but are never the best. Each of
    several independent searches of an arm begins anew.

    Returns:
        One row for each search trial that has ended, search by search in the order of their ends:
        ``arm``, ``search`` (number of the arm's search), ``trial``, ``state``, ``trials`` (how
        many had ended, with this one), ``epochs`` (spent by those together), the metric under its
        own name (of this trial; NaN unless complete) and as ``best_METRIC`` (so far; NaN before
        the first complete trial).
    """
    metric, mode = search_goal(trials)
    best = f"best_{metric}"
    search = _ended(trials)
    tables = []
    for _, own in search.groupby([search["arm"], search_numbers(search)], sort=False):
        own = own.assign(ended=numbers(own, "ended")).sort_values(["ended", "number"])
        value = outcomes(own, metric)
        found = own[["arm"]].assign(
            search=search_numbers(own),
            trial=own["trial"],
            state=own["state"],
            trials=np.arange(1, len(own) + 1),
            epochs=own["epochs_done"].fillna(0).astype("int64").cumsum(),
        )
        found[metric] = value
        found[best] = (value.cummin() if mode == "min" else value.cummax()).ffill()
        tables.append(found)
    names = ["arm", "search", "trial", "state", "trials", "epochs", metric, best]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=names)


def _ended(trials: pd.DataFrame, arm: str | None = None) -> pd.DataFrame:
    search = rows(trials, "search", arm)
    return search[search["state"] != "running"]


def expected_best(
    trials: pd.DataFrame, arm: str, level: float = 0.95, epochs: Sequence[int] | None = None
) -> pd.DataFrame:
    """Expected best value of the search metric after a budget of epochs, trials in random order.

    With ``c_i`` the epochs that trial i spent and ``v_i`` the value that it ended with, a budget
    of B pays the first trials of an order whose epochs sum to B at most, and the best of these
    counts. All orders of an arm's trials are equally likely. A pruned trial counts with the value
    at which it was stopped, but as no better than the best complete one of its search, since it
    would not have been chosen. One that diverged, failed or has no value counts as the worst value
    that any trial of the study, of whichever arm, ended with. Independent searches are reordered
    each by itself, and are then equally likely; one with fewer trials than others is left out.

    It says what these trials are worth in another order, each ended as it was. For a search that
    learns from its trials, or prunes them, that is not all: at an order's beginning nothing is
    there to learn from, or to stop a trial by. In simulations of ASHA (tests/test_expected_best.py)
    the values are up to a third better than what searches reach that do end at the budget.

    Source: Dodge et al., Show Your Work (2019), who draw with replacement; without, the estimate
    is unbiased for independent trials (Tang et al., Showing Your Work Doesn't Always Work, 2020).

    Args:
        epochs: the budgets; None: multiples of the longest trial of the study, and all that the
            arm's search (of several, the cheapest) has spent.

    Returns:
        One row for each budget: ``epochs``, ``expected``, and ``low`` and ``high``, between which
        the best lies with probability ``level``: chance of the order, not of the seed.

    Raises:
        ValueError: if no trial is complete, ``level`` is not between 0 and 1, or a budget is
            shorter than the arm's longest trial or more than the search has spent.
    """
    check_level(level)
    metric, sign = goal_of(trials, None, None)
    best_trial(trials, arm)
    ended = _ended(trials)
    value = sign * numbers(ended, metric)
    value = value.where(ended["state"].isin(["complete", "pruned"]) & np.isfinite(value))
    ended = ended.assign(
        value=value.fillna(value.max()),
        cost=numbers(ended, "epochs_done").fillna(0).astype("int64"),
        search=search_numbers(ended),
    )
    own = [found for _, found in ended[ended["arm"] == arm].groupby("search")]
    own = [found for found in own if len(found) == max(map(len, own))]
    longest = max(int(found["cost"].max()) for found in own)
    spent = min(int(found["cost"].sum()) for found in own)
    if epochs is None:
        step = max(1, int(ended["cost"].max()))
        epochs = sorted({*range(step, spent, step), spent})
    if not all(longest <= budget <= spent for budget in epochs):
        raise ValueError(
            f"a budget must be from {longest} epochs (the longest trial of {arm!r}) to {spent} "
            f"(all that its search spent), but got {', '.join(map(str, epochs))}."
        )
    values, chances = [], []
    for found in own:
        best = found["value"].where(found["state"] == "complete").min()
        ranked = found.assign(value=found["value"].clip(best)).sort_values("value")
        values.append(ranked["value"])
        chances.append(_chance_of_best(ranked["cost"].to_numpy(), np.array(epochs)) / len(own))
    order = np.argsort(np.concatenate(values), kind="stable")
    ordered, chance = np.concatenate(values)[order], np.concatenate(chances)[order]
    table = []
    for at, budget in enumerate(epochs):
        quantiles = np.array([(1 - level) / 2, (1 + level) / 2]) - 1e-12
        places = np.searchsorted(np.cumsum(chance[:, at]), quantiles)
        ends = ordered[np.minimum(len(ordered) - 1, places)]
        table.append((budget, sign * (chance[:, at] @ ordered), *sorted(sign * ends)))
    return pd.DataFrame(table, columns=["epochs", "expected", "low", "high"])


def _chance_of_best(costs: IntArray, budgets: IntArray) -> FloatArray:
    """Chance of each trial to be the best that a budget pays, in a random order of the trials.

    A random order is that of n independent times, uniform on [0, 1]. One of the best k trials is
    paid if the first of them, at time t, fits in: its chance is the integral over t of ``(1 -
    t)^(k - 1)`` (the other ones of the k come later) times the chance that those of the others
    that come before t leave its cost. The latter is a product of polynomials, one for each trial,
    and the integral by Gauss's quadrature is exact up to 256 trials, and close above.

    Args:
        costs: of the trials, the best one first.

    Returns:
        A row for each trial, a column for each budget, each of which pays for any one trial.
    """
    nodes, weights = np.polynomial.legendre.leggauss(min(len(costs) // 2 + 1, 128))
    t, weights = (1 + nodes[:, None]) / 2, weights / 2
    # In the largest unit that keeps whole numbers, or so large that it takes a second or so.
    work = len(costs) * len(nodes) * int(budgets.max())
    unit = max(int(np.gcd.reduce(costs)), work // 100_000_000, 1)
    costs = np.rint(costs / unit).astype("int64")
    budgets = np.maximum(budgets // unit, costs.max())
    before = np.zeros((len(nodes), budgets.max() + 1))  # sums of costs that came before t
    before[:, 0] = 1
    paid = np.zeros((len(costs) + 1, len(budgets)))
    for k in range(len(costs), 0, -1):
        within = np.cumsum((weights * (1 - t[:, 0]) ** (k - 1)) @ before)
        paid[k] = within[budgets[:, None] - costs[:k]].sum(axis=1)
        with_it = np.zeros_like(before)
        with_it[:, costs[k - 1] :] = before[:, : before.shape[1] - costs[k - 1]]
        before = (1 - t) * before + t * with_it
    return np.diff(paid, axis=0)


def main_knobs(trials: pd.DataFrame) -> tuple[str, ...]:
    """At most two searched knobs that hold numbers, to draw a search against.

    The restart frequency and the learning rate come first where they were searched; otherwise
    those that go best with the ranks of the metric.
    """
    known = schema_of(trials)
    if {"restart_f1", "lr"} <= set(known):
        return "restart_f1", "lr"
    search = rows(trials, "search").query("state == 'complete'")
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
        early cannot be compared with it) and ``best`` (the best value of its arm's search, ties
        broken as in :func:`best_trial`).

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
    of = table[["arm"]].assign(search=search_numbers(search))
    ranked = of.loc[best_first(search, sign * table[metric])]
    table["best"] = table.index.isin(ranked.drop_duplicates().index)
    return table.reset_index(drop=True)
