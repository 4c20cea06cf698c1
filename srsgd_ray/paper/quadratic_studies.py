"""The quadratic's studies: Figure 2 again, and the search of a schedule against the published.

Each is a :class:`Study` of the trainable ``quadratic``, with one arm for each curve or search.
"""

from __future__ import annotations

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.arm import Arm
from srsgd_ray.study.spec import Study
from srsgd_ray.trainables.quadratic_problem import CASES, ITERATIONS, METHODS

SHORT = {"GD": "gd", "GD + Momentum": "gd_momentum", "NAG": "nag", "ARNAG": "arnag"}
SHORT["SRNAG"] = "srnag"
# As published; with constant noise there are none, and those of decaying noise serve.
SWITCHES = {"exact": (2000, 10_000), "constant": (10_000, 30_000), "decaying": (10_000, 30_000)}
# What a search asks, and the knobs that it searches.
SEARCHES: dict[str, tuple[str, tuple[str, ...]]] = {
    "constant_momentum": ("Which constant momentum is best?", ("one_minus_m",)),
    "momentum_then_none": (
        "Which constant momentum is best, dropped at the end?", ("one_minus_m", "last")
    ),
    "one_f": ("Which single F is best?", ("f1",)),
    "f_per_phase": (
        "Which three F are best, the phases as published?", ("f1", "f2", "f3")
    ),
    "f_and_switches": ("Which three F and phases are best?", ("f1", "f2", "f3", "t2", "last")),
}  # fmt: skip


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
    """Was the published restart schedule a good one? Five searches a case, and the published.

    Each search gets as many trials. Where there is noise, a trial's value is the exact expectation
    of the gap at the end, so that no luck of a seed is in it; the best of each search and the
    published settings are then run on the same fresh seeds and compared in pairs.
    """
    arms: list[Arm] = []
    for case in CASES:
        rival = f"{case}_srnag"
        for kind in SEARCHES:
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
    question, knobs = SEARCHES[kind]
    frequency = IntDistribution(1, 10_000, log=True)
    phase = IntDistribution(max(2, iterations // 500), iterations - 1, log=True)
    ranges: dict[str, BaseDistribution] = {
        "one_minus_m": FloatDistribution(1e-4, 1.0, log=True),
        **dict.fromkeys(("f1", "f2", "f3"), frequency),
        **dict.fromkeys(("t2", "last"), phase),
    }
    method = "GD + Momentum" if "one_minus_m" in knobs else "SRNAG"
    fixed = {"case": case, "method": method, "expected": case != "exact"}
    if kind == "f_per_phase":
        fixed |= dict(zip(("t2", "t3"), SWITCHES[case], strict=True))
    return Arm(
        f"{case}_{kind}",
        SearchSpace(f"{case}_{kind}", question, {knob: ranges[knob] for knob in knobs}),
        fixed,
        against=rival,
        labels={"case": case, "method": kind},
        confirm_seeds=1 if case == "exact" else None,
    )
