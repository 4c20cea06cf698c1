"""Whether our runs of Figure 2 agree with what was published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from srsgd_ray.paper.published import curves, quadratic_means
from srsgd_ray.results import read_table, read_trials
from srsgd_ray.table import table
from srsgd_ray.trainables.quadratic_problem import ITERATIONS, METHODS

# Largest difference of an exact curve. ARNAG restarts where f has not fallen, which at the end is
# decided by rounding.
EXACT_BARS = {method: 2e-12 if method == "ARNAG" else 2e-14 for method in METHODS}
# A published curve is one run. By this factor it may lie beyond our lowest and highest seed.
NOISY_FACTORS = {"GD": 1.11, "GD + Momentum": 2.0, "NAG": 2.0, "ARNAG": 1.11, "SRNAG": 1.11}
LEAST_SEEDS = 5


@dataclass(frozen=True)
class Agreement:
    """Mean gaps over the last 1,000 iterations: a published curve's, and our runs', one a seed.

    ``agrees`` is None if the two cannot be compared; ``why`` is the rule and how it came out.
    """

    case: str
    method: str
    published: float
    ours: tuple[float, ...]
    agrees: bool | None
    why: str


def show_agreement(folder: Path) -> None:
    """Print how the study of Figure 2 agrees with the published curves."""
    print("\nMean gap |f - f*| over the last 1,000 iterations (published: of 50,000):")
    print(agreement_table(agreements(read_trials(folder), read_table(folder, "curves"))))


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
        agrees: bool | None = None
        if known.case == "exact":
            distance, bar = _distance(known.method, points), EXACT_BARS[known.method]
            agrees = distance <= bar
            why = f"its curve differs by {distance:.2g} at most (allowed {bar:g})"
        elif set(mine["iterations"]) != {ITERATIONS}:
            why = f"not compared: the published run has {ITERATIONS:,} iterations"
        elif len(ours) < LEAST_SEEDS:
            why = f"not compared: it takes {LEAST_SEEDS} seeds"
        else:
            factor = NOISY_FACTORS[known.method]
            low, high = min(ours) / factor, max(ours) * factor
            agrees = all(low <= value <= high for value in (known.published, *known.reruns))
            why = f"{low:.4g} to {high:.4g} allowed"
        found.append(Agreement(known.case, known.method, known.published, ours, agrees, why))
    return found


def _distance(method: str, points: pd.DataFrame) -> float:
    """Largest difference of our exact curve from the published one, at the steps of both."""
    theirs = curves("Figure 2 left")
    theirs = theirs[theirs["series"] == method]
    ours = points[(points["case"] == "exact") & (points["method"] == method)]
    both = ours.merge(theirs, on="step", suffixes=("", "_published"))
    return float((both["value"] - both["value_published"]).abs().max())


def agreement_table(found: Sequence[Agreement]) -> str:
    """The comparison as plain text, a line a curve."""
    words = {True: "yes", False: "NO", None: "-"}
    rows = []
    for one in found:
        n = len(one.ours)
        spread = f" ± {np.std(one.ours, ddof=1):.2g}" if n > 1 else ""
        rows.append(
            {
                "case": one.case,
                "method": one.method,
                "published": f"{one.published:.4g}",
                "ours: mean ± std (n)": f"{math.fsum(one.ours) / n:.4g}{spread} ({n})",
                "agrees": f"{words[one.agrees]}: {one.why}",
            }
        )
    return table(pd.DataFrame(rows), align="llrl")
