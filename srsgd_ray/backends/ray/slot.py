"""A Tune trainable whose trials flow through workers that stay (a *slot*).

A slot's Tune actor starts them, and Tune reuses the actor (``reuse_actors=True``): ``reset_config``
only gives the next configuration to the workers, which are up already. ``step`` is one epoch.

Trials of several workers run in a group of Ray Train (``group``), those of one in a process of its
own (``process``). Work that needs no workers (``place="actor"``) runs in the Tune actor itself, in
a thread.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from srsgd_ray.backends.base import RESTARTS, Assignment, Slot
from srsgd_ray.backends.capacity import ACTOR_SHARE
from srsgd_ray.backends.ray.abandoned import FREE_AFTER, free_abandoned
from srsgd_ray.backends.ray.channel import Channel
from srsgd_ray.backends.ray.process import WorkerProcess
from srsgd_ray.backends.ray.worker import take_trials

POLL = 2.0  # seconds between two checks of a silent trial
LEAVE = 20.0  # seconds that workers get to leave
FACTS = [field.name for field in dataclasses.fields(Assignment) if field.name != "config"]


class TrialError(RuntimeError):
    """A trial that cannot continue: its error, or the wait that came to its end."""


def trial_config(assignment: Assignment) -> dict[str, Any]:
    """The Tune configuration of a trial: flat, the knobs' own names, and a few more."""
    facts = {f"_{name}": getattr(assignment, name) for name in FACTS}
    return {**assignment.config, **facts}


class Server(Protocol):
    """What runs a slot's trials."""

    channel: Any

    def serve(self) -> None:
        """Run what comes through ``channel`` until it is closed."""

    def kill(self) -> None:
        """End what is left."""


class _Here:
    """Runs trials in this process."""

    def __init__(self, slot: Slot) -> None:
        self._slot, self.channel = slot, Channel()

    def serve(self) -> None:
        while True:
            try:
                return take_trials(self.channel, self._slot)
            except Exception:
                continue  # the channel knows, and gives the trial again or ends it

    def kill(self) -> None:
        """Nothing: it is in this process."""


def _server(slot: Slot) -> Server:
    if slot.place == "actor":
        return _Here(slot)
    if not slot.grouped:
        return WorkerProcess(slot)
    from srsgd_ray.backends.ray.group import WorkerGroup

    return WorkerGroup(slot)


