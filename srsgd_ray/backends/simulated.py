"""Trials that were recorded, played back on a clock of its own: hours pass in milliseconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from srsgd_ray.backends.base import Assignment, Backend, Job, NotMeasured, Trials
from srsgd_ray.backends.capacity import Node, Plan


@dataclass(frozen=True)
class Recording:
    """A trial that ran to its end.

    Attributes:
        rows: of its epochs, each with the metric that is judged.
        seconds: that each epoch took.
        state: complete or diverged.
    """

    rows: Sequence[Mapping[str, Any]]
    seconds: Sequence[float]
    state: str


class SimulatedBackend(Backend):
    """Runs trials by their recordings, as many at a time as there are slots.

    Args:
        recording: gives the recording of an assigned trial.

    Attributes:
        clock: when the last event was, in seconds since the start.
    """

    def __init__(self, recording: Callable[[Assignment], Recording]) -> None:
        self._recording, self.clock = recording, 0.0
        self._stopped = False

    @contextmanager
    def open(self) -> Iterator[Sequence[Node]]:
        """Nothing is started, and no node is there."""
        yield []

    def stop(self) -> None:
        """End :meth:`run` at the next event."""
        self._stopped = True

    def measure(self, job: Job, plan: Plan) -> Callable[[dict[str, Any]], float | None]:
        """Nothing is timed: what an epoch took is recorded."""
        raise NotMeasured("a simulated trial takes what its recording says")

    def run(
        self,
        trials: Trials,
        job: Job | None = None,
        plan: Plan | None = None,
        screen: TextIO | None = None,
    ) -> None:
        """Play trials until none is left, in the order of the events on the clock."""
        idle, events = (
            plan.slots if plan else 1,
            list[tuple[float, int, Assignment, Recording, int]](),
        )
        begun = 0
        while not self._stopped:
            while idle and (assigned := trials.next()) is not None:
                found = self._recording(assigned)
                # Of two events at one time, the one of the trial that began first comes first.
                heapq.heappush(events, (self.clock + found.seconds[0], begun, assigned, found, 0))
                idle, begun = idle - 1, begun + 1
            if not events:
                return
            self.clock, which, assigned, found, at = heapq.heappop(events)
            trials.epoch(assigned.trial, found.rows[at])
            goes_on = trials.continues(assigned.trial, found.rows[at])
            if at + 1 == len(found.rows):
                trials.ended(assigned.trial, found.state)
            elif not goes_on:
                trials.ended(assigned.trial, "pruned")
            else:
                due = self.clock + found.seconds[at + 1]
                heapq.heappush(events, (due, which, assigned, found, at + 1))
                continue
            idle += 1
