"""Schedulers that stop bad trials early: Tune's own, one for each arm's search.

An arm's trials are compared with that arm's only: otherwise the arm that learns faster at first
would eat the other's budget. The confirmation runs to its end.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from srsgd_ray.knobs import one_of
from srsgd_ray.results.record import TrialRecord

__all__ = ["SCHEDULERS", "ArmScheduler", "check_scheduler"]

SCHEDULERS = {
    "none": "every trial runs to its last epoch",
    "asha": "asynchronous successive halving: bad trials stop at a rung",
    "hyperband": "the same with several brackets, some of which wait longer before the first rung",
    "median": "a trial stops where it is worse than the median of the others so far",
}


def check_scheduler(name: str) -> None:
    """Raise UnknownNameError unless there is such a scheduler."""
    one_of("scheduler", name, SCHEDULERS)


class _Named:
    """All that the schedulers look at in a trial; ours keep their names when they are resumed."""

    def __init__(self, name: str) -> None:
        self.trial_id = name

    def __hash__(self) -> int:
        return hash(self.trial_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and other.trial_id == self.trial_id


class _Nobody:
    """Stands for Tune's controller: no trial waits for another's place."""

    def get_live_trials(self) -> list[Any]:
        """None."""
        return []


class ArmScheduler:
    """Decides for one arm's search trials whether they go on.

    Args:
        name: a key of ``SCHEDULERS``.
        metric, mode: what the search judges by.
        epochs: of a whole trial.
        grace: epochs before which no trial is stopped.
        reduction: of ASHA: one trial in so many goes on past a rung.
    """

    def __init__(
        self, name: str, metric: str, mode: str, epochs: int, grace: int, reduction: float
    ) -> None:
        check_scheduler(name)
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

    def begin(self, trial: str) -> None:
        """A trial begins."""
        if self._scheduler is None:
            return
        # Hyperband draws a bracket from numpy's global generator: the trial's name decides instead.
        with _drawn_from(trial):
            self._scheduler.on_trial_add(_Nobody(), _Named(trial))

    def go_on(self, trial: str, row: Mapping[str, Any]) -> bool:
        """Whether a trial goes on after this row."""
        if self._scheduler is None or row.get(self._metric) is None:
            return True
        return bool(
            self._scheduler.on_trial_result(_Nobody(), _Named(trial), dict(row)) == "CONTINUE"
        )

    def refill(self, trials: list[TrialRecord]) -> None:
        """Take in what earlier sessions have recorded, so that rungs are as full as they were."""
        for known in trials:
            self.begin(known.trial)
            for row in known.rows:
                self.go_on(known.trial, row)


class _drawn_from:
    """numpy's global generator, seeded by a name for a moment."""

    def __init__(self, name: str) -> None:
        self._seed = random.Random(name).randrange(2**32)

    def __enter__(self) -> None:
        import numpy as np

        self._state = np.random.get_state()  # noqa: NPY002
        np.random.seed(self._seed)  # noqa: NPY002

    def __exit__(self, *error: object) -> None:
        import numpy as np

        np.random.set_state(self._state)  # noqa: NPY002
