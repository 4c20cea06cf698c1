"""Optuna's part: it proposes an arm's next trial, and learns how each trial really ended.

The record of the study is the truth, this the view of it that ``optuna-dashboard`` opens:
:meth:`Search.reconcile` makes it agree with the record after a crash, or anew if it is lost.
Ray's own OptunaSearch is not used: it leaves trials with NaN running for ever, stores stopped
trials as complete, and fails to restore when the driver died at a bad moment.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna import samplers
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.results.contents import TrialRecord
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.arm import params_in
from srsgd_ray.study.dashboard import alike, attributes, opened
from srsgd_ray.study.samplers import sampler_of
from srsgd_ray.study.view import as_optuna, differ, end_of, in_order

LOCK_WAIT = 60.0  # seconds
BUDGET = "epochs"  # what a second aim is called that is no metric


def open_storage(file: Path | None) -> BaseStorage:
    """The SQLite storage in ``file``, made if missing; None: one in memory.

    Raises:
        ValueError: if the file cannot be opened.
    """
    if file is None:
        return InMemoryStorage()

    # A dashboard may read while the study writes: wait for its lock rather than fail. A path stays
    # out of the URL: no escape takes "?", "#" or "%" in it all the way to SQLite.
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, timeout=LOCK_WAIT, check_same_thread=False)

    try:
        return RDBStorage("sqlite:///optuna.db", engine_kwargs={"creator": connect})
    except Exception as error:
        message = f"the Optuna storage must be writable, but {file} is not: {error}"
        raise ValueError(message) from error


@dataclass(frozen=True)
class Goal:
    """A metric that a search judges by, and which end of it is better; "" names the budget."""

    metric: str
    mode: str = "min"

    @property
    def direction(self) -> StudyDirection:
        """The same in Optuna's words."""
        return StudyDirection.MINIMIZE if self.mode == "min" else StudyDirection.MAXIMIZE

    def value(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """The value that a trial with these rows has."""
        if not self.metric:
            return float(len(rows))
        found: float | None = rows[-1].get(self.metric) if rows else None
        return found


class Search:
    """One arm's search in its own Optuna study, ``study-arm``, or ``study-arm/1`` and so on.

    The sampler is made anew for each trial from (seed, number): what it proposes depends on the
    trials that have ended, not on the order in which it was asked, and a resumed study proposes
    what the uninterrupted one would have.

    Args:
        storage: see :func:`open_storage`.
        goals: one, or two whose Pareto front is searched.
        searcher: a key of ``samplers.SEARCHERS``, or the import path of an Optuna sampler.
        trials: how many there will be.
        seed: of what is drawn.
        fixed: values of knobs outside of the space, which conditions may name.
        enqueue: known points by the number of the trial that takes one; knobs that it leaves out
            are sampled.
        number: of this among the arm's independent searches, from 0.
        spaces: how many spaces it has been searched in, with this one.
        prior: trials of other studies; see ``study.prior``.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study: str,
        arm: str,
        space: SearchSpace,
        *,
        goals: Sequence[Goal],
        searcher: str,
        trials: int,
        seed: int,
        fixed: Mapping[str, Any] | None = None,
        enqueue: Mapping[int, Mapping[str, Any]] | None = None,
        number: int = 0,
        spaces: int = 1,
        prior: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.space, self.searcher, self.trials, self.seed = space, searcher, trials, seed
        self.goals, self._fixed = tuple(goals), dict(fixed or {})
        self._enqueue = dict(enqueue or {})
        name = f"{study}-{arm}" + f"/{number}" * (number > 0)  # no arm's name has a slash
        name += f" in space {spaces}" * (spaces > 1)  # Optuna keeps the choices of a study
        aims, named = [goal.direction for goal in goals], [goal.metric or BUDGET for goal in goals]
        self.storage, self._study = storage, opened(storage, name, aims, named)
        self._handles: dict[str, optuna.trial.Trial] = {}
        self._prior = [made for one in prior if (made := self._of_prior(one)) is not None]
        there = self._study.get_trials(deepcopy=False)
        if all("prior" in trial.user_attrs for trial in there):  # the first that a sampler knows
            for trial in self._prior[len(there) :]:
                self._study.add_trial(trial)

    def _of_prior(self, one: Mapping[str, Any]) -> FrozenTrial | None:
        """A trial of another study; None if a space that was changed since does not hold it."""
        params = params_in(self.space, self._fixed, one["params"])
        if params is None or params != one["params"]:
            return None
        return optuna.trial.create_trial(
            params=params, values=one["values"],
            user_attrs={"prior": f"{one['folder']}: {one['trial']}"},
            distributions={k: self.space.ranges[k] for k in params},
        )  # fmt: skip

    def enqueue(self, number: int, point: Mapping[str, Any]) -> None:
        """Have the trial of that number take a known point."""
        self._enqueue[number] = point

    def ask(self, trial: str, number: int) -> dict[str, Any]:
        """Values for the searched knobs of the arm's trial ``number``, named ``trial``."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.searcher == "grid":
            return self._begin(trial, _fixed(self.space.points(self.seed)[number]))
        grouped = bool(self.space.conditions)
        sampler = sampler_of(self.searcher, number, seed, self.seed, self.trials, grouped)
        if number in self._enqueue:
            sampler = _fixed(dict(self._enqueue[number]), sampler)
        return self._begin(trial, sampler)

    def _begin(self, trial: str, sampler: samplers.BaseSampler) -> dict[str, Any]:
        self._study.sampler = sampler
        handle = self._study.ask()
        suggest(handle, self.space, self._fixed)
        handle.set_user_attr("trial", trial)
        self._handles[trial] = handle
        return dict(handle.params)

    def report(self, trial: str, epoch: int, value: float | None) -> None:
        """A trial reached ``epoch`` with this value of the metric."""
        # Optuna takes no intermediate values where there are two objectives.
        if value is not None and math.isfinite(value) and len(self.goals) == 1:
            self._handles[trial].report(value, epoch)

    def tell(self, record: TrialRecord) -> None:
        """A trial ended: complete, pruned or failed, with what is known of it as attributes."""
        assert record.end is not None
        handle = self._handles.pop(record.trial)
        for name, value in attributes(record).items():
            handle.set_user_attr(name, value)
        state, values = end_of(record, self.goals)
        self._study.tell(handle, values, state=state)

    def _there(self) -> tuple[dict[str, list[FrozenTrial]], list[FrozenTrial]]:
        """The trials in the database by name, and those that a driver asked for and no more."""
        named: dict[str, list[FrozenTrial]] = {}
        asked = []
        for frozen in self._study.get_trials(deepcopy=False):
            told = frozen.intermediate_values or "state" in frozen.user_attrs
            open_ = frozen.state == TrialState.RUNNING
            if frozen.state == TrialState.FAIL and not told:
                continue  # it died before it assigned the trial, as was seen by an earlier resume
            if open_ and not told:
                asked.append(frozen)
            if "prior" not in frozen.user_attrs:
                named.setdefault(frozen.user_attrs.get("trial", ""), []).append(frozen)
        return named, asked

    def differs(self, records: Sequence[TrialRecord]) -> str:
        """What the database says that the record does not, or "" if it only lags behind a crash.

        Args:
            records: of the arm's trials in this search.
        """
        every = self._study.get_trials(deepcopy=False)
        prior = [trial for trial in every if "prior" in trial.user_attrs]
        if not alike(prior, self._prior) or prior != every[: len(prior)]:
            return "its prior is not that of the record"
        there, asked = self._there()
        for name in there.keys() - {record.trial for record in records}:
            if any(frozen not in asked for frozen in there[name]):
                return f"{name or 'a trial'} is not in the record"
        if not there:
            return ""
        for record in records:
            own, attempts = there.get(record.trial, []), len(record.failures) + 1
            if len(own) not in (attempts, max(1, attempts - 1)):
                return f"{record.trial} is there {len(own)} times instead of {attempts}"
            wanted = as_optuna(record, self.space, self._fixed, self.goals)
            if len(own) == attempts and (said := differ(own[-1], wanted)):
                return f"{record.trial} {said}"
        return ""

    def reconcile(self, records: Sequence[TrialRecord]) -> None:
        """Make the Optuna study say of the arm's trials what their records say."""
        there, asked = self._there()
        known = {record.trial for record in records}
        for frozen in asked:
            if frozen.user_attrs.get("trial") not in known:
                # Asked, but the driver died before it assigned the trial.
                self._study.tell(frozen.number, state=TrialState.FAIL)
        for record, attempt in in_order(records):
            own = there.get(record.trial, [])
            wanted = as_optuna(record, self.space, self._fixed, self.goals)
            if attempt < len(record.failures):  # before it was run again
                if attempt >= len(own):
                    said = record.failures[attempt]
                    attrs = {"trial": record.trial, "state": "failed", "reason": said}
                    self._study.add_trial(_failed(wanted, attrs))
                elif not own[attempt].state.is_finished():  # nobody has told its end
                    before = optuna.trial.Trial(self._study, own[attempt]._trial_id)
                    before.set_user_attr("state", "failed")
                    self._study.tell(before, state=TrialState.FAIL)
                continue
            if len(own) <= attempt:
                if record.end is not None:
                    self._study.add_trial(wanted)
                    continue
                reported: Mapping[int, float] = {}
                self._begin(record.trial, _fixed(wanted.params))
            elif own[-1].state.is_finished():
                continue
            else:
                reported = own[-1].intermediate_values
                self._handles[record.trial] = optuna.trial.Trial(self._study, own[-1]._trial_id)
            for row in record.rows:
                if row["epoch"] not in reported:
                    self.report(record.trial, row["epoch"], row.get(self.goals[0].metric))
            if record.end is not None:
                self.tell(record)


def _failed(wanted: FrozenTrial, attrs: dict[str, Any]) -> FrozenTrial:
    """An earlier attempt of a trial that was run again."""
    return optuna.trial.create_trial(
        state=TrialState.FAIL, params=wanted.params, distributions=wanted.distributions,
        user_attrs=attrs,
    )  # fmt: skip


def suggest(handle: optuna.trial.Trial, space: SearchSpace, fixed: Mapping[str, Any]) -> None:
    """Have a trial draw every knob of a space that is searched there.

    Args:
        fixed: values of knobs outside of the space, which conditions may name.
    """
    values = dict(fixed)
    for name in space.ordered():
        if space.active(name, values):
            values[name] = _suggest(handle, name, space.ranges[name])


def _suggest(handle: optuna.trial.Trial, name: str, spread: Any) -> Any:
    """A value of one knob, by the public methods of Optuna."""
    if isinstance(spread, optuna.distributions.FloatDistribution):
        return handle.suggest_float(name, spread.low, spread.high, step=spread.step, log=spread.log)
    if isinstance(spread, optuna.distributions.IntDistribution):
        return handle.suggest_int(name, spread.low, spread.high, step=spread.step, log=spread.log)
    return handle.suggest_categorical(name, spread.choices)


def _fixed(
    params: dict[str, Any], base: samplers.BaseSampler | None = None
) -> samplers.BaseSampler:
    """A sampler that proposes these values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return samplers.PartialFixedSampler(params, base or samplers.RandomSampler(seed=0))
