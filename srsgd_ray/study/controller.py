"""Which trial is next, and what each event means: the study's logic, wherever its trials run.

The controller owns the record. Everything that happened is in it, so a controller made from a
record continues where the last one stopped: that is the resume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from srsgd_ray.backends.base import Assignment
from srsgd_ray.knobs import make
from srsgd_ray.results import Record, TrialRecord, write_predictions
from srsgd_ray.study.confirming import Confirming
from srsgd_ray.study.enqueue import enqueue
from srsgd_ray.study.schedulers import ArmScheduler
from srsgd_ray.study.search import Search
from srsgd_ray.study.spec import Study
from srsgd_ray.study.tally import Tally
from srsgd_ray.trainable import PREDICTIONS


class Controller:
    """Assigns trials: unfinished ones first, then search after search with its confirmation.

    Args:
        study: the study.
        record: of it; what it holds is resumed.
        searches: of each arm that has some, by arm and number.
        forget: called with the name of a trial that has ended.
    """

    def __init__(
        self,
        study: Study,
        record: Record,
        searches: Mapping[tuple[str, int], Search],
        forget: Callable[[str], None],
    ) -> None:
        self.study, self.record, self._searches, self._forget = study, record, searches, forget
        self._work = study.work
        self._lengths: dict[str, int] = {}
        self._confirming = Confirming(study, record, searches)
        self._finish_reached()
        outside = record.contents.header.get("outside", ())
        self._tally = Tally(record.trials.values(), frozenset(outside))
        self._schedulers: dict[tuple[str, int], ArmScheduler] = {}
        for (arm, number), search in searches.items():
            mine = [t for t in self._tally.of["search", number] if t.arm == arm]
            search.reconcile(mine)
            self._schedulers[arm, number] = study.scheduler_of(arm)
            for trial in self._schedulers[arm, number].refill(mine):
                reason = f"stopped by the scheduler at epoch {len(trial.rows)}"
                self.ended(trial.trial, "pruned", reason, **trial.facts)
        self._waiting = [t.trial for t in record.trials.values() if t.end is None]
        for name in self._waiting:
            if record.trials[name].failures and not record.trials[name].rows:
                forget(name)  # what is run again begins anew

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Tune pickles all that it is given, for a snapshot of its own that is never read."""
        return _only_the_record_restores, ()

    def length(self, trial: TrialRecord) -> int:
        """Epochs of a whole trial."""
        if trial.trial not in self._lengths:
            config: Any = make(self._work.Config, self._work.knobs_in(trial.config))
            self._lengths[trial.trial] = self._work.epochs(config)
        return self._lengths[trial.trial]

    def _finish_reached(self) -> None:
        """End the trials whose last epoch is known but whose end is not: the driver died there."""
        for trial in self.record.trials.values():
            if trial.end is None and len(trial.rows) == self.length(trial):
                state, reason = self._judged(trial, "complete", None)
                self.record.end(trial.trial, state, reason, **trial.facts)

    # What is next.

    def next(self) -> Assignment | None:
        """The next trial; None while none can be named yet, and when :attr:`finished`."""
        if self._waiting:
            return self._assign(self.record.trials[self._waiting.pop(0)])
        for search in range(self.study.searches):
            # While a search waits for its last trials, the next one has work for idle slots.
            found = self._next_search(search) or self._next_confirmation(search)
            if found is not None:
                return found
        return None

    def _assign(self, trial: TrialRecord) -> Assignment:
        return Assignment(
            trial.trial,
            trial.config,
            len(trial.rows),
            self.length(trial),
            int(trial.config["seed"]),
            trial.phase == "confirm",
            trial.phase == "confirm" or not self._schedulers[trial.arm, trial.search].stops,
        )

    def _next_search(self, search: int) -> Assignment | None:
        begun = self._tally.begun
        arms = [arm for arm, number in self._searches if number == search]
        left = [arm for arm in arms if begun[arm, search] < self.study.trials_of(arm)]
        if not left:
            return None
        # The arms take turns, so that at any moment their budgets differ by one trial at most.
        arm = min(left, key=lambda arm: begun[arm, search])
        name, number = self._free_name("search", arm)
        # Not what has begun: what was drawn for a trial of another space is not drawn again.
        params = self._searches[arm, search].ask(name, self._tally.asked[arm, search])
        config = self.study.plain(arm, params, search)
        return self._begin(name, "search", arm, number, config, search)

    def _free_name(self, phase: str, arm: str) -> tuple[str, int]:
        """Name and number of an arm's next trial; numbers go on from search to search."""
        number = self._tally.named[arm, phase]
        return f"{phase}-{arm}-{number:03d}", number

    def _next_confirmation(self, search: int) -> Assignment | None:
        if self._tally.unended["search", search]:
            return None
        left = self._confirming.left(search, self._tally.of["confirm", search])
        if not left:
            return None
        arm, config, confirms = left[0]
        name, number = self._free_name("confirm", arm)
        return self._begin(name, "confirm", arm, number, config, search, confirms)

    def _begin(
        self,
        name: str,
        phase: str,
        arm: str,
        number: int,
        config: dict[str, Any],
        search: int,
        confirms: str = "",
    ) -> Assignment:
        self.record.begin(name, phase, arm, number, config, search, confirms)
        self._tally.add(self.record.trials[name])
        if phase == "search":
            self._schedulers[arm, search].begin(name)
        return self._assign(self.record.trials[name])

    @property
    def finished(self) -> bool:
        """Whether every trial has been assigned and has ended."""
        if self._waiting or self._tally.open:
            return False
        wanted = sum(self.study.trials_of(arm) for arm, _ in self._searches)
        if self._tally.begun.total() < wanted:
            return False
        of = self._tally.of
        return not any(
            self._confirming.left(search, of["confirm", search])
            for search in range(self.study.searches)
        )

    # What happened.

    def epoch(self, trial: str, row: Mapping[str, Any]) -> None:
        """A trial finished an epoch."""
        known = self.record.trials[trial]
        if self.record.epoch(trial, row) and known.phase == "search":
            search = self._searches[known.arm, known.search]
            search.report(trial, row["epoch"], row.get(self.study.metric))

    def continues(self, trial: str, row: Mapping[str, Any]) -> bool:
        """Whether the trial's scheduler lets it continue after this row."""
        known = self.record.trials[trial]
        if known.phase != "search":
            return True
        return self._schedulers[known.arm, known.search].continues(trial, row)

    def artifact(self, trial: str, name: str, columns: Mapping[str, list[Any]]) -> None:
        """A trial made a table of its own."""
        if name == PREDICTIONS:
            write_predictions(self.record.folder, trial, columns)
            return
        self.record.artifact(trial, name, dict(columns))

    def ended(self, trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        """A trial ended; a complete one without a finite value of each goal counts as diverged."""
        known = self.record.trials[trial]
        # Of one that has reached its last epoch a resume knows the end from its rows.
        sync = state != "complete" or len(known.rows) != self.length(known)
        state, reason = self._judged(known, state, reason)
        if self.record.end(trial, state, reason, sync, **facts):
            self._tally.end(known)
            if known.phase == "search":
                self._searches[known.arm, known.search].tell(known)
            self._forget(trial)

    def _judged(self, trial: TrialRecord, state: str, reason: str | None) -> tuple[str, str | None]:
        for goal in self.study.goals() if trial.phase == "search" else ():
            value = goal.value(trial.rows)
            if state == "complete" and (value is None or not math.isfinite(value)):
                state, reason = "diverged", f"{goal.metric} is {value} at the last epoch"
        return state, reason

    def waits(self, trials: Mapping[str, float], need: str, over: bool = False) -> None:
        """These trials have no workers."""
        self.record.waits(trials, need, over)

    def enqueue(self, arm: str, point: Mapping[str, Any]) -> str:
        """Plan a known point as the next trial of an arm; what was done, as a line."""
        search, number, said = enqueue(self.study, self.record, arm, point)
        self._searches[search].enqueue(number, point)
        return said

    def drop(self, trial: str, state: str, reason: str) -> None:
        """End a trial that waits to be resumed."""
        self._waiting.remove(trial)
        self.ended(trial, state, reason)

    def running(self) -> list[TrialRecord]:
        """The trials that were assigned and have not ended."""
        waiting = set(self._waiting)
        return [t for t in list(self._tally.open.values()) if t.trial not in waiting]


def _only_the_record_restores() -> None:
    raise RuntimeError("a study is resumed from its record, not from Tune's snapshot: --resume")
