"""Training curves over seeds, and the steps at which the momentum restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pandas as pd

from srsgd_ray.analysis.interval import estimate
from srsgd_ray.analysis.rows import arms, numbers, rows, search_numbers
from srsgd_ray.config import TrainConfig
from srsgd_ray.results import schema_of


def seed_curves(
    epochs: pd.DataFrame, trials: pd.DataFrame, metric: str, level: float = 0.95
) -> pd.DataFrame:
    """A metric of the confirmation runs against the epoch, over the seeds of each arm.

    Only runs that are complete or still run are counted. Of runs that still run, each epoch
    counts those that reached it. Runs of one search share its luck: where an arm had several
    searches, the mean over the seeds of each counts as one value.

    Returns:
        One row for each arm and epoch: ``arm``, ``epoch`` (finished, from 1), ``n`` (runs, or
        searches), ``mean``, ``low``, ``high`` (t interval, NaN for n < 2), ``least`` and ``most``
        (over the same), in the unit of the metric.

    Raises:
        UnknownNameError: if the epochs table has no such column.
        ValueError: if the table holds more than one study, or ``level`` is not between 0 and 1.
    """
    schema_of(epochs).column(metric, "epochs")
    sound = trials[trials["state"].isin(["complete", "running"])]
    own = rows(epochs, "confirm")
    own = own[own["trial"].isin(sound["trial"])]
    own = own.assign(value=numbers(own, metric))
    own = own[np.isfinite(own["value"])]
    own = own.assign(search=search_numbers(own))
    several, table = search_numbers(trials).nunique() > 1, []
    for arm in arms(trials):
        for epoch, group in own[own["arm"] == arm].groupby("epoch"):
            by_search = group.groupby("search")["value"].mean()
            values = (by_search if several else group["value"]).tolist()
            found = {"arm": arm, "epoch": epoch, **asdict(estimate(values, level))}
            table.append({**found, "least": min(values), "most": max(values)})
    names = ["arm", "epoch", "n", "mean", "low", "high", "least", "most"]
    return pd.DataFrame(table, columns=names)


def steps_per_epoch(epochs: pd.DataFrame, trial: str) -> int:
    """Optimizer steps of an epoch of a trial, from what it recorded.

    Raises:
        ValueError: if the trial has no epoch, or its epochs differ in their steps.
    """
    own = epochs[epochs["trial"] == trial]
    per_epoch = (numbers(own, "step") / numbers(own, "epoch")).unique()
    if len(per_epoch) != 1 or per_epoch[0] != np.floor(per_epoch[0]):
        raise ValueError(
            f"every epoch of a trial must have the same number of steps, but {trial!r} has "
            f"{', '.join(f'{value:g}' for value in per_epoch) or 'no epoch yet'}."
        )
    return int(per_epoch[0])


def restart_steps(
    row: Mapping[Any, Any] | pd.Series[Any], steps: int, steps_per_epoch: int
) -> list[int]:
    """Steps (0-based, below ``steps``) at which the momentum of a run restarts.

    Args:
        row: a row of either table, or any mapping that holds the configuration.
        steps_per_epoch: see :func:`steps_per_epoch`; milestones are given in epochs.

    Returns:
        The steps in order; none for an optimizer without restarts. Divide by the steps of an epoch
        for the position on an axis of finished epochs.
    """
    config = run_config(row)
    if config.optimizer != "srsgd":
        return []
    return config.restart_schedule(steps_per_epoch).restarts(steps)


def restart_stages(
    row: Mapping[Any, Any] | pd.Series[Any], epochs: float, steps_per_epoch: int
) -> pd.DataFrame:
    """The stages of a run's restart schedule within its first ``epochs`` epochs.

    Returns:
        One row a stage: ``begin`` and ``end`` (epochs finished), ``frequency`` (the F of the
        schedule, steps), ``period`` (steps that do pass between restarts) and ``restarts`` (how
        many there are in it). Empty for an optimizer without restarts.
    """
    names = ["begin", "end", "frequency", "period", "restarts"]
    config = run_config(row)
    steps = round(epochs * steps_per_epoch)
    if config.optimizer != "srsgd":
        return pd.DataFrame(columns=names)
    schedule = config.restart_schedule(steps_per_epoch)
    begins = [start for start in schedule.starts if start < steps]
    ends = [*begins[1:], steps]
    at = np.array(schedule.restarts(steps))
    table = [
        (
            begin / steps_per_epoch,
            end / steps_per_epoch,
            schedule.periods[stage],
            schedule.period(begin),
            int(((at >= begin) & (at < end)).sum()),
        )
        for stage, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]
    return pd.DataFrame(table, columns=names)


def run_config(row: Mapping[Any, Any] | pd.Series[Any]) -> TrainConfig:
    """The config of a run, from a row of either table."""
    known = {field.name: row[field.name] for field in fields(TrainConfig) if field.name in row}
    # Tables from before a field existed do not hold it: the default is what they ran with.
    missing = {k for k, v in known.items() if v is None or (isinstance(v, float) and np.isnan(v))}
    return TrainConfig.from_dict({k: v for k, v in known.items() if k not in missing})
