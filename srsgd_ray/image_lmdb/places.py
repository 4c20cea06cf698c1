"""Where each value of an LMDB file lies, found by py-lmdb in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.data_file import DataFile, LmdbFile
from srsgd_ray.image_lmdb.scan import REFUSED

PROGRAM = Path(__file__).with_name("scan.py")


class Place(NamedTuple):
    """A key, and where in the file its value lies."""

    key: bytes
    offset: int
    length: int


class Keys:
    """Many byte strings in one, since a million objects would take a tenth of a gigabyte.

    Args:
        joined: one after the other.
        ends: int64 (N,), where each ends in that.
    """

    def __init__(self, joined: bytes, ends: npt.NDArray[np.int64]) -> None:
        self._joined, self._ends = joined, ends

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> Keys:
        """These."""
        return cls(b"".join(keys), np.cumsum([len(key) for key in keys], dtype=np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[bytes]:
        begin = 0
        for end in self._ends.tolist():
            yield self._joined[begin:end]
            begin = end

    def __getitem__(self, index: int) -> bytes:
        return self._joined[self._ends[index - 1] if index else 0 : self._ends[index]]


@dataclass(frozen=True)
class Places:
    """Where many values lie in a file: keys, and offsets and lengths in bytes, int64 (N,).

    ``used`` is the number of bytes that LMDB needs the file to hold.
    """

    file: DataFile
    keys: Keys
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    used: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Place:
        return Place(self.keys[index], int(self.offsets[index]), int(self.lengths[index]))

    def __iter__(self) -> Iterator[Place]:
        return map(Place, self.keys, self.offsets.tolist(), self.lengths.tolist())

    def read(self, index: int, at: int = 0, length: int | None = None) -> bytes:
        """A value, or ``length`` bytes of it from ``at`` on (fewer, where it ends)."""
        left = int(self.lengths[index]) - at
        wanted = left if length is None else min(length, left)
        return self.file.read(int(self.offsets[index]) + at, max(wanted, 0))

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system for values ahead."""
        for index in indices:
            self.file.prefetch(int(self.offsets[index]), int(self.lengths[index]))


def find(file: LmdbFile, keys: Sequence[bytes] = ()) -> Places:
    """Where the values of some keys lie, those that are there; without keys, all in order.

    Raises:
        DataError: if the database is damaged, also where LMDB is ended by a signal, or was made for
            another purpose.
    """
    status, found, said = _scanned(file, keys)
    if status < 0:
        raise file.damaged(f"{signal.Signals(-status).name} ended LMDB in its tree")
    if status == REFUSED:
        raise file.damaged(said)
    if status:
        raise RuntimeError(f"{PROGRAM} failed: {said}")
    count, used = np.frombuffer(found, "<i8", 2).tolist()
    # Copies, so that the rest of the output goes.
    offsets, lengths, ends = np.frombuffer(found, "<i8", 3 * count, 16).reshape(3, count).copy()
    places = Places(file, Keys(found[16 + 24 * count :], ends), offsets, lengths, used)
    outside = (offsets < 0) | (offsets + lengths > file.size)
    if outside.any():
        key = places.keys[int(outside.argmax())]
        raise file.damaged(f"it is cut short within the value of {key!r}")
    return places


def _scanned(file: LmdbFile, keys: Sequence[bytes]) -> tuple[int, bytes, str]:
    """Exit status, output and message of :mod:`scan`."""
    package = find_spec("lmdb")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("reading an LMDB database needs py-lmdb. pip install lmdb")
    done = subprocess.run(
        [
            sys.executable, "-I", "-S", str(PROGRAM), str(Path(package.origin).parents[1]),
            *(key.hex() for key in keys),
        ],
        stdin=file.fileno(), capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()
