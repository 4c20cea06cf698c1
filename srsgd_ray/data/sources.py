"""Where encoded images are read from: a folder a class, or the original's LMDB databases.

A source knows its labels without reading an image, and gives the encoded bytes of one by index.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from srsgd_ray.data.dataset import DataError

__all__ = ["FolderSource", "LmdbSource", "Source", "open_sources"]

SUFFIXES = {".jpeg", ".jpg", ".png"}
_OPEN: weakref.WeakValueDictionary[tuple[int, str], Any] = weakref.WeakValueDictionary()
LMDB = {"train": "train_faster_imagefolder.lmdb", "val": "val_faster_imagefolder.lmdb"}


class Source(Protocol):
    """Encoded images with labels.

    Attributes:
        classes: names of the classes, sorted; a label is an index into them.
        labels: int64 (N,).
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""

    def name(self, index: int) -> str:
        """Its path or key, for messages."""


class FolderSource:
    """Image files in one folder a class, as in ``train/n01440764/n01440764_10026.JPEG``.

    Raises:
        DataError: if there is no such folder, or no image in it.
    """

    def __init__(self, root: Path) -> None:
        folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        self.classes = tuple(folder.name for folder in folders)
        self._files: list[Path] = []
        labels: list[int] = []
        for label, folder in enumerate(folders):
            files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
            if not files:
                raise DataError(f"every class needs images, but {folder} has none. Remove it.")
            self._files += files
            labels += [label] * len(files)
        if not labels:
            raise DataError(f"{root} must hold one folder a class with JPEG files, but has none.")
        self.labels = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> bytes:
        """The bytes of a file."""
        return self._files[index].read_bytes()

    def name(self, index: int) -> str:
        """Its path."""
        return str(self._files[index])


class LmdbSource:
    """The original's LMDB layout: key = path of the image, value = the file's bytes.

    Classes and labels come from the keys (the folder that the file lies in). The ``.lmdb.pt``
    file beside the database is a pickle and is never opened. The database is opened read-only and
    without a lock file, anew in each process.

    Raises:
        DataError: if it is not an LMDB database, is empty, or a key names no class.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: Any = None
        with self._environment().begin() as transaction:
            cursor = transaction.cursor()
            self._keys = [bytes(key) for key in cursor.iternext(keys=True, values=False)]
        names = [_class_of(key, path) for key in self._keys]
        if not names:
            raise DataError(f"{path} holds no image. Build it anew.")
        self.classes = tuple(sorted(set(names)))
        place = {name: label for label, name in enumerate(self.classes)}
        self.labels = np.array([place[name] for name in names], dtype=np.int64)

    def _environment(self) -> Any:
        if self._open is None:
            import lmdb

            # LMDB does not allow a process to open a database twice.
            place = (os.getpid(), str(self.path.resolve()))
            self._open = _OPEN.get(place)
            if self._open is not None:
                return self._open
            try:
                self._open = _OPEN[place] = lmdb.open(
                    str(self.path), subdir=self.path.is_dir(), readonly=True, lock=False,
                    readahead=False, meminit=False, max_readers=1,
                )  # fmt: skip
            except lmdb.Error as error:
                raise DataError(f"{self.path} is no LMDB database: {error}.") from error
        return self._open

    def __getstate__(self) -> dict[str, Any]:
        """Without the open database: it must not cross a fork or a pickle."""
        return {**self.__dict__, "_open": None}

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, index: int) -> bytes:
        """The value of a key."""
        with self._environment().begin() as transaction:
            return bytes(transaction.get(self._keys[index]))

    def name(self, index: int) -> str:
        """Its key."""
        return self._keys[index].decode(errors="replace")


def _class_of(key: bytes, path: Path) -> str:
    parts = key.decode(errors="replace").split("/")
    if len(parts) < 2 or not parts[-2]:
        raise DataError(
            f"a key must be a path with the class as its folder, such as "
            f"train/n01440764/n01440764_10026.JPEG, but {path} has {key!r}."
        )
    return parts[-2]


def open_sources(data_dir: Path) -> tuple[Source, Source]:
    """Training and validation images in ``data_dir``, of either layout.

    Raises:
        DataError: if neither is there, or the two have other classes.
    """
    sources: Sequence[Source]
    if (data_dir / LMDB["train"]).exists():
        missing = [name for name in LMDB.values() if not (data_dir / name).exists()]
        if missing:
            raise DataError(f"imagenet needs {' and '.join(LMDB.values())}; missing: {missing}.")
        sources = [LmdbSource(data_dir / name) for name in LMDB.values()]
    elif (data_dir / "train").is_dir():
        if not (data_dir / "val").is_dir():
            raise DataError(f"imagenet needs {data_dir}/val beside train, with the same classes.")
        sources = [FolderSource(data_dir / part) for part in ("train", "val")]
    else:
        raise DataError(
            f"imagenet not found: expected folders train and val, or {LMDB['train']} and "
            f"{LMDB['val']}, in data_dir={str(data_dir)!r}."
        )
    train, val = sources
    if train.classes != val.classes:
        differ = sorted(set(train.classes) ^ set(val.classes))
        raise DataError(
            f"train and val must have the same classes, but {len(differ)} are in one only: "
            f"{', '.join(differ[:5])}{' ...' * (len(differ) > 5)}."
        )
    return train, val
