"""What is searched on the quadratic: restart schedules, and constant momentum beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from srsgd_ray.problems.quadratic import Setting

__all__ = ["ARMS", "QuadraticArm"]

# As published; with constant noise there are none, and those of decaying noise serve.
SWITCHES = {"exact": (2000, 10_000), "constant": (10_000, 30_000), "decaying": (10_000, 30_000)}
Params = Mapping[str, Any]
FREQUENCY = IntDistribution(1, 10_000, log=True)


@dataclass(frozen=True)
class QuadraticArm:
    """What is searched: the ranges for a number of iterations, and the setting that values make."""

    question: str
    ranges: Callable[[int], dict[str, BaseDistribution]]
    setting: Callable[[str, int, Params], Setting]


def _constant_momentum(case: str, iterations: int, params: Params) -> Setting:
    return Setting(case, "GD + Momentum", iterations, momentum=1 - params["one_minus_m"])


def _momentum_then_none(case: str, iterations: int, params: Params) -> Setting:
    constant = _constant_momentum(case, iterations, params)
    return replace(constant, momentum_until=max(2, iterations - params["last"]))


def _one_f(case: str, iterations: int, params: Params) -> Setting:
    return Setting(case, "SRNAG", iterations, frequencies=(params["f1"],))


def _f_per_phase(case: str, iterations: int, params: Params) -> Setting:
    frequencies = (params["f1"], params["f2"], params["f3"])
    return Setting(case, "SRNAG", iterations, frequencies=frequencies, switches=SWITCHES[case])


def _f_and_switches(case: str, iterations: int, params: Params) -> Setting:
    second = params["t2"]
    third = max(second + 1, iterations - params["last"])
    frequencies = (params["f1"], params["f2"], params["f3"])
    return Setting(case, "SRNAG", iterations, frequencies=frequencies, switches=(second, third))


def _frequencies(count: int) -> dict[str, BaseDistribution]:
    return {f"f{i + 1}": FREQUENCY for i in range(count)}


def _phase(iterations: int) -> BaseDistribution:
    return IntDistribution(max(2, iterations // 500), iterations - 1, log=True)


ARMS = {
    "constant_momentum": QuadraticArm(
        "Which constant momentum is best?",
        lambda n: {"one_minus_m": FloatDistribution(1e-4, 1.0, log=True)},
        _constant_momentum,
    ),
    # As free as f_per_phase to end without momentum, but without a restart.
    "momentum_then_none": QuadraticArm(
        "Which constant momentum is best, dropped at the end?",
        lambda n: {"one_minus_m": FloatDistribution(1e-4, 1.0, log=True), "last": _phase(n)},
        _momentum_then_none,
    ),
    "one_f": QuadraticArm("Which single F is best?", lambda n: _frequencies(1), _one_f),
    "f_per_phase": QuadraticArm(
        "Which three F are best, the phases as published?", lambda n: _frequencies(3), _f_per_phase
    ),
    "f_and_switches": QuadraticArm(
        "Which three F and phases are best?",
        lambda n: {**_frequencies(3), "t2": _phase(n), "last": _phase(n)},
        _f_and_switches,
    ),
}
