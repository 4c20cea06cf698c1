"""Figure 2 of the paper as jobs: 15 curves, the noisy ones with several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from srsgd_ray.problems.quadratic import Setting, published_setting
from srsgd_ray.problems.quadratic_results import (
    MEASURED,
    kept_steps,
    setting_columns,
    write_table,
)
from srsgd_ray.results import Record
from srsgd_ray.study.quadratic_tuning import Jobs

__all__ = ["Figure2"]

SEEDS_A_JOB = 2


class Figure2(Jobs):
    """The runs of Figure 2: every method and seed of a case, two seeds a job."""

    def __init__(self, record: Record, spec: Mapping[str, Any]) -> None:
        self.record, self.spec, self.lost = record, spec, []
        self._waiting = list(self._jobs())
        self._running: dict[str, list[str]] = {}

    def _runs(self, case: str, seeds: Sequence[int]) -> dict[str, tuple[Setting, int]]:
        """Runs by name, in the order of the rows of `do_job`."""
        found = {}
        for method in self.spec["methods"]:
            setting = published_setting(
                case, method, self.spec["schedule"], self.spec["iterations"]
            )
            found.update({f"{case}-{method}-{seed}": (setting, seed) for seed in seeds})
        return found

    def _jobs(self) -> Iterator[tuple[str, list[int]]]:
        """(case, seeds) of each job that has a run to do."""
        for case in self.spec["cases"]:
            count = 1 if case == "exact" else self.spec["seeds"]
            missing = [
                seed
                for seed in range(count)
                if any(not self._is_complete(name) for name in self._runs(case, [seed]))
            ]
            for first in range(0, len(missing), SEEDS_A_JOB):
                yield case, missing[first : first + SEEDS_A_JOB]

    def _is_complete(self, name: str) -> bool:
        trial = self.record.trials.get(name)
        return trial is not None and trial.state == "complete"

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be handed out or awaited."""
        return not self._waiting and not self._running

    def next(self) -> tuple[str, dict[str, Any]] | None:
        """The next job."""
        if not self._waiting:
            return None
        case, seeds = self._waiting.pop(0)
        runs = self._runs(case, seeds)
        name = f"{case}-{seeds[0]}"
        self._running[name] = list(runs)
        for run, (setting, seed) in runs.items():
            config = {**setting.to_dict(), "seed": seed}
            self.record.begin(run, "run", setting.method, seed, config)
        settings = [setting.to_dict() for setting, seed in runs.values() if seed == seeds[0]]
        return name, {"settings": settings, "seeds": seeds, "keep": True, "expected": False}

    def ended(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Note the curves, and write them."""
        for run, row in zip(self._running.pop(name), rows, strict=True):
            kept = {column.name: row[column.name] for column in MEASURED}
            self.record.epoch(run, {"epoch": 1, "values": row["values"], **kept})
            self.record.end(run, "complete")
        self.write_tables()

    def failed(self, name: str, reason: str) -> None:
        """Leave the runs for a resume."""
        self.lost += [f"{run}: {reason}" for run in self._running.pop(name)]

    def line(self) -> str:
        """How many runs are done."""
        done = sum(trial.end is not None for trial in self.record.trials.values())
        cases = self.spec["cases"]
        runs = len(self.spec["methods"]) * sum(
            1 if case == "exact" else self.spec["seeds"] for case in cases
        )
        return f"{done}/{runs} runs"

    def write_tables(self) -> None:
        """Make ``runs.parquet`` and ``curves.parquet`` from the record."""
        contents = self.record.contents
        done = [trial for trial in contents.trials.values() if trial.state == "complete"]
        common = {
            **(contents.sessions[-1] if contents.sessions else {}),
            "study": contents.header["study"],
        }
        runs, points = [], []
        for trial in done:
            setting, seed = Setting.from_dict(trial.config), trial.config["seed"]
            runs.append({**common, **setting_columns(setting), "seed": seed, **trial.rows[0]})
            identity = {"case": setting.case, "method": setting.method, "seed": seed}
            steps = kept_steps(setting.iterations)
            for step, value in zip(steps, trial.rows[0]["values"], strict=True):
                points.append({**common, **identity, "step": step, "value": value})
        write_table(self.record.folder, "runs", runs)
        write_table(self.record.folder, "curves", points)
