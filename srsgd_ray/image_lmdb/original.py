"""The original's layout: the key is the path of an image, the value the encoded file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.places import Places
from srsgd_ray.image_lmdb.store import KeyedStore


class OriginalStore(KeyedStore):
    """Keys such as ``train/n01440764/n01440764_10026.JPEG``, values the files' bytes.

    Classes and labels come from the keys (the folder that the file lies in); classes are sorted by
    name. The ``.lmdb.pt`` file next to the database is a pickle and is never opened.

    Raises:
        DataError: if a key names no class.
    """

    kind = "original"

    def __init__(self, path: Path, places: Places) -> None:
        super().__init__(path, places)
        seen: dict[bytes, int] = {}
        classes = (_class_of(key, path) for key in places.keys)
        found = np.fromiter((seen.setdefault(name, len(seen)) for name in classes), np.int64)
        names = sorted(seen)
        order = np.empty(len(names), np.int64)
        order[[seen[name] for name in names]] = np.arange(len(names))
        self.classes = tuple(name.decode(errors="replace") for name in names)
        self._labels = order[found]


def _class_of(key: bytes, path: Path) -> bytes:
    parts = key.rsplit(b"/", 2)
    if len(parts) < 2 or not parts[-2] or not parts[-1]:
        raise DataError(
            f"a key must be a path with the class as its folder, such as "
            f"train/n01440764/n01440764_10026.JPEG, but {path} has {key!r}. Build it anew."
        )
    return parts[-2]
