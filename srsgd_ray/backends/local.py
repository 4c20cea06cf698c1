"""Trials in this process, or in a few processes of this machine: without Ray, at once."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from srsgd_ray.backends.base import Assignment, Backend, Job, Trials
from srsgd_ray.backends.capacity import Node, Plan
from srsgd_ray.backends.ends import HOPELESS, reason_of, run_trial
from srsgd_ray.backends.processes import RESTARTS, Processes, run_of, store_row, tell_end
from srsgd_ray.backends.trial import Cache
from srsgd_ray.knobs import make

__all__ = ["LocalBackend"]


class LocalBackend(Backend):
    """One slot is this process itself; more are processes, each with its share of the CPUs."""

    def __init__(self) -> None:
        self._asked = False
        self._busy = False

    @contextmanager
    def open(self) -> Iterator[Sequence[Node]]:
        """This machine's CPUs, and its GPUs if torch sees any."""
        cpus = float(len(os.sched_getaffinity(0)))
        gpus = 0.0
        if "torch" in sys.modules or Path("/dev/nvidia0").exists():
            import torch

            gpus = float(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        yield [{"CPU": cpus, "GPU": gpus}]

    def stop(self) -> None:
        """As Ctrl-C does."""
        self._asked = True
        if self._main:
            os.kill(os.getpid(), signal.SIGINT)

    def measure(self, job: Job, plan: Plan) -> Callable[[dict[str, Any]], float | None]:
        """Times in this process."""

        def seconds(config: dict[str, Any]) -> float | None:
            return job.work.seconds(make(job.work.Config, config), plan.workers, plan.threads)

        return seconds

    def run(self, trials: Trials, job: Job, plan: Plan, screen: TextIO | None) -> None:
        """Trial after trial; Ctrl-C and SIGTERM end it between two rows."""
        self._asked = self._busy = False
        with self._interruptible(screen):
            if plan.slots == 1:
                with _own_generators():
                    self._in_this_process(trials, job, plan)
            else:
                Processes(trials, job, plan, lambda: self._asked).run()

    @contextmanager
    def _interruptible(self, screen: TextIO | None) -> Iterator[None]:
        self._main = threading.current_thread() is threading.main_thread()

        def asked(signum: int, frame: Any) -> None:
            if not self._asked and screen is not None:
                print("\nStopping; every finished epoch is kept.", file=screen)
            self._asked = True
            if not self._busy:
                raise KeyboardInterrupt

        before = {}
        if self._main:
            before = {n: signal.signal(n, asked) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except KeyboardInterrupt:
            self._asked = True
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """The record is written here: a signal waits until that is over."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._asked:
            raise KeyboardInterrupt

    def _in_this_process(self, trials: Trials, job: Job, plan: Plan) -> None:
        cache = Cache()
        while True:
            with self._undisturbed():
                assignment = trials.next()
            if assignment is None:
                return
            self._trial(assignment, trials, job, plan, cache)

    def _trial(
        self, assignment: Assignment, trials: Trials, job: Job, plan: Plan, cache: Cache
    ) -> None:
        trouble = ""
        for attempt in range(RESTARTS + 1):
            link = _Here(self, assignment, trials)
            run = run_of(assignment, job, plan, link, cache)
            try:
                end = run_trial(job.work, job.work.knobs_in(assignment.config), run)
            except HOPELESS as error:
                end = {"state": "failed", "reason": reason_of(error)}
            except Exception as error:
                said = reason_of(error)
                if said != trouble and attempt < RESTARTS:
                    trouble = said
                    continue
                end = {"state": "failed", "reason": said}
            with self._undisturbed():
                tell_end(trials, assignment, end, run.done)
            return


class _Here:
    """Joins a trial in this process to the study."""

    def __init__(self, backend: LocalBackend, assignment: Assignment, trials: Trials) -> None:
        self._backend, self._assignment, self._trials = backend, assignment, trials
        self._known = assignment.known_epochs

    def row(self, row: dict[str, Any], artifacts: dict[str, dict[str, list[Any]]]) -> bool:
        """Store the row; whether the trial may go on."""
        with self._backend._undisturbed():
            go_on = store_row(self._trials, self._assignment, row, artifacts, self._known)
            self._known = max(self._known, row["epoch"])
        return go_on

    def leave(self, epoch: int, told: Any) -> bool:
        """What :meth:`row` said."""
        return bool(told)

    def touch(self, step: int) -> None:
        """Nobody watches."""


@contextmanager
def _own_generators() -> Iterator[None]:
    """Trials seed the global random generators: what the user's process had comes back."""
    import numpy as np

    torch = sys.modules.get("torch")
    kept = (random.getstate(), np.random.get_state())  # noqa: NPY002
    of_torch = (torch.get_rng_state(), torch.get_num_threads()) if torch is not None else None
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        if torch is not None and of_torch is not None:
            torch.set_rng_state(of_torch[0])
            torch.set_num_threads(of_torch[1])
