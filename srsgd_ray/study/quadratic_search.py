"""Beyond the paper: search SRNAG's schedule on the quadratic, and confirm what was found.

Each arm gets as many trials. Where there is noise, a trial's value is the exact expectation of the
mean gap over the last 1,000 iterations, so that no luck of a seed is in it; the best setting of
each arm and the published ones are then run on the same fresh seeds and compared in pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from srsgd_ray.problems.quadratic import METHODS, Setting, published_setting
from srsgd_ray.problems.quadratic_results import (
    MEASURED,
    TARGET,
    setting_columns,
    write_table,
)
from srsgd_ray.results import Record, TrialRecord
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.quadratic_arms import ARMS, QuadraticArm
from srsgd_ray.study.quadratic_tuning import Jobs
from srsgd_ray.study.search import Search, open_storage

__all__ = ["QuadraticSearch", "contestants", "objective"]

CONFIRM_SEED = 1000  # the first of the confirmation; the study of Figure 2 begins with 0
SEEDS_A_JOB = 2


def objective(case: str, row: Mapping[str, Any], iterations: int) -> float:
    """What a search lowers.

    With noise: the mean gap over the last 1,000 iterations. Exact: the iteration from which on the
    gap stays below 1e-10; where it does not get there, a number above all iterations that grows
    with the gap.
    """
    gap = float(row["mean_gap_last_1000"])
    if case != "exact":
        return gap
    if row["stays_below"] is not None:
        return float(row["stays_below"])
    return iterations * (1 + max(0.0, math.log10(gap / TARGET)))


def contestants(case: str, iterations: int) -> dict[str, Setting]:
    """The published settings of a case, by the name that they have as an arm."""
    found = {method: published_setting(case, method, iterations=iterations) for method in METHODS}
    found["SRNAG published"] = found.pop("SRNAG")
    if case == "decaying":
        found["SRNAG corrected"] = published_setting(case, "SRNAG", "corrected", iterations)
    return found


class QuadraticSearch(Jobs):
    """The search's trials, arm by arm in turns, and then the confirmation's runs."""

    def __init__(self, record: Record, spec: Mapping[str, Any]) -> None:
        self.record, self.spec, self.lost = record, spec, list[str]()
        database = open_storage(record.folder / "optuna.db")
        study = record.contents.header["study"]
        self._searches: dict[str, Search] = {}
        self._arms: dict[str, tuple[str, QuadraticArm]] = {}
        for case in spec["cases"]:
            for name, arm in ARMS.items():
                full = f"{case}-{name}"
                space = SearchSpace(full, arm.question, arm.ranges(spec["iterations"]))
                self._arms[full] = (case, arm)
                self._searches[full] = Search(
                    database,
                    study,
                    full,
                    space,
                    searcher="tpe",
                    mode="min",
                    metric="objective",
                    trials=spec["trials"],
                    seed=spec["seed"],
                )
                self._searches[full].reconcile(self._of(full))
        self._again = [t for t in self._of() if t.end is None]
        self._waiting: list[tuple[str, dict[str, Any], list[str]]] | None = None
        self._running: dict[str, tuple[dict[str, Any], list[str]]] = {}

    def _of(self, arm: str | None = None) -> list[TrialRecord]:
        """The trials of the search, or of one of its arms."""
        trials = self.record.trials.values()
        return [t for t in trials if t.phase == "search" and arm in (None, t.arm)]

    @property
    def _searched(self) -> bool:
        wanted = len(self._arms) * int(self.spec["trials"])
        return sum(trial.end is not None for trial in self._of()) == wanted

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be handed out or awaited."""
        if self._running or not self._searched:
            return False
        return not self._confirmation()

    def next(self) -> tuple[str, dict[str, Any]] | None:
        """The next trial of the search; after its last has ended, of the confirmation."""
        if self._again:
            trial = self._again.pop(0)
            return self._hand_out(trial)
        number, arm = min((len(self._of(arm)), place) for place, arm in enumerate(self._arms))
        full = list(self._arms)[arm]
        if number < self.spec["trials"]:
            name = f"search-{full}-{number:03d}"
            params = self._searches[full].ask(name, number)
            case, how = self._arms[full]
            setting = how.setting(case, self.spec["iterations"], params)
            config = {**setting.to_dict(), **params, "seed": self.spec["seed"]}
            self.record.begin(name, "search", full, number, config)
            return self._hand_out(self.record.trials[name])
        if not self._searched or not self._confirmation():
            return None
        job_name, job, names = self._confirmation().pop(0)
        self._running[job_name] = (job, names)
        return job_name, job

    def _hand_out(self, trial: TrialRecord) -> tuple[str, dict[str, Any]]:
        setting = Setting.from_dict(trial.config)
        expected = setting.case != "exact"
        job = {
            "settings": [setting.to_dict()],
            "seeds": [0],
            "keep": False,
            "expected": expected,
        }
        self._running[trial.trial] = (job, [trial.trial])
        return trial.trial, job

    def _best(self, arm: str) -> TrialRecord | None:
        """The trial of an arm, such as ``decaying-one_f``, with the lowest objective."""
        ended = [t for t in self._of(arm) if t.state == "complete"]
        return min(ended, key=lambda t: t.rows[-1]["objective"], default=None)

    def _confirmation(self) -> list[tuple[str, dict[str, Any], list[str]]]:
        """The confirmation's jobs that are left; named once the search has ended."""
        if self._waiting is None:
            self._waiting = list(self._confirmation_jobs())
        return self._waiting

    def _confirmation_jobs(self) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        for case in self.spec["cases"]:
            settings = contestants(case, self.spec["iterations"])
            for name in ARMS:
                best = self._best(f"{case}-{name}")
                if best is not None:
                    settings[f"best {name}"] = Setting.from_dict(best.config)
            count = 1 if case == "exact" else self.spec["confirm_seeds"]
            for first in range(0, count, SEEDS_A_JOB):
                seeds = [CONFIRM_SEED + i for i in range(first, min(count, first + SEEDS_A_JOB))]
                # In the order of the rows of `do_job`.
                runs = [(label, seed) for label in settings for seed in seeds]
                names = [f"confirm-{case}-{label}-{seed}" for label, seed in runs]
                if all(self._is_complete(name) for name in names):
                    continue
                for name, (label, seed) in zip(names, runs, strict=True):
                    config = {**settings[label].to_dict(), "seed": seed}
                    self.record.begin(name, "confirm", f"{case}-{label}", seed, config)
                job = {
                    "settings": [setting.to_dict() for setting in settings.values()],
                    "seeds": seeds,
                    "keep": False,
                    "expected": False,
                }
                yield f"confirm-{case}-{seeds[0]}", job, names

    def _is_complete(self, name: str) -> bool:
        trial = self.record.trials.get(name)
        return trial is not None and trial.state == "complete"

    def ended(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Note the rows, and tell Optuna of a search trial."""
        _, names = self._running.pop(name)
        for trial_name, row in zip(names, rows, strict=True):
            trial = self.record.trials[trial_name]
            value = objective(trial.config["case"], row, trial.config["iterations"])
            kept = {column.name: row[column.name] for column in MEASURED}
            self.record.epoch(trial_name, {"epoch": 1, "objective": value, **kept})
            self._end(trial_name, "complete")

    def failed(self, name: str, reason: str) -> None:
        """Note that the trials failed; a resume does those of the confirmation again."""
        _, names = self._running.pop(name)
        self.lost += [f"{trial}: {reason}" for trial in names]
        for trial in names:
            if self.record.trials[trial].phase == "search":
                self._end(trial, "failed", reason)

    def _end(self, name: str, state: str, reason: str | None = None) -> None:
        self.record.end(name, state, reason)
        trial = self.record.trials[name]
        if trial.phase == "search":
            self._searches[trial.arm].tell(trial)

    def line(self) -> str:
        """Trials of each phase that have ended."""
        ended = [t for t in self.record.trials.values() if t.end is not None]
        searched = sum(t.phase == "search" for t in ended)
        confirmed = len(ended) - searched
        return (
            f"search {searched}/{len(self._arms) * self.spec['trials']} trials | "
            f"confirmation {confirmed} runs"
        )

    def write_tables(self) -> None:
        """Make ``search.parquet`` from the record."""
        write_table(self.record.folder, "search", self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        contents = self.record.contents
        for trial in contents.trials.values():
            yield {
                **(contents.sessions[-1] if contents.sessions else {}),
                "study": contents.header["study"],
                "phase": trial.phase,
                "arm": trial.arm.partition("-")[2],
                "trial": trial.trial,
                "number": trial.number,
                "state": trial.state,
                "seed": trial.config["seed"] if trial.phase == "confirm" else None,
                **setting_columns(Setting.from_dict(trial.config)),
                **(trial.rows[-1] if trial.rows else {}),
            }
