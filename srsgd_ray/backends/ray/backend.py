"""Trials on a Ray cluster: one Tune run over warm groups of Ray Train workers."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any, TextIO

from srsgd_ray.backends.base import Backend, Job, NotMeasured, Slot, Trials
from srsgd_ray.backends.capacity import Autoscaler, Node, Plan
from srsgd_ray.backends.probe import DRIVER, put
from srsgd_ray.backends.ray.cluster import alone, free_resources, gentle_stop, ray_cluster
from srsgd_ray.backends.ray.left import end_left
from srsgd_ray.backends.signals import main_interrupted
from srsgd_ray.backends.store import join, trial_folder

MEASURE_LIMIT = 900.0  # seconds for all measurements, with the wait for a machine
SHORTEST_WAIT = 1.0
_REGISTRY = threading.Lock()  # Tune's own breaks where two studies begin in threads at once


class RayBackend(Backend):
    """Ray, started here or joined.

    Args:
        address: ``local`` to start one on this machine, ``auto`` or a URL to join one.
        quiet: nothing that Ray says is printed.
    """

    def __init__(self, address: str = "local", quiet: bool = False) -> None:
        self.address, self.quiet = address, quiet
        self.here = address == "local"
        self._asked = threading.Event()
        self._screen: TextIO | None = None

    def tidied(self) -> list[str]:
        """A cluster that is joined is not ours to tidy."""
        return end_left() if self.here else []

    def open(self) -> AbstractContextManager[Sequence[Node]]:
        """Start or join it."""
        return ray_cluster(self.address, self.quiet, lambda why: self.lost(why))

    def ahead(self) -> None:
        """Tune, with what is built on it: over a second."""
        import srsgd_ray.backends.ray.tuning  # noqa: F401

    def autoscaler(self) -> Autoscaler | None:
        """Asks on the head."""
        from srsgd_ray.backends.ray.autoscaler import find_autoscaler

        return find_autoscaler()

    def check_shared(self, location: str) -> None:
        """Have the nodes find there what the driver writes, and the driver what they write."""
        if self.here:
            return
        from srsgd_ray.backends.ray.nodes import alive, check_shared

        if len(alive()) > 1:
            check_shared(location)

    def free(self) -> Sequence[Node] | None:
        """Asks Ray, unless it was started here for this study alone."""
        return None if self.here and alone() else free_resources()

    def stop(self) -> None:
        """Tune hears of it at its next step, some tenths of a second later."""
        if self._screen is not None and not self._asked.is_set():
            print("\nStopping; every finished epoch is kept. A moment ...", file=self._screen)
        self._asked.set()

    def run(self, trials: Trials, job: Job, plan: Plan, screen: TextIO | None) -> None:
        """One Tune run over all trials that are left; returns early on SIGINT or SIGTERM."""
        self._screen = screen
        from ray import tune
        from ray.air._internal import usage

        from srsgd_ray.backends.ray.metrics import StudyMetrics
        from srsgd_ray.backends.ray.slot import WarmTrainable
        from srsgd_ray.backends.ray.tuning import (
            Stopped,
            StopScheduler,
            TrialCallback,
            TrialSearcher,
        )

        again: list[dict[str, Any]] = []
        slot = job.slot(plan)
        if not self.here:  # nodes that join later look for it
            slot = replace(slot, token=uuid.uuid4().hex)
            put(join(job.root, DRIVER), slot.token)
        with _REGISTRY:
            tune.register_trainable(WarmTrainable.__name__, WarmTrainable)
        tuner = tune.Tuner(
            WarmTrainable.__name__,  # Tune would register the class again, without a lock
            param_space={"_slot": slot},
            tune_config=tune.TuneConfig(
                search_alg=TrialSearcher(trials, again),
                scheduler=StopScheduler(trials),
                num_samples=-1,
                max_concurrent_trials=plan.slots,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.config["_trial"],
                trial_dirname_creator=lambda trial: (
                    f"{trial_folder(trial.config['_trial'])}-{trial.trial_id}"
                ),
            ),
            run_config=tune.RunConfig(
                name=trial_folder(job.study or "tune"),
                storage_path=join(job.root, "ray"),
                verbose=0,
                callbacks=[
                    TrialCallback(
                        trials,
                        StudyMetrics(job.study, self.numbers),
                        again,
                        plan.need,
                        job.wait_limit,
                        lambda: self._asked.is_set() or main_interrupted(),
                    )
                ],
                failure_config=tune.FailureConfig(max_failures=2),
                # The workers keep each trial's checkpoint themselves.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        # Tune looks for log files of its own that are switched off above, in many lines.
        logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
        # It imports mlflow and wandb, to count who uses them, and then tells nobody.
        usage.tag_callbacks = lambda callbacks: False
        with gentle_stop(self.stop), suppress(Stopped):
            tuner.fit()

    def measure(self, job: Job, plan: Plan) -> Callable[[dict[str, Any]], float | None]:
        """Times on a worker of the cluster, with a slot's share of a machine."""
        import ray

        @ray.remote(num_cpus=plan.cpus_per_worker, num_gpus=plan.gpus_per_worker, max_retries=1)
        def timed(slot: Slot, config: dict[str, Any]) -> float | None:
            from srsgd_ray.knobs import make
            from srsgd_ray.trainable import find

            work = find(slot.path, slot.folder)
            return work.seconds(make(work.Config, config), slot.plan.workers, slot.plan.threads)

        slot = job.slot(plan)
        deadline = time.monotonic() + MEASURE_LIMIT

        def seconds(config: dict[str, Any]) -> float | None:
            left = max(SHORTEST_WAIT, deadline - time.monotonic())
            task = timed.remote(slot, config)
            try:
                found: float | None = ray.get(task, timeout=left)
            except ray.exceptions.RayError as error:
                ray.cancel(task, force=True)
                why = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
                raise NotMeasured(f"a configuration could not be timed: {why}") from error
            return found

        return seconds
