"""What a study will cost: trials x epochs x measured seconds, before it begins; and its limit."""

from __future__ import annotations

import datetime
import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from srsgd_ray.config import TrainConfig
from srsgd_ray.results.record import Contents
from srsgd_ray.study.progress import duration
from srsgd_ray.study.spec import Study
from srsgd_ray.trainables import Plan

__all__ = ["Budget", "Cost", "NotMeasured", "cost", "measure_on", "spent_hours"]

# What an epoch's time depends on; the optimizer's share of a step is small.
KNOBS = (
    "dataset", "train_on", "validation_fraction", "model", "depth", "block", "width",
    "widen_factor", "cardinality", "growth_rate", "compression", "batch_size", "image_size",
    "precision", "device",
)  # fmt: skip
MEASURE_LIMIT = 900.0  # seconds for all measurements, with the wait for a machine
SHORTEST_WAIT = 1.0
Key = tuple[Any, ...]


class NotMeasured(RuntimeError):
    """A configuration that could not be timed, or not in time."""


@dataclass(frozen=True)
class Cost:
    """Estimated cost of what is left of a study.

    Attributes:
        trials, epochs: left to run; of a search over epochs, the middle of their range.
        seconds: of computing, in one worker group after the other.
        slots, workers: trials at a time, and processes of each.
        gpus: whether workers have a GPU.
        measured: how many configurations were timed, and how many were known from epochs done.
    """

    trials: int
    epochs: int
    seconds: float
    slots: int
    workers: int
    gpus: bool
    measured: tuple[int, int]

    @property
    def hours(self) -> float:
        """Worker-hours: GPU-hours if each worker has a GPU."""
        return self.seconds * self.workers / 3600

    @property
    def wall(self) -> float:
        """Seconds to the end, if the slots are never idle."""
        return self.seconds / self.slots

    def text(self, now: datetime.datetime) -> str:
        """The plan, in a line or two."""
        kind = "GPU-hours" if self.gpus else "worker-hours"
        timed, known = self.measured
        how = [f"{timed} configuration{'s' * (timed > 1)} timed here" if timed else ""]
        how += [f"{known} known from epochs done" if known else ""]
        ends = now + datetime.timedelta(seconds=self.wall)
        form = "%H:%M" if ends.date() == now.date() else "%a %d %b %Y, %H:%M"
        return (
            f"Plan: {self.trials} trials, {self.epochs:,} epochs, {self.hours:.3g} {kind} "
            f"({', '.join(part for part in how if part)}; without starting workers, reading "
            f"files and exchanging gradients). {self.slots} at a time: {duration(self.wall)}, "
            f"until {ends:{form}}."
        )


def cost(
    study: Study, plan: Plan, contents: Contents | None, measure: Callable[[TrainConfig], Any]
) -> Cost:
    """Estimate what is left of ``study``.

    Args:
        study: the study.
        plan: its slots.
        contents: of its record, if it is resumed: its epochs tell their own time.
        measure: times a config; returns an object with ``epoch`` and ``test`` seconds.
    """
    known = _known(contents)
    times: dict[Key, tuple[float, float]] = {}
    seconds, trials, epochs, timed, recorded = 0.0, 0, 0, 0, 0
    done = contents.trials.values() if contents is not None else ()
    for arm in study.arms:
        length = _length(study, arm.name)
        points = study.confirm_points if study.pareto else 1
        phases: tuple[tuple[str, int, dict[str, Any]], ...] = (
            ("search", study.trials, {}),
            (
                "confirm",
                study.confirm_seeds * points,
                {"train_on": study.confirm_on, "evaluate_test": True},
            ),
        )
        for phase, count, more in phases:
            config = study.config(arm.name, {}, **more)
            key = _key(config.to_dict())
            mine = [t for t in done if t.arm == arm.name and t.phase == phase]
            left = count * length - sum(len(t.rows) if t.end is None else length for t in mine)
            if left <= 0:
                continue
            if key in known:
                recorded += key not in times
                times.setdefault(key, (known[key], 0.0))
            elif key not in times:
                found = measure(config)
                times[key] = (found.epoch, found.test)
                timed += 1
            each, test = times[key]
            tests = left if config.test_every_epoch else left / length
            seconds += left * each + (tests * test if config.evaluate_test else 0.0)
            trials += count - sum(t.end is not None for t in mine)
            epochs += left
    return Cost(
        trials, epochs, seconds, plan.slots, plan.workers, plan.gpus_per_worker > 0,
        (timed, recorded),
    )  # fmt: skip


