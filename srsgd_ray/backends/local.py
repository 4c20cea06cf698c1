"""Trials in this process, or in a few processes of this machine: without Ray, at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from srsgd_ray.backends.base import Artifacts, Backend, Job, Trials
from srsgd_ray.backends.capacity import Node, Plan
from srsgd_ray.backends.ends import attempt
from srsgd_ray.backends.generators import generators_kept
from srsgd_ray.backends.processes import Running, run_in_processes
from srsgd_ray.backends.signals import interrupt, on_interrupt
from srsgd_ray.backends.trial import Cache, TrialRun
from srsgd_ray.knobs import make


class LocalBackend(Backend):
    """One slot is this process itself; more are processes, each with its share of the CPUs."""

    def __init__(self) -> None:
        self._asked = self._busy = self._signalled = False

    @contextmanager
    def open(self) -> Iterator[Sequence[Node]]:
        """This machine's CPUs, and its GPUs if torch sees any."""
        cpus = float(len(os.sched_getaffinity(0)))
        gpus = 0.0
        drivers = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, and either under WSL
        if "torch" in sys.modules or any(Path(driver).exists() for driver in drivers):
            import torch

            gpus = float(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        yield [{"CPU": cpus, "GPU": gpus}]

    def stop(self) -> None:
        """As Ctrl-C does."""
        self._asked = True
        if self._signalled:
            interrupt()

    def measure(self, job: Job, plan: Plan) -> Callable[[dict[str, Any]], float | None]:
        """Times in this process."""

        def seconds(config: dict[str, Any]) -> float | None:
            return job.work.seconds(make(job.work.Config, config), plan.workers, plan.threads)

        return seconds

    def run(self, trials: Trials, job: Job, plan: Plan, screen: TextIO | None) -> None:
        """Trial after trial; Ctrl-C and SIGTERM end it between two rows."""
        self._asked = self._busy = False

        def asked(count: int) -> None:
            if not self._asked and screen is not None:
                print("\nStopping; every finished epoch is kept.", file=screen)
            self._asked = True
            if not self._busy:
                raise KeyboardInterrupt

        with on_interrupt(asked) as self._signalled:
            try:
                if plan.slots == 1:
                    with generators_kept():
                        self._in_this_process(trials, job, plan)
                else:
                    with self.undisturbed():
                        run_in_processes(trials, job.slot(plan), lambda: self._asked)
            except KeyboardInterrupt:
                self._asked = True

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """The record is written here: a signal waits until that is over."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._asked:
            raise KeyboardInterrupt

    def _in_this_process(self, trials: Trials, job: Job, plan: Plan) -> None:
        cache, slot = Cache(), job.slot(plan)
        device = "cuda" if plan.gpus_per_worker else "cpu"
        while True:
            with self.undisturbed():
                assignment = trials.next()
            if assignment is None:
                return
            running = Running(trials, assignment)
            link = _Here(self, running)
            start = partial(TrialRun, job.work, assignment, link, slot, device=device, cache=cache)
            ended = False
            while not ended:
                end, _ = attempt(start)
                with self.undisturbed():
                    ended = running.ended(end)


class _Here:
    """Joins a trial in this process to the study."""

    def __init__(self, backend: LocalBackend, running: Running) -> None:
        self._backend, self._running = backend, running
        self._continues = True

    def row(self, row: dict[str, Any], artifacts: Artifacts) -> None:
        """Store the row."""
        with self._backend.undisturbed():
            self._continues = self._running.row(row, artifacts)

    def leave(self, epoch: int) -> bool:
        """What storing the row decided."""
        return self._continues

    def touch(self, step: int) -> None:
        """Nobody watches."""
