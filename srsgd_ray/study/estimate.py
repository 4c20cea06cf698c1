"""What a study will cost: trials x epochs x measured seconds, before it begins; and its limit."""

from __future__ import annotations

import datetime
import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srsgd_ray.backends import Autoscaler, NotMeasured, Plan, slots_in
from srsgd_ray.knobs import affecting
from srsgd_ray.progress import duration
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.planned import superseded
from srsgd_ray.study.options import Options
from srsgd_ray.study.prices import price_line
from srsgd_ray.study.spec import Study

Key = tuple[Any, ...]
OFF = "without starting workers, reading files and exchanging gradients"


@dataclass(frozen=True)
class Cost:
    """Estimated cost of what is left of a study.

    Attributes:
        trials, epochs: left to run; of a search over epochs, the middle of their range.
        seconds: of computing, in one worker group after the other.
        plan: trials at a time, and what each gets.
        measured: how many configurations were timed, and how many were known from epochs done.
    """

    trials: int
    epochs: int
    seconds: float
    plan: Plan
    measured: tuple[int, int]

    @property
    def hours(self) -> float:
        """Worker-hours: GPU-hours if each worker has one GPU of its own."""
        return self.seconds * self.plan.workers / 3600

    @property
    def wall(self) -> float:
        """Seconds to the end, if the slots are never idle."""
        return self.seconds / self.plan.slots

    def text(self, now: datetime.datetime, price: str | None = None) -> str:
        """The plan, in a line or two, and its dollars at that price of a machine."""
        kind = "GPU-hours" if self.plan.gpus_per_worker == 1 else "worker-hours"
        timed, known = self.measured
        how = [f"{timed} configuration{'s' * (timed > 1)} timed here"] * (timed > 0)
        how += [f"{known} known from epochs done"] * (known > 0)
        said = "; ".join([*filter(None, [", ".join(how)]), OFF])
        ends = now + datetime.timedelta(seconds=self.wall)
        form = "%H:%M" if ends.date() == now.date() else "%a %d %b %Y, %H:%M"
        dollars = "" if price is None else f"\n{price_line(price, self.plan, self.wall)}"
        return (
            f"Plan: {self.trials} trials, {self.epochs:,} epochs, {self.hours:.3g} {kind} "
            f"({said}). "
            f"{self.plan.slots} at a time: {duration(self.wall)}, until {ends:{form}}.{dollars}"
        )


def cost(
    study: Study,
    plan: Plan,
    contents: Contents | None,
    measure: Callable[[dict[str, Any]], float | None],
) -> Cost:
    """Estimate what is left of ``study``.

    Args:
        study: the study.
        plan: its slots.
        contents: of its record, if it is resumed: its epochs say how long they took.
        measure: seconds of an epoch of a configuration; None: not known.

    Raises:
        NotMeasured: if nothing is known of a configuration.
    """
    fields = affecting(study.work.Config, "cost")
    known = _known(contents, fields)
    times: dict[Key, float] = {}
    seconds, trials, epochs, timed = 0.0, 0, 0, 0
    recorded: set[Key] = set()
    gone = superseded(contents) if contents is not None else ()
    done = [t for t in contents.trials.values() if t.trial not in gone] if contents else []
    for arm in study.arms:
        length = _length(study, arm.name)
        points = study.confirm_points if study.pareto else 1
        searched = study.plain(arm.name, {})
        phases = (
            ("search", study.trials_of(arm.name), searched),
            ("confirm", study.seeds_of(arm.name) * points, study.confirmed(searched, study.seed)),
        )
        for phase, each, config in phases:
            count = each * study.searches
            mine = [t for t in done if t.arm == arm.name and t.phase == phase]
            left = count * length - sum(len(t.rows) if t.end is None else length for t in mine)
            if left <= 0:
                continue
            # A confirmation run costs more than a search trial: it also reads the test data.
            key = _key(config, fields, phase)
            done_alike = known.get(key, known.get((*key[:-1], "search")))
            if done_alike is not None:
                recorded.add(key[:-1])
                times.setdefault(key, done_alike)
            elif key not in times:
                found = measure(study.work.knobs_in(config))
                if found is None:
                    raise NotMeasured(
                        f"{study.work.name} does not say what an epoch costs; the time left is "
                        f"shown once one was run."
                    )
                times[key] = found
                timed += 1
            seconds += left * times[key]
            trials += count - sum(t.end is not None for t in mine)
            epochs += left
    return Cost(trials, epochs, seconds, plan, (timed, len(recorded)))


