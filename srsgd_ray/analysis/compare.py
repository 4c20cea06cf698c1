"""Two arms compared over the pairs of their confirmation runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from srsgd_ray.analysis.interval import Estimate, Share, estimate, p_value, share
from srsgd_ray.analysis.looks import holm, look_share, number_needed
from srsgd_ray.analysis.pairs import (
    ABSENT,
    Run,
    differences,
    scores,
    unit_means,
    wins_p,
)
from srsgd_ray.analysis.words import verdict


@dataclass(frozen=True)
class ArmResult:
    """One arm's confirmation.

    Attributes:
        estimate: over its runs that count, one value a seed, or one a search (their mean) if
            searches are replicated.
        lost_share: of the runs that have ended, those that ended without a value.
        tuned: whether a search chose its configuration.
    """

    arm: str
    runs: tuple[Run, ...]
    estimate: Estimate
    lost_share: Share
    tuned: bool = True

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs that count."""
        return tuple(run.seed for run in self.runs if not run.why)

    @property
    def searches(self) -> tuple[int, ...]:
        """The searches of the runs that count."""
        return tuple(run.search for run in self.runs if not run.why)

    @property
    def values(self) -> tuple[float, ...]:
        """The values of the runs that count."""
        return tuple(run.value for run in self.runs if not run.why)

    @property
    def lost(self) -> dict[str, tuple[int, ...]]:
        """Why runs have ended without a value (see :class:`Run`), and their seeds."""
        return _seeds_by_reason(run for run in self.runs if run.lost)

    @property
    def absent(self) -> dict[str, tuple[int, ...]]:
        """The seeds of runs that are running, or that only other arms have begun."""
        return _seeds_by_reason(run for run in self.runs if run.why in ABSENT)

    @property
    def not_counted(self) -> dict[str, tuple[int, ...]]:
        """Both ``lost`` and ``absent``."""
        return {**self.lost, **self.absent}


