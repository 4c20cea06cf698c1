"""Means and shares with their intervals: how values over seeds become an estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, expit, logit, stdtr, stdtrit

ROUNDING = 1e-12  # of numbers by which they may differ and still be the same


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` values with their sample standard deviation (ddof 1) and a t interval.

    ``std``, ``low`` and ``high`` are NaN for n < 2, and ``mean`` for n = 0.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """How many of ``n`` runs, with an interval of the chance behind it; NaN for n = 0."""

    count: int
    n: int
    low: float
    high: float


def estimate(
    values: Sequence[float],
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    scale: float = 0.0,
) -> Estimate:
    """Mean, standard deviation, and ``mean -+ t std / sqrt(n)`` with n - 1 degrees of freedom.

    Values that agree to within rounding have ``std = 0``, and an interval of no width.

    Args:
        bounds: the least and the greatest possible value. The interval is then made on the logit
            scale, by the delta method, and taken back, so that it stays between them (Korn and
            Graubard, Analysis of Health Surveys, 1999). They are ignored if a value is outside.
        scale: of differences, the largest of the numbers that they are of: these are rounded.

    Raises:
        ValueError: if ``level`` is not between 0 and 1.
    """
    check_level(level)
    n = len(values)
    if n == 0:
        return Estimate(0, math.nan, math.nan, math.nan, math.nan)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(1, mean, math.nan, math.nan, math.nan)
    std = float(np.std(values, ddof=1))
    rounding = ROUNDING * max(scale, *map(abs, values))
    if std <= rounding:
        mean = mean if abs(mean) > rounding else 0.0
        return Estimate(n, mean, 0.0, mean, mean)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * std / math.sqrt(n)
    if bounds and bounds[0] <= min(values) and max(values) <= bounds[1]:
        least, width = bounds[0], bounds[1] - bounds[0]
        share = (mean - least) / width
        step = half / width / (share * (1 - share))
        low, high = (least + width * float(expit(logit(share) + s)) for s in (-step, step))
        return Estimate(n, mean, std, low, high)
    return Estimate(n, mean, std, mean - half, mean + half)


def p_value(found: Estimate) -> float:
    """Two-sided p of the t test that the true mean is 0; 1 where there is no test."""
    if found.n < 2 or not found.std > 0:
        return 1.0
    return 2 * float(stdtr(found.n - 1, -abs(found.mean) / found.std * math.sqrt(found.n)))


def share(counts: Sequence[int], sizes: Sequence[int], level: float = 0.95) -> Share:
    """A share of runs with its Clopper-Pearson interval (Biometrika 26, 1934).

    Args:
        counts, sizes: of each group of runs that have their luck in common. With several groups
            the interval is for the number of independent runs that would be as uncertain (Korn
            and Graubard, Survey Methodology 24, 1998), at most that of all runs.

    Raises:
        ValueError: if ``level`` is not between 0 and 1.
    """
    check_level(level)
    count, n = sum(counts), sum(sizes)
    if n == 0:
        return Share(0, 0, math.nan, math.nan)
    part, worth, tail = count / n, float(n), (1 - level) / 2
    # The variance of a ratio over groups (Cochran, Sampling Techniques, 1977).
    groups = len(sizes)
    residuals = [c - part * size for c, size in zip(counts, sizes, strict=True)]
    variance = math.fsum(r * r for r in residuals) * groups / max(1, groups - 1) / n**2
    if variance > 0 and groups > 1:
        wider = float(stdtrit(max(1, n - 1), 1 - tail) / stdtrit(groups - 1, 1 - tail)) ** 2
        worth = min(worth, part * (1 - part) / variance * wider)
    hits, misses = part * worth, (1 - part) * worth
    low = 0.0 if count == 0 else float(betaincinv(hits, misses + 1, tail))
    high = 1.0 if count == n else float(betaincinv(hits + 1, misses, 1 - tail))
    return Share(count, n, low, high)


def check_level(level: float) -> None:
    """Raise ValueError unless ``level`` can be the level of an interval."""
    if not 0 < level < 1:
        raise ValueError(f"0 < level < 1 must hold, but got level={level}. Use 0.95 for 95 %.")
