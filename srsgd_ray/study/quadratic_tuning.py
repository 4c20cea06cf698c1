"""Jobs of a few seconds through Ray Tune: one actor a CPU, kept warm, told as they end."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from ray import tune
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from srsgd_ray.study.cluster import gentle_stop
from srsgd_ray.trainables.quadratic import QuadraticTrainable

__all__ = ["Jobs", "check_slots", "do_jobs"]

LINE_EVERY = 5.0  # seconds between two lines of progress where the output is no terminal


class Jobs:
    """What is to be done. The order is decided here, and nothing of it by Tune.

    ``lost`` holds a line for each job that was given up.
    """

    lost: list[str]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be handed out or awaited."""
        raise NotImplementedError

    def next(self) -> tuple[str, dict[str, Any]] | None:
        """Name and content of the next job; None while none can be named, or when finished."""
        raise NotImplementedError

    def ended(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A job ended with these rows."""
        raise NotImplementedError

    def failed(self, name: str, reason: str) -> None:
        """A job failed, twice."""
        raise NotImplementedError

    def line(self) -> str:
        """How far it is."""
        raise NotImplementedError

    def write_tables(self) -> None:
        """Make the study's tables from its record."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Tune pickles all that it is given, for a snapshot of its own that is never read."""
        return _nothing, ()


def _nothing() -> None:
    """Stands for the jobs in Tune's snapshot."""


class _Asker(Searcher):
    """Hands Tune the jobs."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs

    def suggest(self, trial_id: str) -> Any:
        """Tune's next trial, None for "not yet", or FINISHED."""
        job = self._jobs.next()
        if job is not None:
            return {"name": job[0], "job": job[1]}
        return Searcher.FINISHED if self._jobs.finished else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the callback tells the jobs."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed study makes a new one from the record."""


class _Teller(Callback):
    """Tells the jobs what ended, and the screen how far it is."""

    def __init__(self, jobs: Jobs, screen: TextIO) -> None:
        self._jobs, self._screen = jobs, screen
        self._began, self._said = time.monotonic(), 0.0

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _nothing, ()

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A job was done."""
        self._jobs.ended(trial.config["name"], trial.last_result["rows"])
        self._say()

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A job was given up."""
        words = str(trial.get_error()).strip().splitlines() or ["unknown error"]
        self._jobs.failed(trial.config["name"], words[-1])
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        terminal, last = self._screen.isatty(), self._jobs.finished
        if terminal or last or now - self._said >= LINE_EVERY:
            self._said = now
            line = f"{self._jobs.line()} | {now - self._began:.0f} s gone"
            self._screen.write(f"\r{line}\x1b[K" + "\n" * last if terminal else line + "\n")
            self._screen.flush()

    def get_state(self) -> None:
        """Nothing to store in Tune's snapshot."""


def check_slots(nodes: list[dict[str, float]], slots: int | None) -> int:
    """Jobs at a time: as asked, or one a CPU; ValueError if there are not so many CPUs."""
    there = int(sum(node.get("CPU", 0) for node in nodes))
    chosen = there if slots is None else slots
    if not 1 <= chosen <= there:
        raise ValueError(
            f"1 <= slots <= CPUs must hold, but got slots={chosen} for {there} CPUs. "
            f"Leave --slots out to use all."
        )
    return chosen


def do_jobs(jobs: Jobs, folder: Path, slots: int, screen: TextIO = sys.stdout) -> None:
    """Do all jobs on the Ray that is up; returns early on Ctrl-C or SIGTERM.

    Args:
        jobs: what is to be done.
        folder: in which Tune may write; nothing of it is left.
        slots: jobs at a time, one CPU each.
        screen: where progress is shown.
    """
    scratch = folder / "tune"
    tuner = tune.Tuner(
        tune.with_resources(QuadraticTrainable, {"CPU": 1}),
        tune_config=tune.TuneConfig(
            search_alg=_Asker(jobs), num_samples=-1, max_concurrent_trials=slots, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="quadratic",
            storage_path=str(scratch),
            verbose=0,
            callbacks=[_Teller(jobs, screen)],
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    try:
        with gentle_stop(screen):
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