def _seeds_by_reason(runs: Iterable[Run]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for run in runs:
        found[run.why] = (*found.get(run.why, ()), run.seed)
    return found


@dataclass(frozen=True)
class WorstRank:
    """Whether an arm is better with lost runs counted as worse than any other run.

    Attributes:
        won, lost: pairs that it wins and loses then.
        p: two-sided, see :func:`srsgd_ray.analysis.pairs.wins_p`.
    """

    won: int
    lost: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """One arm minus the baseline, over the pairs that are complete in both.

    Attributes:
        level: of all ``widened_for`` comparisons at all looks together; the interval of
            ``estimate``, the mean difference, is wider accordingly.
        seeds, searches, differences: of each pair.
        estimate: the mean of ``units`` with an interval that holds at all looks together: of the
            intervals made at each look, what they have in common.
        units: one difference a pair, or one a search (the mean of its pairs) if ``replicated``.
        lower: the arm that has the lower metric if there is a verdict, else None; ``direction``
            says whether ``lower`` or ``higher`` is better.
        pairs_needed: from how many to how many pairs (searches if ``replicated``) it would take at
            the next look to resolve a difference of the size seen (see
            :func:`srsgd_ray.analysis.looks.number_needed`); None if one is resolved, or if it
            cannot be foreseen.
        lost: of both arms, the runs that ended without a value.
        absent: of both arms, the runs that have not ended.
        replicated: how many searches an arm had; 0 if there was none.
        look: the last look at which all runs had ended, from 0; -1 if there is none.
        extendable: whether the error is shared out over looks, or spent at once.
        p: two-sided, valid at all looks together; ``p_holm`` is adjusted for all comparisons.
        worst_rank: if the arm that seems better has lost more runs: whether it holds nevertheless.
        lost_p: two-sided p that both arms lose as many runs, by the pairs in which one did
            (McNemar's exact test).
        over_images: the same difference with an interval over seeds and test images, if the
            predictions were stored.
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
    pairs_needed: tuple[int, int] | None
    lost: dict[str, dict[str, tuple[int, ...]]]
    direction: str = "lower"
    searches: tuple[int, ...] = ()
    units: tuple[float, ...] = ()
    absent: dict[str, dict[str, tuple[int, ...]]] | None = None
    lost_shares: tuple[Share, ...] = ()
    replicated: int = 0
    tuned: tuple[str, ...] = ()
    look: int = 0
    extendable: bool = True
    p: float = 1.0
    p_holm: float = 1.0
    worst_rank: WorstRank | None = None
    lost_p: float = 1.0
    over_images: Estimate | None = None

    @property
    def better(self) -> str | None:
        """The arm that is better, if there is a verdict, else None."""
        if self.lower is None or self.direction == "lower":
            return self.lower
        return self.baseline if self.lower == self.arm else self.arm

    def own_level(self, look: int) -> float:
        """The level of this one interval at a look, so that all together have ``level``."""
        part = look_share(look) if self.extendable else 1.0
        return 1 - (1 - self.level) * part / self.widened_for

    @property
    def verdict(self) -> str:
        """What the comparison shows, in a sentence."""
        return verdict(self)


def arm_result(
    arm: str,
    runs: tuple[Run, ...],
    level: float,
    replicated: bool = False,
    bounds: tuple[float, float] | None = None,
    tuned: bool = True,
) -> ArmResult:
    """The result of one arm from its runs; see :func:`srsgd_ray.analysis.confirmation`."""
    values = {run.key: run.value for run in runs if not run.why}
    ended = [run for run in runs if run.why not in ABSENT]
    groups: dict[int, list[Run]] = {}
    for run in ended:
        groups.setdefault(run.search if replicated else 0, []).append(run)
    counts = [sum(run.lost for run in group) for group in groups.values()]
    lost = share(counts, [len(group) for group in groups.values()], level)
    found = estimate(unit_means(values, replicated), level, bounds)
    return ArmResult(arm, runs, found, lost, tuned)


def compare(
    ours: ArmResult,
    theirs: ArmResult,
    metric: str = "",
    unit: str = "",
    level: float = 0.95,
    direction: str = "lower",
    count: int = 1,
    replicated: int = 0,
    extendable: bool = True,
    open_from: float = math.inf,
) -> Comparison:
    """Compare two arms, as one of ``count`` comparisons; :func:`decide` adds the verdicts.

    At each look whose runs have all ended, the difference is put to the t test. If the arm that
    seems better has lost more runs, the p of that look is the larger one of the t test's and
    :func:`srsgd_ray.analysis.pairs.wins_p`'s. The smallest p of all looks, each divided by
    its look's share of the error, is valid at all looks together; but a verdict does not stay where
    the arm that seems better has lost too many runs since. The looks from ``open_from`` on have
    not ended: a search of theirs is still to be confirmed.
    """
    both = (*ours.runs, *theirs.runs)
    looks = max((run.look for run in both), default=0)
    scale = max((abs(run.value) for run in both if not run.why), default=0.0)
    p, seems, low, high = 1.0, 0.0, -math.inf, math.inf
    closed = through = -1  # of a later winner an earlier look has ended, and has shown nothing
    for look in range(looks + 1):
        our_runs = [run for run in ours.runs if run.look <= look]
        their_runs = [run for run in theirs.runs if run.look <= look]
        pairs = differences(our_runs, their_runs)
        units = unit_means(pairs, replicated > 1)
        part = look_share(look) if extendable else 1.0
        found = estimate(units, 1 - (1 - level) * part / count, scale=scale)
        worst = _worst_rank(our_runs, their_runs, found.mean, direction, replicated > 1)
        going_on = any(run.why == "running" for run in (*our_runs, *their_runs))
        if through < look - 1 or look >= open_from or going_on:
            continue
        through = look
        if not all(any(r.why not in ABSENT for r in own) for own in (our_runs, their_runs)):
            continue
        closed = look
        here = max(p_value(found), worst.p if worst else 0.0) / part
        if here < p:
            p, seems = here, found.mean
        if found.std > 0:
            low, high = max(low, found.low), min(high, found.high)
    low, high = max(low, found.low), min(high, found.high)
    # Where all runs together point the other way, the last interval alone, which holds as well.
    if found.std > 0 and low < high and max(low * found.mean, high * found.mean) >= 0:
        found = replace(found, low=low, high=high)
    p = max(p, worst.p) if worst else p
    only = scores(ours.runs, theirs.runs, "lost")
    reverse = {key: -score for key, score in only.items()}
    return Comparison(
        arm=ours.arm,
        baseline=theirs.arm,
        metric=metric,
        unit=unit,
        level=level,
        widened_for=count,
        seeds=tuple(seed for _, seed in pairs),
        differences=tuple(pairs.values()),
        estimate=found,
        lower=None,
        pairs_needed=None,
        lost={arm.arm: arm.lost for arm in (ours, theirs)},
        direction=direction,
        searches=tuple(search for search, _ in pairs),
        units=tuple(units),
        absent={arm.arm: arm.absent for arm in (ours, theirs)},
        lost_shares=(ours.lost_share, theirs.lost_share),
        replicated=replicated,
        tuned=tuple(arm.arm for arm in (ours, theirs) if arm.tuned),
        look=closed,
        extendable=extendable,
        p=p if seems * found.mean > 0 else 1.0,
        worst_rank=worst,
        lost_p=min(wins_p(only, replicated > 1), wins_p(reverse, replicated > 1)),
    )


def _worst_rank(
    ours: list[Run], theirs: list[Run], mean: float, direction: str, replicated: bool
) -> WorstRank | None:
    """What the arm that seems better needs, if it has lost more runs than its rival."""
    we_lead = mean < 0 if direction == "lower" else mean > 0
    leader, other = (ours, theirs) if we_lead else (theirs, ours)
    if not mean or sum(run.lost for run in leader) <= sum(run.lost for run in other):
        return None
    found = scores(leader, other, direction)
    values = [*found.values()]
    return WorstRank(values.count(1), values.count(-1), wins_p(found, replicated))


def decide(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Add to comparisons that are made together what they show: Holm's verdicts."""
    adjusted = holm([c.p for c in comparisons])
    return tuple(_decided(c, p) for c, p in zip(comparisons, adjusted, strict=True))


def _decided(c: Comparison, p: float) -> Comparison:
    found = c.estimate
    if p <= 1 - c.level:
        return replace(c, p_holm=p, lower=c.arm if found.mean < 0 else c.baseline)
    resolved = found.low * found.high > 0  # then it is not seeds that are missing
    needed = None if resolved else number_needed(found, c.own_level(c.look + 1), c.level)
    return replace(c, p_holm=p, pairs_needed=needed)
