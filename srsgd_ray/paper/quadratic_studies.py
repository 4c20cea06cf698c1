"""The quadratic's studies: Figure 2 again, and the search of a schedule beside the published ones.

Each is a :class:`Study` of the trainable ``quadratic``, with one arm for each curve or search.
"""

from __future__ import annotations

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.spec import Arm, Study
from srsgd_ray.trainables.quadratic_problem import CASES, ITERATIONS, METHODS

__all__ = ["QUESTIONS", "figure2", "schedule_search"]

SHORT = {"GD": "gd", "GD + Momentum": "gd_momentum", "NAG": "nag", "ARNAG": "arnag"}
SHORT["SRNAG"] = "srnag"
# As published; with constant noise there are none, and those of decaying noise serve.
SWITCHES = {"exact": (2000, 10_000), "constant": (10_000, 30_000), "decaying": (10_000, 30_000)}
QUESTIONS = {
    "constant_momentum": "Which constant momentum is best?",
    "momentum_then_none": "Which constant momentum is best, dropped at the end?",
    "one_f": "Which single F is best?",
    "f_per_phase": "Which three F are best, the phases as published?",
    "f_and_switches": "Which three F and phases are best?",
}


def figure2(name: str) -> Study:
    """Figure 2 of the paper: 15 fixed arms, the noisy ones with the seeds 0 to 9."""
    return Study(
        name=name,
        question="Figure 2 of the paper: five methods on the quadratic, three kinds of gradient.",
        trainable="quadratic",
        arms=tuple(_fixed(case, method, f"{case}_srnag") for case in CASES for method in METHODS),
        base={"keep_curve": True},
        trials=0,
        confirm_seeds=10,
        confirm_seed=0,
        protocols={"as_published": {}, "corrected": {"schedule": "corrected"}},
        protocol="as_published",
    )


def schedule_search(name: str, iterations: int = ITERATIONS) -> Study:
    """Was the published restart schedule a good one? Five searches a case, beside the published.

    Each search gets as many trials. Where there is noise, a trial's value is the exact expectation
    of the gap at the end, so that no luck of a seed is in it; the best of each search and the
    published settings are then run on the same fresh seeds and compared in pairs.
    """
    arms: list[Arm] = []
    for case in CASES:
        rival = f"{case}_srnag"
        for kind in QUESTIONS:
            arms.append(_searched(case, kind, iterations, rival))
        arms += [_fixed(case, method, rival) for method in METHODS]
        if case == "decaying":
            arms.append(_fixed(case, "SRNAG", rival, "corrected"))
    return Study(
        name=name,
        question="Was the published restart schedule a good one for the quadratic?",
        trainable="quadratic",
        arms=tuple(arms),
        base={"iterations": iterations},
        trials=60,
        confirm_seeds=20,
        confirm_seed=1000,
    )


def _fixed(case: str, method: str, rival: str, schedule: str = "") -> Arm:
    name = f"{case}_{SHORT[method]}" + (f"_{schedule}" if schedule else "")
    return Arm(
        name,
        fixed={"case": case, "method": method, **({"schedule": schedule} if schedule else {})},
        against=rival if name != rival else "",
        labels={"case": case, "method": SHORT[method]},
        trials=0,
        # Without noise all seeds are equal.
        confirm_seeds=1 if case == "exact" else None,
    )


def _searched(case: str, kind: str, iterations: int, rival: str) -> Arm:
    second, third = SWITCHES[case]
    fixed = {"case": case, "method": "SRNAG", "expected": case != "exact"}
    if kind in ("constant_momentum", "momentum_then_none"):
        fixed["method"] = "GD + Momentum"
    if kind == "f_per_phase":
        fixed |= {"t2": second, "t3": third}
    return Arm(
        f"{case}_{kind}",
        SearchSpace(f"{case}_{kind}", QUESTIONS[kind], _ranges(kind, iterations)),
        fixed,
        against=rival,
        labels={"case": case, "method": kind},
        confirm_seeds=1 if case == "exact" else None,
    )


def _ranges(kind: str, iterations: int) -> dict[str, BaseDistribution]:
    phase = IntDistribution(max(2, iterations // 500), iterations - 1, log=True)
    frequency = IntDistribution(1, 10_000, log=True)
    momentum = {"one_minus_m": FloatDistribution(1e-4, 1.0, log=True)}
    three = {f"f{i}": frequency for i in (1, 2, 3)}
    found: dict[str, dict[str, BaseDistribution]] = {
        "constant_momentum": {**momentum},
        "momentum_then_none": {**momentum, "last": phase},
        "one_f": {"f1": frequency},
        "f_per_phase": {**three},
        "f_and_switches": {**three, "t2": phase, "last": phase},
    }
    return found[kind]
