"""What the confirmation of each search runs: which configurations, over which seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.results import Record
from srsgd_ray.results.tables import trials_frame
from srsgd_ray.study.spec import Study

Run = tuple[str, dict[str, Any]]  # arm and configuration, its seed with it


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

    def left(self, search: int) -> list[Run]:
        """Of an ended search's confirmation, those runs that have not begun, in order."""
        trials = self._record.trials.values()
        begun = Counter(t.arm for t in trials if (t.phase, t.search) == ("confirm", search))
        left = []
        for arm, config in self._of(search):
            begun[arm] -= 1
            if begun[arm] < 0:
                left.append((arm, config))
        return left

    def _of(self, search: int) -> list[Run]:
        """All of its runs, seed by seed, so that pairs are made early."""
        if search not in self._runs:
            study, selected = self._study, self.selected(search)
            self._runs[search] = [
                (arm, study.confirmed(config, study.confirmation_seed(search, index)))
                for index in range(max(study.seeds_of(arm.name) for arm in study.arms))
                for arm, configs in selected.items()
                for config in configs
                if index < study.seeds_of(arm)
            ]
        return self._runs[search]

    def selected(self, search: int = 0) -> dict[str, list[dict[str, Any]]]:
        """Configs that a search's confirmation runs, by arm.

        Its fixed one, its best of that search, or points of its Pareto front. Searched arms without
        a complete trial in that search are left out.
        """
        study, trials = self._study, self._record.trials
        found: dict[str, list[dict[str, Any]]] = {}
        mine = [t for t in trials.values() if (t.phase, t.search) == ("search", search)]
        table = pd.DataFrame()
        if mine:
            table = trials_frame(self._record.contents, self._columns)
            table = table[table["search"] == search]
        for arm in study.arms:
            if (arm.name, search) not in self._searches:
                found[arm.name] = [study.plain(arm.name, {})]
                continue
            if not any(t.arm == arm.name and t.state == "complete" for t in mine):
                continue
            metric, mode = study.metric, study.mode
            if study.pareto:
                second = study.pareto_metric or None
                front = analysis.pareto_front(table, arm.name, metric, mode, second)
                names = list(analysis.spread_points(front, study.confirm_points)["trial"])
            else:
                names = [analysis.best_trial(table, arm.name, metric, mode)["trial"]]
            found[arm.name] = [trials[str(name)].config for name in names]
        return found
