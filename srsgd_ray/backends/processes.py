"""Trials in a few processes of this machine; the one that starts them alone writes the record."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from srsgd_ray.backends.base import Assignment, Job, Trials
from srsgd_ray.backends.capacity import Plan
from srsgd_ray.backends.ends import HOPELESS, reason_of, run_trial
from srsgd_ray.backends.store import CheckpointStore
from srsgd_ray.backends.trial import Cache, TrialRun
from srsgd_ray.trainable import find

__all__ = ["RESTARTS", "Processes", "run_of", "store_row", "tell_end"]

RESTARTS = 3  # how often a trial may be taken up again after an error that may pass away
LOOK = 0.2  # seconds between two looks whether a stop was asked for
TOUCH_EVERY = 1.0  # seconds between two signs of life that a process sends


def store_row(
    trials: Trials,
    assignment: Assignment,
    row: dict[str, Any],
    artifacts: dict[str, dict[str, list[Any]]],
    known: int,
) -> bool:
    """Note a row that is new; whether the trial may go on."""
    for name, columns in artifacts.items():
        trials.artifact(assignment.trial, name, columns)
    if row["epoch"] <= known:
        return True
    go_on = row["epoch"] == assignment.epochs or trials.go_on(assignment.trial, row)
    trials.epoch(assignment.trial, row)
    return go_on


def tell_end(trials: Trials, assignment: Assignment, end: dict[str, Any], done: int) -> None:
    """Note how a trial ended."""
    facts = {k: v for k, v in end.items() if v is not None and k not in ("state", "reason")}
    state, reason = end["state"], end.get("reason")
    if state == "stopped":
        state, reason = "pruned", f"stopped by the scheduler at epoch {done}"
    trials.ended(assignment.trial, state, reason, workers=1, **facts)


def run_of(assignment: Assignment, job: Job, plan: Plan, link: Any, cache: Cache) -> TrialRun:
    """The surroundings of a trial on this machine."""
    gpu = plan.gpus_per_worker > 0
    return TrialRun(
        job.work,
        link,
        CheckpointStore(job.checkpoints(assignment.trial)),
        seed=assignment.seed,
        epochs=assignment.epochs,
        final=assignment.final,
        threads=plan.threads,
        device="cuda" if gpu else "cpu",
        cache=cache,
        judged=job.judged,
    )


class _Slot:
    """A process, and the trial that it runs."""

    def __init__(self, job: Job, plan: Plan, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.assignment: Assignment | None = None
        self.known, self.deaths, self.trouble = 0, 0, ""
        self.heard = time.monotonic()
        self.process = context.Process(
            target=_serve, args=(theirs, job.path, job.folder, job, plan, number), daemon=True
        )
        self.process.start()
        theirs.close()


class Processes:
    """Slots as processes: this one alone writes the record."""

    def __init__(self, trials: Trials, job: Job, plan: Plan, asked: Callable[[], bool]) -> None:
        # What is sent to another process holds no live trainable: it is imported there.
        self._trials, self._job, self._plan, self._asked = trials, job, plan, asked

    def run(self) -> None:
        """Until nothing is left; the processes are gone afterwards."""
        slots = [self._start(number) for number in range(self._plan.slots)]
        try:
            while not self._asked():
                for slot in slots:
                    if slot.assignment is None and not self._assign(slot):
                        break
                busy = [slot for slot in slots if slot.assignment is not None]
                if not busy:
                    return
                ready = wait([slot.pipe for slot in busy], timeout=LOOK)
                for slot in busy:
                    if slot.pipe in ready:
                        self._hear(slots, slot)
                    elif time.monotonic() - slot.heard > self._job.silence_limit:
                        self._lost(slots, slot, "no sign of life")
        finally:
            for slot in slots:
                slot.process.kill()
                slot.process.join()

    def _start(self, number: int) -> _Slot:
        return _Slot(dataclasses.replace(self._job, work=None), self._plan, number)  # type: ignore[arg-type]

    def _assign(self, slot: _Slot, again: Assignment | None = None) -> bool:
        slot.assignment = again or self._trials.next()
        if slot.assignment is None:
            return False
        if again is None:
            slot.known, slot.deaths, slot.trouble = slot.assignment.known_epochs, 0, ""
        slot.heard = time.monotonic()
        slot.pipe.send(slot.assignment)
        return True

    def _hear(self, slots: list[_Slot], slot: _Slot) -> None:
        assignment = slot.assignment
        assert assignment is not None
        try:
            kind, *content = slot.pipe.recv()
        except (EOFError, ConnectionError):
            self._lost(slots, slot, "its process died")
            return
        slot.heard = time.monotonic()
        if kind == "row":
            row, artifacts = content
            go_on = store_row(self._trials, assignment, row, artifacts, slot.known)
            slot.known = max(slot.known, row["epoch"])
            slot.pipe.send(go_on)
        elif kind == "end":
            tell_end(self._trials, assignment, content[0], slot.known)
            slot.assignment = None
        elif kind == "trouble":
            said = content[0]
            if said == slot.trouble or slot.deaths >= RESTARTS:
                tell_end(self._trials, assignment, {"state": "failed", "reason": said}, slot.known)
                slot.assignment = None
                return
            slot.trouble, slot.deaths = said, slot.deaths + 1
            self._assign(slot, assignment)

    def _lost(self, slots: list[_Slot], slot: _Slot, why: str) -> None:
        """The process is gone: another takes the trial up from its checkpoint."""
        place = slots.index(slot)
        assignment = slot.assignment
        assert assignment is not None
        slot.process.kill()
        slot.process.join()
        fresh = self._start(place)
        fresh.known, fresh.deaths, fresh.trouble = slot.known, slot.deaths + 1, slot.trouble
        slots[place] = fresh
        if fresh.deaths > RESTARTS:
            reason = f"{assignment.trial} was begun {fresh.deaths} times, and each time {why}"
            tell_end(self._trials, assignment, {"state": "failed", "reason": reason}, slot.known)
            return
        self._assign(fresh, assignment)


class _Pipe:
    """Joins a trial in a process of its own to the study."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._told = pipe, time.monotonic()

    def row(self, row: dict[str, Any], artifacts: dict[str, dict[str, list[Any]]]) -> None:
        """Send the row."""
        self._pipe.send(("row", row, artifacts))

    def leave(self, epoch: int, told: Any) -> bool:
        """Wait for the answer."""
        return bool(self._pipe.recv())

    def touch(self, step: int) -> None:
        """Send a sign of life, now and then."""
        if time.monotonic() - self._told > TOUCH_EVERY:
            self._told = time.monotonic()
            self._pipe.send(("alive", step))


def _serve(pipe: Connection, path: str, folder: str, job: Job, plan: Plan, number: int) -> None:
    """What a process does: trial after trial, until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    os.environ["OMP_NUM_THREADS"] = str(plan.threads)
    job = dataclasses.replace(job, work=find(path, folder))
    cache, link = Cache(), _Pipe(pipe)
    while True:
        try:
            assignment = pipe.recv()
        except EOFError:
            return
        run = run_of(assignment, job, plan, link, cache)
        if plan.gpus_per_worker:
            import torch

            run.device = f"cuda:{number % max(1, torch.cuda.device_count())}"
        try:
            end = run_trial(job.work, job.work.knobs_in(assignment.config), run)
        except HOPELESS as error:
            end = {"state": "failed", "reason": reason_of(error)}
        except Exception as error:
            pipe.send(("trouble", reason_of(error)))
            continue
        pipe.send(("end", end))
