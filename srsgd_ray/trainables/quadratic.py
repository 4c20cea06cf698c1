"""The paper's quadratic as a trainable: a trial is one curve, and its report one row.

It needs no worker group, no torch and no data (``place="actor"``).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srsgd_ray.knobs import knob, one_of
from srsgd_ray.trainable import Metric, Run, Trainable
from srsgd_ray.trainables.quadratic_expected import expected_gaps
from srsgd_ray.trainables.quadratic_run import TARGET, kept_steps, measure, run
from srsgd_ray.trainables.quadratic_settings import (
    CASES,
    ITERATIONS,
    METHODS,
    SCHEDULES,
    Setting,
    published_setting,
)

__all__ = ["QUADRATIC", "Quadratic", "QuadraticConfig", "objective"]

TRIED = 400  # iterations that a plan times


@dataclass(frozen=True)
class QuadraticConfig:
    """One curve but for its seed; see :class:`srsgd_ray.trainables.quadratic_settings.Setting`."""

    case: str = knob("exact", "noise of the gradient: " + ", ".join(CASES))
    method: str = knob("SRNAG", "method: " + ", ".join(METHODS))
    iterations: int = knob(ITERATIONS, "of the run", "steps", affects="cost outcome")
    schedule: str = knob("as_published", "SRNAG without f1: " + " or ".join(SCHEDULES))
    one_minus_m: float = knob(0.1, "GD + Momentum: 1 less its momentum")
    f1: int = knob(0, "SRNAG: F of the first phase; 0: the published schedule", "steps")
    f2: int = knob(0, "SRNAG: F of the second phase; 0: there is none", "steps")
    f3: int = knob(0, "SRNAG: F of the third phase; 0: there is none", "steps")
    t2: int = knob(0, "SRNAG: iteration t (from 1) at which the second phase begins")
    t3: int = knob(0, "SRNAG: iteration t at which the third phase begins, unless last says it")
    last: int = knob(
        0, "iterations at the end that are a phase of their own; 0: as t3 says", "steps"
    )
    expected: bool = knob(
        False, "average over the noise instead of drawing it", affects="cost outcome"
    )
    keep_curve: bool = knob(False, "keep steps 0 to 99, each 100th and the last", affects="")

    def setting(self) -> Setting:
        """What is run."""
        end = max(2, self.iterations - self.last)
        if self.method == "GD + Momentum":
            until = end if self.last else 0
            momentum = 1 - self.one_minus_m
            return Setting(
                self.case, self.method, self.iterations, momentum=momentum, momentum_until=until
            )
        if self.method != "SRNAG" or not self.f1:
            return published_setting(self.case, self.method, self.schedule, self.iterations)
        frequencies = tuple(f for f in (self.f1, self.f2, self.f3) if f)
        third = max(self.t2 + 1, self.iterations - self.last) if self.last else self.t3
        switches = (self.t2, third)[: len(frequencies) - 1]
        return Setting(
            self.case, self.method, self.iterations, frequencies=frequencies, switches=switches
        )

    def check(self) -> QuadraticConfig:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        one_of("schedule", self.schedule, SCHEDULES)
        if not 0 < self.one_minus_m <= 1:
            raise ValueError(
                f"0 < one_minus_m <= 1 must hold, but got one_minus_m={self.one_minus_m}. "
                f"The paper has 0.1."
            )
        for name in ("f1", "f2", "f3", "t2", "t3", "last"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"0 <= {name} must hold, but got {name}={getattr(self, name)}. 0 means none."
                )
        if self.expected and self.method == "ARNAG":
            raise ValueError(
                "expected=True needs a momentum that is known beforehand, which ARNAG has not. "
                "Use expected=False."
            )
        self.setting().check()
        return self


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
        short = dataclasses.replace(config.setting(), iterations=TRIED, switches=(), frozen_from=0)
        short = dataclasses.replace(short, frequencies=short.frequencies[:1], momentum_until=0)
        began = time.perf_counter()
        _gaps(short, config.expected, 0)
        return (time.perf_counter() - began) * config.iterations / TRIED

    def train(self, config: QuadraticConfig, run: Run) -> Mapping[str, Any] | None:
        """One curve."""
        setting = config.setting()
        gaps = _gaps(setting, config.expected, run.seed)
        row = measure(gaps)
        if config.keep_curve and not config.expected:
            kept = kept_steps(setting.iterations)
            run.artifact("curves", step=kept, value=gaps[kept].tolist())
        run.report(objective=objective(config.case, row, config.iterations), **row)
        return None


def _gaps(setting: Setting, expected: bool, seed: int) -> Any:
    if expected and setting.case != "exact":
        return expected_gaps(setting)
    return run([setting], [seed])[0, 0]


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
