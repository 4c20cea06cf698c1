"""The lines of a record, and the one reader of them.

A line is an event as JSON. In a record of format 2 its last key, ``crc32``, is the checksum of all
that stands before it, begun with that of the former line: a changed, missing or doubled line is
found. A record of format 1 has none, and stays as it is when it is resumed.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import IO, Any

from srsgd_ray.results.contents import Contents
from srsgd_ray.results.place import RecordError

FORMAT = 2
NAMED = re.compile(rb'"trial": "([^"]+)"')
CHECKED = re.compile(rb', "crc32": "([0-9a-f]{8})"}\n\Z')


class Lines:
    """Reads, or writes, one line of a record after the other, and knows what they hold.

    Attributes:
        contents: what the events so far have made; None before the first line.
        number: of lines so far.
        size: of them, in bytes.
        checksum: of the last one, with which that of the next begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contents: Contents | None = None
        self.number = self.size = 0
        self._format, self.checksum = FORMAT, 0

    def events(self, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        """Take in the whole lines that follow in a file, and say what was new; a torn one is left.

        Raises:
            RecordError: at a damaged line.
        """
        while (line := file.readline()).endswith(b"\n"):
            event = self.take(line)
            if event is not None:
                yield event
        file.seek(self.size)

    def take(self, line: bytes) -> dict[str, Any] | None:
        """Take in a line; its event, or None if that repeats what is known.

        Raises:
            RecordError: if the line is damaged.
        """
        try:
            event = self.sound(line)
            fresh = self.apply(event)
        except _OtherFormat as error:
            raise RecordError(str(error)) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RecordError(self._damaged(error)) from error
        self.number, self.size = self.number + 1, self.size + len(line)
        assert self.contents is not None
        self.contents.size = self.size
        return event if fresh else None

    def sound(self, line: bytes) -> dict[str, Any]:
        """The event of a line, if it is what was written after the former one; else ValueError."""
        found = CHECKED.search(line)
        if found and (self.contents is None or self._format > 1):
            body, before = line[: found.start()], self.checksum
            self.checksum = int(found[1], 16)  # the next line is judged by what stands here
            if zlib.crc32(body, before) != self.checksum:
                raise ValueError("its checksum is another, or a line before it is missing")
            return dict(json.loads(body + b"}"))
        event = json.loads(line)
        if not isinstance(event, dict):
            raise ValueError("it holds no event")
        if self.contents is not None and self._format > 1:
            raise ValueError("it has no checksum")
        if self.contents is None and (event.get("event"), event.get("format")) != ("study", 1):
            raise ValueError("it is no first line of a record")
        return event

    def apply(self, event: dict[str, Any]) -> bool:
        """Take in a sound event; False if it repeats what is known."""
        if self.contents is not None:
            return self.contents.apply(event)
        if event["event"] != "study":
            raise ValueError("it is no first line of a record")
        if event["format"] not in (1, FORMAT):
            raise _OtherFormat(
                f"{self.path} is a record of format {event['format']}, and this version reads 1 "
                f"to {FORMAT}. Install the version that wrote it."
            )
        self._format = event["format"]
        # A single run of an older version had no study.
        self.contents = Contents({"spec": {"arms": [], "metric": ""}, **event}, [], {})
        return True

    def _damaged(self, error: Exception) -> str:
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        folder, number = quote(str(self.path.parent)), self.number + 1
        return (
            f"line {number} of {self.path} is damaged: {why.rstrip('.')}. Restore the folder from "
            f"a copy, or see what is whole: srsgd-ray doctor {folder}"
        )

    def write(self, event: Mapping[str, Any]) -> bytes:
        """The line of an event, which is the next of the record."""
        text = json.dumps(event)
        if self._format == 1:
            return f"{text}\n".encode()
        body = text[:-1].encode()
        self.checksum = zlib.crc32(body, self.checksum)
        return body + f', "crc32": "{self.checksum:08x}"}}\n'.encode()


def examine(path: Path) -> tuple[list[int], list[str], list[str]]:
    """What of a record is damaged, read past the damage.

    Returns:
        Numbers of the damaged lines, from 1, a torn last one not among them; names of the trials
        that have ended and of which nothing is lost; and of those of which something is.
    """
    lines, damaged, lost = Lines(path), [], set()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                event = lines.sound(line)
            except (ValueError, LookupError, TypeError, AttributeError):
                damaged.append(number)
                lost |= {name.decode(errors="replace") for name in NAMED.findall(line)}
                continue
            try:
                lines.apply(event)
            except (ValueError, LookupError, TypeError, AttributeError):  # something before it is
                lost.add(str(event.get("trial", "")))
    trials = {} if lines.contents is None else lines.contents.trials
    whole = [name for name, trial in trials.items() if trial.end is not None and name not in lost]
    return damaged, whole, sorted(lost - {""})


class _OtherFormat(ValueError):
    """Written by a later version: not damaged."""
