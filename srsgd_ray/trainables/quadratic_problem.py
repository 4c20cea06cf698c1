"""The paper's quadratic (Figure 2): one convex function, five methods, three kinds of gradient.

    f(x) = x'Px/2 - x_1,   P = tridiag(-1, 2, -1) of size 1000,   x_0 = 0,   step 1/4

A step makes ``x+ = y - (grad f(y) + noise)/4`` and ``y+ = x+ + m (x+ - x)``. The gap f - f* is
taken at the extrapolated y, before the step. The methods differ in m alone (Wang et al., arXiv
2002.10583, and experiments_with_quadratic_function of the repository minhtannguyen/SRSGD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srsgd_ray.knobs import check_knobs, knob
from srsgd_ray.restarts import RestartSchedule

SIZE = 1000
STEP_SIZE = 0.25  # 1/L; the eigenvalues of P lie between 0 and L = 4
ITERATIONS = 50_000
MINIMUM = -SIZE / (2 * (SIZE + 1))

CASES = {
    "exact": "the gradient itself",
    "constant": "N(0, 0.001) added to each component",
    "decaying": "N(0, 0.1/(t/100 + 1)) added; GD counts t from 0, the others from 1",
}
METHODS = {
    "GD": "m = 0",
    "GD + Momentum": "m = 0.9, in Nesterov's form",
    "NAG": "m = (t - 1)/(t + 2), t from 1",
    "ARNAG": "m = (k - 1)/(k + 2); k starts again after a step that raised f",
    "SRNAG": "m = (k - 1)/(k + 2); k starts again after F steps",
}
SCHEDULES = {
    "as_published": "what the published code does: with decaying noise, k stays at 200 from "
    "iteration 30,000 on, where a branch was commented out",
    "corrected": "the same with that branch: F = 800 from iteration 30,000 on",
}
# F of each phase of SRNAG, and the iterations t (from 1) at which the later phases begin.
PUBLISHED: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "exact": ((1000, 2000, 4000), (2000, 10_000)),
    "constant": ((200,), ()),
    "decaying": ((200, 400, 800), (10_000, 30_000)),
}
OR_0: dict[str, Any] = {"within": "[0, inf)", "cure": "0 means none."}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QuadraticConfig:
    """One curve but for its seed; one of the 15 of Figure 2 where only case and method are given.

    The published phases begin where they do, whatever ``iterations`` is.
    """

    case: str = knob("exact", "noise of the gradient: " + ", ".join(CASES), valid=CASES)
    method: str = knob("SRNAG", "method: " + ", ".join(METHODS), valid=METHODS)
    iterations: int = knob(
        ITERATIONS,
        "of the run",
        "steps",
        affects="cost outcome",
        within="[1, inf)",
        cure=f"The paper has {ITERATIONS}.",
    )
    schedule: str = knob(
        "as_published", "SRNAG without f1: " + " or ".join(SCHEDULES), valid=SCHEDULES
    )
    one_minus_m: float = knob(
        0.1, "GD + Momentum: 1 less its momentum", within="(0, 1]", cure="The paper has 0.1."
    )
    f1: int = knob(0, "SRNAG: F of the first phase; 0: the published schedule", "steps", **OR_0)
    f2: int = knob(0, "SRNAG: F of the second phase; 0: there is none", "steps", **OR_0)
    f3: int = knob(0, "SRNAG: F of the third phase; 0: there is none", "steps", **OR_0)
    t2: int = knob(0, "SRNAG: iteration t (from 1) at which the second phase begins", **OR_0)
    t3: int = knob(
        0, "SRNAG: iteration t at which the third phase begins, unless last says it", **OR_0
    )
    last: int = knob(
        0, "iterations at the end that are a phase of their own; 0: as t3 says", "steps", **OR_0
    )
    expected: bool = knob(
        False, "average over the noise instead of drawing it", affects="cost outcome"
    )
    keep_curve: bool = knob(False, "keep steps 0 to 99, each 100th and the last", affects="")

    def phases(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Of SRNAG: F of each phase, the iterations t at which the later ones begin, and that from
        which the count stays what it is (0: never)."""
        if self.f1:
            frequencies = tuple(f for f in (self.f1, self.f2, self.f3) if f)
            third = max(self.t2 + 1, self.iterations - self.last) if self.last else self.t3
            return frequencies, (self.t2, third)[: len(frequencies) - 1], 0
        frequencies, switches = PUBLISHED[self.case]
        if self.case == "decaying" and self.schedule == "as_published":
            return frequencies[:2], switches[:1], switches[1]
        return frequencies, switches, 0

    def restarts(self) -> RestartSchedule:
        """SRNAG's schedule; its steps count from 0, as t - 1, and a phase carries the count on."""
        frequencies, switches, _ = self.phases()
        return RestartSchedule(frequencies, (0, *(t - 1 for t in switches)), count="carry")

    @property
    def dropped_from(self) -> int:
        """Iteration t from which GD + Momentum has m = 0; 0: never."""
        return max(2, self.iterations - self.last) if self.last else 0

    @property
    def text(self) -> str:
        """The momentum in words, such as ``F = 200; 400 from t = 10000``."""
        if self.method == "GD + Momentum":
            end = f"; 0 from t = {self.dropped_from}" if self.last else ""
            return f"m = {1 - self.one_minus_m:g}{end}"
        if self.method != "SRNAG":
            return METHODS[self.method]
        frequencies, switches, frozen = self.phases()
        parts = [f"F = {frequencies[0]}"]
        parts += [f"{f} from t = {t}" for f, t in zip(frequencies[1:], switches, strict=True)]
        return "; ".join([*parts, *([f"k frozen from t = {frozen}"] if frozen else [])])

    def check(self) -> QuadraticConfig:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        check_knobs(self)
        if self.expected and self.method == "ARNAG":
            raise ValueError(
                "expected=True needs a momentum that is known beforehand, which ARNAG has not. "
                "Use expected=False."
            )
        if self.method == "SRNAG":
            self.restarts()
        return self


def momenta(config: QuadraticConfig) -> Floats:
    """The momentum m of every step.

    Raises:
        ValueError: for ARNAG, whose momentum depends on the values of f in the run.
    """
    steps = config.iterations
    if config.method == "GD":
        return np.zeros(steps)
    if config.method == "GD + Momentum":
        constant = np.full(steps, 1 - config.one_minus_m)
        if config.last:
            constant[config.dropped_from - 1 :] = 0
        return constant
    if config.method == "ARNAG":
        raise ValueError("ARNAG has no momentum known beforehand: run it, or choose another method")
    if config.method == "NAG":
        counts = np.arange(steps)
    else:
        counts = np.fromiter(config.restarts().counts(steps), dtype=np.int64, count=steps)
        frozen = config.phases()[2]
        if 0 < frozen <= steps:
            counts[frozen - 1 :] = counts[frozen - 1]
    return counts / (counts + 3.0)


def noise_deviation(config: QuadraticConfig) -> Floats:
    """Standard deviation of the noise of each component, at every step."""
    if config.case == "exact":
        return np.zeros(config.iterations)
    if config.case == "constant":
        return np.full(config.iterations, 0.001)
    t = np.arange(config.iterations) + (0 if config.method == "GD" else 1)
    return 0.1 / (t / 100 + 1)
