"""What a record holds, as its events have made it: the study, its sessions, its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from srsgd_ray.results.place import RecordError
from srsgd_ray.results.planned import Planned, planned


@dataclass
class TrialRecord:
    """What the record knows of one trial."""

    trial: str
    phase: str
    arm: str
    number: int
    config: dict[str, Any]
    started: float
    search: int = 0  # which of the study's independent searches it belongs to
    look: int = 0  # how often the study had been extended after results were seen
    confirms: str = ""  # the search trial whose configuration a confirmation run has
    planned: Planned | None = None  # for its arm, when it began
    rows: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    artifacts: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)  # of the driver that assigned it first
    times: list[float] = field(default_factory=list)  # when each row came, by the record's clock
    facts: dict[str, Any] = field(default_factory=dict)  # of what it ran on, for its end
    retried: list[int] = field(default_factory=list)  # before which trial of its arm, each time
    failures: list[str] = field(default_factory=list)  # how it ended before it was run again
    restarted: float = 0.0  # when it was to be run again, if it was

    def again(self, number: int, at: float) -> None:
        """It is to be run again, before its arm's trial of that number: its reports are void."""
        self.retried.append(number)
        assert self.end is not None
        self.restarted = at
        self.failures.append(f"{self.state}, {self.end.get('reason')}")
        self.rows, self.times, self.artifacts, self.facts, self.end = [], [], {}, {}, None

    @property
    def state(self) -> str:
        """One of ``results.columns.STATES``."""
        return "running" if self.end is None else str(self.end["state"])


@dataclass
class Contents:
    """All that a record holds: its header, its sessions and its trials by name, in order."""

    header: dict[str, Any]
    sessions: list[dict[str, Any]]
    trials: dict[str, TrialRecord]
    size: int = 0  # of the record so far, in bytes
    # Of each search that has ended, the trials of each arm that are confirmed.
    selected: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    # Known points: by arm and search, the number of the trial that takes each.
    enqueued: dict[tuple[str, int], dict[int, dict[str, Any]]] = field(default_factory=dict)

    def copy(self) -> Contents:
        """What it holds now, for another thread; of a trial that has ended all rows are there."""
        size, trials = self.size, dict(self.trials)  # of this size at least is what follows
        for name, trial in trials.items():
            if trial.end is None:
                times = list(trial.times)
                rows = trial.rows[: len(times)]
                trials[name] = replace(
                    trial, end=None, rows=rows, times=times, artifacts=dict(trial.artifacts),
                    facts=dict(trial.facts),
                )  # fmt: skip
        return replace(
            self, size=size, header=dict(self.header), sessions=list(self.sessions), trials=trials,
            selected=dict(self.selected),
        )  # fmt: skip

    @property
    def last(self) -> float:
        """When the last event came, in seconds since 1970."""
        return float(self.sessions[-1]["last"] if self.sessions else self.header.get("at", 0.0))

    @property
    def look(self) -> int:
        """How often the study was extended after results of its confirmation were seen."""
        return int(self.header.get("look", 0))

    @property
    def waiting(self) -> dict[str, float]:
        """The trials that have no workers, and since when."""
        last = self.sessions[-1] if self.sessions else {}
        return {name: since for name, since in last.get("waiting", {}).get("trials", {}).items()
                if name in self.trials and self.trials[name].end is None}  # fmt: skip

    @property
    def need(self) -> str:
        """What those trials wait for."""
        return str(self.sessions[-1]["waiting"]["need"]) if self.waiting else ""

    def news(self, event: Mapping[str, Any]) -> bool:
        """Whether an event tells what is not known; False if a resumed trial repeats it.

        Raises:
            RecordError, KeyError: if it cannot come now.
        """
        kind = event["event"]
        if kind == "trial":
            return event["trial"] not in self.trials
        if kind not in ("epoch", "artifact", "end", "retry"):
            if kind not in ("session", "pause", "spec", "selected", "enqueue", "wait"):
                raise RecordError(f"unknown event {kind!r} in the record.")
            return True
        trial = self.trials[event["trial"]]
        if kind == "artifact":
            return event["name"] not in trial.artifacts
        if kind == "retry":
            if trial.end is None:
                raise RecordError(f"{trial.trial} cannot run again: it has not ended.")
            return True
        if kind == "end" or trial.end is not None:
            return trial.end is None
        if event["epoch"] > len(trial.rows) + 1:
            raise RecordError(
                f"epochs of a trial must come in order, but {trial.trial} reported epoch "
                f"{event['epoch']} after {len(trial.rows)}."
            )
        return bool(event["epoch"] == len(trial.rows) + 1)

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Take in one event; False if it is no news."""
        if not self.news(event):
            return False
        event = dict(event)
        kind, at = event.pop("event"), event.pop("at")
        if self.sessions and kind != "session":
            self.sessions[-1] |= {"last": at, "paused": kind == "pause"}
        if kind == "session":
            self.sessions.append({**event, "at": at, "last": at})
            for trial in self.trials.values():
                if trial.failures and not trial.rows and trial.end is None:
                    trial.session = self.sessions[-1]  # the code may be another one now
        elif kind == "pause":
            pass
        elif kind == "trial":
            self.trials[event["trial"]] = TrialRecord(
                **event,
                started=at,
                session=self.sessions[-1] if self.sessions else {},
                planned=planned(self.header.get("spec", {}), event["arm"]),
            )
        elif kind == "epoch":
            trial = self.trials[event.pop("trial")]
            trial.facts |= event.pop("facts", {})
            trial.rows.append(event)
            trial.times.append(at)
        elif kind == "spec":
            self._next_look(event)
            remarks = [*self.header.get("remarks", []), *event.pop("remarks", [])]
            self.header |= {**event, "remarks": remarks}
        elif kind == "selected":
            self.selected[event["search"]] = event["arms"]
            self._name_confirmed(event["search"], event["arms"])
        elif kind == "artifact":
            trial = self.trials[event["trial"]]
            trial.artifacts[event["name"]] = event["columns"]
        elif kind == "end":
            trial = self.trials[event.pop("trial")]
            trial.end = {**event, "ended": at}
        elif kind == "retry":
            trial = self.trials[event["trial"]]
            arm = (trial.arm, trial.phase)
            trial.again(sum((t.arm, t.phase) == arm for t in self.trials.values()), at)
            self._next_look(event)
        elif kind == "wait":
            self.sessions[-1]["waiting"] = event
        elif kind == "enqueue":
            place = (event["arm"], event["search"])
            self.enqueued.setdefault(place, {})[event["number"]] = event["point"]
        return True

    def _next_look(self, event: dict[str, Any]) -> None:
        """What was seen of a look that had not ended belongs to the next one, which begins."""
        if event.pop("reopened", False):
            for trial in self.trials.values():
                if trial.phase == "confirm" and trial.look == self.look:
                    trial.look = event["look"]
        self.header["look"] = event.get("look", self.look)

    def _name_confirmed(self, search: int, arms: Mapping[str, list[str]]) -> None:
        """Say what runs confirm that began before selections were recorded: seed by seed."""
        for arm, names in arms.items():
            old = [t for t in self.trials.values() if (t.phase, t.arm, t.search, t.confirms)
                   == ("confirm", arm, search, "")]  # fmt: skip
            for at, trial in enumerate(old if names else []):
                trial.confirms = names[at % len(names)]
