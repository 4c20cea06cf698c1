"""The paper's quadratic (Figure 2): one convex function, five methods, three kinds of gradient.

    f(x) = x'Px/2 - x_1,   P = tridiag(-1, 2, -1) of size 1000,   x_0 = 0,   step 1/4

A step makes ``x+ = y - (grad f(y) + noise)/4`` and ``y+ = x+ + m (x+ - x)``. The gap f - f* is
taken at the extrapolated y, before the step. The methods differ in m alone (Wang et al., arXiv
2002.10583, and experiments_with_quadratic_function of the repository minhtannguyen/SRSGD).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srsgd_ray.config import one_of
from srsgd_ray.restarts import RestartSchedule

__all__ = [
    "CASES",
    "METHODS",
    "SCHEDULES",
    "Setting",
    "momenta",
    "noise_deviation",
    "published_setting",
]

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

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One curve but for its seed.

    Attributes:
        case: of the gradient's noise, one of ``CASES``.
        method: one of ``METHODS``.
        iterations: how many.
        momentum: m of GD + Momentum.
        momentum_until: iteration t (from 1) from which GD + Momentum has m = 0; 0: never.
        frequencies: F of each phase of SRNAG; F steps pass between two restarts.
        switches: iteration t (from 1) at which each later phase begins; the count is carried on.
        frozen_from: iteration t from which SRNAG's count stays what it is; 0: never.
    """

    case: str
    method: str
    iterations: int = ITERATIONS
    momentum: float = 0.9
    frequencies: tuple[int, ...] = ()
    switches: tuple[int, ...] = ()
    frozen_from: int = 0
    momentum_until: int = 0

    def check(self) -> Setting:
        """Return self if it can be run, else raise ValueError with rule, value and cure."""
        one_of("case", self.case, CASES)
        one_of("method", self.method, METHODS)
        if self.iterations < 1:
            raise ValueError(
                f"1 <= iterations must hold, but got iterations={self.iterations}. "
                f"The paper has {ITERATIONS}."
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"0 <= momentum < 1 must hold, but got momentum={self.momentum}. "
                f"Use 0 for none; the paper has 0.9."
            )
        for name in ("frozen_from", "momentum_until"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"0 <= {name} must hold, but got {name}={getattr(self, name)}. 0 means never."
                )
        if self.method == "SRNAG":
            self.schedule()
        return self

    def schedule(self) -> RestartSchedule:
        """SRNAG's schedule; its steps count from 0, as t - 1."""
        starts = (0, *(t - 1 for t in self.switches))
        return RestartSchedule(self.frequencies, starts, count="carry")

    @property
    def text(self) -> str:
        """The momentum in words, such as ``F = 200; 400 from t = 10000``."""
        if self.method == "GD + Momentum":
            end = f"; 0 from t = {self.momentum_until}" if self.momentum_until else ""
            return f"m = {self.momentum:g}{end}"
        if self.method != "SRNAG":
            return METHODS[self.method]
        phases = [f"F = {self.frequencies[0]}"]
        later = zip(self.frequencies[1:], self.switches, strict=True)
        phases += [f"{frequency} from t = {t}" for frequency, t in later]
        if self.frozen_from:
            phases.append(f"k frozen from t = {self.frozen_from}")
        return "; ".join(phases)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Setting:
        """Inverse of :meth:`to_dict`; further keys are left out."""
        names = {f.name for f in dataclasses.fields(cls)}
        kept: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items() if k in names
        }
        return cls(**kept)


def published_setting(
    case: str, method: str, schedule: str = "as_published", iterations: int = ITERATIONS
) -> Setting:
    """The setting of one of the 15 curves of Figure 2.

    Args:
        case: one of ``CASES``.
        method: one of ``METHODS``.
        schedule: one of ``SCHEDULES``; they differ for SRNAG with decaying noise only.
        iterations: 50,000 in the paper. The phases begin where they do, whatever this is.

    Raises:
        ValueError: for an unknown name, or fewer than 1 iterations.
    """
    one_of("case", case, CASES)
    one_of("method", method, METHODS)
    one_of("schedule", schedule, SCHEDULES)
    if method != "SRNAG":
        return Setting(case, method, iterations).check()
    frequencies, switches = PUBLISHED[case]
    frozen = 0
    if case == "decaying" and schedule == "as_published":
        frequencies, switches, frozen = frequencies[:2], switches[:1], switches[1]
    return Setting(
        case, method, iterations, frequencies=frequencies, switches=switches, frozen_from=frozen
    ).check()


def momenta(setting: Setting) -> Floats:
    """The momentum m of every step.

    Raises:
        ValueError: for ARNAG, whose momentum depends on the values of f on the way.
    """
    steps = setting.iterations
    if setting.method == "GD":
        return np.zeros(steps)
    if setting.method == "GD + Momentum":
        constant = np.full(steps, setting.momentum)
        if setting.momentum_until:
            constant[setting.momentum_until - 1 :] = 0
        return constant
    if setting.method == "ARNAG":
        raise ValueError("ARNAG has no momentum known beforehand: run it, or choose another method")
    if setting.method == "NAG":
        counts = np.arange(steps)
    else:
        counts = np.fromiter(setting.schedule().counts(steps), dtype=np.int64, count=steps)
        if 0 < setting.frozen_from <= steps:
            counts[setting.frozen_from - 1 :] = counts[setting.frozen_from - 1]
    return counts / (counts + 3.0)


def noise_deviation(setting: Setting) -> Floats:
    """Standard deviation of the noise of each component, at every step."""
    if setting.case == "exact":
        return np.zeros(setting.iterations)
    if setting.case == "constant":
        return np.full(setting.iterations, 0.001)
    t = np.arange(setting.iterations) + (0 if setting.method == "GD" else 1)
    return 0.1 / (t / 100 + 1)
