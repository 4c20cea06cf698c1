"""What came of a study, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.analysis import Comparison
from srsgd_ray.knobs import value_in
from srsgd_ray.results import (
    TrialRecord,
    read_epochs,
    read_predictions,
    read_record,
    read_trials,
)
from srsgd_ray.results.planned import superseded

FINISHED = "finished"
INTERRUPTED = "interrupted"
OUT_OF_BUDGET = "out of budget"
PLANNED = "planned"


@dataclass(frozen=True)
class StudyResult:
    """The result of a study. Its tables are read anew at each access: they may still grow.

    Attributes:
        folder: the study's folder.
        status: ``finished``, ``interrupted``, ``out of budget`` or ``planned``.
    """

    folder: Path
    status: str = FINISHED

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial, whatever its end; see docs/results.md."""
        return read_trials(self.folder)

    @property
    def epochs(self) -> pd.DataFrame:
        """One row for each finished epoch."""
        return read_epochs(self.folder)

    @property
    def best(self) -> dict[str, dict[str, Any]]:
        """By arm, the searched knobs of the configuration that is confirmed, or best so far.

        Of several searches, those of the trial with the best value of all; ``configurations`` has
        one row for each.
        """
        contents, table = read_record(self.folder), self.trials
        gone = superseded(contents)
        found: dict[str, dict[str, Any]] = {}
        for arm in contents.header["spec"]["arms"]:
            own = [t for t in contents.trials.values() if t.arm == arm["name"]]
            mine = [t for t in own if t.trial not in gone]
            config = next((t.config for t in mine if t.phase == "confirm"), None)
            several = any(t.search for t in mine)
            tried = any(t.phase == "search" and t.state == "complete" for t in mine)
            if tried and (several or config is None):
                best = analysis.best_trial(table, arm["name"])["trial"]
                config = contents.trials[str(best)].config
            if config is not None:
                found[arm["name"]] = {n: value_in(config, n) for n in arm["space"]["ranges"]}
        return found

    @property
    def configurations(self) -> pd.DataFrame:
        """What each search has found, one row each: ``arm``, ``search`` and the knobs."""
        return analysis.configurations(self.trials)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Each arm against its rival, over the pairs of the confirmation."""
        table = self.trials
        rivals, predictions = analysis.baselines(table), read_predictions(self.folder)
        return analysis.confirmation(table, rivals, predictions=predictions).comparisons

    @property
    def verdicts(self) -> list[str]:
        """The comparisons as sentences."""
        return [comparison.verdict for comparison in self.comparisons]

    @property
    def remarks(self) -> list[str]:
        """What a careful reader would remark on them, as sentences."""
        return analysis.remarks(self.trials)

    def __str__(self) -> str:
        return analysis.render(self.trials, predictions=read_predictions(self.folder))


def barren(folder: Path) -> dict[str, str]:
    """Of each arm of whose trials every one failed, what the first said."""
    by_arm: dict[str, list[TrialRecord]] = {}
    for trial in read_record(folder).trials.values():
        by_arm.setdefault(trial.arm, []).append(trial)
    return {
        arm: f"{trials[0].trial}: {(trials[0].end or {}).get('reason')}"
        for arm, trials in by_arm.items()
        if all(trial.state == "failed" for trial in trials)
    }
