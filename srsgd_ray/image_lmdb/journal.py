"""What an interrupted build needs to be resumed: its plan, and an entry for each image done."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.layout import ENTRY

ANEW = "begin anew with --force"
Entries = npt.NDArray[np.void]
FULL = None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG
SUMS = ("names", "labels")  # in the plan, as checksums


def partial_of(path: Path) -> Path:
    """What a database is called while it grows."""
    return path.with_name(path.name + ".partial")


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


class Journal:
    """``PATH.partial.journal``: one line of JSON with the plan, then an ``ENTRY`` an image.

    An entry's offset is 1 if its image is stored and 0 if it was skipped. The file is locked while
    it is open, so that no two processes build the same database.

    Args:
        path: of the finished database.

    Raises:
        DataError: if another process has it open, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._partial = partial_of(path)
        self.path = path.with_name(path.name + ".partial.journal")
        try:
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise not_written(self.path, error) from error
        if not self._locked():
            self._file.close()
            raise DataError(
                f"{self._partial} is being built by another process. Wait for that, or end it "
                f"first."
            )

    def _locked(self) -> bool:
        with suppress(OSError):  # a file system without locks
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

    def __exit__(self, *error: object) -> None:
        """Leave it for a later build; it goes where none is half-built."""
        if not self._partial.exists():
            self.path.unlink(missing_ok=True)
        self._file.close()

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Forget what there was."""
        self._file.truncate(0)
        self.append(json.dumps(dict(plan), sort_keys=True).encode() + b"\n")

    def entries(self, plan: Mapping[str, Any]) -> Entries:
        """What there is.

        Raises:
            DataError: if it is of another plan, or damaged.
        """
        line, _, rest = self.path.read_bytes().partition(b"\n")
        try:
            theirs = json.loads(line)
            differ = ", ".join(
                f"other {k} than now" if k in SUMS else f"{k}={theirs.get(k)!r} (now {plan[k]!r})"
                for k in plan
                if theirs.get(k) != plan[k]
            )
        except (AttributeError, ValueError):
            differ = "a plan that cannot be read any more"
        if differ:
            raise DataError(
                f"{self._partial} was begun with {differ}. Continue with the same source and "
                f"options, or {ANEW}."
            )
        return np.frombuffer(rest, ENTRY, len(rest) // ENTRY.itemsize)

    def cut(self, count: int) -> None:
        """Forget entries after the first ``count``."""
        begin = len(self.path.read_bytes().partition(b"\n")[0]) + 1
        self._file.truncate(begin + count * ENTRY.itemsize)

    def append(self, data: bytes) -> None:
        """Write bytes, and wait until they are on the disk.

        Raises:
            DataError: if they cannot be written.
        """
        try:
            if self._file.write(data) != len(data):
                raise OSError("it was written in part only")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise not_written(self.path, error) from error
