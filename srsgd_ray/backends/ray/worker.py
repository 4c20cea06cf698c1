"""What a Ray Train worker of a slot does: take the next trial, run it, report, and so on."""

from __future__ import annotations

import time
from typing import Any

import ray
import ray.train
from ray.train.torch import get_device

from srsgd_ray.backends.ends import HOPELESS, reason_of, run_trial, users_place
from srsgd_ray.backends.ray.channel import CLOSE
from srsgd_ray.backends.store import CheckpointStore
from srsgd_ray.backends.trial import Cache, TrialRun
from srsgd_ray.trainable import RankError, find

__all__ = ["serve"]

POLL = 30.0  # seconds a call to the channel may wait before it is made again
TOUCH_EVERY = 5.0  # seconds between two signs of life within an epoch
ANSWER = 60.0  # seconds within which the channel must answer beyond the wait asked of it


def serve(settings: dict[str, Any]) -> None:
    """Run trials until told to leave. The function that TorchTrainer starts in each worker.

    Waiting has no limit of its own, but each call has: the channel dies with its Tune actor, and
    then the call raises and the worker leaves.
    """
    context = ray.train.get_context()
    worker = _Worker(
        settings["channel"], context.get_world_rank(), context.get_world_size(), settings["slot"]
    )
    if worker.rank == 0:
        worker.call("hello")
    after = 0
    while True:
        found = worker.call("next", after, POLL, wait=POLL)
        if found is None:
            continue
        after, command = found
        if command == CLOSE:
            return
        worker.run(after, command)


class _Worker:
    def __init__(self, channel: Any, rank: int, size: int, slot: dict[str, Any]) -> None:
        self.channel, self.rank, self.size, self.slot = channel, rank, size, slot
        # A slot's trials nearly always share their data set: the last one is kept.
        self.cache = Cache()

    def call(self, method: str, *args: Any, wait: float = 0.0) -> Any:
        return ray.get(getattr(self.channel, method).remote(*args), timeout=wait + ANSWER)

    def run(self, serial: int, command: dict[str, Any]) -> None:
        """Run one trial. An error that may pass away is raised, so that Train starts anew."""
        if self.rank == 0:
            self.call("begin", serial)
        try:
            work = find(self.slot["path"], self.slot["folder"])
            run = TrialRun(
                work,
                _Link(self, serial, command["epochs"]),
                CheckpointStore(command["checkpoints"]),
                seed=command["seed"],
                epochs=command["epochs"],
                final=command["final"],
                rank=self.rank,
                size=self.size,
                threads=self.slot["threads"],
                device=str(get_device()),
                cache=self.cache,
                judged=self.slot["judged"],
            )
            end = run_trial(work, work.knobs_in(command["config"]), run)
        except HOPELESS as error:
            # The work or its input breaks a rule: trying again does not help.
            self._report(serial, "error", error=reason_of(error))
            if self.size > 1 and (isinstance(error, RankError) or users_place(error)):
                raise  # the others may wait for this one: the group must begin anew
        except Exception as error:
            self._report(serial, "trouble", error=reason_of(error))
            raise
        else:
            if self.rank == 0 and end["state"] != "stopped":
                self._report(serial, "end", **end)

    def _report(self, serial: int, kind: str, **content: Any) -> None:
        self.call("report", serial, {"kind": kind, **content})


class _Link:
    """Joins a trial in a worker to the Tune actor of its slot."""

    def __init__(self, worker: _Worker, serial: int, epochs: int) -> None:
        self._worker, self._serial, self._epochs = worker, serial, epochs
        self._touched = time.monotonic()

    def row(self, row: dict[str, Any], artifacts: dict[str, dict[str, list[Any]]]) -> Any:
        """Send the row, without waiting for it to arrive."""
        message = {"kind": "row", "row": row, "artifacts": artifacts}
        return self._worker.channel.report.remote(self._serial, message)

    def leave(self, epoch: int, told: Any) -> bool:
        """Wait until Tune has released or cancelled the trial."""
        if told is not None:
            # The channel handles calls as they come: what follows must not overtake the row.
            ray.get(told, timeout=ANSWER)
        if epoch == self._epochs:
            return True
        answer = None
        while answer is None:
            answer = self._worker.call("may_go_on", self._serial, epoch, POLL, wait=POLL)
        return bool(answer)

    def touch(self, step: int) -> None:
        """Say from time to time that the trial lives."""
        if self._worker.rank == 0 and time.monotonic() - self._touched > TOUCH_EVERY:
            self._touched = time.monotonic()
            self._worker.channel.touch.remote(self._serial, step)
