"""What optuna-dashboard shows of a study: names of metrics, attributes, and the confirmation.

The searches' own trials are :mod:`srsgd_ray.study.search`'s. The confirmation is a view of the
record alone, an Optuna study of its own that nothing is proposed from.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.knobs import value_in
from srsgd_ray.results import Record, TrialRecord

if TYPE_CHECKING:
    from srsgd_ray.study.spec import Study

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


def opened(
    storage: BaseStorage, name: str, directions: Sequence[StudyDirection], metrics: Sequence[str]
) -> optuna.Study:
    """The Optuna study of that name, made if missing, whose values are called as the metrics."""
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs each study made
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
    finally:
        optuna.logging.set_verbosity(said)
    if study.metric_names != list(metrics):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(metrics))
    return study


def attributes(record: TrialRecord) -> dict[str, Any]:
    """What is known of a trial that has ended, besides its knobs and values."""
    assert record.end is not None
    found = {
        "state": record.end["state"],
        "reason": record.end.get("reason"),
        "seed": record.config["seed"],
        "epoch": len(record.rows),
        "seconds": round(record.end["ended"] - record.started, 3),
    }
    return {name: value for name, value in found.items() if value is not None}


def alike(there: Sequence[FrozenTrial], wanted: Sequence[FrozenTrial]) -> bool:
    """Whether trials in the database are those that it should have, in this order."""

    def said(trial: FrozenTrial) -> tuple[Any, ...]:
        attrs = json.dumps(trial.user_attrs, sort_keys=True)  # as the database keeps them
        return trial.state, trial.values, trial.params, trial.distributions, attrs

    return list(map(said, there)) == list(map(said, wanted))


def with_confirmation(
    study: Study, record: Record, storage: BaseStorage | None, forget: Callable[[str], None]
) -> Callable[[str], None]:
    """``forget``, after which a confirmation run that has ended is shown beside the searches.

    Args:
        study: the study.
        record: of it; what it holds is shown at once.
        storage: of the searches; None: there is none, and nothing is shown.
        forget: is called with the name of each trial that has ended.
    """
    if storage is None:
        return forget
    shown = Confirmation(study, record, storage)
    shown.bring_up()

    def ended(trial: str) -> None:
        forget(trial)
        shown.bring_up()

    return ended


class Confirmation:
    """The Optuna study ``NAME/confirmation``: a trial a run that has ended, with its arm as knob.

    Its value is the metric by which arms are compared; seed, search and searched knobs are
    attributes. What differs from the record, as after a new arm, is made anew.
    """

    def __init__(self, study: Study, record: Record, storage: BaseStorage) -> None:
        self._study, self._record, self._storage = study, record, storage
        self._metric = study.confirm_metric
        better = next(m.better for m in study.work.metrics if m.name == self._metric)
        self._directions = [
            StudyDirection.MINIMIZE if better == "lower" else StudyDirection.MAXIMIZE
        ]
        self._arms = CategoricalDistribution([arm.name for arm in study.arms])

    @property
    def _name(self) -> str:
        return f"{self._record.contents.header['study']}/confirmation"  # no arm's name has a slash

    def differs(self) -> str:
        """What the database says of confirmation runs that the record does not, or ""."""
        try:
            there = optuna.load_study(study_name=self._name, storage=self._storage)
        except KeyError:
            return ""
        names = Counter[str]()
        for frozen in there.get_trials(deepcopy=False):
            name = frozen.user_attrs.get("trial", "")
            known, names[name] = self._record.trials.get(name), names[name] + 1
            if known is None or known.phase != "confirm" or names[name] > 1:
                return f"{name or 'a trial'} of the confirmation is not in the record"
            if known.failures or frozen.distributions["arm"] != self._arms:
                continue  # it is to run again, or arms came: it is shown anew
            if known.end is None or not alike([frozen], [self._frozen(known)]):
                return f"{name} is another one"
        return ""

    def bring_up(self) -> None:
        """Show what has ended and is not shown yet; what goes wrong is a line in the log."""
        ended = {
            t.trial: t
            for t in list(self._record.trials.values())
            if t.phase == "confirm" and t.end is not None
        }
        try:
            if ended:
                self._add(ended)
        except Exception as error:
            logging.getLogger(__name__).error(
                "the confirmation is not shown by optuna-dashboard: %s", error
            )

    def _add(self, ended: Mapping[str, TrialRecord]) -> None:
        name = self._name
        there = opened(self._storage, name, self._directions, [self._metric])
        shown = {frozen.user_attrs["trial"]: frozen for frozen in there.get_trials(deepcopy=False)}
        for trial, frozen in shown.items():
            known = ended.get(trial)
            alike = known is not None and frozen.user_attrs["state"] == known.state
            if not alike or frozen.distributions["arm"] != self._arms:
                optuna.delete_study(study_name=name, storage=self._storage)
                there, shown = opened(self._storage, name, self._directions, [self._metric]), {}
                break
        there.add_trials([self._frozen(run) for trial, run in ended.items() if trial not in shown])

    def _frozen(self, run: TrialRecord) -> optuna.trial.FrozenTrial:
        value = run.rows[-1].get(self._metric) if run.rows else None
        state = STATES[run.state]
        if value is None or not math.isfinite(value):
            state, value = TrialState.FAIL, None
        knobs = self._study.arm(run.arm).searched.ranges
        made = optuna.trial.create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params={"arm": run.arm},
            distributions={"arm": self._arms},
            user_attrs={
                "trial": run.trial,
                "search": run.search,
                **attributes(run),
                **{name: value_in(run.config, name) for name in knobs},
            },
        )
        assert run.end is not None
        start, end = (datetime.datetime.fromtimestamp(t) for t in (run.started, run.end["ended"]))
        made.datetime_start, made.datetime_complete = start, end
        return made