def plan_line(study: Study, plan: Plan) -> str:
    """What a study will run, and on what, in a sentence or two."""
    each = f"{plan.workers} worker{'s' * (plan.workers > 1)}"
    gpus = f", {plan.gpus_per_worker:g} GPU" if plan.gpus_per_worker else ""
    searched = [arm.name for arm in study.arms if study.trials_of(arm.name)]
    names = ", ".join(searched or [arm.name for arm in study.arms])
    runs = f"{study.trials} trials of each of {names}; then " if searched else ""
    what = "the best" if searched else names
    if len(searched) < len(study.arms) and searched:
        what += " and the fixed ones"
    if study.pareto:
        what = f"up to {study.confirm_points} points of each front"
    times = f"{study.searches} independent searches of " if study.searches > 1 else ""
    until = f", and more until decided, up to {study.until_decided} pairs"
    what += until if study.until_decided is not None else ""
    return (
        f"{times}{runs}{study.confirm_seeds} seed{'s' * (study.confirm_seeds != 1)} of {what}. "
        f"{plan.slots} at a time, {each} each with {plan.cpus_per_worker:g} CPU{gpus}."
    )


def said_of(
    plan: Plan,
    options: Options,
    autoscaler: Autoscaler | None,
    free: Sequence[Mapping[str, float]] | None,
) -> list[str]:
    """What a user should know of a plan on a cluster."""
    if options.autoscaling:
        unknown = "No autoscaler tells its node types here: --slots is believed."
        return [unknown] if autoscaler is None else []
    if free is None or (now := slots_in(free, plan)) == plan.slots:
        return []
    return [f"Other work holds a part of the cluster: {now} of {plan.slots} slots can begin "
            f"now, the others wait."]  # fmt: skip


def _length(study: Study, arm: str) -> int:
    budget = study.work.budget
    spread = study.arm(arm).searched.ranges.get(budget.field) if budget is not None else None
    if spread is None:
        return study.epochs_of(arm)
    return round((getattr(spread, "low", 1) + getattr(spread, "high", 1)) / 2)


def _key(config: Mapping[str, Any], fields: tuple[str, ...], phase: str) -> Key:
    """What the seconds of an epoch depend on."""
    values = [config[name] for name in fields]
    return (*(str(v) if isinstance(v, (list, dict)) else v for v in values), phase)


def _known(contents: Contents | None, fields: tuple[str, ...]) -> dict[Key, float]:
    """Median seconds of an epoch, by what they depend on, from the epochs done."""
    times: dict[Key, list[float]] = {}
    for trial in contents.trials.values() if contents is not None else ():
        if all(name in trial.config for name in fields):
            found = times.setdefault(_key(trial.config, fields, trial.phase), [])
            found += [row["train_seconds"] + (row.get("eval_seconds") or 0) for row in trial.rows]
    return {key: statistics.median(found) for key, found in times.items() if found}


def spent_hours(contents: Contents) -> float:
    """Worker-hours for which the recorded sessions held their slots, to the last event."""
    seconds = [
        float(session["last"] - session["at"]) * session.get("held_workers", 0)
        for session in contents.sessions
    ]
    return math.fsum(seconds) / 3600


class HoursLimit:
    """Calls ``stop`` once when the slots have been held for ``hours`` worker-hours in all.

    Args:
        hours: the limit, with those of earlier sessions; None: none.
        before: worker-hours of earlier sessions.
        plan: the slots that are held from now on.
        stop: called from a thread of its own.
    """

    def __init__(
        self, hours: float | None, before: float, plan: Plan, stop: Callable[[], None]
    ) -> None:
        self.spent, self._before, self._stop = False, before, stop
        self._rate, self._began = plan.slots * plan.workers / 3600, time.monotonic()
        self._timer: threading.Timer | None = None
        if hours is not None:
            left = min(max(0.5, (hours - before) / self._rate), threading.TIMEOUT_MAX)
            self._timer = threading.Timer(left, self._end)
            self._timer.daemon = True

    @property
    def used(self) -> float:
        """Worker-hours so far."""
        return self._before + self._rate * (time.monotonic() - self._began)

    def _end(self) -> None:
        self.spent = True
        self._stop()

    def __enter__(self) -> HoursLimit:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
