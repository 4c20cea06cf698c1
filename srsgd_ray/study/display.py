"""How far a running study is: all of it, and what each slot does."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from srsgd_ray.backends.base import Number
from srsgd_ray.progress import Overview, Piece, duration, waiting
from srsgd_ray.results import TrialRecord
from srsgd_ray.results.columns import STATES
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.log import reached, searched, unit
from srsgd_ray.results.remaining import remaining
from srsgd_ray.study.controller import Controller
from srsgd_ray.study.spec import Study

ENDS = ("complete", "pruned", "diverged", "failed")
LATEST = 5  # epochs that a trial's pace is measured over


class Display:
    """What the terminal shows of a study; asked from another thread, also while Ray starts."""

    def __init__(self, controller: Controller) -> None:
        self._controller, self._began = controller, controller.record.now()
        self._lanes: list[str] = []  # so that a trial's lines stay where they are

    def __call__(self) -> Overview:
        """The study as it is now."""
        known = self._controller.record.contents
        # Copies, for the study goes on meanwhile.
        contents = replace(
            known,
            sessions=list(known.sessions),
            trials=dict(known.trials),
            selected=dict(known.selected),
        )
        running = {trial.trial: trial for trial in self._controller.running()}
        pieces = [self._piece(contents.header, running[name]) for name in self._placed(running)]
        done = [piece.done for piece in pieces] or [0]
        short = f"{len(pieces)} run now, with {min(done)} to {max(done)} "
        short += f"{unit(contents.header)} done; a higher terminal shows each"
        return Overview(self._whole(contents), pieces, short)

    def _whole(self, contents: Contents) -> list[str]:
        study, left = self._controller.study, remaining(contents)
        states = Counter(trial.state for trial in contents.trials.values())
        wait = waiting(contents.waiting, contents.need, time.time())
        items = [
            f"{left.ended}/{left.trials} trials",
            ", ".join(f"{states[end]} {end}" for end in ENDS),
            f"{duration(self._controller.record.now() - self._began)} gone",
        ]
        items += [wait] if wait else []
        if left.seconds is not None:
            items.append(f"{duration(left.seconds)} left")
        best = [f"{arm} {v:.4g}" for arm, v in best_so_far(study, contents.trials.values()).items()]
        if best:
            which = "lowest" if study.mode == "min" else "highest"
            items += [f"{which} {study.metric}: {best[0]}", *best[1:]]
        elif study.trials:
            items.append("no trial is complete yet")
        else:
            items.append(f"{left.done}/{left.epochs} {unit(contents.header)}")
        return items

    def _placed(self, running: Mapping[str, TrialRecord]) -> list[str]:
        """The trials that run, each where it was before, and new ones in the free places."""
        new = [name for name in running if name not in self._lanes]
        kept = [name if name in running or not new else new.pop(0) for name in self._lanes]
        self._lanes = [*(name for name in kept if name in running), *new]
        return self._lanes

    def _piece(self, header: Mapping[str, Any], trial: TrialRecord) -> Piece:
        knobs = [f"{name} {_short(value)}" for name, value in searched(header, trial).items()]
        done, total = len(trial.rows), self._controller.length(trial)
        far = [f"{done} of {total} {unit(header)}"]
        far += [f"{name} {_short(value)}" for name, value in reached(header, trial).items()]
        since = self._controller.record.contents.waiting.get(trial.trial)
        if since is not None:
            far.append(f"waits for workers {duration(time.time() - since)}")
            return Piece([trial.trial, *knobs], done, total, far)
        last = trial.rows[-LATEST:]
        times = [(row.get("train_seconds") or 0) + (row.get("eval_seconds") or 0) for row in last]
        if times:
            far.append(f"{statistics.median(times):.3g} s each")
        else:
            begun = max(trial.started, self._began)
            far.append(f"begun {duration(self._controller.record.now() - begun)} ago")
        return Piece([trial.trial, *knobs], done, total, far)


def best_so_far(study: Study, trials: Iterable[TrialRecord]) -> dict[str, float]:
    """Best value of the metric over each arm's complete search trials."""
    pick = min if study.mode == "min" else max
    values: dict[str, list[float]] = {}
    for trial in trials:
        if trial.phase == "search" and trial.state == "complete":
            values.setdefault(trial.arm, []).append(trial.rows[-1][study.metric])
    return {arm: pick(found) for arm, found in values.items()}


def numbers(study: Study, trials: Iterable[TrialRecord]) -> list[Number]:
    """Trials by arm and state, epochs and the best of each arm, as the record has them."""
    trials = list(trials)
    states = Counter((trial.arm, trial.state) for trial in trials)
    epochs = Counter({arm.name: 0 for arm in study.arms})
    for trial in trials:
        epochs[trial.arm] += len(trial.rows)
    found = [
        Number("trials", "trials by state", {"arm": arm, "state": state}, states[arm, state])
        for arm in epochs
        for state in STATES
    ]
    found += [
        Number("epochs", "epochs that trials reported", {"arm": a}, n) for a, n in epochs.items()
    ]
    said = f"best {study.metric} of complete search trials"
    best = best_so_far(study, trials)
    return found + [Number("best", said, {"arm": a}, value) for a, value in best.items()]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
