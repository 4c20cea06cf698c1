"""The channel of a slot: what its Tune actor and the workers of its trials say to each other.

It holds one trial at a time. Training and Tune take turns: after each epoch the workers wait until
Tune has released the trial, so that a trial which is stopped leaves no work behind it. Where no
scheduler can stop it, and epochs are short, they wait for the release of the epoch before, and
Tune takes its turn meanwhile. For a group of Ray Train workers it is an actor of its own, because
the Tune actor is busy waiting, and because a report through ``ray.train.report`` takes up to two
seconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from srsgd_ray.backends.base import AHEAD, RESTARTS
from srsgd_ray.backends.ends import TROUBLE

CLOSE = "close"
Message = dict[str, Any]


@dataclass
class _Trial:
    """The trial of a channel; none, once it has ended."""

    serial: int = 0
    command: Any = None
    reported: int = 0
    released: int = 0
    ended: bool = True
    groups: int = 0
    trouble: str | None = None
    step: int = 0
    lead: int = 0  # epochs that it may be ahead of what Tune has released
    told: float = field(default_factory=time.monotonic)  # when an epoch began, nearly
    touched: float = field(default_factory=time.monotonic)


class Channel:
    """State of one slot. Every wait ends after ``wait`` seconds at the latest, with None."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._trial = _Trial()
        self._messages: deque[Message] = deque()
        self._answer = (0, 0, False)  # serial and epoch of the last decision, and what it was
        self._sought: float | None = None

    def _replace(self, command: Any, known_epochs: int = 0, ended: bool = True) -> int:
        with self._changed:
            serial = self._trial.serial + 1
            self._trial = _Trial(serial, command, known_epochs, known_epochs, ended)
            self._messages.clear()
            self._changed.notify_all()
        return serial

    def _wait(self, ready: Callable[[], bool], wait: float) -> bool:
        with self._changed:
            return self._changed.wait_for(ready, wait)

    # What the Tune actor calls.

    def assign(self, command: Any, known_epochs: int) -> int:
        """Give the workers a trial of which Tune knows ``known_epochs`` rows; its serial number.

        Workers that still wait within an earlier trial stop it.
        """
        return self._replace(command, known_epochs, ended=False)

    def release(self, epoch: int) -> None:
        """Let the trial continue past ``epoch``."""
        with self._changed:
            self._trial.released, self._trial.touched = epoch, time.monotonic()
            self._changed.notify_all()

    def take(self, wait: float) -> Message | None:
        """The next message of the trial, of kind row or end."""
        self._wait(lambda: bool(self._messages), wait)
        with self._changed:
            return self._messages.popleft() if self._messages else None

    def cancel(self) -> None:
        """Stop the trial: the workers end it at the epoch at which they wait."""
        self._replace(None)

    def close(self) -> None:
        """Have the workers leave."""
        self._replace(CLOSE)

    @property
    def closed(self) -> bool:
        """Whether the workers are to leave."""
        return bool(self._trial.command == CLOSE)

    def heartbeat(self) -> Message:
        """How the trial is doing: seconds since its last sign of life, step, worker groups.

        ``sought``: seconds for which a place for a group has been sought; None if there is one.
        """
        trial = self._trial
        return {
            "silent": time.monotonic() - trial.touched,
            "sought": None if self._sought is None else time.monotonic() - self._sought,
            "step": trial.step,
            "groups": trial.groups,
            "trouble": trial.trouble,
            "epoch": trial.reported,
        }

    # What the controller of the worker groups calls.

    def seek(self, sought: bool) -> None:
        """A place for a worker group is sought from now on, or was found."""
        self._sought = (self._sought or time.monotonic()) if sought else None
        self._trial.touched = time.monotonic()

    # What the workers call.

    def hello(self) -> None:
        """A worker group has come up (rank 0 says so)."""
        self._trial.touched = time.monotonic()

    def next(self, after: int, wait: float) -> tuple[int, Any] | None:
        """The trial to run now, if its serial number is above ``after``, or ``CLOSE``."""

        def ready() -> bool:
            trial = self._trial
            return trial.command == CLOSE or (trial.serial > after and not trial.ended)

        with self._changed:
            found = self._changed.wait_for(ready, wait)
            return (self._trial.serial, self._trial.command) if found else None

    def begin(self, serial: int) -> None:
        """A worker group begins the trial, for the first time or anew (rank 0 says so)."""
        with self._changed:
            if serial == self._trial.serial:
                self._trial.groups += 1
                self._trial.touched = time.monotonic()

    def touch(self, serial: int, step: int) -> None:
        """The trial lives; it has finished ``step`` steps."""
        with self._changed:
            if serial == self._trial.serial:
                self._trial.step, self._trial.touched = step, time.monotonic()

    def report(self, serial: int, message: Message) -> None:
        """A message of the trial; epochs that were reported before are left out."""
        with self._changed:
            trial = self._trial
            if serial != trial.serial or trial.ended:
                return
            trial.touched = time.monotonic()
            if message["kind"] == "row":
                if message["row"]["epoch"] <= trial.reported:
                    return
                trial.reported = message["row"]["epoch"]
                ahead = getattr(trial.command, "runs_ahead", False)
                trial.lead = int(ahead and trial.touched - trial.told < AHEAD)
                trial.told = trial.touched
            elif message["state"] == TROUBLE:
                again, trial.trouble = message["reason"] == trial.trouble, message["reason"]
                if not again and trial.groups <= RESTARTS:
                    return  # the workers begin the trial anew
                # The same error twice is the work's own: it would come a third time.
                message = {**message, "state": "failed"}
            trial.ended = trial.ended or message["kind"] == "end"
            self._messages.append(message)
            self._changed.notify_all()

    def continues(self, serial: int, epoch: int, wait: float) -> bool | None:
        """Whether the trial continues past ``epoch``, for all workers; None: not decided yet."""

        def decided() -> bool:
            trial = self._trial
            told = (serial, epoch) == self._answer[:2]
            return told or serial != trial.serial or trial.released >= epoch - trial.lead

        with self._changed:
            if not self._changed.wait_for(decided, wait):
                return None
            # What one worker was told holds for the others, whatever has come since.
            if (serial, epoch) != self._answer[:2]:
                self._answer = (serial, epoch, serial == self._trial.serial)
            return self._answer[2]
