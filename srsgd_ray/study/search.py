"""Optuna's part: it proposes an arm's next trial, and learns how each trial really ended.

The record of the study is the truth. A search is in memory only, and :meth:`Search.reconcile` makes
it anew from the record when a study is resumed; :mod:`srsgd_ray.study.view` writes the database
that ``optuna-dashboard`` opens. Ray's own OptunaSearch is not used: it leaves trials with NaN
running for ever, stores stopped trials as complete, and fails to restore when the driver died at a
bad moment.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna import samplers
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.results.contents import TrialRecord
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.arm import params_in
from srsgd_ray.study.samplers import sampler_of
from srsgd_ray.study.view import as_optuna, end_of, failed, in_order, reports

BUDGET = "epochs"  # what a second aim is called that is no metric
# Samplers that know all from parameters, reports and values; others keep notes of their own.
FORGETFUL = ("tpe", "random", "grid", "qmc", "gp", "rustuna")


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
        self.name = name
        self.directions = [goal.direction for goal in goals]
        self.values = [goal.metric or BUDGET for goal in goals]
        self._study = _in_memory(name, self.directions)
        self._handles: dict[str, optuna.trial.Trial] = {}
        self.prior = [made for one in prior if (made := self._known(one)) is not None]
        self._study.add_trials(self.prior)

    def _known(self, one: Mapping[str, Any]) -> FrozenTrial | None:
        """A trial of another study; a space that was changed since may not hold it any more."""
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
        return self._begin(trial, self._sampler(number))

    def _sampler(self, number: int) -> samplers.BaseSampler:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.searcher == "grid":
            return _fixed(self.space.points(self.seed)[number])
        grouped = bool(self.space.conditions)
        sampler = sampler_of(self.searcher, number, seed, self.seed, self.trials, grouped)
        if number in self._enqueue:
            sampler = _fixed(dict(self._enqueue[number]), sampler)
        return sampler

    def _begin(self, trial: str, sampler: samplers.BaseSampler) -> dict[str, Any]:
        self._study.sampler = sampler
        handle = self._study.ask()
        suggest(handle, self.space, self._fixed)
        self._handles[trial] = handle
        return dict(handle.params)

    def report(self, trial: str, epoch: int, value: float | None) -> None:
        """A trial reached ``epoch`` with this value of the metric."""
        # Optuna copies the trial each time; the forgetful look at those of pruned trials alone.
        if self.searcher in FORGETFUL:
            return
        # Optuna takes no intermediate values where there are two objectives.
        if value is not None and math.isfinite(value) and len(self.goals) == 1:
            self._handles[trial].report(value, epoch)

    def tell(self, record: TrialRecord) -> None:
        """A trial ended: complete, pruned or failed."""
        state, values = end_of(record, self.goals)
        handle = self._handles.pop(record.trial)
        if state == TrialState.PRUNED and self.searcher in FORGETFUL:
            for epoch, value in reports(record, self.goals).items():
                handle.report(value, epoch)
        self._study.tell(handle, values, state=state)

    def shown(self, record: TrialRecord) -> list[FrozenTrial]:
        """A trial as Optuna's database has it: each attempt, and the last one as it is now."""
        now = as_optuna(record, self.space, self._fixed, self.goals)
        return [*(failed(now, record, why) for why in record.failures), now]

    def reconcile(self, records: Sequence[TrialRecord]) -> None:
        """Take in what earlier sessions have recorded, into a search that has asked for nothing.

        Args:
            records: of the arm's trials in this search, in the order in which they began.
        """
        begun: list[TrialRecord] = []
        for record, attempt in in_order(records):
            shown, ran_again = self.shown(record), attempt and record.restarted
            now, last = shown[attempt], attempt == len(record.failures)
            self._tell_until(ran_again or record.started, begun)
            if not last or (record.end is not None and self.searcher in FORGETFUL):
                self._study.add_trial(now)
            else:
                asked = _fixed(now.params)
                if self.searcher not in FORGETFUL:
                    asked = _Replayed(self._sampler(record.number), now.params)
                self._begin(record.trial, asked)
                for epoch, value in now.intermediate_values.items():
                    self.report(record.trial, epoch, value)
                begun += [record] if record.end is not None else []
        self._tell_until(math.inf, begun)

    def _tell_until(self, moment: float, begun: list[TrialRecord]) -> None:
        """Tell the ends of trials up to a moment: what a sampler proposes depends on them."""
        for record in sorted(begun, key=lambda r: (r.end or {})["ended"]):
            if (record.end or {})["ended"] <= moment:
                self.tell(record)
                begun.remove(record)


def _in_memory(name: str, directions: Sequence[StudyDirection]) -> optuna.Study:
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs each study made
    try:
        return optuna.create_study(study_name=name, directions=directions)
    finally:
        optuna.logging.set_verbosity(said)


class _Replayed(samplers.BaseSampler):
    """A sampler that notes what it did when it proposed a trial, and proposes what is recorded."""

    def __init__(self, base: samplers.BaseSampler, params: Mapping[str, Any]) -> None:
        self._base, self._params = base, params

    def infer_relative_search_space(self, study: Any, trial: FrozenTrial) -> dict[str, Any]:
        """The base's."""
        return self._base.infer_relative_search_space(study, trial)

    def before_trial(self, study: Any, trial: FrozenTrial) -> None:
        """The base's."""
        self._base.before_trial(study, trial)

    def sample_relative(self, study: Any, trial: FrozenTrial, space: Any) -> dict[str, Any]:
        """As recorded, after the base has done its part."""
        drawn = self._base.sample_relative(study, trial, space)
        return {name: self._params.get(name, value) for name, value in drawn.items()}

    def sample_independent(self, study: Any, trial: FrozenTrial, name: str, spread: Any) -> Any:
        """As recorded."""
        if name in self._params:
            return self._params[name]
        return self._base.sample_independent(study, trial, name, spread)

    def after_trial(self, study: Any, trial: FrozenTrial, state: Any, values: Any) -> None:
        """The base's."""
        self._base.after_trial(study, trial, state, values)


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
