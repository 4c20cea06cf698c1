"""What a build that was broken off needs to go on: its plan, and an entry for each image done."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.layout import ENTRY

__all__ = ["Journal", "may_replace", "not_written", "of_plan"]

Entries = npt.NDArray[np.void]
FULL = None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG
SUMS = ("names", "labels")  # in the plan, as checksums
REPLACES = "replaces"  # in the plan's line, but no part of the plan


def not_written(path: Path, error: Exception) -> DataError:
    """What to raise where a file cannot be written, mostly since the disk is full."""
    if isinstance(error, OSError) and error.errno not in FULL:
        return DataError(
            f"{path} cannot be written: {error.strerror}. What was written stays: correct that, "
            f"and run the same again."
        )
    try:
        room = f" ({shutil.disk_usage(path.parent).free / 1e9:.3f} GB are free there)"
    except OSError:
        room = ""
    return DataError(
        f"{path} cannot be written: {error}{room}. What was written stays: make room, and run the "
        f"same again."
    )


def may_replace(path: Path, plan: Mapping[str, Any]) -> bool:
    """Whether a build of this plan was given leave to replace a finished database.

    Args:
        path: of the journal.
        plan: what is built, of what.
    """
    try:
        with path.open("rb") as file:
            return bool(json.loads(file.readline()) == {**plan, REPLACES: True})
    except (OSError, ValueError):
        return False


def of_plan(line: bytes, plan: Mapping[str, Any]) -> bool:
    """Whether a journal's first line is of this plan, with leave to replace or not."""
    try:
        theirs = json.loads(line)
    except ValueError:
        return False
    return isinstance(theirs, dict) and {**theirs, REPLACES: None} == {**plan, REPLACES: None}


class Journal:
    """A file beside a half-built database: one line of JSON, then an ``ENTRY`` an image.

    An entry's ``offset`` is 1 if its image is stored and 0 if it was skipped. Entries reach the
    disk before the transaction that stores their images: there may be more of them than samples.
    The file is locked while it is open, so that no two processes build the same database.

    Args:
        path: of the file; made if it is not there.

    Raises:
        DataError: if another process has it open, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: Entries = np.zeros(0, ENTRY)
        self._begin = 0
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise not_written(path, error) from error
        if not self._locked():
            self._file.close()
            raise DataError(
                f"{path.with_suffix('')} is being built by another process. Wait for that, or end "
                f"it first."
            )

    def _locked(self) -> bool:
        with suppress(OSError):  # a file system without locks: go on without
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        try:  # a build that ended just now removes the file
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def begin(self, plan: Mapping[str, Any], replaces: bool) -> None:
        """Begin anew, and forget what there was.

        Args:
            plan: what is built, of what.
            replaces: whether a finished database may be replaced.
        """
        line = json.dumps({**plan, REPLACES: replaces}, sort_keys=True).encode() + b"\n"
        self._file.truncate(0)
        self.entries, self._begin = np.zeros(0, ENTRY), len(line)
        self._write(line)

    def go_on(self, plan: Mapping[str, Any], stored: int | None) -> None:
        """Read what there is, and forget what follows the images that are in the database.

        Args:
            plan: what is built, of what.
            stored: images in the database; None: it is whole.

        Raises:
            DataError: if the file is of another plan, or damaged.
        """
        data = self.path.read_bytes()
        first, _, rest = data.partition(b"\n")
        try:
            theirs = json.loads(first)
            differ = [
                f"other {k} than now" if k in SUMS else f"{k}={theirs.get(k)!r} (now {plan[k]!r})"
                for k in plan
                if theirs.get(k) != plan[k]
            ]
            if differ:
                raise self._other(f"was begun with {', '.join(differ)}")
        except (AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._other("is damaged") from error
        whole = len(rest) // ENTRY.itemsize
        self._begin = len(first) + 1
        self.entries = np.frombuffer(rest, ENTRY, whole).copy()
        if stored is not None:
            self._cut(stored)

    def _other(self, what: str) -> DataError:
        return DataError(
            f"{self.path.with_suffix('')} {what}. Go on with the same source and options, or begin "
            f"anew with --force."
        )

    def _cut(self, stored: int) -> None:
        done = np.flatnonzero(self.entries["offset"])
        if len(done) < stored:
            raise DataError(
                f"{self.path} must have an entry for each of the {stored} samples stored so far, "
                f"but has {len(done)}. Begin anew with --force."
            )
        keep = int(done[stored - 1]) + 1 if stored else 0
        self.entries = self.entries[:keep]
        self._file.truncate(self._begin + keep * ENTRY.itemsize)

    def add(self, entries: Entries) -> None:
        """Write entries, and wait until they are on the disk.

        Raises:
            DataError: if they cannot be written.
        """
        self._write(entries.tobytes())
        self.entries = np.concatenate([self.entries, entries])

    def _write(self, data: bytes) -> None:
        try:
            if self._file.write(data) != len(data):
                raise OSError("it was written in part only")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise not_written(self.path, error) from error

    def remove(self) -> None:
        """Delete the file: the database is finished."""
        self.path.unlink(missing_ok=True)
