"""Optuna's part: it proposes an arm's next trial, and learns how each trial really ended.

The record of the study is the truth, this the view of it that ``optuna-dashboard`` opens:
:meth:`Search.reconcile` makes it agree with the record after a crash, or anew if it is lost.
Ray's own OptunaSearch is not used: it leaves trials with NaN running for ever, stores stopped
trials as complete, and fails to restore when the driver died at a bad moment.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    PartialFixedSampler,
    RandomSampler,
    TPESampler,
)
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.config import one_of
from srsgd_ray.results.record import TrialRecord
from srsgd_ray.search_spaces import SearchSpace

__all__ = ["SEARCHERS", "Search", "open_storage"]

SEARCHERS = {
    "tpe": "tree-structured Parzen estimator, multivariate (Optuna's default)",
    "random": "independent random draws",
    "grid": "every point of the space's grid, in random order",
    "cmaes": "covariance matrix adaptation",
}
STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


def open_storage(file: Path) -> BaseStorage:
    """The SQLite storage in ``file``; made if missing.

    Raises:
        ValueError: if the file cannot be opened.
    """
    try:
        # A dashboard may read while the study writes: wait for its lock rather than fail.
        return RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 60}})
    except Exception as error:
        raise ValueError(
            f"the Optuna storage must be writable, but {file} is not: {error}"
        ) from error


def _sampler(name: str, seed: int, trials: int) -> BaseSampler:
    one_of("search", name, SEARCHERS)
    if name == "tpe":
        # A third of the trials are drawn at random first, but never more than Optuna's own 10.
        return TPESampler(seed=seed, n_startup_trials=min(10, max(3, trials // 3)))
    if name == "cmaes":
        return CmaEsSampler(seed=seed, n_startup_trials=3, warn_independent_sampling=False)
    return RandomSampler(seed=seed)


class Search:
    """One arm's search in its own Optuna study, named ``study-arm``.

    With ``pareto`` it has two objectives, the metric and the epochs of the trial.

    The sampler is made anew for each trial from (seed, number): what it proposes depends on the
    trials that have ended, not on the order in which it was asked, and a resumed study proposes
    what the uninterrupted one would have.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study: str,
        arm: str,
        space: SearchSpace,
        *,
        searcher: str,
        mode: str,
        metric: str,
        trials: int,
        seed: int,
        pareto: bool = False,
    ) -> None:
        self.space, self.searcher, self.trials, self.seed = space, searcher, trials, seed
        self.metric, self.pareto = metric, pareto
        self._storage = storage
        direction = StudyDirection.MINIMIZE if mode == "min" else StudyDirection.MAXIMIZE
        self._study = optuna.create_study(
            storage=storage,
            study_name=f"{study}-{arm}",
            directions=[direction, StudyDirection.MINIMIZE] if pareto else [direction],
            load_if_exists=True,
        )
        self._handles: dict[str, optuna.trial.Trial] = {}

    def ask(self, trial: str, number: int) -> dict[str, Any]:
        """Values for the searched fields of the arm's trial ``number``, named ``trial``."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.searcher == "grid":
            return self._begin(trial, _fixed(self.space.points(self.seed)[number]))
        return self._begin(trial, _sampler(self.searcher, seed, self.trials))

    def _begin(self, trial: str, sampler: BaseSampler) -> dict[str, Any]:
        self._study.sampler = sampler
        handle = self._study.ask(fixed_distributions=dict(self.space.ranges))
        handle.set_user_attr("trial", trial)
        self._handles[trial] = handle
        return dict(handle.params)

    def report(self, trial: str, epoch: int, value: float | None) -> None:
        """A trial reached ``epoch`` with this value of the metric."""
        # Optuna takes no intermediate values where there are two objectives.
        if value is not None and math.isfinite(value) and not self.pareto:
            self._handles[trial].report(value, epoch)

    def tell(self, record: TrialRecord) -> None:
        """A trial ended: complete, pruned or failed, with what is known of it as attributes."""
        assert record.end is not None
        handle = self._handles.pop(record.trial)
        for name, value in _attributes(record).items():
            handle.set_user_attr(name, value)
        state = STATES[record.end["state"]]
        values = None
        if state == TrialState.COMPLETE:
            values = [record.rows[-1][self.metric], *([len(record.rows)] if self.pareto else [])]
        self._study.tell(handle, values, state=state)

    def reconcile(self, records: Sequence[TrialRecord]) -> None:
        """Make the Optuna study say of the arm's trials what their records say."""
        there: dict[str, FrozenTrial] = {}
        known = {record.trial for record in records}
        for frozen in self._study.get_trials():
            name = frozen.user_attrs.get("trial")
            if name in known:
                there[name] = frozen
            elif not frozen.state.is_finished():
                # Asked, but the driver died before it handed the trial out.
                self._study.tell(frozen.number, state=TrialState.FAIL)
        for record in records:
            told: Mapping[int, float] = {}
            if record.trial not in there:
                params = {name: record.config[name] for name in self.space.ranges}
                self._begin(record.trial, _fixed(params))
            elif there[record.trial].state.is_finished():
                continue
            else:
                frozen = there[record.trial]
                told = frozen.intermediate_values
                self._handles[record.trial] = optuna.trial.Trial(self._study, frozen._trial_id)
            for row in record.rows:
                if row["epoch"] not in told:
                    self.report(record.trial, row["epoch"], row[self.metric])
            if record.end is not None:
                self.tell(record)


def _fixed(params: dict[str, Any]) -> BaseSampler:
    """A sampler that proposes these values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return PartialFixedSampler(params, RandomSampler(seed=0))


def _attributes(record: TrialRecord) -> dict[str, Any]:
    assert record.end is not None
    found = {
        "state": record.end["state"],
        "reason": record.end.get("reason"),
        "seed": record.config["seed"],
        "epoch": len(record.rows),
        "seconds": round(record.end["ended"] - record.started, 3),
    }
    return {name: value for name, value in found.items() if value is not None}
