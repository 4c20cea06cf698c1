"""Where encoded images are read from: a folder a class, or the original's LMDB databases.

A source knows its labels without reading an image, and gives the encoded bytes of one by index.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from srsgd_ray.data.dataset import DataError

__all__ = ["FolderSource", "LmdbSource", "Source", "open_sources"]

SUFFIXES = (".jpeg", ".jpg", ".png")
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
        """The encoded bytes of an image; may be called by several threads at a time."""

    def name(self, index: int) -> str:
        """Its path or key, for messages."""


class FolderSource:
    """Image files in one folder a class, as in ``train/n01440764/n01440764_10026.JPEG``.

    Hidden files and folders, and files of other kinds, are left out.

    Raises:
        DataError: if there is no such folder, or a class has no image.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.classes = tuple(
            sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
            if root.is_dir()
            else ()
        )
        # Names alone: a million paths would take half a gigabyte.
        self._files: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            files = sorted(
                file
                for file in os.listdir(root / name)  # noqa: PTH208
                if file.lower().endswith(SUFFIXES) and file[0] != "."
            )
            if not files:
                raise DataError(
                    f"every class needs images ({', '.join(SUFFIXES)}), but {root / name} has "
                    f"none. Fill or remove it."
                )
            self._files += files
            labels += [label] * len(files)
        if not labels:
            raise DataError(
                f"{root} must hold one folder a class with its images, but holds no folder."
            )
        self.labels = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> bytes:
        """The bytes of a file."""
        return Path(self.name(index)).read_bytes()

    def name(self, index: int) -> str:
        """Its path."""
        return f"{self._root}/{self.classes[self.labels[index]]}/{self._files[index]}"


class LmdbSource:
    """The original's LMDB layout: key = path of the image, value = the file's bytes.

    Classes and labels come from the keys (the folder that the file lies in). The ``.lmdb.pt``
    file beside the database is a pickle and is never opened. The database is opened read-only and
    without a lock file, once in each process: a source can be pickled, and used after a fork.

    Raises:
        DataError: if it is not an LMDB database, is empty, or a key names no class.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: tuple[int, Any] = (0, None)  # process, its database
        with self._database().begin() as transaction:
            cursor = transaction.cursor()
            self._keys = [bytes(key) for key in cursor.iternext(keys=True, values=False)]
        names = [_class_of(key, path) for key in self._keys]
        if not names:
            raise DataError(f"{path} must hold images, but is empty. Build or copy it anew.")
        self.classes = tuple(sorted(set(names)))
        place = {name: label for label, name in enumerate(self.classes)}
        self.labels = np.array([place[name] for name in names], dtype=np.int64)

    def _database(self) -> Any:
        process, database = self._open
        if process != os.getpid():
            database = _open_database(self._path)
            self._open = (os.getpid(), database)
        return database

    def __getstate__(self) -> dict[str, Any]:
        """Without the open database, which belongs to its process."""
        return {**self.__dict__, "_open": (0, None)}

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, index: int) -> bytes:
        """The value of a key."""
        with self._database().begin() as transaction:
            return bytes(transaction.get(self._keys[index]))

    def name(self, index: int) -> str:
        """The database and the key."""
        return f"{self._path}: {self._keys[index].decode(errors='replace')}"


# LMDB does not allow a process to open a database twice: (process, path) to what is open.
_OPEN: weakref.WeakValueDictionary[tuple[int, str], Any] = weakref.WeakValueDictionary()
_OPENING = threading.Lock()


def _open_database(path: Path) -> Any:
    import lmdb

    process, place = os.getpid(), str(path.resolve())
    if path.is_dir() and not (path / "data.mdb").is_file():
        raise DataError(f"{path} must hold data.mdb, but does not. Build or copy it anew.")
    with _OPENING:
        for (owner, where), inherited in list(_OPEN.items()):
            if where == place and owner != process:
                inherited.close()  # after a fork; the parent's own stays open
                del _OPEN[owner, where]
        database = _OPEN.get((process, place))
        if database is None:
            try:
                database = lmdb.open(
                    str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False,
                    meminit=False,
                )  # fmt: skip
            except lmdb.Error as error:
                raise DataError(
                    f"{path} must be an LMDB database, but: {error}. Build or copy it anew."
                ) from error
            _OPEN[process, place] = database
    return database


def _class_of(key: bytes, path: Path) -> str:
    parts = key.decode(errors="replace").split("/")
    if len(parts) < 2 or not parts[-2]:
        raise DataError(
            f"a key must be a path with the class as its folder, such as "
            f"train/n01440764/n01440764_10026.JPEG, but {path} has {key!r}. Build it anew."
        )
    return parts[-2]


def open_sources(data_dir: Path) -> tuple[Source, Source]:
    """Training and validation images in ``data_dir``, of either layout.

    Raises:
        DataError: if neither is there, or the two have other classes.
    """
    sources: Sequence[Source]
    there = [name for name in LMDB.values() if (data_dir / name).exists()]
    if len(there) == len(LMDB):
        sources = [LmdbSource(data_dir / name) for name in LMDB.values()]
    elif (data_dir / "train").is_dir():
        if not (data_dir / "val").is_dir():
            raise DataError(f"imagenet needs {data_dir}/val beside train, with the same classes.")
        sources = [FolderSource(data_dir / part) for part in ("train", "val")]
    else:
        raise DataError(
            f"imagenet not found: expected folders train and val, or {LMDB['train']} and "
            f"{LMDB['val']}, in data_dir={str(data_dir)!r}, which has {there or 'none of them'}. "
            f"Correct data_dir."
        )
    train, val = sources
    if train.classes != val.classes:
        differ = sorted(set(train.classes) ^ set(val.classes))
        raise DataError(
            f"train and val must have the same classes, but {len(differ)} are in one only: "
            f"{', '.join(differ[:5])}{' ...' * (len(differ) > 5)}. Complete the other."
        )
    return train, val
