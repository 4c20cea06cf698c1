"""How far a running study is, and the best that its searches have found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from srsgd_ray.results import TrialRecord
from srsgd_ray.study.spec import Study


@dataclass(frozen=True)
class Counts:
    """How far the study is, in trials and in epochs."""

    trials: int
    trials_done: int
    epochs: int
    epochs_done: int


def counts(
    study: Study,
    begun: list[TrialRecord],
    runs: Counter[str],
    length: Callable[[TrialRecord], int],
) -> Counts:
    """Trials and epochs, done and in all; epochs that ended trials will never run are off.

    Args:
        study: the study.
        begun: its trials so far.
        runs: how many confirmation runs each arm has in all.
        length: epochs of a whole trial.
    """
    started = Counter(trial.arm for trial in begun)
    names = [arm.name for arm in study.arms]
    left = {a: study.trials_of(a) * study.searches + runs[a] - started[a] for a in names}
    ended = [t for t in begun if t.end is not None]
    done = sum(len(t.rows) for t in begun)
    running = sum(length(t) - len(t.rows) for t in begun if t.end is None)
    to_come = sum(count * study.epochs_of(arm) for arm, count in left.items())
    return Counts(len(begun) + sum(left.values()), len(ended), done + running + to_come, done)


def best_so_far(study: Study, trials: Iterable[TrialRecord]) -> dict[str, float]:
    """Best value of the metric over each arm's complete search trials."""
    pick = min if study.mode == "min" else max
    values: dict[str, list[float]] = {}
    for trial in trials:
        if trial.phase == "search" and trial.state == "complete":
            values.setdefault(trial.arm, []).append(trial.rows[-1][study.metric])
    return {arm: pick(found) for arm, found in values.items()}
