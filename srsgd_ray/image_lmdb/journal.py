"""What a build that was broken off needs to go on: its plan, and an entry for each image done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.layout import ENTRY

__all__ = ["Journal"]

Entries = npt.NDArray[np.void]


class Journal:
    """A file beside a half-built database: one line of JSON, then an ``ENTRY`` an image.

    An entry's ``offset`` is 1 if its image is stored and 0 if it was skipped. Entries reach the
    disk before the transaction that stores their images: there may be more of them than samples.

    Args:
        path: of the file; made if it is not there.
        plan: what is built, of what.

    Raises:
        DataError: if the file is of another plan, or damaged.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self.path = path
        line = json.dumps(plan, sort_keys=True).encode() + b"\n"
        if not path.exists():
            partial = path.with_name(path.name + ".tmp")
            partial.write_bytes(line)
            partial.replace(path)
        data = path.read_bytes()
        first, _, rest = data.partition(b"\n")
        if first + b"\n" != line:
            raise DataError(_other(path, first, plan))
        self._begin = len(line)
        whole = len(rest) // ENTRY.itemsize
        self.entries: Entries = np.frombuffer(rest, ENTRY, whole).copy()

    def cut(self, stored: int) -> None:
        """Forget what follows the first ``stored`` images that are in the database.

        Raises:
            DataError: if there are fewer.
        """
        done = np.flatnonzero(self.entries["offset"])
        if len(done) < stored:
            raise DataError(
                f"{self.path} must have an entry for each of the {stored} samples stored so far, "
                f"but has {len(done)}. Begin anew with --force."
            )
        keep = int(done[stored - 1]) + 1 if stored else 0
        self.entries = self.entries[:keep]
        with self.path.open("r+b") as file:
            file.truncate(self._begin + keep * ENTRY.itemsize)

    def add(self, entries: Entries) -> None:
        """Write entries, and wait until they are on the disk."""
        with self.path.open("ab") as file:
            file.write(entries.tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.entries = np.concatenate([self.entries, entries])


def _other(path: Path, first: bytes, plan: Mapping[str, Any]) -> str:
    try:
        theirs = json.loads(first)
        differ = [
            f"{k}={theirs.get(k)!r} (now {plan[k]!r})" for k in plan if theirs.get(k) != plan[k]
        ]
        what = f"was begun with {', '.join(differ)}"
    except (ValueError, AttributeError):
        what = "is damaged"
    return (
        f"{path.with_suffix('')} {what}. Go on with the same source and options, or begin anew "
        f"with --force."
    )
