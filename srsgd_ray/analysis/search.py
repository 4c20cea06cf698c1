"""What the search found: the best trial, how fast it was found, and what it depends on."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from srsgd_ray.analysis.rows import (
    arms,
    design,
    finite,
    number_column,
    numbers,
    restarting,
    rows,
    search_goal,
    searched_knobs,
)
from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of

__all__ = ["best_so_far", "best_trial", "expected_best", "main_knobs", "sensitivity"]


def best_trial(
    trials: pd.DataFrame, arm: str, metric: str | None = None, mode: str | None = None
) -> pd.Series[Any]:
    """The row of an arm's best complete search trial.

    Args:
        trials: the trials of one study.
        arm: name of the arm.
        metric: column that is judged; None: the study's.
        mode: min or max; None: the study's.

    Ties are broken by the study's tie-breaking metric, then by the lower number.

    Raises:
        UnknownNameError: for an unknown arm, metric or mode.
        ValueError: if the metric holds no numbers, or no complete trial has one.
    """
    metric, mode = metric or search_goal(trials)[0], mode or search_goal(trials)[1]
    number_column(trials, metric)
    one_of("mode", mode, ("min", "max"))
    own = rows(trials, "search", arm)
    value = numbers(own, metric)
    candidates = own[(own["state"] == "complete") & finite(value)]
    if candidates.empty:
        states = own["state"].value_counts()
        seen = ", ".join(f"{count} {state}" for state, count in states.items()) or "none begun"
        raise ValueError(
            f"arm {arm!r} needs a complete search trial with a {metric}, but has none ({seen}). "
            f"Give it more trials, or a narrower search space."
        )
    first = _best_first(own, value if mode == "min" else -value, candidates.index)[:1]
    return next(row for _, row in own.loc[first].iterrows())


def _best_first(
    table: pd.DataFrame, value: pd.Series[float], candidates: pd.Index[Any]
) -> pd.Index[Any]:
    """Index of the candidates by value, then by the tie-breaking metric, then by number."""
    keys = {"value": value}
    tie = str(design(table, "tie_break") or ("val_loss" if "val_loss" in table else ""))
    if tie in table:
        higher = schema_of(table)[tie].better == "higher"
        keys["tie"] = -numbers(table, tie) if higher else numbers(table, tie)
    keys["number"] = table["number"]
    return pd.DataFrame(keys).loc[candidates].sort_values(list(keys)).index


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
    search = rows(trials, "search")
    search = search[search["state"] != "running"]
    tables = []
    for arm in arms(search):
        own = search[search["arm"] == arm]
        own = own.assign(ended=numbers(own, "ended")).sort_values(["ended", "number"])
        value = numbers(own, metric)
        value = value.where((own["state"] == "complete") & finite(value))
        tables.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "trial": own["trial"],
                    "state": own["state"],
                    "trials": np.arange(1, len(own) + 1),
                    "epochs": own["epochs_done"].fillna(0).astype("int64").cumsum(),
                    metric: value,
                    best: (value.cummin() if mode == "min" else value.cummax()).ffill(),
                }
            )
        )
    names = ["arm", "trial", "state", "trials", "epochs", metric, best]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=names)


def expected_best(trials: pd.DataFrame, arm: str, level: float = 0.95) -> pd.DataFrame:
    """Expected best value of the search metric if only k of an arm's n trials had been made.

    Every set of k trials is taken as equally likely, which suits a random search; of a search
    that learns from its trials it tells only what its trials are worth in another order. With
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
    metric, mode = search_goal(trials)
    sign = 1 if mode == "min" else -1
    worst = float(best_trial(trials, arm, mode="max" if mode == "min" else "min")[metric])
    own = rows(trials, "search", arm)
    own = own[own["state"] != "running"]
    value = numbers(own, metric)
    value = value.where((own["state"] == "complete") & finite(value), worst)
    ordered = np.sort(sign * value.to_numpy())
    n = len(ordered)
    table = []
    for k in range(1, n + 1):
        chance = np.array([math.comb(n - i, k - 1) / math.comb(n, k) for i in range(1, n + 1)])
        below = np.cumsum(chance)
        low, high = (
            ordered[min(n - 1, int(np.searchsorted(below, quantile - 1e-12)))]
            for quantile in ((1 - level) / 2, (1 + level) / 2)
        )
        ends = sorted((sign * low, sign * high))
        table.append(
            {"trials": k, "expected": sign * (chance @ ordered), "low": ends[0], "high": ends[1]}
        )
    return pd.DataFrame(table)


def main_knobs(trials: pd.DataFrame) -> tuple[str, ...]:
    """At most two searched knobs that hold numbers, to draw a search against.

    The restart frequency and the learning rate come first where they were searched; otherwise
    those that go best with the ranks of the metric.
    """
    known = schema_of(trials)
    kinds = {n: str(known[n].type) for n in searched_knobs(trials)}
    found = [n for n, kind in kinds.items() if kind in ("double", "int64")]
    if {"restart_f1", "lr"} <= set(known):
        return "restart_f1", "lr"
    search = trials[(trials["phase"] == "search") & (trials["state"] == "complete")]
    value = numbers(search, search_goal(trials)[0]).rank()

    def strength(name: str) -> float:
        ranks = numbers(search, name).rank()
        tie = ranks.nunique() < 2 or value.nunique() < 2
        return 0.0 if tie else -abs(float(ranks.corr(value)))

    return tuple(sorted(found, key=strength)[:2])


