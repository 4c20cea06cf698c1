"""How far a study is, and how long it will still take at the pace that its record shows.

Nothing is known here of the machine: a trial's begin, each of its epochs and its end have times,
and what is left is laid onto the slots as the study will, with the times seen so far.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any

from srsgd_ray.results.contents import Contents, TrialRecord
from srsgd_ray.results.planned import planned, superseded

COLD = ("start", "cold")  # parts of the first trial of a slot
LATEST = 50  # times of a kind that a mean is over: a machine may become busier


@dataclass(frozen=True)
class Remaining:
    """How far a study is.

    Attributes:
        trials, ended: planned in all, and of them those that have ended.
        epochs, done: in all, without those that ended trials will never run, and of them the done.
        slots: trials at a time, as seen in the running session.
        seconds: until the last trial ends; 0 if all have, None as long as nothing was measured.
        phases: of the search and of the confirmation, trials that have ended, and all.
    """

    trials: int
    ended: int
    epochs: int
    done: int
    slots: int
    seconds: float | None
    phases: dict[str, tuple[int, int]]


def remaining(contents: Contents, now: float | None = None) -> Remaining:
    """How far a study is by its record, and how long it will still take.

    What trials have cost in this session tells what the others will: their first epoch with all
    that comes before it, each further one, what comes after the last, and the pause until the slot
    has its next trial; by arm and phase where such trials were seen. Trials that a scheduler will
    stop are as long as those of their arm that have ended. A confirmation waits for its search.

    Args:
        contents: of the record.
        now: seconds since 1970; None: the present.
    """
    now = max(contents.last, time.time() if now is None else now)
    contents = replace(contents, trials=dict(contents.trials))  # another thread may add one
    trials = list(contents.trials.values())
    open_, coming = [t for t in trials if t.end is None], to_come(contents)
    slots, pace = _slots(contents), _Pace.seen(contents)
    seconds: float | None = None
    if not open_ and not coming:
        seconds = 0.0
    elif pace.known:
        seconds = _until_the_end(contents, open_, coming, slots, pace, now)
    done = sum(len(t.rows) for t in trials)
    length = sum(planned_epochs(contents, t) - len(t.rows) for t in open_)
    length += sum(round(epochs) for _, _, _, epochs in coming)
    ended = len(trials) - len(open_)
    phases = {
        phase: (sum(t.end is not None for t in own), len(own) + sum(c[1] == phase for c in coming))
        for phase in ("search", "confirm")
        if (own := [t for t in trials if t.phase == phase]) or any(c[1] == phase for c in coming)
    }
    return Remaining(len(trials) + len(coming), ended, done + length, done, slots, seconds, phases)


def planned_epochs(contents: Contents, trial: TrialRecord) -> int:
    """Epochs (reports) of a whole trial: a knob of it says so, or it reports once."""
    budget = contents.header.get("budget", "epochs")
    known = trial.config.get(budget) if budget else 1
    return max(known if isinstance(known, int) else 1, len(trial.rows))


Coming = tuple[str, str, int, float]  # arm, phase, search, epochs


def to_come(contents: Contents) -> list[Coming]:
    """The trials that have not begun: search by search, each one's confirmation after it."""
    header, found = contents.header, []
    spec, gone = header.get("spec", {}), superseded(contents)  # a single run has no spec
    trials = [trial for trial in contents.trials.values() if trial.trial not in gone]
    for search in range(int(spec.get("searches") or 1)):
        for phase in ("search", "confirm"):
            for arm in spec.get("arms", []):
                of_arm = [t for t in trials if t.arm == arm["name"]]
                own = [t for t in of_arm if t.phase == phase and t.search == search]
                seeds, _, wanted = planned(spec, arm["name"]) or (0, 1, 0)
                if phase == "confirm":
                    searched = [t for t in of_arm if (t.phase, t.search) == ("search", search)]
                    wanted = seeds * _configurations(spec, wanted, searched, own)
                lengths = [planned_epochs(contents, t) for t in own or of_arm]
                fixed = {**spec.get("base", {}), **arm.get("fixed", {})}
                said = fixed.get(header.get("budget", "epochs"), spec.get("epochs"))
                typical = fmean(lengths) if lengths else float(said or 1)
                left = max(0, wanted - len(own))
                found += [(arm["name"], phase, search, typical)] * left
    return found


