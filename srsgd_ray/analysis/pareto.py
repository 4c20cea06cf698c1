"""Error against epochs: the Pareto front of a search, and the epochs that an arm saves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri, stdtrit

from srsgd_ray.analysis.interval import check_level, estimate
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    better_of,
    confirm_metric,
    goal_of,
    length_column,
    numbers,
    outcomes,
    rows,
)
from srsgd_ray.analysis.words import in_words
from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of

RESAMPLES = 4000
Numbers = npt.NDArray[np.float64]


def pareto_front(
    trials: pd.DataFrame,
    arm: str,
    metric: str | None = None,
    mode: str | None = None,
    second: str | None = None,
) -> pd.DataFrame:
    """The search trials of an arm that none beats in both of two aims.

    Of trials that agree in both, the first counts.

    Args:
        metric: the first aim; None: what the search judges by.
        mode: min or max; None: the study's.
        second: the second aim; None: few epochs.

    Returns:
        One row a trial, from the best by the second aim on: ``trial``, the second aim (``epochs``)
        and the metric.

    Raises:
        UnknownNameError: for an unknown arm, metric or mode.
        ValueError: if a metric holds no numbers, or the second has no direction.
    """
    metric, sign = goal_of(trials, metric, mode)
    other = second or length_column(trials)
    down = second is None or better_of(trials, second) == "lower"
    own = rows(trials, "search", arm)
    cost = numbers(own, other) * (1 if down else -1)
    own = own.assign(_value=sign * outcomes(own, metric), _cost=cost).dropna(
        subset=["_value", "_cost"]
    )
    own = own.sort_values(["_cost", "_value", "number"], kind="stable")
    front = own[own["_value"] < own["_value"].cummin().shift(fill_value=math.inf)]
    return front[["trial", other, metric]].reset_index(drop=True)


def spread_points(front: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most ``count`` rows of a front, spread evenly from its first to its last."""
    if len(front) <= count:
        return front
    at = np.linspace(len(front) - 1, 0, count).round().astype(int)[::-1]
    return front.iloc[at].reset_index(drop=True)