class WarmTrainable(tune.Trainable):
    """One slot. Its Tune configuration is a :func:`trial_config` plus ``_slot``, a ``Slot``."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the Tune actor needs; ``tune.with_resources`` would hide the class's name."""
        slot: Slot = config["_slot"]
        share = {"CPU": ACTOR_SHARE if slot.grouped else slot.plan.cpus_per_worker}
        if slot.plan.gpus_per_worker and not slot.grouped:
            share["GPU"] = slot.plan.gpus_per_worker
        return tune.PlacementGroupFactory([share])

    def __repr__(self) -> str:
        """What Ray's pages call the actor."""
        return f"{self._slot.study} slot"

    def setup(self, config: dict[str, Any]) -> None:
        """Start what runs trials; it comes up while the first trial waits for its first epoch."""
        self._slot: Slot = config["_slot"]
        self._error: BaseException | None = None
        self._serial: int | None = None
        self._freed = 0.0
        self._server = _server(self._slot)
        self._channel: Any = self._server.channel
        self._thread = threading.Thread(target=self._serve, daemon=True, name="trials")
        self._thread.start()
        self.reset_config(config)

    def _serve(self) -> None:
        try:
            self._server.serve()
        except BaseException as error:
            self._error = error

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make the slot ready for another trial; the workers take it up at the first step."""
        if self._serial is not None:
            self._channel.cancel()
        knobs = {k: v for k, v in new_config.items() if not k.startswith("_")}
        facts = {name: new_config[f"_{name}"] for name in FACTS}
        self._assignment = Assignment(config=knobs, **facts)
        self._epoch = self._assignment.known_epochs
        self._serial = None
        self._told = self._waiting = False
        return True

    def step(self) -> dict[str, Any]:
        """One epoch: let the workers continue, wait for their row, give it to Tune."""
        if self._serial is None:
            self._serial = self._channel.assign(self._assignment, self._epoch)
        elif not self._told:
            self._channel.release(self._epoch)
        self._told = False
        message = self._await("row or end")
        if message["kind"] == "sought":
            self._told = True
            return {**self._result(None, None), "waiting": message["since"]}
        if message["kind"] == "end":
            return self._result(None, message)
        self._epoch = message["row"]["epoch"]
        last = self._epoch == self._assignment.epochs
        return self._result(message, self._await("end") if last else None)

    def _result(self, row: dict[str, Any] | None, end: dict[str, Any] | None) -> dict[str, Any]:
        """What Tune hears: the message of a row, of an end, or both.

        An error is a result, too, and is not raised: the slot is sound and serves the next trial.
        """
        result: dict[str, Any] = {"epoch": self._epoch, "row": None, "artifacts": {}, "waiting": 0}
        if row is not None:
            result |= {"row": row["row"], "artifacts": row["artifacts"]}
        if end is not None:
            facts = {name: value for name, value in end.items() if name != "kind"}
            result["end"] = {**facts, "workers": self._slot.plan.workers}
        return {**result, "done": end is not None}

    def _await(self, what: str) -> dict[str, Any]:
        """The trial's next message; raises TrialError if there can be none."""
        began, message = time.monotonic(), None
        while message is None:
            message = self._channel.take(POLL) or self._watch(what, time.monotonic() - began)
        return dict(message)

    def _watch(self, what: str, waited: float) -> dict[str, Any] | None:
        """Examine a silent trial.

        Returns:
            The message that it failed, if its worker groups died too often, or that it begins or
            ceases to wait for a place for them; else None.

        Raises:
            TrialError: if the slot itself cannot continue; Tune then gives the trial another one.
        """
        trial, plan = self._assignment.trial, self._slot.plan
        if self._error is not None or not self._thread.is_alive():
            raise TrialError(f"the worker group of {trial} ended: {self._error}")
        pulse = self._channel.heartbeat()
        if pulse["groups"] > RESTARTS + 1:
            self._channel.cancel()
            reason = (
                f"{trial} lost its worker group {pulse['groups'] - 1} times ({RESTARTS} restarts "
                f"are allowed). Last error: "
                f"{pulse['trouble'] or 'none was reported: the processes were killed'}"
            )
            return {"kind": "end", "state": "failed", "reason": reason}
        sought = pulse["sought"] or 0.0
        if sought > FREE_AFTER and time.monotonic() - self._freed > FREE_AFTER:
            # Workers usually come up sooner: something may hold their place that nobody owns.
            self._freed = time.monotonic()
            free_abandoned()
        if (sought > FREE_AFTER) != self._waiting and what != "end":
            self._waiting = not self._waiting
            return {"kind": "sought", "since": time.time() - sought if self._waiting else 0}
        if pulse["sought"] is None and min(pulse["silent"], waited) > self._slot.silence_limit:
            awaited = (
                f"{what} of epoch {pulse['epoch'] + 1} (step {pulse['step']})"
                if pulse["groups"]
                else plan.need
            )
            raise TrialError(
                f"{trial} waited {self._slot.silence_limit:.0f} s for {awaited} and saw no sign "
                f"of life."
            )
        return None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Note the epoch; the network itself lies where the workers keep it."""
        text = json.dumps({"epoch": self._epoch})
        Path(checkpoint_dir, "trial.json").write_text(text, encoding="utf-8")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Take up the trial after the epoch that :meth:`save_checkpoint` noted."""
        state = json.loads(Path(checkpoint, "trial.json").read_text(encoding="utf-8"))
        self._epoch = max(self._epoch, state["epoch"])

    def cleanup(self) -> None:
        """Let the workers leave."""
        try:
            self._channel.close()
            self._thread.join(LEAVE)
        finally:
            self._server.kill()