def _configurations(
    spec: Mapping[str, Any], wanted: int, searched: list[TrialRecord], own: list[TrialRecord]
) -> int:
    """How many configurations of an arm a search's confirmation runs; at most, until it began."""
    ended = len(searched) >= wanted and all(t.end is not None for t in searched)
    complete = sum(t.state == "complete" for t in searched)
    if wanted and ended and not complete:
        return 0
    if not wanted or not spec.get("pareto"):
        return 1
    configs = [str({k: v for k, v in t.config.items() if k != "seed"}) for t in own]
    if len(set(configs)) < len(configs):  # a second seed began: all points have had their first
        return len(set(configs))
    most = int(spec.get("confirm_points") or 1)
    return min(most, complete) if ended else most


def _slots(contents: Contents) -> int:
    """Trials at a time: as many as the session holds workers for, or else as were seen at once."""
    since = _since(contents)
    trials = [t for t in contents.trials.values() if t.end is None or t.end["ended"] > since]
    held = int(contents.sessions[-1].get("held_workers") or 0) if contents.sessions else 0
    said = [int(t.end["workers"]) for t in trials if t.end and t.end.get("workers")]
    if held and said:
        return max(1, held // said[-1])
    changes = [(max(t.started, since), 1) for t in trials]
    changes += [(t.end["ended"], -1) for t in trials if t.end]
    most = running = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return max(1, most)


def _since(contents: Contents) -> float:
    return float(contents.sessions[-1]["at"]) if contents.sessions else 0.0


@dataclass
class _Pace:
    """Seconds that parts of trials took, by part, arm and phase; ``""`` stands for any.

    Parts: ``first`` epoch with all before it, further ``epoch``, ``end`` after the last, ``pause``
    until the next trial; ``start`` and ``cold`` are the first two in the first trial of a slot.
    """

    seen_: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    lengths: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    since: float = 0.0

    @classmethod
    def seen(cls, contents: Contents) -> _Pace:
        """What the last session shows; of the one before, too, until it has shown anything."""
        pace = cls(since=_since(contents))
        cold = _slots(contents)  # slots whose first trial waits for what is loaded once
        for trial in contents.trials.values():
            pace._take(trial, pace.since, ("first", "epoch") if cold <= 0 else COLD)
            cold -= trial.started > pace.since
            if trial.end is not None:
                length = (len(trial.rows), planned_epochs(contents, trial))
                pace.lengths.setdefault((trial.arm, trial.phase), []).append(length)
        pace._pauses(contents)
        if not pace.known:
            for trial in contents.trials.values():
                pace._take(trial, 0.0, COLD)
        return pace

    @property
    def known(self) -> bool:
        """Whether an epoch was seen."""
        return any((part, "", "") in self.seen_ for part in (*COLD, "first", "epoch"))

    def _add(self, part: str, arm: str, phase: str, seconds: float) -> None:
        for key in ((part, arm, phase), (part, arm, ""), (part, "", phase), (part, "", "")):
            self.seen_.setdefault(key, []).append(max(0.0, seconds))

    def _take(self, trial: TrialRecord, since: float, parts: tuple[str, str]) -> None:
        last, part = trial.started, parts[0]
        for at in _times(trial):
            if at and last > since:  # else it began before the session, or waited for it
                self._add(part, trial.arm, trial.phase, at - last)
            last, part = at, parts[1]
        if trial.end is not None and trial.rows and last > since:
            self._add("end", trial.arm, trial.phase, float(trial.end["ended"]) - last)

    def _pauses(self, contents: Contents) -> None:
        """From each end to the begin of the next trial, as long as the slots had work."""
        trials = contents.trials.values()
        events = [(t.started, 1, t) for t in trials]
        events += [(t.end["ended"], 0, t) for t in trials if t.end]
        free: list[float] = []
        for at, begins, trial in sorted(events, key=lambda event: event[:2]):
            if at < self.since:
                continue
            if not begins:
                free.append(at)
            elif free:
                self._add("pause", trial.arm, trial.phase, at - free.pop())

    def typical(self, part: str, arm: str, phase: str, default: float = 0.0) -> float:
        """Mean seconds of a part of a trial; of other trials if none of its kind was seen."""
        for key in ((part, arm, phase), (part, "", phase), (part, arm, ""), (part, "", "")):
            if known := self.seen_.get(key):
                # Whoever waits for the driver's first tables would mislead a mean for long.
                return (median if part in COLD else fmean)(known[-LATEST:])
        return default

    def epochs(self, arm: str, phase: str, planned_: float, done: int = 0) -> float:
        """Epochs that a trial will run, of those planned, by how far the ended ones got."""
        known = [(n, of) for n, of in self.lengths.get((arm, phase), []) if n >= done]
        return max(planned_ * fmean(n / of for n, of in known), done) if known else planned_

    def epoch(self, arm: str, phase: str) -> float:
        """Seconds of an epoch after the first one of a trial."""
        known = 0.0
        for part in ("start", "first", "cold", "epoch"):
            known = self.typical(part, arm, phase, known)
        return known

    def whole(self, arm: str, phase: str, epochs: float) -> float:
        """Seconds of a trial from the moment at which a slot is free for it."""
        further = self.epoch(arm, phase)
        first = self.typical("first", arm, phase, further)
        rest = self.typical("end", arm, phase) + self.typical("pause", arm, phase)
        return first + max(0.0, epochs - 1) * further + rest

    def rest(self, trial: TrialRecord, epochs: float, now: float) -> float:
        """Seconds until a trial that has begun ends."""
        if not trial.rows:
            whole = self.whole(trial.arm, trial.phase, epochs)
            return max(0.0, whole - (now - trial.started if trial.started > self.since else 0.0))
        further = self.epoch(trial.arm, trial.phase)
        last = _times(trial)[-1] or now
        gone = min(now - last, further) if last > self.since else 0.0
        to_do = max(0.0, epochs - len(trial.rows)) * further - gone
        return max(0.0, to_do) + self.typical("end", trial.arm, trial.phase)


def _times(trial: TrialRecord) -> list[float]:
    """When each row came; 0.0 where nobody knows."""
    return trial.times or [float(row.get("time") or 0.0) for row in trial.rows]


def _until_the_end(
    contents: Contents,
    open_: Iterable[TrialRecord],
    to_come: Iterable[Coming],
    slots: int,
    pace: _Pace,
    now: float,
) -> float:
    """Seconds until the last trial ends, if slots take trial after trial as the study does."""
    free = [0.0] * slots
    searched: dict[int, float] = {}  # when the last trial of a search ends

    def place(phase: str, search: int, seconds: float) -> None:
        end = heapq.heappop(free) + seconds
        heapq.heappush(free, end)
        if phase == "search":
            searched[search] = max(end, searched.get(search, 0.0))

    for trial in open_:
        epochs = pace.epochs(
            trial.arm, trial.phase, planned_epochs(contents, trial), len(trial.rows)
        )
        place(trial.phase, trial.search, pace.rest(trial, epochs, now))
    waiting: dict[tuple[int, str], list[Coming]] = {}
    costs: dict[Coming, float] = {}
    for coming in to_come:
        waiting.setdefault((coming[2], coming[1]), []).append(coming)
    while waiting:
        for key in waiting:
            open_search = (key[0], "search") in waiting or searched.get(key[0], 0.0) > free[0]
            if key[1] == "search" or not open_search:
                break
        else:  # a slot has nothing to do before a search has ended
            soonest = min(searched.get(search, 0.0) for search, _ in waiting)
            heapq.heapreplace(free, max(soonest, free[0]))
            continue
        arm, phase, search, epochs = coming = waiting[key].pop()
        if coming not in costs:
            costs[coming] = pace.whole(arm, phase, pace.epochs(arm, phase, epochs))
        place(phase, search, costs[coming])
        if not waiting[key]:
            del waiting[key]
    return max(free)
