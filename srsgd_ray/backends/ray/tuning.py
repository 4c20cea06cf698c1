"""A study's trials seen from Ray Tune: a searcher, a scheduler and a callback.

Tune runs the trials; it decides nothing that the record does not hold, and its own snapshot is
never read back.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from srsgd_ray.backends.base import RESTARTS, Trials
from srsgd_ray.backends.ray.abandoned import FREE_AFTER, free_abandoned
from srsgd_ray.backends.ray.metrics import StudyMetrics
from srsgd_ray.backends.ray.slot import trial_config

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two looks for trials without workers
TELL_EVERY = 10.0  # seconds between two lists of them: a hundred slots come up one by one


class TrialSearcher(Searcher):
    """Gives Tune the study's trials, those before others that it gave up too soon (``again``)."""

    def __init__(self, trials: Trials, again: list[dict[str, Any]]) -> None:
        # No metric is named: a trial that diverges in its first epoch has none to report.
        super().__init__()
        self._trials, self._again = trials, again

    def suggest(self, trial_id: str) -> Any:
        """Tune's next trial, None for "not yet", or FINISHED."""
        if self._again:
            return self._again.pop(0)
        assignment = self._trials.next()
        if assignment is not None:
            return trial_config(assignment)
        return Searcher.FINISHED if self._trials.finished else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the callback reports what happened, with the reason."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed study makes a new one from the record."""


class Stopped(Exception):
    """The study was asked to stop: Tune lets its actors go and hands this on."""


