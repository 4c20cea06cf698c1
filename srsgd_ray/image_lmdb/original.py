"""The original's layout: the key is the path of an image, the value the encoded file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.pages import Pages, Place
from srsgd_ray.image_lmdb.store import StrPath

__all__ = ["OriginalStore", "Places"]


class Places:
    """Keys and places of many values, in a few arrays instead of a million objects.

    Args:
        pages: the database.
        places: all of its values.
    """

    def __init__(self, pages: Pages, places: Iterable[Place]) -> None:
        self._pages = pages
        keys, ends, offsets, lengths = bytearray(), [0], [], []
        for place in places:
            keys += place.key
            ends.append(len(keys))
            offsets.append(place.offset)
            lengths.append(place.length)
        self._keys, self._ends = bytes(keys), np.array(ends, dtype=np.int64)
        self._offsets = np.array(offsets, dtype=np.int64)
        self._lengths = np.array(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._offsets)

    def key(self, index: int) -> bytes:
        """The key of a value."""
        return self._keys[self._ends[index] : self._ends[index + 1]]

    def length(self, index: int) -> int:
        """Bytes of a value."""
        return int(self._lengths[index])

    def read(self, index: int, at: int = 0, length: int | None = None) -> bytes:
        """A value, or ``length`` bytes of it from ``at`` on (fewer, where it ends)."""
        left = int(self._lengths[index]) - at
        wanted = left if length is None else min(length, left)
        return self._pages.read(int(self._offsets[index]) + at, max(wanted, 0))

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system for values ahead."""
        for index in indices:
            self._pages.prefetch(int(self._offsets[index]), int(self._lengths[index]))


class OriginalStore:
    """Keys such as ``train/n01440764/n01440764_10026.JPEG``, values the files' bytes.

    Classes and labels come from the keys (the folder that the file lies in); classes are sorted by
    name. The ``.lmdb.pt`` file beside the database is a pickle and is never opened.

    Raises:
        DataError: if it is not an LMDB database, is empty, or a key names no class.
    """

    kind = "original"
    checked = False

    def __init__(self, path: StrPath) -> None:
        self.path = path = Path(path)
        pages = Pages(path)
        if not pages.entries:
            raise DataError(f"{path} must hold images, but is empty. Build or copy it anew.")
        self._places = Places(pages, pages.walk())
        count = len(self._places)
        seen: dict[bytes, int] = {}
        found = np.empty(count, dtype=np.int64)
        for index in range(count):
            found[index] = seen.setdefault(_class_of(self._places.key(index), path), len(seen))
        names = sorted(seen)
        order = np.empty(len(names), dtype=np.int64)
        for label, name in enumerate(names):
            order[seen[name]] = label
        self.classes = tuple(name.decode(errors="replace") for name in names)
        self.labels = order[found]

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, index: int) -> int:
        """The class of a sample."""
        return int(self.labels[index])

    def read(self, index: int) -> bytes:
        """The value of a key."""
        return self._places.read(index)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system for samples ahead."""
        self._places.prefetch(indices)

    def key(self, index: int) -> str:
        """The key."""
        return self._places.key(index).decode(errors="replace")

    def name(self, index: int) -> str:
        """The database and the key."""
        return f"{self.path}: {self.key(index)}"


def _class_of(key: bytes, path: Path) -> bytes:
    parts = key.rsplit(b"/", 2)
    if len(parts) < 2 or not parts[-2] or not parts[-1]:
        raise DataError(
            f"a key must be a path with the class as its folder, such as "
            f"train/n01440764/n01440764_10026.JPEG, but {path} has {key!r}. Build it anew."
        )
    return parts[-2]
