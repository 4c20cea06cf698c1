"""Schedulers that stop bad trials early: Tune's own, one for each arm's search.

An arm's trials are compared with that arm's only: otherwise the trials of an arm that learns
more slowly at first would be stopped. The confirmation runs to its end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from srsgd_ray.results.contents import TrialRecord

SCHEDULERS = {
    "none": "every trial runs to its last epoch",
    "asha": "asynchronous successive halving: bad trials stop at a rung",
    "hyperband": "the same with several brackets, some of which wait longer before the first rung",
    "median": "a trial stops where it is worse than the median of the others so far",
}


@dataclass(frozen=True)
class _Named:
    """All that the schedulers read of a trial; its name stays the same when it is resumed."""

    trial_id: str


class _Nobody:
    """Stands for Tune's controller: no trial waits for another's place."""

    def get_live_trials(self) -> list[Any]:
        """None."""
        return []


class ArmScheduler:
    """Decides for one arm's search trials whether they continue.

    Args:
        name: a key of ``SCHEDULERS``.
        metric, mode: what the search judges by.
        epochs: of a whole trial.
        grace: epochs before which no trial is stopped.
        reduction: of ASHA: one trial in so many continues past a rung.
    """

    def __init__(
        self, name: str, metric: str, mode: str, epochs: int, grace: int, reduction: float
    ) -> None:
        self._metric, self._grace = metric, min(grace, epochs)
        self._scheduler: Any = None
        if name == "none":
            return
        # Here, for it takes a second: most studies stop no trial.
        from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

        if name == "median":
            self._scheduler = MedianStoppingRule(
                time_attr="epoch", metric=metric, mode=mode, grace_period=self._grace
            )
        else:
            self._scheduler = AsyncHyperBandScheduler(
                time_attr="epoch",
                metric=metric,
                mode=mode,
                max_t=epochs,
                grace_period=self._grace,
                reduction_factor=reduction,
                brackets=3 if name == "hyperband" else 1,
                # The last rung is the last epoch: a trial that gets there is complete.
                stop_last_trials=False,
            )

    @property
    def stops(self) -> bool:
        """Whether it may stop a trial at all."""
        return self._scheduler is not None

    def begin(self, trial: str) -> None:
        """A trial begins."""
        if self._scheduler is None:
            return
        # Hyperband draws a bracket from numpy's global generator: the trial's name decides instead.
        with _drawn_from(trial):
            self._scheduler.on_trial_add(_Nobody(), _Named(trial))

    def continues(self, trial: str, row: Mapping[str, Any]) -> bool:
        """Whether a trial continues after this row."""
        if self._scheduler is None or row.get(self._metric) is None:
            return True
        return bool(
            self._scheduler.on_trial_result(_Nobody(), _Named(trial), dict(row)) == "CONTINUE"
        )

    def refill(self, trials: list[TrialRecord]) -> list[TrialRecord]:
        """Take in what earlier sessions have recorded, as it came: rungs are as full as they were.

        Returns:
            Those that were to stop, and whose end is not known: the driver died in between.
        """
        came: list[tuple[float, TrialRecord, Any]] = [(t.started, t, None) for t in trials]
        came += [(at, t, row) for t in trials for at, row in zip(t.times, t.rows, strict=True)]
        goes_on: dict[str, bool] = {}
        for _, known, row in sorted(came, key=lambda each: each[0]) if self.stops else ():
            if row is None:
                self.begin(known.trial)
            else:
                goes_on[known.trial] = self.continues(known.trial, row)
        return [t for t in trials if t.end is None and not goes_on.get(t.trial, True)]


@contextmanager
def _drawn_from(name: str) -> Iterator[None]:
    """numpy's global generator, seeded by a name for a moment."""
    import numpy as np

    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(random.Random(name).randrange(2**32))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