def sensitivity(
    trials: pd.DataFrame,
    x: str | None = None,
    y: str | None = None,
    value: str | None = None,
    *,
    which: Literal["restarts", "no restarts", "all"] = "restarts",
    bins: int | None = None,
) -> pd.DataFrame:
    """How a result of the search depends on two knobs.

    Args:
        trials: the trials of one study.
        x: column of the first knob; None: the first of :func:`main_knobs`.
        y: column of the second knob; None: the other.
        value: column of the result; None: what the search judges by.
        which: the arms that have restarts, those that have none, or all.
        bins: put the trials into so many bins a knob (of equal ratio if the knob is positive, as
            suits a learning rate), for a heat map.

    Returns:
        Without bins, one row for each search trial that has ended: ``arm``, ``trial``, ``state``,
        the three columns, and ``best`` (the best value of its arm, ties broken as in
        :func:`best_trial`). The value is NaN unless the trial is complete, since one that was
        stopped early cannot be compared with it. With bins,
        one row for each bin that holds a trial: ``arm``, ``X_low``, ``X_high``, ``Y_low``,
        ``Y_high`` (X and Y being the names of the knobs), ``trials``, ``complete``, ``diverged``,
        and the mean value under its own name.

    Raises:
        UnknownNameError: for an unknown column or ``which``.
        ValueError: if a column holds no numbers, two are the same, or ``bins`` is below 1.
    """
    chosen = main_knobs(trials) if x is None or y is None else ()
    if x is None or y is None:
        if len(chosen) < 2:
            raise ValueError(
                f"a map takes two searched knobs that hold numbers, but there are {len(chosen)}. "
                f"Name x and y."
            )
        x, y = x or chosen[0], y or chosen[1]
    metric, mode = search_goal(trials)
    value = value or metric
    for name in (x, y, value):
        number_column(trials, name)
    one_of("which", which, ("restarts", "no restarts", "all"))
    if len({x, y, value}) < 3:
        raise ValueError(f"x, y and value must differ, but got {x!r}, {y!r} and {value!r}.")
    if bins is not None and bins < 1:
        raise ValueError(f"bins >= 1 must hold, but got bins={bins}.")
    search = rows(trials, "search")
    with_restarts = search["arm"].isin(restarting(trials))
    wanted = {
        "restarts": with_restarts,
        "no restarts": ~with_restarts,
        "all": with_restarts | True,
    }[which]
    search = search[wanted & (search["state"] != "running")]
    table = search[["arm", "trial", "state"]].assign(
        **{name: numbers(search, name) for name in (x, y, value)}
    )
    table[value] = table[value].where((table["state"] == "complete") & finite(table[value]))
    ranked_by = table[value] if value != metric or mode == "min" else -table[value]
    ranked = table.loc[_best_first(search, ranked_by, table.index[table[value].notna()])]
    table["best"] = table.index.isin(ranked.drop_duplicates("arm").index)
    table = table.reset_index(drop=True)
    return table if bins is None else _binned(table, x, y, value, bins)


def _binned(table: pd.DataFrame, x: str, y: str, value: str, bins: int) -> pd.DataFrame:
    cells = table[["arm"]].assign(
        trials=1,
        complete=(table["state"] == "complete").astype("int64"),
        diverged=(table["state"] == "diverged").astype("int64"),
    )
    for knob in (x, y):
        edges = _edges(table[knob].to_numpy(), bins)
        index = np.clip(np.searchsorted(edges, table[knob], side="right") - 1, 0, bins - 1)
        cells[f"{knob}_low"], cells[f"{knob}_high"] = edges[index], edges[index + 1]
    cells[value] = table[value]
    keys = ["arm", f"{x}_low", f"{x}_high", f"{y}_low", f"{y}_high"]
    grouped = cells.groupby(keys, sort=True, as_index=False)
    return grouped.agg(
        **{
            "trials": ("trials", "sum"),
            "complete": ("complete", "sum"),
            "diverged": ("diverged", "sum"),
            value: (value, "mean"),
        }
    )


def _edges(values: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.float64]:
    if not len(values):
        return np.linspace(0.0, 1.0, bins + 1)
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = (low / 2, high * 2) if low > 0 else (low - 1, high + 1)
    if low > 0:
        edges = np.geomspace(low, high, bins + 1)
        # geomspace may miss its own ends by a rounding error, which would lose the extreme trials.
        edges[0], edges[-1] = low, high
        return edges
    return np.linspace(low, high, bins + 1)


def check_level(level: float) -> None:
    """Raise ValueError unless ``level`` can be the level of an interval."""
    if not 0 < level < 1:
        raise ValueError(f"0 < level < 1 must hold, but got level={level}. Use 0.95 for 95 %.")
