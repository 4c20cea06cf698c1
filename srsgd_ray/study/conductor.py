"""Which trial is next, and what each event means: the study's logic, without Ray.

The conductor owns the record. Everything that happened is in it, so a conductor made from a
record goes on where the last one stopped: it is the resume.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.results import Record, TrialRecord, write_tables
from srsgd_ray.results.tables import trial_rows
from srsgd_ray.study.search import Search
from srsgd_ray.study.spec import Study

__all__ = ["Conductor", "Counts", "Handout"]

TABLES_EVERY = 2.0  # seconds between two writings of the tables, at least
TABLES_SHARE = 20.0  # and this many times as long as the last writing took


@dataclass(frozen=True)
class Handout:
    """A trial to run: its name, its full config, and how many of its epochs are known."""

    trial: str
    config: dict[str, Any]
    known_epochs: int


@dataclass(frozen=True)
class Counts:
    """How far the study is, in trials and in epochs."""

    trials: int
    trials_done: int
    epochs: int
    epochs_done: int


class Conductor:
    """Hands out trials (unfinished ones first, then the search, then the confirmation)."""

    def __init__(
        self,
        study: Study,
        record: Record,
        searches: Mapping[str, Search],
        forget: Callable[[str], None],
    ) -> None:
        self.study, self.record, self._searches, self._forget = study, record, searches, forget
        self._finish_reached()
        for arm, search in searches.items():
            search.reconcile([t for t in self._of("search") if t.arm == arm])
        self._waiting = [t.trial for t in record.trials.values() if t.end is None]
        self._confirm: list[tuple[str, str, int, dict[str, Any]]] | None = None
        self._written = (0.0, 0.0)

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Tune pickles all that it is given, for a snapshot of its own that is never read."""
        return _only_the_record_restores, ()

    def _of(self, phase: str) -> list[TrialRecord]:
        return [t for t in list(self.record.trials.values()) if t.phase == phase]

    def _finish_reached(self) -> None:
        """End the trials whose last epoch is known but whose end is not: the driver died there."""
        for trial in self.record.trials.values():
            if trial.end is None and len(trial.rows) == trial.config["epochs"]:
                self.record.end(trial.trial, "complete")

    def next(self) -> Handout | None:
        """The next trial; None while none can be named yet, and when :attr:`finished`."""
        if self._waiting:
            trial = self.record.trials[self._waiting.pop(0)]
            return Handout(trial.trial, trial.config, len(trial.rows))
        return self._next_search() or self._next_confirmation()

    def _next_search(self) -> Handout | None:
        begun = {arm.name: 0 for arm in self.study.arms}
        for trial in self._of("search"):
            begun[trial.arm] += 1
        # The arms take turns, so that at any moment their budgets differ by one trial at most.
        arm = min(begun, key=lambda name: begun[name])
        number = begun[arm]
        if number >= self.study.trials:
            return None
        name = f"search-{arm}-{number:03d}"
        params = self._searches[arm].ask(name, number)
        return self._begin(name, "search", arm, number, self.study.config(arm, params).to_dict())

    def _next_confirmation(self) -> Handout | None:
        if any(trial.end is None for trial in self._of("search")):
            return None
        for name, arm, number, config in self._confirmation():
            if name not in self.record.trials:
                return self._begin(name, "confirm", arm, number, config)
        return None

    def _confirmation(self) -> list[tuple[str, str, int, dict[str, Any]]]:
        """The runs of the confirmation, seed by seed, so that pairs are made early."""
        if self._confirm is None:
            chosen = [(arm, c) for arm, configs in self.chosen().items() for c in configs]
            self._confirm = []
            taken: dict[str, int] = {}
            for index in range(self.study.confirm_seeds):
                for arm, config in chosen:
                    number = taken[arm] = taken.get(arm, -1) + 1
                    more = {
                        "seed": self.study.seed + 1 + index,
                        "train_on": self.study.confirm_on,
                        "evaluate_test": True,
                    }
                    name = f"confirm-{arm}-{number:03d}"
                    self._confirm.append((name, arm, number, {**config, **more}))
        return self._confirm

    def chosen(self) -> dict[str, list[dict[str, Any]]]:
        """Configs to confirm, by arm: its fixed one, its best, or points of its Pareto front.

        Arms without a complete search trial are left out.
        """
        study = self.study
        if not study.trials:
            return {arm.name: [study.config(arm.name, {}).to_dict()] for arm in study.arms}
        table = pd.DataFrame(list(trial_rows(self.record.contents)))
        found = {}
        for arm in study.arms:
            if not any(t.arm == arm.name and t.state == "complete" for t in self._of("search")):
                continue
            if study.pareto:
                front = analysis.pareto_front(table, arm.name, study.metric, study.mode)
                names = list(analysis.spread_points(front, study.confirm_points)["trial"])
            else:
                names = [analysis.best_trial(table, arm.name, study.metric, study.mode)["trial"]]
            found[arm.name] = [self.record.trials[str(name)].config for name in names]
        return found

    def _begin(
        self, name: str, phase: str, arm: str, number: int, config: dict[str, Any]
    ) -> Handout:
        self.record.begin(name, phase, arm, number, config)
        return Handout(name, config, 0)

    @property
    def finished(self) -> bool:
        """Whether every trial has been handed out and has ended."""
        if self._waiting or any(t.end is None for t in self.record.trials.values()):
            return False
        if len(self._of("search")) < self.study.trials * len(self.study.arms):
            return False
        return all(run[0] in self.record.trials for run in self._confirmation())

    def epoch(self, trial: str, row: Mapping[str, Any]) -> None:
        """A trial finished an epoch."""
        known = self.record.trials[trial]
        if self.record.epoch(trial, row) and known.phase == "search":
            self._searches[known.arm].report(trial, row["epoch"], row[self.study.metric])
        self.write_tables()

    def ended(self, trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        """A trial ended; a complete one without a finite metric counts as diverged."""
        known = self.record.trials[trial]
        if state == "complete" and known.phase == "search":
            value = known.rows[-1][self.study.metric]
            if value is None or not math.isfinite(value):
                state, reason = "diverged", f"{self.study.metric} is {value} at the last epoch"
        if self.record.end(trial, state, reason, **facts):
            if known.phase == "search":
                self._searches[known.arm].tell(known)
            self._forget(trial)
        self.write_tables()

    def write_tables(self, force: bool = False) -> None:
        """Bring the Parquet tables up to date, unless that was done a moment ago."""
        last, took = self._written
        began = time.monotonic()
        if force or began - last > max(TABLES_EVERY, TABLES_SHARE * took):
            write_tables(self.record.folder, self.record.contents)
            self._written = (time.monotonic(), time.monotonic() - began)

    def counts(self) -> Counts:
        """Trials and epochs, done and in all; epochs that ended trials will never run are off."""
        study = self.study
        begun = list(self.record.trials.values())
        length = {arm.name: study.config(arm.name, {}).epochs for arm in study.arms}
        left = dict.fromkeys(length, study.trials + study.confirm_seeds)
        if study.pareto:
            left = dict.fromkeys(length, study.trials + study.confirm_seeds * study.confirm_points)
        if self._confirm is not None:
            left = {arm: study.trials + sum(r[1] == arm for r in self._confirm) for arm in length}
        for trial in begun:
            left[trial.arm] -= 1
        ended = [t for t in begun if t.end is not None]
        done = sum(len(t.rows) for t in begun)
        running = sum(int(t.config["epochs"]) - len(t.rows) for t in begun if t.end is None)
        to_come = sum(count * length[arm] for arm, count in left.items())
        return Counts(len(begun) + sum(left.values()), len(ended), done + running + to_come, done)

    def best_so_far(self) -> dict[str, float]:
        """Best value of the metric over each arm's complete search trials."""
        pick = min if self.study.mode == "min" else max
        values: dict[str, list[float]] = {}
        for trial in self._of("search"):
            if trial.state == "complete":
                values.setdefault(trial.arm, []).append(trial.rows[-1][self.study.metric])
        return {arm: pick(found) for arm, found in values.items()}


def _only_the_record_restores() -> None:
    raise RuntimeError("a study is resumed from its record, not from Tune's snapshot: --resume")
