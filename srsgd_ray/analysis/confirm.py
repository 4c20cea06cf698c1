"""What the confirmation says: each arm over its seeds, and against the baseline seed by seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from scipy.special import ndtri

from srsgd_ray.analysis.interval import Estimate, check_level, estimate
from srsgd_ray.analysis.rows import arms, better_of, confirm_metric, outcomes, rows
from srsgd_ray.analysis.words import verdict
from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of

POWER = 0.8


@dataclass(frozen=True)
class ArmResult:
    """One arm's confirmation: its complete runs by seed, and the runs that do not count.

    ``lost`` maps why (diverged, failed, pruned, running, ``without METRIC``, ``not begun``) to
    the seeds; a run has not begun if another arm has its seed and this arm has not.
    """

    arm: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    estimate: Estimate
    lost: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Comparison:
    """One arm minus the baseline, over the seeds that are complete in both.

    Attributes:
        level: of all ``widened_for`` comparisons together; the interval of ``estimate``, the mean
            difference, is wider accordingly.
        lower: the arm that has the lower metric if the interval excludes 0, else None;
            ``direction`` says whether ``lower`` or ``higher`` is better.
        pairs_needed: about how many pairs it would take to resolve a difference of the size seen;
            None if one is resolved, or if it cannot be foreseen.
        lost: of both arms, the runs that do not count.
    """

    arm: str
    baseline: str
    metric: str
    unit: str
    level: float
    widened_for: int
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    estimate: Estimate
    lower: str | None
    pairs_needed: int | None
    lost: dict[str, dict[str, tuple[int, ...]]]
    direction: str = "lower"

    @property
    def better(self) -> str | None:
        """The arm that is better, if the interval excludes 0, else None."""
        if self.lower is None or self.direction == "lower":
            return self.lower
        return self.baseline if self.lower == self.arm else self.arm

    @property
    def verdict(self) -> str:
        """What the comparison shows, in a sentence."""
        return verdict(self)


@dataclass(frozen=True)
class Confirmation:
    """The whole confirmation: see :func:`confirmation`."""

    metric: str
    unit: str
    level: float
    baseline: str | Mapping[str, str] | None
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    direction: str = "lower"

    def arm(self, name: str) -> ArmResult:
        """The result of one arm."""
        one_of("arm", name, [result.arm for result in self.arms])
        return next(result for result in self.arms if result.arm == name)


def confirmation(
    trials: pd.DataFrame,
    baseline: str | Mapping[str, str] | None = "sgd",
    metric: str | None = None,
    level: float = 0.95,
) -> Confirmation:
    """Compare the arms on their confirmation runs.

    The interval of an arm stands for itself, at ``level``. The m intervals of the differences
    hold together at ``level``: each has the level ``1 - (1 - level) / m`` (Bonferroni). The
    number of pairs needed is for a power of 80 %, by Guenther's formula for the t test (American
    Statistician 35, 1981): ``((z_a + z_b) std / mean)^2 + z_a^2 / 2``.

    Args:
        baseline: the arm that the others are compared with, or the rival of each arm that has one
            (see :func:`srsgd_ray.analysis.baselines`); None: no comparison.
        metric: column of the trials table; None: what the study compares arms by.

    Raises:
        UnknownNameError: for an unknown baseline or metric.
        ValueError: if the metric holds no numbers, ``level`` is not between 0 and 1, or an arm has
            two confirmation runs of one seed.
    """
    metric = metric or confirm_metric(trials)
    unit = schema_of(trials).number(metric).unit
    check_level(level)
    names = arms(trials)
    rivals = baseline if isinstance(baseline, Mapping) else {}
    if isinstance(baseline, str):
        one_of("baseline", baseline, names)
        rivals = {name: baseline for name in names if name != baseline}
    for name, rival in rivals.items():
        one_of("arm", name, names)
        one_of("baseline", rival, names)
    runs = rows(trials, "confirm")
    planned = {int(seed) for seed in runs["seed"]} if len(runs) else set()
    results = tuple(_arm_result(runs, name, metric, planned, level) for name in names)
    try:
        direction = better_of(trials, metric)
    except ValueError:
        if rivals:
            raise
        direction = ""  # it is shown, and not compared
    found = Confirmation(metric, unit, level, baseline, results, (), direction)
    compared = tuple(
        _compare(found.arm(name), found.arm(rival), found, len(rivals))
        for name, rival in rivals.items()
    )
    return dataclasses.replace(found, comparisons=compared)


def _arm_result(
    runs: pd.DataFrame, arm: str, metric: str, planned: set[int], level: float
) -> ArmResult:
    own = runs[runs["arm"] == arm].sort_values("seed", kind="stable")
    seeds = own["seed"].astype("int64")
    twice = sorted({*seeds[seeds.duplicated()]})
    if twice:
        raise ValueError(
            f"an arm must have one confirmation run a seed, but {arm!r} has more of "
            f"seed {', '.join(map(str, twice))}. Remove the doubles."
        )
    value = outcomes(own, metric)
    counts = value.notna()
    why = own["state"].where(own["state"] != "complete", f"without {metric}")
    lost = {str(w): tuple(map(int, s)) for w, s in seeds[~counts].groupby(why, sort=False)}
    absent = tuple(sorted(planned - {*seeds}))
    if absent:
        lost["not begun"] = absent
    values = tuple(map(float, value[counts]))
    return ArmResult(arm, tuple(map(int, seeds[counts])), values, estimate(values, level), lost)


def _compare(other: ArmResult, base: ArmResult, among: Confirmation, count: int) -> Comparison:
    """Compare two arms, as one of ``count`` comparisons."""
    of_base = dict(zip(base.seeds, base.values, strict=True))
    of_other = zip(other.seeds, other.values, strict=True)
    pairs = {seed: value - of_base[seed] for seed, value in of_other if seed in of_base}
    level = 1 - (1 - among.level) / count
    found = estimate([*pairs.values()], level)
    lower = None
    if found.n >= 2 and found.std > 0 and found.low * found.high > 0:
        lower = other.arm if found.mean < 0 else base.arm
    return Comparison(
        arm=other.arm,
        baseline=base.arm,
        metric=among.metric,
        unit=among.unit,
        level=among.level,
        widened_for=count,
        seeds=tuple(pairs),
        differences=tuple(pairs.values()),
        estimate=found,
        lower=lower,
        pairs_needed=None if lower else _pairs_needed(found, level),
        lost={other.arm: other.lost, base.arm: base.lost},
        direction=among.direction,
    )


def _pairs_needed(found: Estimate, level: float) -> int | None:
    if found.n < 2 or found.std == 0 or abs(found.mean) < 1e-3 * found.std:
        return None
    z_level, z_power = (float(ndtri(p)) for p in ((1 + level) / 2, POWER))
    pairs = ((z_level + z_power) * found.std / found.mean) ** 2 + z_level**2 / 2
    return max(found.n + 1, math.ceil(pairs))
