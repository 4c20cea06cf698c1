"""What another search would have made of the trials that one recorded.

The recorded trials of an arm are a table: configurations, learning curves, seconds. A simulated
search takes its configurations from it, one after the other, in an order of its own: a random one,
or always that which is nearest to what its sampler proposes. Its scheduler, its number of slots and
its budget are its own, too, and it takes no more time than sampler and scheduler need to think.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from srsgd_ray.backends.base import Assignment
from srsgd_ray.backends.capacity import Plan
from srsgd_ray.backends.simulated import Recording, SimulatedBackend
from srsgd_ray.knobs import one_of
from srsgd_ray.study.recorded import Places, Recorded
from srsgd_ray.study.samplers import SEARCHERS, check_searcher, sampler_of
from srsgd_ray.study.schedulers import SCHEDULERS, ArmScheduler
from srsgd_ray.study.search import suggest

# Why a searcher cannot be simulated.
NOT_SIMULATED = {
    "grid": "takes all points in random order, as random does here",
    "cmaes": "learns from its own proposals only, and a recorded trial is merely near to one",
    "nsgaii": "learns from its own proposals only, and a recorded trial is merely near to one",
}


@dataclass(frozen=True)
class Design:
    """How a search is made.

    Attributes:
        searcher: as ``Study.searcher``, but not of ``NOT_SIMULATED``.
        scheduler: a key of ``SCHEDULERS``.
        trials: it has at most; None: as many as a recorded search of the arm had.
        epochs: it may spend; None: what its trials take.
        slots: how many trials run at a time.
        grace, reduction: as ``Study.asha_grace`` and ``Study.asha_reduction``.
    """

    searcher: str = "random"
    scheduler: str = "none"
    trials: int | None = None
    epochs: int | None = None
    slots: int = 1
    grace: int = 1
    reduction: float = 3.0

    def check(self) -> None:
        """Raise ValueError for what cannot be simulated."""
        if self.searcher in NOT_SIMULATED:
            left = ", ".join(name for name in SEARCHERS if name not in NOT_SIMULATED)
            raise ValueError(
                f"searcher {self.searcher!r} cannot be simulated: it "
                f"{NOT_SIMULATED[self.searcher]}. Use one of {left}."
            )
        check_searcher(self.searcher, scheduler=self.scheduler)
        one_of("scheduler", self.scheduler, SCHEDULERS)
        for name in ("trials", "epochs", "slots", "grace"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, but got {value}.")
        if not self.reduction > 1:
            raise ValueError(f"reduction must be above 1, but got {self.reduction}.")

    def __str__(self) -> str:
        return self.searcher if self.scheduler == "none" else f"{self.searcher}, {self.scheduler}"


class Replay:
    """One simulated search: which recorded trial is next, and what becomes of it."""

    def __init__(self, known: Recorded, places: Places, design: Design, seed: int) -> None:
        self._known, self._design, self._seed, self._places = known, design, seed, places
        size = len(known.trials)
        self._trials = design.trials or max(1, size // known.searches)
        self._free = np.ones(size, dtype=bool)
        self._order: Iterator[int] = iter(np.random.default_rng(seed).permutation(size).tolist())
        self._taken: dict[str, int] = {}
        self._curves: dict[str, dict[int, float]] = {}
        longest = max(len(trial.rows) for trial in known.trials)
        self._scheduler = ArmScheduler(
            design.scheduler, known.metric, known.mode, longest, design.grace, design.reduction
        )
        self._study: optuna.Study | None = None
        if design.searcher != "random":
            self._study = optuna.create_study(
                direction="minimize" if known.mode == "min" else "maximize"
            )
        self.stop: Callable[[], object] = lambda: None  # called when the budget is spent
        self.complete: list[int] = []
        self.spent = 0
        self._open = 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self._all_begun and not self._open

    @property
    def _over(self) -> bool:
        return self._design.epochs is not None and self.spent >= self._design.epochs

    @property
    def _all_begun(self) -> bool:
        return self._over or len(self._taken) == min(self._trials, len(self._free))

    @property
    def trials(self) -> int:
        """How many were begun."""
        return len(self._taken)

    def recording(self, assigned: Assignment) -> Recording:
        """What is played for it."""
        return self._known.trials[self._taken[assigned.trial]]

    def next(self) -> Assignment | None:
        """The recorded trial that is next in this search."""
        if self._all_begun:
            return None
        number = len(self._taken)
        at = next(self._order) if self._study is None else self._proposed(self._study, number)
        self._free[at] = False
        name = f"{self._seed}-{number:03d}"
        self._taken[name], self._curves[name] = at, {}
        self._open += 1
        self._scheduler.begin(name)
        params, epochs = self._known.params[at], len(self._known.trials[at].rows)
        return Assignment(name, params, 0, epochs, self._seed, False)

    def _proposed(self, study: optuna.Study, number: int) -> int:
        """The free trial that is nearest to what the sampler proposes."""
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        space = self._known.space
        study.sampler = sampler_of(
            self._design.searcher, number, seed, self._seed, self._trials, bool(space.conditions)
        )
        handle = study.ask()
        suggest(handle, space, {})
        # The sampler learns from the trial that is taken, which is told when it ends.
        study.tell(handle, state=TrialState.FAIL)
        return self._places.nearest(handle.params, self._free)

    def epoch(self, trial: str, row: Mapping[str, Any]) -> None:
        """An epoch is spent."""
        self.spent += 1
        if self._over:
            self.stop()
        value = row[self._known.metric]
        if value is not None and math.isfinite(value):
            self._curves[trial][row["epoch"]] = value

    def continues(self, trial: str, row: Mapping[str, Any]) -> bool:
        """Whether the scheduler lets it continue."""
        return self._scheduler.continues(trial, row)

    def artifact(self, trial: str, name: str, columns: Mapping[str, list[Any]]) -> None:
        """Recordings have none."""

    def waits(self, trials: Mapping[str, float], need: str, over: bool = False) -> None:
        """Recordings have workers."""

    def ended(self, trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        """A trial ended."""
        self._open -= 1
        at = self._taken[trial]
        value = self._known.value(at) if state == "complete" else math.nan
        if math.isfinite(value):
            self.complete.append(at)
        if self._study is None:
            return
        params, curve = self._known.params[at], self._curves[trial]
        told = TrialState.PRUNED if state == "pruned" and curve else TrialState.FAIL
        told = TrialState.COMPLETE if math.isfinite(value) else told
        self._study.add_trial(create_trial(
            state=told, params=params, intermediate_values=curve,
            distributions={name: self._known.space.ranges[name] for name in params},
            value=value if told == TrialState.COMPLETE else None,
        ))  # fmt: skip


def simulate(known: Recorded, design: Design, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Search the recorded trials again, once a seed.

    Args:
        known: the recorded trials of an arm.
        design: how they are searched.
        seeds: of the order, or of the sampler.

    Yields:
        Of each search: ``seed``, ``trials`` (begun), ``epochs`` (spent), ``seconds`` (until it
        would have ended), ``trial`` (the recorded one that it would have chosen; None if no trial
        of it was complete), ``value`` (that this ended with) and ``worse`` (by how much it is worse
        than the best recorded one; NaN without).

    Raises:
        ValueError: for a design that the recorded trials do not allow.
    """
    design.check()
    if design.trials is not None and design.trials > len(known.trials):
        raise ValueError(
            f"trials must be at most {len(known.trials)}, the recorded ones of arm {known.arm!r} "
            f"that ran to their end, but got {design.trials}."
        )
    places, best = Places(known.space, known.params), known.value(known.best)
    plan = Plan(slots=design.slots, workers=1, cpus_per_worker=1.0, gpus_per_worker=0.0)
    sign = 1 if known.mode == "min" else -1
    for seed in seeds:
        replay = Replay(known, places, design, seed)
        backend = SimulatedBackend(replay.recording)
        replay.stop = backend.stop
        backend.run(replay, plan=plan)
        chosen = min(replay.complete, key=known.ranked.index, default=None)
        value = math.nan if chosen is None else known.value(chosen)
        yield {
            "seed": seed,
            "trials": replay.trials,
            "epochs": replay.spent,
            "seconds": backend.clock,
            "trial": None if chosen is None else known.names[chosen],
            "value": value,
            "worse": sign * (value - best),
        }