class TrialCallback(Callback):
    """Reports to the study what happened, row by row and end by end.

    Args:
        trials, metrics: who hears it.
        again: where trials go that Tune gave up too soon.
        need: what a trial takes, in words.
        wait_limit: seconds without a trial that runs, for lack of workers, that are too long.
        asked: whether the study was asked to stop. Tune itself listens to signals alone, which
            reach no study in a thread of its own.
    """

    def __init__(
        self,
        trials: Trials,
        metrics: StudyMetrics,
        again: list[dict[str, Any]],
        need: str = "",
        wait_limit: float = math.inf,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._trials, self._metrics, self._again = trials, metrics, again
        self._need, self._limit, self._asked = need, wait_limit, asked
        self._looked = self._ran = self._freed = self._listed = time.monotonic()
        self._pending: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[()]]:
        """Tune stores its callbacks, and never reads them back here."""
        return dict, ()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Stop if asked to; see which trials have no workers, and free what nobody owns."""
        if self._asked():
            raise Stopped
        now, clock = time.monotonic(), time.time()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        waiting = self._waiting(trials, clock)
        if not waiting or any(t.status == Trial.RUNNING and not _waits(t) for t in trials):
            self._ran = now
        elif now - max(self._ran, self._freed) > FREE_AFTER:
            self._freed = now
            free_abandoned()
        over = now - self._ran > self._limit
        told = {name: since for name, since in waiting.items() if clock - since > FREE_AFTER}
        changed = told.keys() != self._told.keys()
        soon = bool(told) != bool(self._told) or now - self._listed > TELL_EVERY
        if over or (changed and soon):
            self._trials.waits(waiting if over else told, self._need, over)
            self._told, self._listed = told, now
        if over:
            self._limit = math.inf

    def _waiting(self, trials: list[Trial], now: float) -> dict[str, float]:
        """Since when each trial without workers has been so; the slot tells, once it is there."""
        found = {}
        for trial in trials:
            if trial.status == Trial.PENDING:
                name = trial.config["_trial"]
                found[name] = self._pending.get(name, now)
            elif trial.status == Trial.RUNNING and (since := _waits(trial)):
                found[trial.config["_trial"]] = since
        self._pending = found
        return found

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Another slot continues a trial: rows that are known are not reported again."""
        _note_known(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A row, unless the result only says how the trial ended."""
        name = trial.config["_trial"]
        for artifact, columns in (result.get("artifacts") or {}).items():
            self._trials.artifact(name, artifact, columns)
        if result.get("row") is not None:
            self._trials.epoch(name, result["row"])
            self._metrics.tell()

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The end of a trial: its own, or the scheduler's stop."""
        result = trial.last_result
        end = {k: v for k, v in (result.get("end") or {}).items() if v is not None}
        state, reason = end.pop("state", None), end.pop("reason", None)
        if state is None:
            state, reason = "pruned", f"stopped by the scheduler at epoch {result['epoch']}"
        self._trials.ended(trial.config["_trial"], state, reason, **end)
        self._metrics.tell()

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial that Tune gave up.

        It does so at once where a slot dies that has just been given its next trial: Tune hears of
        one death twice. Such a trial begins again.
        """
        begun = trial.config.get("_begun", 1)
        more = trial.should_recover()  # type: ignore[no-untyped-call]
        if more and begun <= RESTARTS:
            _note_known(trial)
            # Tune puts the slot in itself, and fails at one that is there already.
            own = {name: value for name, value in trial.config.items() if name != "_slot"}
            self._again.append({**own, "_begun": begun + 1})
            return
        file = trial.error_file  # where it is written; get_error() looks where it will be copied to
        error = Path(file).read_text(encoding="utf-8") if file and Path(file).is_file() else ""
        logger.error("%s failed: %s", trial.config["_trial"], error)
        self._trials.ended(trial.config["_trial"], "failed", _last_line(error))
        self._metrics.tell()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Nothing more will come."""
        self._metrics.tell(last=True)

    def get_state(self) -> None:
        """Nothing to store in Tune's snapshot."""


def _note_known(trial: Trial) -> None:
    known = (trial.last_result or {}).get("epoch", 0)
    trial.config["_known_epochs"] = max(trial.config["_known_epochs"], known)


def _waits(trial: Trial) -> float:
    """Since when the workers of a trial that runs have been sought; 0 if they are there."""
    return float((trial.last_result or {}).get("waiting") or 0)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "unknown error"


class StopScheduler(FIFOScheduler):
    """Stops a trial where the study says so."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._trials = trials
        self._kept_warm = False

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """See to it that slots stay, and that trials which have ended do not."""
        controller = getattr(tune_controller, "_tune_controller", tune_controller)
        _let_go(controller)
        if not self._kept_warm:
            self._kept_warm = True
            _keep_actors(controller, trial)
            know_losses(controller._actor_manager)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE or STOP."""
        # A scheduler is given the result with nested names: row/epoch.
        row = {k.removeprefix("row/"): v for k, v in result.items() if k.startswith("row/")}
        if not row or result.get("done"):
            return TrialScheduler.CONTINUE
        continues = self._trials.continues(trial.config["_trial"], row)
        return TrialScheduler.CONTINUE if continues else TrialScheduler.STOP


def _let_go(controller: Any) -> None:
    """Have Tune forget the trials that have ended: the record knows them.

    Tune keeps each with its averages of all metrics (some 80 kB), writes all of them into its
    snapshot again and again, and looks at each at every step. There is no public way; without this
    hook a study only needs more memory and time.
    """
    trials = controller.get_trials()
    ended = {trial for trial in trials if trial.is_finished()}
    trials[:] = [trial for trial in trials if trial not in ended]
    for name in ("_live_trials", "_stopped_trials", "_failed_trials", "_trials_to_cache"):
        getattr(controller, name, set()).difference_update(ended)
    for trial in ended:
        getattr(controller, "_trial_metadata", {}).pop(trial.trial_id, None)


def know_losses(manager: Any) -> None:
    """Have Tune take each error of Ray's own for what it is: a slot that is lost.

    Tune knows two of them and ends the whole run at any other, such as OutOfMemoryError, which is
    what is heard of an actor that Ray's memory monitor killed. There is no public way.
    """
    known = manager._actor_task_failed

    def failed(tracked_actor_task: Any, exception: Exception) -> None:
        unknown = not isinstance(exception, RayActorError | RayTaskError)
        if isinstance(exception, RayError) and unknown:
            text = str(exception).strip().partition("\n")[0]
            exception = RayActorError(error_msg=text)
        known(tracked_actor_task, exception)

    manager._actor_task_failed = failed


def _keep_actors(controller: Any, trial: Trial) -> None:
    """Have Tune keep every slot's actor while the last trials of the search end.

    Tune keeps one idle actor at most unless trials are pending, and the confirmation's trials are
    not known before the search has ended; the other slots would start anew, some 15 s each. There
    is no public setting; without this hook a study only takes longer.
    """
    cache = getattr(controller, "_actor_cache", None)
    if cache is not None and hasattr(cache, "increase_max"):
        cache.increase_max(trial.placement_group_factory, by=1_000_000)
    else:
        logger.warning("this version of Ray Tune may start slots anew before the confirmation")
