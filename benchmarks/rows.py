"""Rows of docs/performance.md: what a benchmark found, with n, quartiles and its goal.

A benchmark prints its rows as it finds them. Under benchmarks/bench.py, which names a file in
``BENCH_ROWS``, each is a line of JSON there, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from srsgd_ray.results import read_record

FILE = "BENCH_ROWS"


@dataclass(frozen=True)
class Row:
    """What was found.

    Attributes:
        what: was measured.
        unit: of the numbers; "times" is a ratio.
        goal: that the median shall not exceed, or, if ``least``, reach. None: there is none.
        n: how often it was measured.
        low, middle, high: quartiles.
    """

    what: str
    unit: str
    goal: float | None
    least: bool
    n: int
    low: float
    middle: float
    high: float

    @property
    def missed(self) -> bool:
        """Whether there is a goal, and the median is on its wrong side."""
        if self.goal is None:
            return False
        return self.middle < self.goal if self.least else self.middle > self.goal

    @property
    def result(self) -> str:
        """Median and quartiles."""
        return f"{said(self.middle)} {self.unit} [{said(self.low)}, {said(self.high)}]"

    @property
    def aim(self) -> str:
        """The goal in words; "" if there is none."""
        if self.goal is None:
            return ""
        return f"{'at least' if self.least else 'at most'} {self.goal:,g} {self.unit}"


def said(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The three, interpolated; of one value three times that."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def row(
    what: str,
    values: Sequence[float],
    unit: str = "times",
    *,
    goal: float | None = None,
    least: bool = False,
) -> Row:
    """Print what was found, and hand it to bench.py; the arguments are :class:`Row`'s."""
    made = Row(what, unit, goal, least, len(values), *quartiles(values))
    aim = f"; goal {made.aim}" * (made.goal is not None)
    print(f"{what}: {made.result}, n = {made.n}{aim}", flush=True)
    if name := os.environ.get(FILE):
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(made)) + "\n")
    return made


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Of what was measured in the same rounds, round by round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def work(row: dict[str, Any]) -> float:
    """Seconds that an epoch's training and evaluation took."""
    return float(row["train_seconds"]) + float(row.get("eval_seconds") or 0.0)


def between_epochs(folder: Path) -> list[float]:
    """Seconds from the end of an epoch to the beginning of the trial's next, in a study."""
    return [
        b["time"] - work(b) - a["time"]
        for trial in read_record(folder).trials.values()
        for a, b in pairwise(trial.rows)
    ]


def of_trials(folder: Path, slots: int) -> list[tuple[float, float]]:
    """Of each trial on a slot that was warm: seconds since the end of the one before, its work's.

    The record does not name slots: a trial takes the one whose trial ended before it could begin.
    """
    trials = sorted(read_record(folder).trials.values(), key=lambda t: t.started)
    ends = sorted((t.end or {})["ended"] for t in trials)
    return [
        ((t.end or {})["ended"] - before, sum(map(work, t.rows)))
        for t, before in zip(trials[slots:], ends, strict=False)
    ]
