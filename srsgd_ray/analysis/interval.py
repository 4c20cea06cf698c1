"""A mean with its t interval: how values over seeds become an estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


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


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean, standard deviation, and ``mean -+ t std / sqrt(n)`` with n - 1 degrees of freedom.

    Values that agree to within rounding have ``std = 0``, and an interval of no width.

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
    if std <= 1e-9 * max(1.0, *map(abs, values)):
        return Estimate(n, mean, 0.0, mean, mean)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * std / math.sqrt(n)
    return Estimate(n, mean, std, mean - half, mean + half)


def check_level(level: float) -> None:
    """Raise ValueError unless ``level`` can be the level of an interval."""
    if not 0 < level < 1:
        raise ValueError(f"0 < level < 1 must hold, but got level={level}. Use 0.95 for 95 %.")
