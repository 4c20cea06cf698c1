"""What the confirmation of each search runs: which configurations, over which seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.results import Record, TrialRecord
from srsgd_ray.results.planned import superseded
from srsgd_ray.results.reading import frame
from srsgd_ray.study.spec import Study

Run = tuple[str, dict[str, Any], str]  # arm, configuration with its seed, what it confirms


class Confirming:
    """The confirmation runs of a study, search by search.

    Args:
        study: the study.
        record: of it.
        searches: arm and number of each search there is; other arms have fixed configurations.
    """

    def __init__(self, study: Study, record: Record, searches: Collection[tuple[str, int]]) -> None:
        self._study, self._record, self._searches = study, record, searches
        self._columns = study.columns()
        self._runs: dict[int, list[Run]] = {}

    def left(self, search: int, mine: Iterable[TrialRecord]) -> list[Run]:
        """Of an ended search's confirmation, those runs that are not ``mine``, in order."""
        left, wanted = [], self._of(search)
        begun = Counter((t.arm, t.config["seed"], t.confirms) for t in mine)
        for run in wanted:
            key = (run[0], run[1]["seed"], run[2])
            begun[key] -= 1
            if begun[key] < 0:
                left.append(run)
        return left

    def _of(self, search: int) -> list[Run]:
        """All of its runs, seed by seed, so that pairs are made early."""
        if search not in self._runs:
            study, selected = self._study, self.select(search)
            self._runs[search] = [
                (arm, study.confirmed(config, study.confirmation_seed(search, index)), name)
                for index in range(max(study.seeds_of(arm.name) for arm in study.arms))
                for arm, configs in selected.items()
                for name, config in configs.items()
                if index < study.seeds_of(arm)
            ]
        return self._runs[search]

    def select(self, search: int) -> dict[str, dict[str, dict[str, Any]]]:
        """What an ended search's confirmation runs, by arm; the record says so from then on.

        Returns:
            By the name of its trial, the configuration that is best in that search, or those of
            points of its Pareto front; a fixed one under "". Searched arms without a complete
            trial in that search are left out.
        """
        study, record = self._study, self._record
        trials, gone = record.trials, superseded(record.contents)
        found: dict[str, dict[str, dict[str, Any]]] = {}
        chosen: dict[str, list[str]] = {}
        mine = [t for t in trials.values() if (t.phase, t.search) == ("search", search)]
        table = pd.DataFrame()
        if mine:
            own_trials = {trial.trial: trial for trial in mine}
            contents = replace(record.contents, trials=own_trials)
            table = frame(contents, "trials", self._columns)
        for arm in study.arms:
            if (arm.name, search) not in self._searches:
                found[arm.name] = {"": study.plain(arm.name, {})}
                continue
            own = [t for t in mine if t.arm == arm.name and t.trial not in gone]
            if not any(t.state == "complete" for t in own):
                continue
            metric, mode = study.metric, study.mode
            if study.pareto:
                second = study.pareto_metric or None
                front = analysis.pareto_front(table, arm.name, metric, mode, second)
                names = list(analysis.spread_points(front, study.confirm_points)["trial"])
            else:
                names = [analysis.best_trial(table, arm.name, metric, mode)["trial"]]
            chosen[arm.name] = [str(name) for name in names]
            found[arm.name] = {name: trials[name].config for name in chosen[arm.name]}
        if mine:
            record.select(search, chosen)
        return found


def name_selected(study: Study, record: Record) -> None:
    """Say what has been confirmed in a record of a version that did not say it, before it grows."""
    searched = [arm.name for arm in study.arms if study.trials_of(arm.name)]
    confirmed = {t.search for t in record.trials.values() if t.phase == "confirm"}
    every = Confirming(study, record, [(a, s) for a in searched for s in range(study.searches)])
    for search in sorted(confirmed - set(record.contents.selected)):
        every.select(search)
