"""One process that takes a slot's trials, started by its Tune actor: what a single worker needs.

Trials of one worker need no TorchTrainer, whose six kinds of process take 15 s and more to start.
The process has the Tune actor's resources and knows no Ray; the user's code may kill it, and the
Tune actor starts another. Both speak through a pipe: a call of the channel, and its answer.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import threading
import time
from multiprocessing.connection import Connection, Pipe
from typing import Any

from setproctitle import getproctitle, setproctitle

from srsgd_ray.backends.base import RESTARTS, Slot
from srsgd_ray.backends.processes import own_pipe, start
from srsgd_ray.backends.ray.channel import Channel
from srsgd_ray.backends.ray.worker import take_trials

PAUSE = 0.5  # seconds before a process that died is started again


class WorkerProcess:
    """A process that runs what comes through ``channel``, replaced when it dies."""

    def __init__(self, slot: Slot) -> None:
        self._slot, self.channel = slot, Channel()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def serve(self) -> None:
        """Answer the process until it leaves because the channel was closed.

        Raises:
            RuntimeError: if one after the other dies before it has asked for a trial.
        """
        stillborn = 0
        while not self._killed:
            pipe, theirs = Pipe()
            with pipe:
                with theirs:
                    self._process = start(__name__, theirs)
                asked = self._answer(pipe)
            if self._process.wait() == 0 and self.channel.closed:
                return
            stillborn = 0 if asked else stillborn + 1
            if stillborn > RESTARTS:
                status = self._process.returncode
                raise RuntimeError(f"its process cannot start (exit status {status}, see its log)")
            time.sleep(PAUSE)

    def _answer(self, pipe: Connection) -> bool:
        """Make the calls that the process asks for until it is gone; whether it asked."""
        asked = False
        try:
            pipe.send(self._slot)
            while True:
                method, args = pipe.recv()
                asked = True
                pipe.send(getattr(self.channel, method)(*args))
        except (EOFError, ConnectionError):
            return asked

    def kill(self) -> None:
        """End the process, if it is still there."""
        self._killed = True
        if self._process is not None:
            self._process.kill()


class _PipedChannel:
    """The channel of the Tune actor, called as if it were here."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._one = pipe, threading.Lock()  # work may say alive() in other threads

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any) -> Any:
            with self._one:
                self._pipe.send((method, args))
                return self._pipe.recv()

        return call


def main() -> None:
    """Run trials until the channel is closed. What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    pipe = own_pipe()
    slot: Slot = pipe.recv()
    device = "cuda:0" if slot.plan.gpus_per_worker else "cpu"
    title = getproctitle()

    def named(trial: str) -> None:
        setproctitle(f"{title} {trial}")

    take_trials(_PipedChannel(pipe), slot, device=device, named=named)
    gc.freeze()  # to look for cycles among torch's thousands of modules would cost a second


if __name__ == "__main__":
    main()
