"""Trials in a few processes of this machine; the one that starts them alone writes the record.

They are started by name, as are those of a slot on Ray (:func:`start`): ``multiprocessing`` would
import the user's script in each once more, with Optuna and pandas.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from srsgd_ray.backends.base import AHEAD, RESTARTS, Artifacts, Assignment, Slot, Trials
from srsgd_ray.backends.ends import TROUBLE, attempt
from srsgd_ray.backends.trial import Cache, TrialRun
from srsgd_ray.trainable import find

POLL = 0.2  # seconds between two checks whether a stop was asked for
TOUCH_EVERY = 1.0  # seconds between two signs of life that a process sends


class Running:
    """A trial that runs on this machine: hands its rows and its end to the study."""

    def __init__(self, trials: Trials, assignment: Assignment) -> None:
        self.assignment = assignment
        self._trials, self._known = trials, assignment.known_epochs
        self._begun, self._trouble, self._stopped = 1, "", False

    def row(self, row: dict[str, Any], artifacts: Artifacts) -> bool:
        """Store a row that is new; whether the trial continues."""
        if self._stopped:
            return False  # it had begun another epoch before it heard so
        trial = self.assignment.trial
        for name, columns in artifacts.items():
            self._trials.artifact(trial, name, columns)
        if row["epoch"] <= self._known:
            return True
        self._known = row["epoch"]
        last = row["epoch"] == self.assignment.epochs
        self._stopped = not last and not self._trials.continues(trial, row)
        self._trials.epoch(trial, row)
        return not self._stopped

    def ended(self, end: dict[str, Any]) -> bool:
        """Store how an attempt ended; False if the trial is to be begun again."""
        state, reason = end["state"], end["reason"]
        if state == TROUBLE:
            # The same error twice is the work's own: it would come a third time.
            if reason != self._trouble and self._begun <= RESTARTS:
                self._trouble, self._begun = reason, self._begun + 1
                return False
            state = "failed"
        elif state == "stopped":
            state, reason = "pruned", f"stopped by the scheduler at epoch {self._known}"
        facts = {k: v for k, v in end.items() if v is not None and k not in ("state", "reason")}
        self._trials.ended(self.assignment.trial, state, reason, **{"workers": 1, **facts})
        return True

    def died(self, why: str) -> bool:
        """Its process is gone; whether that ended it, or it is to be begun again."""
        if self._begun > RESTARTS:
            reason = f"{self.assignment.trial} was begun {self._begun} times, and each time {why}"
            return self.ended({"state": "failed", "reason": reason})
        self._begun += 1
        return False


def start(module: str, pipe: Connection) -> subprocess.Popen[bytes]:
    """Start a process that runs ``module``; it has the pipe from :func:`own_pipe`."""
    command = [sys.executable, "-P", "-u", "-m", module, str(pipe.fileno())]
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    own.pop("SPT_NOENV", None)  # Ray's, with which a title can be no longer than the command
    return subprocess.Popen(command, env=own, pass_fds=[pipe.fileno()], stdin=subprocess.DEVNULL)


def own_pipe() -> Connection:
    """This process's end of the pipe; when the other is closed, the process ends at once."""
    pipe = Connection(int(sys.argv[1]))

    def leave() -> None:
        watched = select.poll()
        watched.register(pipe.fileno(), 0)  # no event but that the other end is closed
        watched.poll()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
    return pipe


class _Process:
    """A process, and the trial that it runs, if any."""

    def __init__(self, slot: Slot, number: int) -> None:
        self.running: Running | None = None
        self.pipe, theirs = Pipe()
        with theirs:
            self._process = start(__name__, theirs)
        with suppress(ConnectionError):  # as in begin
            self.pipe.send((slot, number))

    def begin(self, running: Running) -> None:
        """Run a trial, from its checkpoint if it has one."""
        self.running, self.heard = running, time.monotonic()
        with suppress(ConnectionError):  # it may have died since: the next message says so
            self.pipe.send(running.assignment)

    def hear(self, running: Running) -> None:
        """Take a message of the trial; raises EOFError or ConnectionError if the process died."""
        kind, *content = self.pipe.recv()
        self.heard = time.monotonic()
        if kind == "row":
            self.pipe.send(running.row(*content))
        elif kind == "end" and running.ended(*content):
            self.running = None
        elif kind == "end":
            self.begin(running)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()


def run_in_processes(trials: Trials, slot: Slot, asked: Callable[[], bool]) -> None:
    """Run trials until nothing is left or a stop was ``asked`` for; no process is left then."""
    processes = [_Process(slot, number) for number in range(slot.plan.slots)]
    try:
        while not asked():
            for process in processes:
                if process.running is None:
                    assignment = trials.next()
                    if assignment is None:
                        break
                    process.begin(Running(trials, assignment))
            busy = [process for process in processes if process.running is not None]
            if not busy:
                return
            ready = wait([process.pipe for process in busy], timeout=POLL)
            for process in busy:
                running, why = process.running, ""
                assert running is not None
                if process.pipe in ready:
                    try:
                        process.hear(running)
                    except (EOFError, ConnectionError):
                        why = "its process died"
                elif time.monotonic() - process.heard > slot.silence_limit:
                    why = "no sign of life"
                if why:
                    process.kill()
                    number = processes.index(process)
                    processes[number] = _Process(slot, number)
                    if not running.died(why):
                        processes[number].begin(running)
    finally:
        for process in processes:
            process.kill()


class _Pipe:
    """Joins a trial in a process of its own to the study."""

    def __init__(self, pipe: Connection, runs_ahead: bool) -> None:
        self._pipe, self._runs_ahead = pipe, runs_ahead
        self._touched = self._began = time.monotonic()
        self._unanswered = 0

    def row(self, row: dict[str, Any], artifacts: Artifacts) -> None:
        """Send the row."""
        self._pipe.send(("row", row, artifacts))
        self._unanswered += 1

    def leave(self, epoch: int) -> bool:
        """Wait for the answer: to this row, or, if the trial runs ahead, to the one before."""
        ahead = self._runs_ahead and time.monotonic() - self._began < AHEAD
        continues = True
        while self._unanswered > ahead or (self._unanswered and self._pipe.poll()):
            continues &= bool(self._pipe.recv())
            self._unanswered -= 1
        self._began = time.monotonic()
        return continues

    def touch(self, step: int) -> None:
        """Send a sign of life, now and then."""
        if time.monotonic() - self._touched > TOUCH_EVERY:
            self._touched = time.monotonic()
            self._pipe.send(("alive", step))


def _serve(pipe: Connection, slot: Slot, number: int) -> None:
    """What a process does: trial after trial, until it is killed."""
    for sent in (signal.SIGINT, signal.SIGHUP):  # are for the process that started it
        signal.signal(sent, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(slot.plan.threads)
    work, device = find(slot.path, slot.folder), "cpu"
    if slot.plan.gpus_per_worker:
        import torch

        device = f"cuda:{number % max(1, torch.cuda.device_count())}"
    cache = Cache()
    while True:
        try:
            # A trial that runs ahead, or fails after a row, leaves the row's answer in the pipe.
            while isinstance(assignment := pipe.recv(), bool):
                pass
        except EOFError:
            return
        link = _Pipe(pipe, assignment.runs_ahead)
        end, _ = attempt(
            partial(TrialRun, work, assignment, link, slot, device=device, cache=cache)
        )
        pipe.send(("end", end))


if __name__ == "__main__":
    from_driver = own_pipe()
    _serve(from_driver, *from_driver.recv())
