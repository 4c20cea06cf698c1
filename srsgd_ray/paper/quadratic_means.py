"""The quadratic's published end: the mean gap over the last 1,000 of 50,000 iterations."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["QuadraticMean", "quadratic_means"]


@dataclass(frozen=True)
class QuadraticMean:
    """Mean gap |f - f*| of one curve of Figure 2 over iterations 49,000 to 49,999.

    Attributes:
        case: gradient noise: exact, constant or decaying.
        method: GD, GD + Momentum, NAG, ARNAG or SRNAG.
        published: of the published file.
        reruns: of the published scripts, run again with seeds 0, 1 and 2; () where exact.
    """

    case: str
    method: str
    published: float
    reruns: tuple[float, ...]


@cache
def quadratic_means() -> tuple[QuadraticMean, ...]:
    """All 15 curves."""
    path = files("srsgd_ray.paper") / "data" / "quadratic_means.csv"
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return tuple(
        QuadraticMean(
            row["case"],
            row["method"],
            float(row["published"]),
            tuple(float(row[f"rerun_seed{seed}"]) for seed in range(3) if row[f"rerun_seed{seed}"]),
        )
        for row in rows
    )
