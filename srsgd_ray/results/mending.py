"""A damaged record made sound: from its checksums, from the tables, or cut back to what is sound.

Nothing is guessed. An event is there again if its checksum proves it, or if the tables say it,
which were made from the record. A trial of which something else is missing keeps its configuration
and runs again. Where even that is unknown, the record ends before the damage.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srsgd_ray.results.chain import pieces
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.lines import Lines
from srsgd_ray.results.place import RecordError, free_name, lock
from srsgd_ray.results.record import FILE_NAME
from srsgd_ray.results.tables import AGAIN

Event = dict[str, Any]
ENDS = ("diverged_step", "parameters", "workers", "host", "hardware")
ORDER = {"trial": 0, "epoch": 1, "end": 2}


@dataclass(frozen=True)
class Mended:
    """What a damaged record becomes.

    Attributes:
        lines: of the record.
        said: what was done, in a sentence.
    """

    lines: bytes
    said: str


def mend(folder: Path) -> str:
    """Mend the record of a study; the damaged file is kept under a new name. What was done.

    Raises:
        RecordError: if somebody works on the study, or it cannot be mended.
    """
    path = folder / FILE_NAME
    with path.open("r+b", buffering=0) as file:
        lock(file, path)
        found = mended(folder)
        aside = free_name(path)
        shutil.copy2(path, aside)
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        with partial.open("wb") as new:
            new.write(found.lines)
            new.flush()
            os.fsync(new.fileno())
        partial.replace(path)
    return f"{found.said} The damaged file is {aside.name} now."


def mended(folder: Path) -> Mended:
    """What the damaged record of a study would become; nothing is written.

    Raises:
        RecordError: if it cannot be mended.
    """
    path = folder / FILE_NAME
    data = path.read_bytes()
    found, tables = pieces(data), _Tables(folder)
    if not found or not found[0].sure or (found[0].event or {}).get("event") != "study":
        raise RecordError(
            f"{path} cannot be mended: its first line is lost, and nothing else says what the "
            f"study was. Restore the folder from a copy."
        )
    tables.believe([event for event, sure in found if event and sure])
    events: list[Event | None] = []
    for event, sure in found:
        kept = event if sure or (event is not None and tables.vouch(event)) else None
        if kept is not None or events[-1] is not None:
            events.append(kept)
    whole, restored = _filled(events, tables.missing([e for e in events if e]))
    again: set[str] = set()
    while True:
        trial, contents = _replayed(_without(whole, again), path)
        if contents is not None:
            trial = next(_doubtful(contents, whole, tables, again), "")
        if not trial:
            break
        again.add(trial)
    if trial is None:  # even what was run is unknown
        first = whole.index(None) if None in whole else len(whole)
        sound = [each for each in whole[:first] if each is not None]
        lost = sum(each is not None and each["event"] == "trial" for each in whole[first:])
        said = f"Of it the {len(sound)} lines before the damage are kept"
        said += f"; {lost} trials that began later are run anew" * (lost > 0)
        return Mended(_lines(sound, path), f"{said}.")
    sound = [each for each in _without(whole, again) if each is not None]
    said = f"{len(sound)} lines are sound"
    said += f", {restored} of them as the tables say" if restored else ""
    if again:
        said += f"; {', '.join(sorted(again))} will run again"
    elif None in whole and not restored:
        said += "; a line is lost that no trial needs"
    return Mended(_lines(sound, path), f"{said}.")


def _lines(events: Sequence[Event], path: Path) -> bytes:
    lines = Lines(path)
    lines.apply(events[0])
    return b"".join(map(lines.write, events))


def _filled(
    events: Sequence[Event | None], missing: Sequence[Event]
) -> tuple[list[Event | None], int]:
    """Put what is missing where there are gaps, by the time; how many there were."""
    gaps = [place for place, event in enumerate(events) if event is None]
    own: dict[int, list[Event]] = {}
    for event in missing if gaps else ():
        after = [g for g in gaps if g + 1 < len(events) and events[g + 1]["at"] >= event["at"]]  # type: ignore[index]
        own.setdefault(after[0] if after else gaps[-1], []).append(event)
    made: list[Event | None] = []
    for place, each in enumerate(events):
        made += sorted(
            own.get(place, ()),
            key=lambda e: (e["at"], ORDER[e["event"]], e.get("epoch", 0)),
        )
        made.append(each)
    return made, sum(map(len, own.values()))


def _without(events: Sequence[Event | None], again: set[str]) -> list[Event | None]:
    return [e for e in events if e is None or e["event"] == "trial" or e.get("trial") not in again]


def _replayed(events: Sequence[Event | None], path: Path) -> tuple[str | None, Contents | None]:
    """What the events make; or a trial of which something is missing; or None for the study."""
    lines, numbers = Lines(path), Counter[tuple[Any, Any]]()
    for event in events:
        if event is None:
            continue
        if event["event"] == "trial" and lines.contents is not None:
            arm = (event.get("phase"), event.get("arm"))
            look = lines.contents.look
            if event.get("number") != numbers[arm] or event.get("look", look) != look:
                return None, None
            numbers[arm] += 1
        name = event.get("trial")
        try:
            fresh = lines.apply(event)
        except (ValueError, LookupError, TypeError, AttributeError):
            fresh = False
        if not fresh:
            known = lines.contents is not None and name in lines.contents.trials
            return (name if known and event["event"] != "trial" else None), None
    return "", lines.contents


def _doubtful(
    contents: Contents, events: Sequence[Event | None], tables: _Tables, again: set[str]
) -> Iterator[str]:
    """Trials of which a row, a table or an end may be missing."""
    budget = contents.header.get("budget")
    known = [trial for name, trial in contents.trials.items() if name not in again]
    complete = [trial for trial in known if trial.state == "complete"]
    made = {
        t.phase: {n for o in complete if o.phase == t.phase for n in o.artifacts} for t in known
    }
    open_ = _open_at_a_gap(events)
    for trial in known:
        row = {} if trial.failures else tables.trials.get(trial.trial, {})
        told = (row.get("state"), row.get("epochs_done")) == (trial.state, len(trial.rows))
        if (
            row.get("state", "running") != "running"
            and not told
            and AGAIN not in str(row["reason"])
        ):
            yield trial.trial
        elif trial.end is not None and trial.trial in open_:
            epochs = trial.config.get(budget) if budget else 1
            whole = trial.state == "complete" and trial.artifacts.keys() >= made[trial.phase]
            if not told and not (whole and len(trial.rows) == epochs):
                yield trial.trial


def _open_at_a_gap(events: Sequence[Event | None]) -> set[str]:
    running: set[str] = set()
    found: set[str] = set()
    for event in events:
        if event is None:
            found |= running
        elif event["event"] in ("trial", "retry"):
            running.add(event["trial"])
        elif event["event"] == "end":
            running.discard(event["trial"])
    return found


class _Tables:
    """What the tables of a study say of its trials and epochs; nothing if they cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.trials = {row["trial"]: row for row in _rows(folder / "trials.parquet")}
        self._epochs = {(r["trial"], r["epoch"]): r for r in _rows(folder / "epochs.parquet")}
        self._like: dict[Any, Event] = {}

    def believe(self, sure: Sequence[Event]) -> None:
        """Learn what events look like from those that are sure, if the tables say the same."""
        retried = {event["trial"] for event in sure if event["event"] == "retry"}
        self.trials = {
            name: row for name, row in self.trials.items()
            if name not in retried and AGAIN not in str(row["reason"])
        }  # fmt: skip
        for event in sure:
            if event.get("trial") in self.trials and event["event"] in ("trial", "epoch"):
                known = self._made(event, event)
                if known is not None and not _same(known, event):
                    self.trials, self._epochs = {}, {}
                    return
                if known is not None:
                    key = (event["event"], event.get("phase"), event.get("arm"))
                    self._like[key] = {**self._like.get(key, {}), **event}

    def _made(self, event: Event, like: Event | None) -> Event | None:
        """An event as the tables have it, with the keys of another one."""
        name = event["trial"]
        if event["event"] == "epoch":
            row = self._epochs.get((name, event.get("epoch")))
        else:
            row = self.trials.get(name)
        if row is None or like is None:
            return None
        made = {key: row.get(key) for key in like if key not in ("event", "at", "facts", "config")}
        if "config" in like:
            made["config"] = {key: row.get(key) for key in like["config"]}
        return {"event": event["event"], "at": event["at"], **made}

    def vouch(self, event: Event) -> bool:
        """Whether the tables say the same; what they do not hold can only be without effect."""
        kind, row = event["event"], self.trials.get(event.get("trial", ""))
        if kind in ("session", "pause"):
            return True
        if row is None:
            return False
        if kind == "end":
            return (row["state"], row["ended"], row["reason"]) == (
                event.get("state"), event["at"], event.get("reason")
            )  # fmt: skip
        made = self._made(event, event) if kind in ("trial", "epoch") else None
        return made is not None and _same(made, event)

    def missing(self, events: Sequence[Event]) -> list[Event]:
        """What the tables know and the events do not."""
        there = {(e["event"], e.get("trial"), e.get("epoch")) for e in events}
        found: list[Event] = []
        for name, row in self.trials.items():
            begin = {"event": "trial", "trial": name, "at": row["started"]}
            wanted = [(begin, self._like.get(("trial", row["phase"], row["arm"])))]
            for epoch in range(1, (row["epochs_done"] or 0) + 1):
                at = self._epochs.get((name, epoch), {}).get("time") or row["started"]
                wanted.append((
                    {"event": "epoch", "trial": name, "epoch": epoch, "at": at},
                    self._like.get(("epoch", None, None)),
                ))  # fmt: skip
            made = [
                self._made(event, like) for event, like in wanted
                if (event["event"], name, event.get("epoch")) not in there
            ]  # fmt: skip
            found += [event for event in made if event is not None]
            if row["state"] != "running" and ("end", name, None) not in there:
                facts = {key: row[key] for key in ENDS if row.get(key) is not None}
                found.append({"event": "end", "at": row["ended"], "trial": name,
                              "state": row["state"], "reason": row["reason"], **facts})  # fmt: skip
        return found


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:  # nulls and NaN stay apart, which pandas mixes
            found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
            return found
    except (OSError, pa.ArrowException):
        return []


def _same(made: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    kept = {key: value for key, value in event.items() if key != "facts"}
    return made.keys() == kept.keys() and all(_alike(made[key], kept[key]) for key in made)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return _same(one, other)
    return bool(one == other or (one != one and other != other))
