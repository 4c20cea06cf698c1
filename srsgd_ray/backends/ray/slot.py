"""A Tune trainable whose trials flow through one long-lived TorchTrainer run (a *slot*).

A fresh TorchTrainer in each trial costs 15 to 22 s on two cores. Here a slot's Tune actor starts
one, and Tune reuses the actor (``reuse_actors=True``): ``reset_config`` only hands the next
configuration to the workers, which are up already. ``step`` is one epoch.

Work that needs no workers (``place="actor"``) runs in the Tune actor itself, in a thread.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune

from srsgd_ray.backends.base import Assignment
from srsgd_ray.backends.ray.abandoned import free_abandoned
from srsgd_ray.backends.ray.actor import InActor
from srsgd_ray.backends.ray.channel import Channel

__all__ = ["SlotOptions", "TrialError", "WarmTrainable", "trial_config"]

ANSWER = 60.0  # seconds within which the channel must answer
POLL = 2.0  # seconds between two looks at a silent trial
LEAVE = 20.0  # seconds that workers get to leave
FREE_AFTER = 30.0  # seconds without workers before abandoned reservations are looked for


class TrialError(RuntimeError):
    """A trial that cannot go on: its error, or the wait that came to its end."""


@dataclass(frozen=True)
class SlotOptions:
    """What a slot is made of, and how long it waits.

    Attributes:
        workers: Train workers, the ranks of a trial's process group.
        cpus_per_worker: CPUs that each worker asks of Ray.
        gpus_per_worker: GPUs of each worker; a fraction shares one.
        threads: CPU threads of each worker.
        storage: folder or URI for what Ray Train itself stores; every node must see it.
        start_limit: seconds that a worker group may take to come up.
        silence_limit: seconds that a trial may go without a sign of life.
        restarts: how often a trial may be taken up again after its worker group died.
        path: import path of what the trials run.
        folder: where its module lies, if not where Python looks.
        judged: the metric that must be in every row.
        place: ``workers``, or ``actor``: no worker group, the work runs in the Tune actor.
    """

    workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    threads: int = 1
    storage: str = ""
    start_limit: float = 900.0
    silence_limit: float = 900.0
    restarts: int = 3
    path: str = "image"
    folder: str = ""
    judged: str = ""
    place: str = "workers"


def trial_config(assignment: Assignment, checkpoints: str) -> dict[str, Any]:
    """The Tune configuration of a trial: flat, the knobs' own names, and a few more."""
    return {
        **assignment.config,
        "_trial": assignment.trial,
        "_known_epochs": assignment.known_epochs,
        "_epochs": assignment.epochs,
        "_seed": assignment.seed,
        "_final": assignment.final,
        "_checkpoints": checkpoints,
    }


