"""The record of a study: one append-only file, owned by the driver, from which all else is made.

Each line of ``record.jsonl`` is one event: the study was opened or extended, a session began or
paused, a trial began, stored an artifact or ended, an epoch ended. A line is written and synced
before anybody acts on it, so a crash at any moment loses at most the line being written, which
reading then ignores. (The end of a trial that has reached its last epoch is synced with the next
line: its rows say it, too.) :mod:`srsgd_ray.results.lines` says what a line is.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from srsgd_ray.results.columns import STATES
from srsgd_ray.results.contents import Contents, TrialRecord
from srsgd_ray.results.lines import FORMAT, Lines
from srsgd_ray.results.log import note
from srsgd_ray.results.place import RecordError, check_writable, lock
from srsgd_ray.results.planned import asks_more, look_ended, look_seen

FILE_NAME = "record.jsonl"
HALF = re.compile(r"\.(\d+)\.tmp$")  # what a process of that number has not written whole


def read_record(folder: Path) -> Contents:
    """Read a record, also while its driver writes it; a torn last line is left out.

    Raises:
        RecordError: if there is no record, or a line is damaged.
    """
    return _parse(folder / FILE_NAME)[0]


def holds_line(folder: Path) -> bool:
    """Whether a folder holds the record of a study that has begun."""
    path = folder / FILE_NAME
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


def only_paused(folder: Path, size: int) -> bool:
    """Whether a record holds nothing after its first ``size`` bytes but that its driver left."""
    with (folder / FILE_NAME).open("rb") as file:
        if file.seek(0, os.SEEK_END) < size:
            return False
        file.seek(size)
        return all(b'{"event": "pause"' in line or not line.endswith(b"\n") for line in file)


def check_free(folder: Path, option: str = "--name") -> None:
    """Raise RecordError if a folder holds a study; one whose first line is torn never began."""
    if holds_line(folder):
        raise RecordError(
            f"{folder} already holds a study. Resume it with --resume, or choose another name with "
            f"{option}."
        )


def _parse(path: Path) -> tuple[Contents, Lines]:
    """The contents, and what has read them."""
    if not path.is_file():
        raise RecordError(f"no study here: expected {path}.")
    lines = Lines(path)
    with path.open("rb") as file:
        for _ in lines.events(file):
            pass
    if lines.contents is None:
        raise RecordError(
            f"{path} holds no whole line: the study never began. Start it again, without --resume."
        )
    return lines.contents, lines


class Record:
    """The writable record of one study. One process at a time may hold it.

    Raises:
        RecordError: if another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path, contents: Contents, file: FileIO, lines: Lines) -> None:
        self.folder = folder
        self.contents = contents
        self._path, self._file, self._lines = folder / FILE_NAME, file, lines
        self._held = os.fstat(file.fileno())
        self._ahead = max(time.time(), contents.last) - _elapsed()

    @classmethod
    def create(
        cls, folder: Path, header: Mapping[str, Any], place: str = "--results", name: str = "--name"
    ) -> Record:
        """Begin the record of a new study in ``folder``, which must not hold one.

        Args:
            folder: is made if missing.
            header: what the first line says.
            place, name: options by which the user chooses another folder, for messages.
        """
        path = folder / FILE_NAME
        check_writable(folder, "results", place)
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("ab", buffering=0)
        lock(file, path)
        try:
            check_free(folder, name)
        except RecordError:
            file.close()
            raise
        file.truncate(0)
        first = {"event": "study", "format": FORMAT, "at": time.time(), **header}
        record = cls(folder, Contents(first, [], {}), file, Lines(path))
        record.contents.size = record._write(first)
        return record

    @classmethod
    def reopen(cls, folder: Path) -> Record:
        """Take up the record in ``folder``, cutting off a torn last line; half-written files go."""
        path = folder / FILE_NAME
        if not path.is_file():
            raise RecordError(f"no study to resume: expected {path}.")
        try:
            file = path.open("r+b", buffering=0)
        except OSError as error:
            raise RecordError(f"{path} must be writable, but is not: {error}.") from error
        lock(file, path)
        contents, lines = _parse(path)
        file.truncate(lines.size)
        file.seek(lines.size)
        _sweep(folder)
        return cls(folder, contents, file, lines)

    def now(self) -> float:
        """Seconds since 1970 by a clock that the machine's own cannot make jump.

        It is set when the record is opened, and never before the record's last event.
        """
        return self._ahead + _elapsed()

    @property
    def trials(self) -> dict[str, TrialRecord]:
        """The trials by name, in the order in which they began."""
        return self.contents.trials

    def session(self, **facts: Any) -> None:
        """A driver began to work on the study."""
        self._event("session", **facts)

    def pause(self) -> None:
        """The driver leaves, in order: the session lasted until now."""
        self._event("pause")

    def begin(
        self,
        trial: str,
        phase: str,
        arm: str,
        number: int,
        config: dict[str, Any],
        search: int = 0,
        confirms: str = "",
    ) -> bool:
        """A trial was assigned; False if it had been before."""
        named: Any = {"trial": trial, "phase": phase, "arm": arm, "number": number}
        named |= {"config": config, "confirms": confirms} if confirms else {"config": config}
        return self._event("trial", **named, search=search, look=self.contents.look)

    def select(self, search: int, arms: Mapping[str, list[str]]) -> None:
        """A search has ended, and the configurations of these trials are confirmed from now on."""
        if self.contents.selected.get(search) != arms:
            self._event("selected", search=search, arms=dict(arms))

    def epoch(self, trial: str, row: Mapping[str, Any]) -> bool:
        """A trial finished an epoch; False if that epoch is known already.

        Args:
            trial: its name.
            row: what it reports; under ``facts`` what its end needs if the driver dies before it,
                which is written with the first row alone unless it changes.
        """
        if row.get("facts") == self.trials[trial].facts:
            row = {name: value for name, value in row.items() if name != "facts"}
        return self._event("epoch", trial=trial, **row)

    def artifact(self, trial: str, name: str, columns: dict[str, list[Any]]) -> bool:
        """A trial made a table of its own; False if it is known already."""
        return self._event("artifact", trial=trial, name=name, columns=columns)

    def extend(
        self,
        spec: Mapping[str, Any],
        columns: Mapping[str, Any],
        script: Mapping[str, Any],
        remarks: Sequence[str] = (),
        outside: Sequence[str] | None = None,
    ) -> None:
        """The study continues as ``spec`` from here; more than before is another look.

        Args:
            spec, columns, script: see the header.
            remarks: in what it is not as if it had been so from the start.
            outside: search trials that a changed space does not hold; None: as before.
        """
        more = asks_more(self.contents.header["spec"], spec)
        again = more and look_seen(self.contents)
        reopened = again and not look_ended(self.contents)
        self._event(
            "spec", spec=dict(spec), columns=dict(columns), script=dict(script),
            look=self.contents.look + again, reopened=reopened, remarks=list(remarks),
            **({} if outside is None else {
                "outside": list(outside), "spaces": self.contents.header.get("spaces", 1) + 1
            }),
        )  # fmt: skip

    def end(
        self, trial: str, state: str, reason: str | None = None, sync: bool = True, **facts: Any
    ) -> bool:
        """A trial ended; False if it had ended before. Without ``sync`` the next line's does."""
        if state not in STATES or state == "running":
            raise ValueError(f"a trial ends as one of {list(STATES)[1:]}, but got {state!r}.")
        return self._event("end", sync, trial=trial, state=state, reason=reason, **facts)

    def retry(self, names: Sequence[str]) -> None:
        """These trials are run again; a search that goes on after its confirmation is a look."""
        searched = any(self.trials[name].phase == "search" for name in names)
        more = searched and look_seen(self.contents)
        look, reopened = self.contents.look + more, more and not look_ended(self.contents)
        for name in names:
            self._event("retry", trial=name, look=look, reopened=reopened)

    def enqueue(self, arm: str, search: int, number: int, point: Mapping[str, Any]) -> None:
        """The trial of that number of a search will take a known point."""
        self._event("enqueue", arm=arm, search=search, number=number, point=dict(point))

    def waits(self, trials: Mapping[str, float], need: str, over: bool = False) -> None:
        """These trials have no workers, since when; ``over``: the study stops for it."""
        self._event("wait", trials=dict(trials), need=need, over=over)

    def close(self) -> None:
        """Release the record for other processes."""
        self._file.close()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _event(self, event: str, sync: bool = True, **fields: Any) -> bool:
        line = {"event": event, "at": self.now(), **fields}
        fresh = self.contents.news(line)
        if fresh:
            size = self._write(line, sync)
            self.contents.apply(line)
            self.contents.size = size
            note(self.folder, self.contents, line)
        return fresh

    def _write(self, line: Mapping[str, Any], sync: bool = True) -> int:
        """Write a line, which memory takes in when it is on the disk; the record's size then."""
        path, before, end = self._path, self._lines.checksum, self._file.seek(0, os.SEEK_END)
        size = end + len(left := self._lines.write(line))
        try:
            if not os.path.samestat(path.stat(), self._held):
                raise FileNotFoundError(errno.ENOENT, "another file lies here now")
            while left:
                left = left[self._file.write(left) :]
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            self._lines.checksum = before
            raise OSError(error.errno, error.strerror, str(path)) from error
        return size


def _sweep(folder: Path) -> None:
    """Delete what processes that are gone were in the middle of writing, such as tables."""
    import psutil

    for path in (*folder.glob("*.tmp"), *folder.glob("*/*.tmp")):
        writer = HALF.search(path.name)
        if writer is not None and not psutil.pid_exists(int(writer[1])):
            with suppress(OSError):
                path.unlink()


def _elapsed() -> float:
    """Seconds by a clock that is never set; where there is one, it counts sleep of the machine."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
