"""How many trials there are of each kind, counted as they begin and end: no event looks at all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from srsgd_ray.results import TrialRecord


class Tally:
    """Counts of a record's trials; whoever begins or ends one says so.

    Args:
        trials: that there are.
        outside: names of those of another space, which are counted nowhere but in ``asked`` and
            ``named``.

    Attributes:
        named: trials by arm and phase; the next one's name has this number.
        asked: search trials by arm and search.
        begun: the same, without those outside.
        of: trials by phase and search, without those outside.
        open: by name, those that have not ended.
        unended: how many of these there are, by phase and search, without those outside.
    """

    def __init__(self, trials: Iterable[TrialRecord], outside: Collection[str]) -> None:
        self._outside = outside
        self.named: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[tuple[str, int]] = Counter()
        self.begun: Counter[tuple[str, int]] = Counter()
        self.of: defaultdict[tuple[str, int], list[TrialRecord]] = defaultdict(list)
        self.open: dict[str, TrialRecord] = {}
        self.unended: Counter[tuple[str, int]] = Counter()
        for trial in trials:
            self.add(trial)

    def add(self, trial: TrialRecord) -> None:
        """A trial has begun."""
        place, inside = (trial.phase, trial.search), trial.trial not in self._outside
        self.named[trial.arm, trial.phase] += 1
        self.asked[trial.arm, trial.search] += trial.phase == "search"
        self.begun[trial.arm, trial.search] += trial.phase == "search" and inside
        if inside:
            self.of[place].append(trial)
        if trial.end is None:
            self.open[trial.trial] = trial
            self.unended[place] += inside

    def end(self, trial: TrialRecord) -> None:
        """It has ended."""
        if self.open.pop(trial.trial, None) is not None:
            self.unended[trial.phase, trial.search] -= trial.trial not in self._outside