class WarmTrainable(tune.Trainable):
    """One slot. Its Tune configuration is a :func:`trial_config` plus ``_slot``, the options."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the workers; they come up while the first trial waits for its first epoch."""
        self._options = SlotOptions(**config["_slot"])
        self._error: BaseException | None = None
        if self._options.place == "actor":
            self._channel: Any = InActor(self._options)
            self._thread = self._channel.thread
            self.reset_config(config)
            return
        # Train looks after its workers every 2 s by default: a death would be seen late.
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
        # Train begins a group anew after 60 s by default; the slot's own limit is to count.
        os.environ.setdefault(
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(self._options.start_limit)
        )
        actor: Any = ray.remote(Channel)
        self._channel = actor.options(num_cpus=0, max_concurrency=64).remote()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="torch-trainer")
        self._thread.start()
        self.reset_config(config)

    def _serve(self) -> None:
        """Run the TorchTrainer until its workers are told to leave."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        from srsgd_ray.backends.ray.worker import serve

        options = self._options
        resources = {"CPU": options.cpus_per_worker}
        if options.gpus_per_worker:
            resources["GPU"] = options.gpus_per_worker
        try:
            TorchTrainer(
                serve,
                train_loop_config={"channel": self._channel, "slot": asdict(options)},
                scaling_config=ScalingConfig(
                    num_workers=options.workers,
                    use_gpu=bool(options.gpus_per_worker),
                    resources_per_worker=resources,
                ),
                run_config=RunConfig(
                    name=f"slot-{uuid.uuid4().hex[:12]}",
                    storage_path=options.storage or None,
                    # Deaths are counted trial by trial instead, in `_watch`.
                    failure_config=FailureConfig(max_failures=-1),
                ),
            ).fit()
        except BaseException as error:
            self._error = error

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make the slot ready for another trial; the workers take it up at the first step."""
        if getattr(self, "_serial", None) is not None:
            self._call("cancel")
        self._config = {k: v for k, v in new_config.items() if not k.startswith("_")}
        self._trial = new_config["_trial"]
        self._epoch = new_config["_known_epochs"]
        self._epochs = new_config["_epochs"]
        names = ("seed", "epochs", "final", "checkpoints")
        self._command = {"config": self._config, **{n: new_config[f"_{n}"] for n in names}}
        self._serial: int | None = None
        return True

    def step(self) -> dict[str, Any]:
        """One epoch: let the workers go on, wait for their row, hand it to Tune."""
        if self._serial is None:
            self._serial = self._call("assign", self._command, self._epoch)
        else:
            self._call("release", self._epoch)
        message = self._await("row or end")
        if message["kind"] == "row":
            row, self._artifacts = message["row"], message["artifacts"]
            self._epoch = row["epoch"]
            if self._epoch < self._epochs:
                return self._result(row)
            message = self._await("end")
            return self._result(row, end=message)
        return self._result(None, end=message)

    def _result(
        self, row: dict[str, Any] | None, end: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What Tune is told: a row, an end, or both."""
        told: dict[str, Any] = {"epoch": self._epoch, "row": row, "done": end is not None}
        told["artifacts"] = self._artifacts if row is not None else {}
        if end is not None and end["kind"] == "error":
            # Told as a result, not raised: the slot is sound and serves the next trial.
            end = {"state": "failed", "reason": end["error"]}
        if end is not None:
            end.pop("kind", None)
            told["end"] = {**end, "workers": self._options.workers}
        return told

    def _await(self, what: str) -> dict[str, Any]:
        """The trial's next message; raises TrialError if there can be none."""
        began = time.monotonic()
        while True:
            message = self._call("take", POLL, wait=POLL)
            if message is None:
                message = self._watch(what, time.monotonic() - began)
            if message is not None:
                return dict(message)

    def _watch(self, what: str, waited: float) -> dict[str, Any] | None:
        """Look after a silent trial.

        Returns:
            The message that it failed, if its worker groups died too often; else None.

        Raises:
            TrialError: if the slot itself cannot go on; Tune then gives the trial another one.
        """
        if self._error is not None or not self._thread.is_alive():
            raise TrialError(f"the worker group of {self._trial} ended: {self._error}")
        pulse = self._call("heartbeat")
        options = self._options
        if pulse["groups"] > options.restarts + 1:
            self._call("cancel")
            error = (
                f"{self._trial} was begun {pulse['groups']} times, each time its worker group "
                f"died (restarts={options.restarts} are allowed). Last error: "
                f"{pulse['trouble'] or 'none was told: the processes were killed'}"
            )
            return {"kind": "error", "error": error}
        if not pulse["groups"] and waited > FREE_AFTER and self._error is None:
            # Workers usually come up sooner: something may hold their place that nobody owns.
            free_abandoned()
        limit = options.silence_limit if pulse["groups"] else options.start_limit
        if min(pulse["silent"], waited) > limit:
            awaited = (
                f"{what} of epoch {pulse['epoch'] + 1} (step {pulse['step']})"
                if pulse["groups"]
                else f"a group of {options.workers} workers with {options.cpus_per_worker} CPUs "
                f"and {options.gpus_per_worker} GPUs each"
            )
            raise TrialError(
                f"{self._trial} waited {limit:.0f} s for {awaited} and saw no sign of life."
            )
        return None

    def _call(self, method: str, *args: Any, wait: float = 0.0) -> Any:
        if self._options.place == "actor":
            return getattr(self._channel, method)(*args)
        return ray.get(getattr(self._channel, method).remote(*args), timeout=wait + ANSWER)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Note the epoch; the network itself lies where the workers keep it."""
        state = {"trial": self._trial, "epoch": self._epoch}
        Path(checkpoint_dir, "trial.json").write_text(json.dumps(state))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Take up the trial after the epoch that :meth:`save_checkpoint` noted."""
        state = json.loads(Path(checkpoint, "trial.json").read_text())
        self._epoch = max(self._epoch, state["epoch"])

    def cleanup(self) -> None:
        """Let the workers leave, and the TorchTrainer with them."""
        try:
            self._call("close")
            self._thread.join(LEAVE)
        finally:
            if self._options.place != "actor":
                ray.kill(self._channel)