def _length(study: Study, arm: str) -> int:
    spread = study.arm(arm).space.ranges.get("epochs")
    if spread is None:
        return study.config(arm, {}).epochs
    return round((getattr(spread, "low", 1) + getattr(spread, "high", study.epochs)) / 2)


def _key(config: Mapping[str, Any]) -> Key:
    return tuple(config[name] for name in KNOBS)


def _known(contents: Contents | None) -> dict[Key, float]:
    """Median seconds of an epoch, by what they depend on, from the epochs done."""
    times: dict[Key, list[float]] = {}
    for trial in contents.trials.values() if contents is not None else ():
        if all(name in trial.config for name in KNOBS):
            found = times.setdefault(_key(trial.config), [])
            found += [row["train_seconds"] + row["eval_seconds"] for row in trial.rows]
    return {key: statistics.median(found) for key, found in times.items() if found}


def measure_on(plan: Plan) -> Callable[[TrainConfig], Any]:
    """Times a config on a worker of the running Ray cluster, with a slot's share of a machine."""
    import ray

    @ray.remote(num_cpus=plan.cpus_per_worker, num_gpus=plan.gpus_per_worker, max_retries=1)
    def timed(fields: dict[str, Any], workers: int, threads: int) -> Any:
        from srsgd_ray.training.timing import measure

        config = TrainConfig.from_dict(fields).replace(threads=threads)
        return measure(config, workers)

    deadline = time.monotonic() + MEASURE_LIMIT

    def measure(config: TrainConfig) -> Any:
        left = max(SHORTEST_WAIT, deadline - time.monotonic())
        task = timed.remote(config.to_dict(), plan.workers, plan.threads)
        try:
            return ray.get(task, timeout=left)
        except ray.exceptions.RayError as error:
            ray.cancel(task, force=True)
            why = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise NotMeasured(
                f"{config.model} of depth {config.depth} could not be timed: {why}"
            ) from error

    return measure


def spent_hours(contents: Contents) -> float:
    """Worker-hours for which the recorded sessions held their slots, to the last that they told."""
    seconds = [
        float(session["last"] - session["at"]) * session.get("held_workers", 0)
        for session in contents.sessions
    ]
    return math.fsum(seconds) / 3600


class Budget:
    """Calls ``stop`` once when the slots have been held for ``hours`` worker-hours in all.

    Args:
        hours: the limit, with those of earlier sessions.
        before: worker-hours of earlier sessions.
        plan: the slots that are held from now on.
        stop: called from a thread of its own.
    """

    def __init__(
        self, hours: float | None, before: float, plan: Plan, stop: Callable[[], None]
    ) -> None:
        self.hours, self._before, self._stop = hours, before, stop
        self._rate = plan.slots * plan.workers / 3600
        self._began = time.monotonic()
        self._closed = threading.Event()
        self.spent = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="budget")

    @property
    def used(self) -> float:
        """Worker-hours so far."""
        return self._before + self._rate * (time.monotonic() - self._began)

    def _watch(self) -> None:
        while not self._closed.wait(0.5):
            if self.hours is not None and self.used >= self.hours:
                self.spent = True
                self._stop()
                return

    def __enter__(self) -> Budget:
        if self.hours is not None:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