def error_by_epochs(
    trials: pd.DataFrame, metric: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """The confirmation runs by arm and epochs.

    Returns:
        One row for each arm and number of epochs: ``arm``, ``epochs``, ``n`` (complete runs),
        ``mean``, ``std``, ``low`` and ``high`` (t interval), in the unit of the metric.
    """
    runs = _runs(trials, metric or confirm_metric(trials))
    table = [
        {"arm": arm, "epochs": epochs, **asdict(estimate(own["value"].tolist(), level))}
        for arm in arms(trials)
        for epochs, own in runs[runs["arm"] == arm].groupby("length")
    ]
    return pd.DataFrame(table, columns=["arm", "epochs", "n", "mean", "std", "low", "high"])


def _runs(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The complete confirmation runs, with ``value`` and ``length``."""
    schema_of(trials).number(metric)
    own = rows(trials, "confirm")
    own = own.assign(value=outcomes(own, metric), length=own[length_column(trials)])
    return own.dropna(subset="value")


@dataclass(frozen=True)
class EpochsSaved:
    """Epochs that an arm saves at the error of the baseline's longest training.

    Attributes:
        target: mean error of the baseline at ``full`` epochs, its longest confirmed training.
        saved: ``full`` minus the epochs at which the arm's best error so far, interpolated between
            its confirmed points, meets the target; ``-inf`` if it never does.
        low, high: percentile interval of ``saved`` over resampled seeds, at ``level``.
        reached: share of the resamples in which the arm meets the target.
        at_most: whether the arm's shortest training already meets the target: ``saved`` is then a
            lower bound.
        n: seeds that both arms have in every point.
    """

    arm: str
    baseline: str
    target: float
    full: int
    saved: float
    low: float
    high: float
    reached: float
    at_most: bool
    n: int
    level: float
    metric: str = "test_error"
    unit: str = "%"

    @property
    def verdict(self) -> str:
        """What it says, in a sentence."""
        if self.n == 0:
            return f"No seed is complete in all points of {self.arm} and {self.baseline}."
        name, rival = arm_label(self.arm), arm_label(self.baseline)
        what = "error" if self.metric.endswith("_error") else in_words(self.metric)
        unit = f" {self.unit}" if self.unit else ""
        head = f"At the {what} of {rival} after {self.full} epochs ({self.target:.2f}{unit}), "
        if math.isinf(self.saved):
            body = f"{name} saves none: it does not get there"
        else:
            sign = "saves" if self.saved >= 0 else "needs more:"
            least = "at least " if self.at_most else ""
            body = f"{name} {sign} {least}{abs(self.saved):.1f} epochs"
        low, high = ("none" if math.isinf(v) else f"{v:.1f}" for v in (self.low, self.high))
        undecided = "Not enough seeds to tell: a" if self.low <= 0 <= self.high else "A"
        return (
            f"{undecided}{head[1:]}{body} ({100 * self.level:g} % interval {low} to {high} saved, "
            f"{self.n} seeds resampled; reached in {100 * self.reached:.0f} % of resamples)."
        )


def epochs_saved(
    trials: pd.DataFrame,
    arm: str,
    baseline: str,
    metric: str | None = None,
    level: float = 0.95,
) -> EpochsSaved:
    """How many epochs ``arm`` saves at the error that ``baseline`` has after its longest training.

    The seeds that every confirmed point of both arms has are resampled together, with replacement
    and a fixed generator, so that pairs stay pairs. Deviations of the resampled means are stretched
    by sqrt(n/(n-1)) t/z: otherwise the interval would be too narrow with few seeds.

    Raises:
        UnknownNameError: for an unknown arm or metric.
        ValueError: if the metric holds no numbers, or an arm has no confirmation run.
    """
    check_level(level)
    one_of("arm", arm, arms(trials))
    one_of("baseline", baseline, arms(trials))
    metric = metric or confirm_metric(trials)
    unit = schema_of(trials).number(metric).unit
    sign = 1.0 if better_of(trials, metric) == "lower" else -1.0
    runs = _runs(trials, metric)
    runs = runs.assign(value=sign * runs["value"])
    grids = {}
    for name in (arm, baseline):
        grid = runs[runs["arm"] == name].pivot_table(index="length", columns="seed", values="value")
        if grid.empty:
            raise ValueError(f"arm {name!r} needs complete confirmation runs, but has none.")
        grids[name] = grid
    both = [seed for seed in grids[arm].dropna(axis=1) if seed in grids[baseline].dropna(axis=1)]
    full, n = int(grids[baseline].index.max()), len(both)
    if n == 0:
        nan = math.nan
        none = (nan, full, nan, nan, nan, nan, False, 0, level, metric, unit)
        return EpochsSaved(arm, baseline, *none)
    ours = grids[arm][both].to_numpy()
    theirs = grids[baseline][both].loc[full].to_numpy()
    points = grids[arm].index.to_numpy(dtype=float)
    middle, target = ours.mean(1), float(theirs.mean())
    at = _meets(points, middle, target)
    # Resampled means of few seeds vary less than means of new seeds would: stretched to the t law.
    tail = (1 - level) / 2
    wide = math.sqrt(n / max(1, n - 1)) * float(stdtrit(max(1, n - 1), 1 - tail) / ndtri(1 - tail))

    def saved(draw: npt.NDArray[np.int64]) -> float:
        means = middle + wide * (ours[:, draw].mean(1) - middle)
        return full - _meets(points, means, target + wide * (float(theirs[draw].mean()) - target))

    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    resampled = np.array([saved(draw) for draw in draws])
    low, high = np.quantile(resampled, [tail, 1 - tail], method="inverted_cdf")
    return EpochsSaved(
        arm=arm,
        baseline=baseline,
        target=sign * target,
        full=full,
        saved=full - at,
        low=float(low),
        high=float(high),
        reached=float(np.isfinite(resampled).mean()),
        at_most=at == points[0],
        n=n,
        level=level,
        metric=metric,
        unit=unit,
    )


def _meets(points: Numbers, errors: Numbers, target: float) -> float:
    """Epochs at which the lowest error so far, linear between the points, reaches the target."""
    best = np.minimum.accumulate(errors)
    there = np.flatnonzero(best <= target)
    if not len(there):
        return math.inf
    k = int(there[0])
    if k == 0:
        return float(points[0])
    part = (best[k - 1] - target) / (best[k - 1] - best[k])
    return float(points[k - 1] + part * (points[k] - points[k - 1]))


def epochs_saved_verdicts(
    trials: pd.DataFrame, rivals: Mapping[str, str], metric: str | None = None
) -> list[str]:
    """The verdict of :func:`epochs_saved` for each arm and its rival that both have runs."""
    there = set(_runs(trials, metric or confirm_metric(trials))["arm"])
    return [
        epochs_saved(trials, arm, rival, metric).verdict
        for arm, rival in rivals.items()
        if {arm, rival} <= there
    ]
