"""What is measured on a curve of the quadratic, and whether it agrees with what was published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from srsgd_ray.paper import curves, quadratic_means
from srsgd_ray.trainables.quadratic_settings import CASES, ITERATIONS, METHODS

__all__ = [
    "Agreement",
    "agreement_table",
    "agreements",
]


@dataclass(frozen=True)
class Agreement:
    """One published curve against our runs of it.

    Attributes:
        case, method: which curve.
        published: its mean gap over the last 1,000 iterations.
        reruns: of the published scripts, run again with seeds of their own.
        ours: of our runs, one a seed.
        distance: exact case only: the largest difference from the published curve at any of its
            listed steps that we have.
        agrees: None if the two cannot be compared.
        why: the rule and how it came out.
    """

    case: str
    method: str
    published: float
    reruns: tuple[float, ...]
    ours: tuple[float, ...]
    distance: float | None
    agrees: bool | None
    why: str


# Largest difference of an exact curve. ARNAG restarts where f has not fallen, which at the end is
# decided by rounding.
EXACT_BARS = {method: 2e-12 if method == "ARNAG" else 2e-14 for method in METHODS}
# A published curve is one run. By this factor it may lie beyond our lowest and highest seed.
NOISY_FACTORS = {
    "GD": 1.11,
    "GD + Momentum": 2.0,
    "NAG": 2.0,
    "ARNAG": 1.11,
    "SRNAG": 1.11,
}
LEAST_SEEDS = 5
FIGURES = dict(zip(CASES, ("Figure 2 left", "Figure 2 middle", "Figure 2 right"), strict=True))


def agreements(runs: pd.DataFrame, points: pd.DataFrame) -> list[Agreement]:
    """Compare the runs and their curves with what was published, curve by curve.

    Exact: the largest difference is within ``EXACT_BARS``. With noise: each of the published value
    and the reruns lies between our lowest and our highest seed, widened by ``NOISY_FACTORS``; it
    takes 5 seeds of 50,000 iterations.
    """
    found = []
    for known in quadratic_means():
        mine = runs[(runs["case"] == known.case) & (runs["method"] == known.method)]
        if not len(mine):
            continue
        ours = tuple(float(v) for v in mine["mean_gap_last_1000"])
        distance = None
        if known.case == "exact":
            distance = _distance(known.method, points)
            bar = EXACT_BARS[known.method]
            agrees, why = (
                distance <= bar,
                f"its curve differs by {distance:.2g} at most (allowed {bar:g})",
            )
        elif set(mine["iterations"]) != {ITERATIONS}:
            agrees, why = None, f"not compared: the published run has {ITERATIONS:,} iterations"
        elif len(ours) < LEAST_SEEDS:
            agrees, why = None, f"not compared: it takes {LEAST_SEEDS} seeds"
        else:
            factor = NOISY_FACTORS[known.method]
            low, high = min(ours) / factor, max(ours) * factor
            others = (known.published, *known.reruns)
            agrees = all(low <= value <= high for value in others)
            why = f"{low:.4g} to {high:.4g} allowed"
        found.append(
            Agreement(
                known.case, known.method, known.published, known.reruns, ours, distance, agrees, why
            )
        )
    return found


def _distance(method: str, points: pd.DataFrame) -> float:
    """Largest difference of our exact curve from the published one."""
    theirs = curves(FIGURES["exact"])
    theirs = theirs[theirs["series"] == method]
    published = dict(zip(theirs["step"], theirs["value"], strict=True))
    ours = points[(points["case"] == "exact") & (points["method"] == method)]
    return max(
        abs(float(value) - float(published[step]))
        for step, value in zip(ours["step"], ours["value"], strict=True)
        if step in published
    )


def agreement_table(found: Sequence[Agreement]) -> str:
    """The comparison as plain text, a line a curve."""
    lines = [
        f"{'case':9} {'method':14} {'published':>10}  {'ours: mean ± std (n)':28} agrees",
    ]
    words = {True: "yes", False: "NO", None: "-"}
    for one in found:
        n = len(one.ours)
        mean = math.fsum(one.ours) / n
        spread = f" ± {np.std(one.ours, ddof=1):.2g}" if n > 1 else ""
        lines.append(
            f"{one.case:9} {one.method:14} {one.published:10.4g}  "
            f"{f'{mean:.4g}{spread} ({n})':28} {words[one.agrees]}: {one.why}"
        )
    return "\n".join(lines)
