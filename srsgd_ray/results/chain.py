"""The lines of a damaged record, in the order in which their checksums say that they were written.

Each line's checksum was begun with that of the former line, so a line can tell which one stood
before it: what was moved or doubled is found, and one changed byte can be changed back.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, NamedTuple

from srsgd_ray.results.crc import before, one_byte_mended
from srsgd_ray.results.lines import CHECKED

ENDING = ', "crc32": "{:08x}"}}\n'
END = re.compile(rb', "crc32": "([0-9a-f]{8})"}')
SIZE = len(ENDING.format(0))


class Piece(NamedTuple):
    """An event of a record, or a place at which something is missing (None).

    ``sure``: whether its checksums prove it; else the line before it is missing.
    """

    event: dict[str, Any] | None
    sure: bool = True


def pieces(data: bytes) -> list[Piece]:
    """What a record holds; nothing is said of a torn last line."""
    chunks = [part + b"\n" for part in data.split(b"\n")[:-1]]
    if not any(map(CHECKED.search, chunks)):  # format 1
        found = [Piece(_event(chunk)) for chunk in chunks]
    else:
        found = _Chain(chunks).found
    return [each for n, each in enumerate(found) if each.event or not n or found[n - 1].event]


class _Chain:
    def __init__(self, chunks: list[bytes]) -> None:
        self.found: list[Piece] = []
        self._crc: int | None = 0
        self._left = dict(enumerate(chunks))
        self._taken: set[bytes] = set()
        for number, chunk in enumerate(chunks):  # up to the damage, without looking back
            body, crc = _parts(chunk)
            if body is None or zlib.crc32(body, self._crc or 0) != crc:
                break
            self._take(number)
        self._begun: dict[int, int] = {}  # by what its checksum was begun with, a line's number
        for number in self._left:
            self._know(number)
        while self._left:
            number = next(iter(self._left))
            if self._begun.get(-1 if self._crc is None else self._crc, -1) in self._left:
                assert self._crc is not None
                self._take(self._begun[self._crc])
            elif self._left[number] in self._taken:
                del self._left[number]  # doubled
            elif not self._mended(number):
                self.found.append(Piece(None))
                self._take(number, sure=False)

    def _know(self, number: int) -> None:
        body, crc = _parts(self._left[number])
        if body is not None:
            self._begun.setdefault(before(body, crc), number)

    def _take(self, number: int, sure: bool = True) -> None:
        chunk = self._left.pop(number)
        self._taken.add(chunk)
        body, crc = _parts(chunk)
        self._crc = None if body is None else crc
        event = None if body is None else _event(body + b"}")
        self.found.append(Piece(event, sure))

    def _mended(self, number: int) -> bool:
        """Whether a line, or what was one, is sound with one byte changed; it is taken then."""
        if self._crc is None:
            return False
        whole = [self._left[number]]
        if number + 1 in self._left:
            whole.append(whole[0] + self._left[number + 1])  # a newline may be the wrong byte
        for more, text in enumerate(whole):
            line, rest = self._one_change(text, self._crc)
            if line:
                for used in range(number, number + more + 1):
                    del self._left[used]
                self._left = {number: line, **self._left}
                self._take(number)
                if rest:
                    self._left = {number: rest, **self._left}
                    self._know(number)
                return True
        return False

    def _one_change(self, text: bytes, begun: int) -> tuple[bytes, bytes]:
        """The line that the text is but for one byte, and what follows of it; or nothing."""
        body, crc = _parts(text)
        if body is not None:
            fixed = one_byte_mended(body, begun, crc)
            if fixed is not None and b"\n" not in fixed and _event(fixed + b"}"):
                return fixed + text[len(body) :], b""
        body = text[:-SIZE]
        crc = zlib.crc32(body, begun)
        ending = ENDING.format(crc).encode()
        if sum(a != b for a, b in zip(ending, text[-SIZE:], strict=False)) == 1 or (
            _parts(text)[0] is not None and crc in self._begun
        ):
            return body + ending, b""
        for end in END.finditer(text):  # whose newline was another byte
            if zlib.crc32(text[: end.start()], begun) == int(end[1], 16):
                return text[: end.end()] + b"\n", text[end.end() + 1 :]
        return b"", b""


def _parts(chunk: bytes) -> tuple[bytes | None, int]:
    """What a line's checksum is of, and the checksum; None for a line that has none."""
    found = CHECKED.search(chunk)
    return (chunk[: found.start()], int(found[1], 16)) if found else (None, 0)


def _event(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"event", "at"} <= found.keys() else None
