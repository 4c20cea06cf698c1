"""A slot without a worker group: the work runs in a thread of the Tune actor itself.

For work that takes less than a worker group takes to start, and needs no second process. It
answers what :class:`~srsgd_ray.backends.ray.channel.Channel` answers, without a message.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from srsgd_ray.backends.ends import HOPELESS, reason_of, run_trial
from srsgd_ray.backends.store import CheckpointStore
from srsgd_ray.backends.trial import Cache, TrialRun
from srsgd_ray.trainable import find

if TYPE_CHECKING:
    from srsgd_ray.backends.ray.slot import SlotOptions

__all__ = ["InActor"]

RESTARTS = 1  # an error that comes twice is the work's own


class InActor:
    """Runs one trial at a time; rows wait until they are taken, the work until it is released."""

    def __init__(self, options: SlotOptions) -> None:
        self._options = options
        self._work = find(options.path, options.folder)
        self._cache = Cache()
        self._commands: queue.Queue[tuple[int, dict[str, Any]] | None] = queue.Queue()
        self._messages: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
        self._changed = threading.Condition()
        self._serial = self._delivered = self._released = self._step = 0
        self._touched = time.monotonic()
        self.thread = threading.Thread(target=self._serve, daemon=True, name="trials")
        self.thread.start()

    # What the Tune actor calls.

    def assign(self, command: dict[str, Any], known_epochs: int) -> int:
        """Begin a trial of which Tune knows ``known_epochs`` rows."""
        with self._changed:
            self._serial += 1
            self._delivered = self._released = known_epochs
            self._touched = time.monotonic()
            self._changed.notify_all()
        self._commands.put((self._serial, command))
        return self._serial

    def release(self, epoch: int) -> None:
        """Let the trial go on past ``epoch``."""
        with self._changed:
            self._released = epoch
            self._changed.notify_all()

    def take(self, wait: float) -> dict[str, Any] | None:
        """The next message of the trial."""
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            try:
                serial, message = self._messages.get(timeout=left)
            except queue.Empty:
                return None
            if serial == self._serial:
                return message
        return None

    def cancel(self) -> None:
        """Stop the trial where it waits."""
        with self._changed:
            self._serial += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread after the trial."""
        self.cancel()
        self._commands.put(None)

    def heartbeat(self) -> dict[str, Any]:
        """How the trial is doing."""
        return {
            "silent": time.monotonic() - self._touched,
            "step": self._step,
            "groups": 1,
            "trouble": None,
            "epoch": self._delivered,
        }

    # What the thread does.

    def _serve(self) -> None:
        while (found := self._commands.get()) is not None:
            serial, command = found
            if serial != self._serial:
                continue
            for attempt in range(RESTARTS + 1):
                message = self._attempt(serial, command, attempt == RESTARTS)
                if message is not None:
                    self._messages.put((serial, message))
                    break

    def _attempt(self, serial: int, command: dict[str, Any], last: bool) -> dict[str, Any] | None:
        run = TrialRun(
            self._work,
            _Thread(self, serial, command["epochs"]),
            CheckpointStore(command["checkpoints"]),
            seed=command["seed"],
            epochs=command["epochs"],
            final=command["final"],
            threads=self._options.threads,
            cache=self._cache,
            judged=self._options.judged,
        )
        try:
            end = run_trial(self._work, self._work.knobs_in(command["config"]), run)
        except HOPELESS as error:
            return {"kind": "error", "error": reason_of(error)}
        except Exception as error:
            return {"kind": "error", "error": reason_of(error)} if last else None
        return {"kind": "end", **end}


class _Thread:
    """Joins the trial's thread to the actor."""

    def __init__(self, actor: InActor, serial: int, epochs: int) -> None:
        self._actor, self._serial, self._epochs = actor, serial, epochs

    def row(self, row: dict[str, Any], artifacts: dict[str, dict[str, list[Any]]]) -> None:
        """Put the row where the Tune actor takes it."""
        actor = self._actor
        actor._touched = time.monotonic()
        if self._serial == actor._serial and row["epoch"] > actor._delivered:
            actor._delivered = row["epoch"]
            message = {"kind": "row", "row": row, "artifacts": artifacts}
            actor._messages.put((self._serial, message))

    def leave(self, epoch: int, told: Any) -> bool:
        """Wait until the trial was released or cancelled."""
        actor = self._actor

        def decided() -> bool:
            return actor._serial != self._serial or actor._released >= epoch

        if epoch == self._epochs:
            return True
        with actor._changed:
            actor._changed.wait_for(decided)
            return actor._serial == self._serial

    def touch(self, step: int) -> None:
        """Note it."""
        self._actor._step, self._actor._touched = step, time.monotonic()
