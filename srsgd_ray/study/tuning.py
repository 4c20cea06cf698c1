"""The conductor seen from Ray Tune: a searcher that asks it, a scheduler, a callback that tells it.

Tune runs the trials; it decides nothing that the record does not hold, and its own snapshot is
never read back.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from srsgd_ray.study.conductor import Conductor
from srsgd_ray.study.spec import Study
from srsgd_ray.trainables import trial_config

__all__ = ["Asker", "PerArmScheduler", "Teller"]

logger = logging.getLogger(__name__)


class Asker(Searcher):
    """Hands Tune the conductor's trials."""

    def __init__(self, conductor: Conductor, checkpoints: str) -> None:
        # No metric is named: a trial that diverges in its first epoch has none to report.
        super().__init__()
        self._conductor, self._checkpoints = conductor, checkpoints

    def suggest(self, trial_id: str) -> Any:
        """Tune's next trial, None for "not yet", or FINISHED."""
        handout = self._conductor.next()
        if handout is not None:
            return trial_config(
                handout.trial,
                handout.config,
                known_epochs=handout.known_epochs,
                checkpoints=f"{self._checkpoints}/{handout.trial}",
            )
        return Searcher.FINISHED if self._conductor.finished else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the callback tells the conductor, with the reason."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed study makes a new one from the record."""


class Teller(Callback):
    """Tells the conductor what happened, row by row and end by end."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A row, unless the result only says how the trial ended."""
        if "train_loss" in result["row"]:
            self._conductor.epoch(trial.config["_trial"], result["row"])

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The end of a trial: its own, or the scheduler's stop."""
        result = trial.last_result
        facts = {
            name: result[name]
            for name in ("diverged_step", "parameters", "workers", "host", "hardware")
            if result.get(name) is not None
        }
        state, reason = result.get("state"), result.get("reason")
        if state is None:
            state, reason = "pruned", f"stopped by the scheduler at epoch {result['epoch']}"
        self._conductor.ended(trial.config["_trial"], state, reason, **facts)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial that Tune gave up."""
        error = trial.get_error()
        logger.error("%s failed: %s", trial.config["_trial"], error)
        self._conductor.ended(trial.config["_trial"], "failed", _last_line(str(error)))

    def get_state(self) -> None:
        """Nothing to store in Tune's snapshot."""


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "unknown error"


class PerArmScheduler(FIFOScheduler):
    """ASHA within each arm's search; the confirmation runs to its end.

    An arm's trials are compared with that arm's only: otherwise the arm that learns faster at
    first would eat the other's budget. Rungs are filled again from the record on resume.
    """

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._conductor = conductor
        study = conductor.study
        self._asha: dict[str, AsyncHyperBandScheduler] = {}
        if study.scheduler == "asha":
            self._asha = {arm.name: _asha(study) for arm in study.arms}
            nobody: Any = None  # ASHA does not look at Tune's controller
            for known in conductor.record.trials.values():
                if known.phase != "search":
                    continue
                scheduler, stand_in = self._asha[known.arm], _named(known.trial)
                scheduler.on_trial_add(nobody, stand_in)
                for row in known.rows:
                    if row[study.metric] is not None:
                        scheduler.on_trial_result(nobody, stand_in, row)
        self._kept_warm = False

    def _mine(self, trial: Trial) -> tuple[AsyncHyperBandScheduler | None, Any]:
        known = self._conductor.record.trials[trial.config["_trial"]]
        asha = self._asha.get(known.arm) if known.phase == "search" else None
        return asha, _named(known.trial)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Enter the trial into its arm's bracket."""
        if not self._kept_warm:
            self._kept_warm = True
            _keep_actors(tune_controller, trial)
        asha, name = self._mine(trial)
        if asha is not None:
            asha.on_trial_add(tune_controller, name)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE or STOP."""
        asha, name = self._mine(trial)
        metric = result.get(self._conductor.study.metric)
        if asha is None or metric is None or result.get("done"):
            return TrialScheduler.CONTINUE
        return asha.on_trial_result(tune_controller, name, result)


def _named(trial: str) -> Any:
    """All that ASHA looks at in a trial; ours keep their names when a study is resumed."""
    return SimpleNamespace(trial_id=trial)


def _asha(study: Study) -> AsyncHyperBandScheduler:
    return AsyncHyperBandScheduler(
        time_attr="epoch",
        metric=study.metric,
        mode=study.mode,
        max_t=study.epochs,
        grace_period=min(study.asha_grace, study.epochs),
        reduction_factor=study.asha_reduction,
        # The last rung is the last epoch: a trial that gets there is complete.
        stop_last_trials=False,
    )


def _keep_actors(tune_controller: Any, trial: Trial) -> None:
    """Have Tune keep every slot's actor while the last trials of the search end.

    Tune keeps one idle actor at most unless trials are pending, and the confirmation's trials are
    not known before the search has ended; the other slots would start anew, some 15 s each. There
    is no public setting; without this hook a study only takes longer.
    """
    controller = getattr(tune_controller, "_tune_controller", tune_controller)
    cache = getattr(controller, "_actor_cache", None)
    if cache is not None and hasattr(cache, "increase_max"):
        cache.increase_max(trial.placement_group_factory, by=1_000_000)
    else:
        logger.warning("this version of Ray Tune may start slots anew before the confirmation")
