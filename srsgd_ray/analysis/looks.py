"""Verdicts that stay valid while runs are added until there is one, and about how many it takes.

All looks share the error ``1 - level``: the first has 80 % of it, and look k after it
``20 % / (k (k + 1))``, which sums to all of it however many looks there are. By Bonferroni's
inequality the chance of a false verdict at any look is then ``1 - level`` at most, whatever the
looks have in common (alpha spending with shares fixed beforehand: Slud and Wei, J. American
Statistical Association 77, 1982; Lan and DeMets, Biometrika 70, 1983). docs/verdicts.md compares
it with the confidence sequence of Wang and Ramdas (2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import chdtri, ndtri

from srsgd_ray.analysis.interval import Estimate

FIRST = 0.8
POWER = 0.8


def look_share(look: int) -> float:
    """The share of the error that a look may spend; 0 is the first look."""
    return FIRST if look == 0 else (1 - FIRST) / (look * (look + 1))


def look_level(level: float, look: int) -> float:
    """The level of one look, if all looks together have ``level``: 0.96 at the first of 0.95."""
    return 1 - (1 - level) * look_share(look)


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for their number (Holm, Scandinavian J. of Statistics 6, 1979).

    To call all differences with an adjusted p of at most 0.05 real is wrong about any of them in
    at most 5 % of studies.
    """
    order = sorted(range(len(p)), key=p.__getitem__)
    found, most = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(p) - rank) * p[place]))
        found[place] = most
    return found


def number_needed(found: Estimate, level: float, spread_level: float) -> tuple[int, int] | None:
    """From how many to how many values it takes to resolve a mean as large as the one found.

    For a power of 80 % at ``level``, by Guenther's formula for the t test (American Statistician
    35, 1981), ``((z_a + z_b) std / mean)^2 + z_a^2 / 2``, with the two ends of the chi-square
    interval of the standard deviation at ``spread_level``. The mean is taken as found: if the
    true one is smaller, it takes more.

    Returns:
        None if it cannot be foreseen: fewer than two values, no spread, or a mean of 0.
    """
    if found.n < 2 or found.std == 0 or abs(found.mean) < 1e-3 * found.std:
        return None
    z_level, z_power = (float(ndtri(p)) for p in ((1 + level) / 2, POWER))
    ends = []
    for tail in ((1 - spread_level) / 2, (1 + spread_level) / 2):  # of the upper chi-square tail
        variance = (found.n - 1) * found.std**2 / float(chdtri(found.n - 1, tail))
        needed = (z_level + z_power) ** 2 * variance / found.mean**2 + z_level**2 / 2
        ends.append(max(found.n + 1, math.ceil(needed)))
    return ends[0], ends[1]
