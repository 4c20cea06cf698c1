"""What optuna-dashboard shows of a study: names of metrics, attributes, and the confirmation.

The searches' own trials are :mod:`srsgd_ray.study.search`'s. The confirmation is an Optuna study of
its own that nothing is proposed from.
"""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.knobs import value_in
from srsgd_ray.results import TrialRecord

if TYPE_CHECKING:
    from srsgd_ray.study.spec import Study

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


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


def confirmation(study: Study, run: TrialRecord) -> FrozenTrial:
    """A confirmation run that has ended, as a trial of the Optuna study ``NAME/confirmation``.

    Its value is the metric by which arms are compared, its arm is a knob; seed, search and searched
    knobs are attributes.
    """
    assert run.end is not None
    value = run.rows[-1].get(study.confirm_metric) if run.rows else None
    state = STATES[run.state]
    if value is None or not math.isfinite(value):
        state, value = TrialState.FAIL, None
    knobs = study.arm(run.arm).searched.ranges
    made = optuna.trial.create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={"arm": run.arm},
        distributions={"arm": CategoricalDistribution([arm.name for arm in study.arms])},
        user_attrs={
            "trial": run.trial,
            "search": run.search,
            **attributes(run),
            **{name: value_in(run.config, name) for name in knobs},
        },
    )
    start, end = (datetime.datetime.fromtimestamp(t) for t in (run.started, run.end["ended"]))
    made.datetime_start, made.datetime_complete = start, end
    return made


def confirmed_by(study: Study) -> StudyDirection:
    """Which end of that metric is better."""
    better = next(m.better for m in study.work.metrics if m.name == study.confirm_metric)
    return StudyDirection.MINIMIZE if better == "lower" else StudyDirection.MAXIMIZE
