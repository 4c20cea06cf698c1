"""What a place that trials run in is to the study: one interface, for Ray and for this process.

A backend asks for trials and says what became of them; what is next is decided elsewhere, and
whoever decides it does not know where trials run.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TextIO

from srsgd_ray.backends.capacity import Autoscaler, Node, Plan
from srsgd_ray.trainable import Trainable

AHEAD = 5.0  # seconds: a trial waits for the answer to the row of an epoch that took longer
RESTARTS = 3  # how often a trial is begun again after a death, or an error not in ends.HOPELESS
ALONE = Plan(slots=1, workers=1, cpus_per_worker=1.0, gpus_per_worker=0.0)
Artifacts = Mapping[str, dict[str, list[Any]]]  # tables of a trial's own, by name


@dataclass(frozen=True)
class Assignment:
    """A trial to run, its configuration as plain values.

    Of its ``epochs``, ``known_epochs`` are in the record. A ``final`` trial is a confirmation run,
    which may read the test split. One that ``runs_ahead`` can be stopped by no scheduler: it may
    begin an epoch before the row of the one before has been answered.
    """

    trial: str
    config: dict[str, Any]
    known_epochs: int
    epochs: int
    seed: int
    final: bool
    runs_ahead: bool = False


class Trials(Protocol):
    """Whoever decides which trial is next; see :class:`srsgd_ray.study.controller.Controller`."""

    @property
    def finished(self) -> bool:
        """Whether every trial has been assigned and has ended."""

    def next(self) -> Assignment | None:
        """The next trial; None while none can be named yet, and when finished."""

    def epoch(self, trial: str, row: Mapping[str, Any]) -> None:
        """A trial finished an epoch."""

    def continues(self, trial: str, row: Mapping[str, Any]) -> bool:
        """Whether the trial continues after this row."""

    def artifact(self, trial: str, name: str, columns: Mapping[str, list[Any]]) -> None:
        """A trial made a table of its own."""

    def ended(self, trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        """A trial ended."""

    def waits(self, trials: Mapping[str, float], need: str, over: bool = False) -> None:
        """These trials, and no others, have no workers: since when, and what they need.

        ``over``: for so long, with none that runs, that the study is stopped.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Slot:
    """What a process that runs trials must know: plain values, so that it can be sent there.

    Attributes:
        path: import path of the trainable.
        folder: where its module lies, if not where Python looks.
        place: ``workers``, or ``actor``: one process, without a group of workers.
        judged: the metric that must be in every row.
        root: folder or URI for checkpoints; "" for none.
        silence_limit: seconds that a trial may go without a sign of life once there is a place
            for its workers.
        study: that processes and runs are named after.
        token: what the driver put into ``root``, for machines to recognise it; "" for nothing.
    """

    plan: Plan = ALONE
    path: str = ""
    folder: str = ""
    place: str = "workers"
    judged: str = ""
    root: str = ""
    silence_limit: float = 900.0
    study: str = ""
    token: str = ""

    @property
    def grouped(self) -> bool:
        """Whether its trials need a group of Ray Train workers."""
        return self.place == "workers" and self.plan.workers > 1


@dataclass(frozen=True)
class Job:
    """What a backend must know of a study: ``work`` is the trainable, the rest as in :class:`Slot`.

    After ``wait_limit`` seconds in which no trial has workers the study stops.
    ``work`` may be alive in this process only; other processes import it by its ``path``.
    """

    work: Trainable
    path: str
    folder: str
    judged: str
    root: str
    silence_limit: float = 900.0
    study: str = ""
    wait_limit: float = math.inf

    def slot(self, plan: Plan) -> Slot:
        """What each slot of a plan must know."""
        return Slot(
            plan, self.path, self.folder, self.work.place, self.judged, self.root,
            self.silence_limit, self.study,
        )  # fmt: skip


class Number(NamedTuple):
    """A number of a study, for those who watch many: its tags distinguish those of one name."""

    name: str
    doc: str
    tags: Mapping[str, str]
    value: float


class Backend(ABC):
    """A place that trials run in.

    Attributes:
        here: whether its machine is this one.
        lost: called in another thread, with a sentence, when the place is gone for good and
            :meth:`run` can only hang.
        numbers: how far the study is; asked while it runs.
    """

    here: bool = True
    lost: Callable[[str], object] = staticmethod(logging.getLogger(__name__).error)
    numbers: Callable[[], Iterable[Number]] = staticmethod(lambda: ())

    def tidied(self) -> list[str]:
        """End what killed drivers have left of such a place on this machine; a line for each."""
        return []

    @abstractmethod
    def open(self) -> AbstractContextManager[Sequence[Node]]:
        """Start or join it; gives the resources of its nodes."""

    def ahead(self) -> None:  # noqa: B027  most have nothing to import
        """Import what :meth:`run` needs, in a thread, while the place starts."""

    def autoscaler(self) -> Autoscaler | None:
        """What may start more nodes of the opened place; None if nothing does, or tells of it."""
        return None

    def check_shared(self, location: str) -> None:  # noqa: B027  one machine has nothing to check
        """Raise ValueError unless all of its machines use one and the same ``location``."""

    def free(self) -> Sequence[Node] | None:
        """What no other work holds now of the opened place's nodes; None: there is no other."""
        return None

    @abstractmethod
    def run(self, trials: Trials, job: Job, plan: Plan, screen: TextIO | None) -> None:
        """Run trials until all are finished, or until it was stopped.

        Args:
            trials: names them, and hears what became of them.
            job, plan: what they are; how many at a time, and on what.
            screen: where a word is said when it is asked to stop.
        """

    @abstractmethod
    def stop(self) -> None:
        """End :meth:`run` in order, from any thread: every finished epoch is kept."""

    @abstractmethod
    def measure(self, job: Job, plan: Plan) -> Callable[[dict[str, Any]], float | None]:
        """What gives the seconds of an epoch of a configuration; raises NotMeasured."""


class NotMeasured(RuntimeError):
    """A configuration that could not be timed, or not in time."""
