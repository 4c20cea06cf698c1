"""A trial of the record as Optuna's database must have it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.knobs import value_in
from srsgd_ray.results import TrialRecord
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.dashboard import STATES, attributes

if TYPE_CHECKING:
    from srsgd_ray.study.search import Goal


def reports(record: TrialRecord, goals: Sequence[Goal]) -> dict[int, float]:
    """The metric by epoch; Optuna takes none where there are two goals."""
    found = {row["epoch"]: row.get(goals[0].metric) for row in record.rows if len(goals) == 1}
    return {e: float(v) for e, v in found.items() if v is not None and math.isfinite(v)}


def end_of(record: TrialRecord, goals: Sequence[Goal]) -> tuple[TrialState, list[float] | None]:
    """How a trial ended, and its values if it is complete."""
    state = STATES[record.state]
    if state != TrialState.COMPLETE:
        return state, None
    found = [goal.value(record.rows) for goal in goals]
    values = [float(value) for value in found if value is not None and math.isfinite(value)]
    # Records of older versions call a trial without a value complete.
    return (state, values) if len(values) == len(found) else (TrialState.FAIL, None)


def as_optuna(
    record: TrialRecord, space: SearchSpace, fixed: Mapping[str, Any], goals: Sequence[Goal]
) -> FrozenTrial:
    """The trial as it is in the database once Optuna was told all that the record knows.

    Args:
        record: the trial.
        space: that it was searched in.
        fixed: values of knobs outside of the space, which conditions may name.
        goals: that it is judged by.
    """
    values, params = dict(fixed), {}
    for name in space.ordered():
        if not space.active(name, values):
            continue
        value, spread = value_in(record.config, name), space.ranges[name]
        nothing = isinstance(spread, CategoricalDistribution) and None in spread.choices
        if value is not None or nothing:
            values[name] = params[name] = value
    told, state, final = reports(record, goals), TrialState.RUNNING, None
    attrs = {"trial": record.trial}
    if record.end is not None:
        state, final = end_of(record, goals)
        attrs |= attributes(record)
    if state == TrialState.PRUNED and told:  # so does Optuna
        final = [told[max(told)]]
    ended = datetime.datetime.fromtimestamp(record.end["ended"]) if record.end else None
    # Not by create_trial, half of whose time are checks: Optuna makes them where it adds a trial.
    return FrozenTrial(
        number=-1, trial_id=-1, state=state, value=None, values=final, params=params,
        distributions={name: space.ranges[name] for name in params}, intermediate_values=told,
        user_attrs=attrs, system_attrs={}, datetime_complete=ended,
        datetime_start=datetime.datetime.fromtimestamp(record.started),
    )  # fmt: skip


def failed(now: FrozenTrial, record: TrialRecord, why: str) -> FrozenTrial:
    """An earlier attempt of a trial that was run again."""
    return optuna.trial.create_trial(
        state=TrialState.FAIL, params=now.params, distributions=now.distributions,
        user_attrs={"trial": record.trial, "state": "failed", "reason": why},
    )  # fmt: skip


def in_order(records: Iterable[TrialRecord]) -> list[tuple[TrialRecord, int]]:
    """The attempts of arms' trials, those of each arm in the order in which they began."""
    every = [(record, attempt) for record in records for attempt in range(len(record.retried) + 1)]
    return sorted(
        every, key=lambda each: (each[0].number, -1, 0) if not each[1]
        else (each[0].retried[each[1] - 1] - 0.5, each[1], each[0].number)
    )  # fmt: skip
