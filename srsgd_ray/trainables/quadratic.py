"""The paper's quadratic as a trainable: a trial is one curve, and its report one row.

It needs no worker group, no torch and no data (``place="actor"``).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

from srsgd_ray.trainable import Metric, Run, Trainable
from srsgd_ray.trainables.quadratic_expected import expected_gaps
from srsgd_ray.trainables.quadratic_problem import Floats, QuadraticConfig
from srsgd_ray.trainables.quadratic_run import TARGET, kept_steps, measure, run

TRIED = 400  # iterations that a plan times


class Quadratic(Trainable):
    """Five methods on one convex function, with three kinds of gradient."""

    name = "quadratic"
    path = "quadratic"
    Config = QuadraticConfig
    budget = None
    place = "actor"
    search_metric = "objective"
    confirm_metric = "mean_gap_last_1000"
    metrics = (
        Metric("objective", "what a search lowers; see docs/quadratic.md", better="lower",
               split="train"),
        Metric("mean_gap_last_1000", "mean of |f - f*| over the last 1,000 iterations",
               better="lower", split="train"),
        Metric("final_gap", "|f - f*| at the last iteration", better="lower", split="train"),
        Metric("min_gap", "lowest |f - f*|", better="lower", split="train"),
        Metric("first_below", "first 0-based iteration with a gap below 1e-10; empty: none",
               "steps", kind=int),
        Metric("stays_below", "0-based iteration from which it stays there; empty: none",
               "steps", kind=int),
    )  # fmt: skip

    def confirmed(self, config: QuadraticConfig, seed: int, on: str) -> QuadraticConfig:
        """With noise that is drawn."""
        same: QuadraticConfig = super().confirmed(config, seed, on)
        return dataclasses.replace(same, expected=False)

    def smoke(self, config: QuadraticConfig) -> dict[str, Any]:
        """2,000 iterations: the shortest in which every phase has room."""
        return {"iterations": 2000}

    def seconds(self, config: QuadraticConfig, workers: int, threads: int) -> float:
        """A few iterations, and arithmetic."""
        f1 = config.phases()[0][0] if config.method == "SRNAG" else 0
        short = dataclasses.replace(config, iterations=TRIED, f1=f1, f2=0, f3=0, last=0)
        began = time.perf_counter()
        _gaps(short, 0)
        return (time.perf_counter() - began) * config.iterations / TRIED

    def train(self, config: QuadraticConfig, run: Run) -> Mapping[str, Any] | None:
        """One curve."""
        gaps = _gaps(config, run.seed)
        row = measure(gaps)
        if config.keep_curve and not config.expected:
            kept = kept_steps(config.iterations)
            run.artifact("curves", step=kept, value=gaps[kept].tolist())
        run.report(objective=objective(config.case, row, config.iterations), **row)
        return None


def _gaps(config: QuadraticConfig, seed: int) -> Floats:
    if config.expected and config.case != "exact":
        return expected_gaps(config)
    gaps: Floats = run([config], [seed])[0, 0]
    return gaps


def objective(case: str, row: Mapping[str, Any], iterations: int) -> float:
    """What a search lowers.

    With noise: the mean gap over the last 1,000 iterations. Exact: the iteration from which on the
    gap stays below 1e-10; where it does not get there, a number above all iterations that grows
    with the gap.
    """
    gap = float(row["mean_gap_last_1000"])
    if case != "exact":
        return gap
    if row["stays_below"] is not None:
        return float(row["stays_below"])
    return iterations * (1 + max(0.0, math.log10(gap / TARGET)))


QUADRATIC = Quadratic()
