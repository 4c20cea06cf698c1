"""The channel of a slot: what its Tune actor and its Ray Train workers tell each other.

An actor of its own, because the Tune actor is busy waiting and because a report through
``ray.train.report`` takes up to two seconds. It holds one trial at a time. Training and Tune take
turns: after each epoch the workers wait until Tune has let the trial go on, so that a trial which
is stopped leaves no work behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["CLOSE", "Channel"]

CLOSE = "close"
Message = dict[str, Any]


class Channel:
    """State of one slot. Every wait ends after ``wait`` seconds at the latest, with None."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._serial = 0
        self._command: Message | str | None = None
        self._messages: deque[Message] = deque()
        self._delivered = 0
        self._allowed = 0
        self._ended = True
        self._groups = 0
        self._trouble: str | None = None
        self._step = 0
        self._touched = time.monotonic()

    async def _wait(self, ready: Callable[[], bool], wait: float) -> bool:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(ready), wait)
            except TimeoutError:
                return False
            return True

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # What the Tune actor calls.

    async def assign(self, command: Message, known_epochs: int) -> int:
        """Hand the workers a trial of which Tune knows ``known_epochs`` rows; its serial number.

        Workers that still wait within an earlier trial are told to stop it.
        """
        self._serial += 1
        self._command = command
        self._messages.clear()
        self._delivered = self._allowed = known_epochs
        self._ended = False
        self._groups = 0
        self._trouble = None
        self._step = 0
        self._touched = time.monotonic()
        await self._notify()
        return self._serial

    async def release(self, epoch: int) -> None:
        """Let the trial go on past ``epoch``."""
        self._allowed = epoch
        self._touched = time.monotonic()
        await self._notify()

    async def take(self, wait: float) -> Message | None:
        """The next message of the trial, of kind row, end or error."""
        await self._wait(lambda: bool(self._messages), wait)
        return self._messages.popleft() if self._messages else None

    async def cancel(self) -> None:
        """Stop the trial: the workers end it at the epoch at which they wait."""
        self._serial += 1
        self._command = None
        self._ended = True
        self._messages.clear()
        await self._notify()

    async def close(self) -> None:
        """Tell the workers to leave."""
        await self.cancel()
        self._command = CLOSE
        await self._notify()

    async def heartbeat(self) -> Message:
        """How the trial is doing: seconds since its last sign of life, step, worker groups."""
        return {
            "silent": time.monotonic() - self._touched,
            "step": self._step,
            "groups": self._groups,
            "trouble": self._trouble,
            "epoch": self._delivered,
        }

    # What the workers call.

    async def hello(self) -> None:
        """A worker group has come up (rank 0 says so)."""
        self._touched = time.monotonic()

    async def next(self, after: int, wait: float) -> tuple[int, Message | str] | None:
        """The trial to run now, if its serial number is above ``after``, or ``CLOSE``."""

        def ready() -> bool:
            fresh = self._serial > after and not self._ended
            return fresh or self._command == CLOSE

        await self._wait(ready, wait)
        if not ready() or self._command is None:
            return None
        return self._serial, self._command

    async def begin(self, serial: int) -> None:
        """A worker group begins the trial, for the first time or anew (rank 0 says so)."""
        if serial == self._serial:
            self._groups += 1
            self._touched = time.monotonic()

    async def touch(self, serial: int, step: int) -> None:
        """The trial lives; it has finished ``step`` steps."""
        if serial == self._serial:
            self._step = step
            self._touched = time.monotonic()

    async def report(self, serial: int, message: Message) -> None:
        """A message of the trial; epochs that were told before are left out."""
        if serial != self._serial or self._ended:
            return
        self._touched = time.monotonic()
        if message["kind"] == "row":
            if message["row"]["epoch"] <= self._delivered:
                return
            self._delivered = message["row"]["epoch"]
        elif message["kind"] == "trouble":
            again = self._trouble is not None and message["error"] == self._trouble
            self._trouble = message["error"]
            if not again:
                return
            # The same error at the same place: it is the work's, and would come a third time.
            message = {"kind": "error", "error": message["error"]}
            self._ended = True
        else:
            self._ended = True
        self._messages.append(message)
        await self._notify()

    async def may_go_on(self, serial: int, epoch: int, wait: float) -> bool | None:
        """Whether the trial may go on past ``epoch``; None: not decided yet."""

        def decided() -> bool:
            return serial != self._serial or self._allowed >= epoch

        if not await self._wait(decided, wait):
            return None
        return serial == self._serial
