"""Where each value of an LMDB file lies, found by py-lmdb in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srsgd_ray.image_lmdb.data_file import DataFile
from srsgd_ray.image_lmdb.scan import REFUSED

__all__ = ["Place", "Places", "find"]

PROGRAM = Path(__file__).with_name("scan.py")


class Place(NamedTuple):
    """A key, and where in the file its value lies."""

    key: bytes
    offset: int
    length: int


class Places:
    """Keys and places of many values, in a few arrays instead of a million objects.

    Attributes:
        file: the file that they lie in.
        used: bytes that a whole file holds at least.
        offsets: int64 (N,), bytes.
        lengths: int64 (N,), bytes.
    """

    def __init__(self, file: DataFile, found: bytes) -> None:
        self.file = file
        count, self.used = np.frombuffer(found, "<i8", 2).tolist()
        columns = np.frombuffer(found, "<i8", 3 * count, 16).reshape(3, count)
        self.offsets, self.lengths, self._ends = columns.copy()
        self._keys = found[16 + 24 * count :]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> Place:
        return Place(self.key(index), int(self.offsets[index]), int(self.lengths[index]))

    def __iter__(self) -> Iterator[Place]:
        return map(self.__getitem__, range(len(self)))

    def key(self, index: int) -> bytes:
        """The key of a value."""
        return self._keys[self._ends[index - 1] if index else 0 : self._ends[index]]

    def read(self, index: int, at: int = 0, length: int | None = None) -> bytes:
        """A value, or ``length`` bytes of it from ``at`` on (fewer, where it ends)."""
        left = int(self.lengths[index]) - at
        wanted = left if length is None else min(length, left)
        return self.file.read(int(self.offsets[index]) + at, max(wanted, 0))

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system for values ahead."""
        for index in indices:
            self.file.prefetch(int(self.offsets[index]), int(self.lengths[index]))


def find(file: DataFile, keys: Sequence[bytes] = ()) -> Places:
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
    places = Places(file, found)
    ends = places.offsets + places.lengths
    if len(places) and (places.offsets.min() < 0 or ends.max() > file.size):
        key = places.key(int(np.argmax((places.offsets < 0) | (ends > file.size))))
        raise file.damaged(f"it is cut short within the value of {key!r}")
    return places


def _scanned(file: DataFile, keys: Sequence[bytes]) -> tuple[int, bytes, str]:
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
