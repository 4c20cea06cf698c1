"""What the search found: the best trial, how fast it was found, and what it depends on."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from srsgd_ray.analysis.rows import arms, finite, number_column, numbers, restarting, rows
from srsgd_ray.config import one_of

__all__ = ["best_so_far", "best_trial", "expected_best", "sensitivity"]


def best_trial(
    trials: pd.DataFrame, arm: str, metric: str = "val_error", mode: str = "min"
) -> pd.Series[Any]:
    """The row of an arm's best complete search trial.

    Ties are broken by the lower validation loss, then by the lower number.

    Raises:
        UnknownNameError: for an unknown arm, metric or mode.
        ValueError: if the metric holds no numbers, or no complete trial has one.
    """
    number_column(metric)
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
    """Index of the candidates by value, then by validation loss, then by number."""
    keys = {
        "value": value,
        "val_loss": numbers(table, "val_loss") if "val_loss" in table else value,
        "number": table["number"],
    }
    return pd.DataFrame(keys).loc[candidates].sort_values(list(keys)).index


def best_so_far(trials: pd.DataFrame) -> pd.DataFrame:
    """Best validation error of each arm against what the search had spent by then.

    Trials that ended otherwise than complete spend budget, but are never the best.

    Returns:
        One row for each search trial that has ended, arm by arm in the order of their ends:
        ``arm``, ``trial``, ``state``, ``trials`` (how many had ended, with this one), ``epochs``
        (spent by those together), ``val_error`` (%, of this trial; NaN unless complete) and
        ``best_val_error`` (%, so far; NaN before the first complete trial).
    """
    search = rows(trials, "search")
    search = search[search["state"] != "running"]
    tables = []
    for arm in arms(search):
        own = search[search["arm"] == arm]
        own = own.assign(ended=numbers(own, "ended")).sort_values(["ended", "number"])
        value = numbers(own, "val_error")
        value = value.where((own["state"] == "complete") & finite(value))
        tables.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "trial": own["trial"],
                    "state": own["state"],
                    "trials": np.arange(1, len(own) + 1),
                    "epochs": own["epochs_done"].fillna(0).astype("int64").cumsum(),
                    "val_error": value,
                    "best_val_error": value.cummin().ffill(),
                }
            )
        )
    names = ["arm", "trial", "state", "trials", "epochs", "val_error", "best_val_error"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=names)


def expected_best(trials: pd.DataFrame, arm: str, level: float = 0.95) -> pd.DataFrame:
    """Expected best validation error of an arm if only k of its n trials had been made.

    Every set of k trials is taken as equally likely, which suits a random search; of a search
    that learns from its trials it tells only what its trials are worth in another order. With
    the values in increasing order, the i-th is the best of k with probability
    ``C(n - i, k - 1) / C(n, k)``. A trial that is not complete counts as the worst complete one.

    Source: Dodge et al., Show Your Work (2019), there with replacement.

    Returns:
        One row for each k: ``trials`` (k), ``expected`` (%), and ``low`` and ``high`` (%), between
        which the best of k lies with probability ``level``: chance of the order, not of the seed.

    Raises:
        ValueError: if no trial is complete, or ``level`` is not between 0 and 1.
    """
    check_level(level)
    worst = float(best_trial(trials, arm, mode="max")["val_error"])
    own = rows(trials, "search", arm)
    own = own[own["state"] != "running"]
    value = numbers(own, "val_error")
    value = value.where((own["state"] == "complete") & finite(value), worst)
    ordered = np.sort(value.to_numpy())
    n = len(ordered)
    table = []
    for k in range(1, n + 1):
        chance = np.array([math.comb(n - i, k - 1) / math.comb(n, k) for i in range(1, n + 1)])
        below = np.cumsum(chance)
        low, high = (
            ordered[min(n - 1, int(np.searchsorted(below, quantile - 1e-12)))]
            for quantile in ((1 - level) / 2, (1 + level) / 2)
        )
        table.append({"trials": k, "expected": chance @ ordered, "low": low, "high": high})
    return pd.DataFrame(table)


def sensitivity(
    trials: pd.DataFrame,
    x: str = "restart_f1",
    y: str = "lr",
    value: str = "val_error",
    *,
    which: Literal["restarts", "no restarts", "all"] = "restarts",
    bins: int | None = None,
) -> pd.DataFrame:
    """How a result of the search depends on two knobs.

    Args:
        trials: the trials of one study.
        x: column of the first knob.
        y: column of the second knob.
        value: column of the result.
        which: the arms that have restarts, those that have none, or all.
        bins: put the trials into so many bins a knob (of equal ratio if the knob is positive, as
            suits a learning rate), for a heat map.

    Returns:
        Without bins, one row for each search trial that has ended: ``arm``, ``trial``, ``state``,
        the three columns, and ``best`` (the lowest value of its arm, ties broken as in
        :func:`best_trial`). The value is NaN unless the trial is complete, since one that was
        stopped early cannot be compared with it. With bins,
        one row for each bin that holds a trial: ``arm``, ``X_low``, ``X_high``, ``Y_low``,
        ``Y_high`` (X and Y being the names of the knobs), ``trials``, ``complete``, ``diverged``,
        and the mean value under its own name.

    Raises:
        UnknownNameError: for an unknown column or ``which``.
        ValueError: if a column holds no numbers, two are the same, or ``bins`` is below 1.
    """
    for name in (x, y, value):
        number_column(name)
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
    ranked = table.loc[_best_first(search, table[value], table.index[table[value].notna()])]
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
