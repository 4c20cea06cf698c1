"""What a worker of a slot does: take the next trial, run it, report, and so on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from srsgd_ray.backends.base import Artifacts, Assignment, Slot
from srsgd_ray.backends.ends import TROUBLE, attempt, users_place
from srsgd_ray.backends.probe import UNSEEN, UnseenError, check_seen
from srsgd_ray.backends.ray.channel import CLOSE
from srsgd_ray.backends.trial import Cache, Link, TrialRun
from srsgd_ray.trainable import RankError, find

POLL = 30.0  # seconds a call to the channel may wait before it is made again
TOUCH_EVERY = 5.0  # seconds between two signs of life within an epoch


def take_trials(
    channel: Any,
    slot: Slot,
    rank: int = 0,
    size: int = 1,
    device: str = "cpu",
    named: Callable[[str], object] = lambda title: None,
) -> None:
    """Run trials until the channel is closed.

    Waiting has no limit of its own, but each call has: a channel in another process dies with its
    Tune actor, and then the call raises and the worker leaves. ``named`` is told the study and each
    trial, for the name of the process.

    Raises:
        Exception: what a trial raised that may pass; the trial is begun anew when this is called
            again.
    """
    if rank == 0:
        channel.hello()
    seen = not slot.token
    cache = Cache()  # a slot's trials nearly always share their data set: the last one is kept
    after = 0
    while True:
        found = channel.next(after, POLL)
        if found is None:
            continue
        after, assignment = found
        if assignment == CLOSE:
            return
        if rank == 0:
            channel.begin(after)
        named(f"{slot.study} {assignment.trial}")
        if not seen:
            try:
                check_seen(slot.root, slot.token)
            except UnseenError as unseen:
                channel.report(after, {"kind": "end", "state": UNSEEN, "reason": str(unseen)})
                continue
            seen = True
        link = _Link(channel, after, assignment.epochs, rank)
        start = partial(_start, slot, assignment, link, rank=rank, size=size, device=device,
                        cache=cache)  # fmt: skip
        end, error = attempt(start)
        if error is not None or (rank == 0 and end["state"] != "stopped"):
            channel.report(after, {"kind": "end", **end})
        # The others may wait for a worker that failed by itself: the group must begin anew.
        alone = size > 1 and error and (isinstance(error, RankError) or users_place(error))
        if error is not None and (alone or end["state"] == TROUBLE):
            raise error


def _start(slot: Slot, assignment: Assignment, link: Link, **more: Any) -> TrialRun:
    return TrialRun(find(slot.path, slot.folder), assignment, link, slot, **more)


class _Link:
    """Joins a trial in a worker to the Tune actor of its slot."""

    def __init__(self, channel: Any, serial: int, epochs: int, rank: int) -> None:
        self._channel, self._serial, self._epochs, self._rank = channel, serial, epochs, rank
        self._touched = time.monotonic()

    def row(self, row: dict[str, Any], artifacts: Artifacts) -> None:
        """Send the row."""
        message = {"kind": "row", "row": row, "artifacts": artifacts}
        self._channel.report(self._serial, message)

    def leave(self, epoch: int) -> bool:
        """Wait until Tune has released or cancelled the trial."""
        answer = True if epoch == self._epochs else None
        while answer is None:
            answer = self._channel.continues(self._serial, epoch, POLL)
        return answer

    def touch(self, step: int) -> None:
        """Send a sign of life, now and then."""
        if self._rank == 0 and time.monotonic() - self._touched > TOUCH_EVERY:
            self._touched = time.monotonic()
            self._channel.touch(self._serial, step)
