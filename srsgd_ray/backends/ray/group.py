"""A group of Ray Train workers that takes a slot's trials: what trials of several workers need.

A fresh TorchTrainer in each trial costs 15 to 22 s on two cores. A slot starts one and keeps it.
"""

from __future__ import annotations

import os
import uuid
from typing import Any

import ray
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from srsgd_ray.backends.base import Slot
from srsgd_ray.backends.ray.channel import Channel
from srsgd_ray.backends.ray.worker import take_trials
from srsgd_ray.backends.store import join, trial_folder

ANSWER = 90.0  # seconds within which the channel must answer, longer than any wait asked of it


class RemoteChannel:
    """A channel in a process of its own, called as if it were here.

    Raises:
        ray.exceptions.RayError: in each call, once the channel is gone.
    """

    def __init__(self, actor: Any = None) -> None:
        started = ray.remote(Channel).options(num_cpus=0, max_concurrency=64)
        self.actor: Any = actor if actor is not None else started.remote()

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any) -> Any:
            return ray.get(getattr(self.actor, method).remote(*args), timeout=ANSWER)

        return call


class _Seeking(WorkerGroupCallback):
    """Tells the channel whether a group waits for its place: no machine is no silent worker."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def before_worker_group_start(self, worker_group_context: Any) -> None:
        """Ray Train asks for the place, for the first time or anew."""
        self._channel.seek.remote(True)

    def before_init_train_context(self, workers: Any) -> dict[str, Any]:
        """The workers are there."""
        self._channel.seek.remote(False)
        return {}


class WorkerGroup:
    """One long-lived TorchTrainer, whose workers run what comes through ``channel``."""

    def __init__(self, slot: Slot) -> None:
        # Train checks its workers every 2 s by default: a death would be seen late.
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
        # Ray's pages know of no Train run otherwise (REST: /api/train/v2/runs/v1).
        os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
        # Train asks for a place anew after 60 s by default; nobody counts how often.
        limit = str(slot.silence_limit)
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", limit)
        self._slot, self.channel = slot, RemoteChannel()

    def serve(self) -> None:
        """Run the TorchTrainer until the channel is closed."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        plan = self._slot.plan
        resources = {"CPU": plan.cpus_per_worker}
        if plan.gpus_per_worker:
            resources["GPU"] = plan.gpus_per_worker
        TorchTrainer(
            _serve,
            train_loop_config={"channel": self.channel.actor, "slot": self._slot},
            scaling_config=ScalingConfig(
                num_workers=plan.workers,
                use_gpu=bool(plan.gpus_per_worker),
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name=f"{trial_folder(self._slot.study)}-slot-{uuid.uuid4().hex[:12]}",
                storage_path=join(self._slot.root, "ray"),
                # Deaths are counted trial by trial instead, by the slot.
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[_Seeking(self.channel.actor)],  # type: ignore[list-item]
            ),
        ).fit()

    def kill(self) -> None:
        """End the channel; workers that still use it leave."""
        ray.kill(self.channel.actor)


def _serve(settings: dict[str, Any]) -> None:
    """Run trials as one of a group. The function that TorchTrainer starts in each worker."""
    import ray.train
    from ray.train.torch import get_device

    context, channel = ray.train.get_context(), RemoteChannel(settings["channel"])
    rank, size = context.get_world_rank(), context.get_world_size()
    take_trials(channel, settings["slot"], rank, size, str(get_device()))
