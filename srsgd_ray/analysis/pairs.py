"""The runs of two arms in pairs: which count, which are lost, and what an interval is made over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import NamedTuple

from scipy.special import bdtrc

from srsgd_ray.analysis.interval import estimate, p_value

# Not yet ended; every other reason why a run does not count makes it a lost one.
ABSENT = ("running", "not begun")
Key = tuple[int, int]


class Run(NamedTuple):
    """A confirmation run: its search, its seed, the look at which it was added, and its outcome.

    ``why`` says why it does not count (diverged, failed, pruned, running, ``without METRIC``,
    ``not begun``, ``without a winner``); it is empty for a run that counts, whose ``value`` is
    finite.
    """

    search: int
    seed: int
    look: int
    value: float = math.nan
    why: str = ""

    @property
    def key(self) -> Key:
        """What a run of another arm must share to make a pair with it."""
        return self.search, self.seed

    @property
    def lost(self) -> bool:
        """Whether it ended without a value."""
        return bool(self.why) and self.why not in ABSENT


def unit_means(values: Mapping[Key, float], replicated: bool) -> list[float]:
    """The values that an interval is made over: one a seed, or one a search.

    With replicated searches the runs of one search share its luck, so that only searches are
    independent: each counts once, by the mean over its own seeds (the summary-measure analysis of
    clustered data: Galbraith, Daniel and Vissel, J. Neuroscience 30, 2010). The mean of these
    means is unbiased however many seeds each search has, and so is its estimated variance.
    """
    if not replicated:
        return [*values.values()]
    groups: dict[int, list[float]] = {}
    for (search, _), value in values.items():
        groups.setdefault(search, []).append(value)
    return [fmean(group) for group in groups.values()]


def differences(ours: Iterable[Run], theirs: Iterable[Run]) -> dict[Key, float]:
    """Our value minus theirs, of each pair in which both runs count."""
    base = {run.key: run.value for run in theirs if not run.why}
    return {r.key: r.value - base[r.key] for r in ours if not r.why and r.key in base}


def scores(ours: Iterable[Run], theirs: Iterable[Run], direction: str) -> dict[Key, int]:
    """1 for each pair that we win, -1 that we lose, 0 for a draw; both runs must have ended.

    A lost run is worse than any that counts, and as bad as another lost one (worst ranks: Lachin,
    Controlled Clinical Trials 20, 1999). With the direction ``lost`` nothing else matters.
    """

    def badness(run: Run) -> float:
        if run.lost or direction == "lost":
            return math.inf if run.lost else 0.0
        return -run.value if direction == "higher" else run.value

    base = {run.key: badness(run) for run in theirs if run.why not in ABSENT}
    found = {}
    for run in ours:
        if run.why not in ABSENT and run.key in base:
            bad, rival = badness(run), base[run.key]
            found[run.key] = (bad < rival) - (bad > rival)
    return found


def sign_test(won: int, lost: int) -> float:
    """Two-sided p of at least ``won`` wins if wins and losses were equally likely; exact."""
    return min(1.0, 2 * float(bdtrc(won - 1, won + lost, 0.5))) if won > lost else 1.0


def wins_p(found: Mapping[Key, int], replicated: bool) -> float:
    """Two-sided p of winning so many more pairs than are lost, of :func:`scores`; else 1.

    The exact sign test over pairs; with replicated searches the t test over the mean score of
    each search (the sign test over searches if all have the same).
    """
    if not replicated:
        values = [*found.values()]
        return sign_test(values.count(1), values.count(-1))
    over = estimate(unit_means(found, True))
    if over.n < 2 or over.mean <= 0:
        return 1.0
    return p_value(over) if over.std > 0 else sign_test(over.n, 0)
