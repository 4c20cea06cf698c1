"""Makes databases in our layout, in several processes; can be broken off and goes on.

Samples are written in order, in transactions of a fixed number of images, and the database is
closed and opened between them. So what is on the disk depends on the images and options alone, not
on the number of processes or on where a build was broken off.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.journal import Entries, Journal
from srsgd_ray.image_lmdb.layout import (
    CLASSES,
    ENTRY,
    HEADER,
    INDEX,
    LABELS,
    NAMES,
    Header,
    checksum,
    key_of,
    padded,
)
from srsgd_ray.image_lmdb.pages import Pages
from srsgd_ray.image_lmdb.prepare import Options, Sample, prepare
from srsgd_ray.image_lmdb.store import Store
from srsgd_ray.image_lmdb.work import prepared

__all__ = ["Built", "build_store"]

TOGETHER = 500  # images of a transaction
LOOKED_AT = 48  # images from which the room is estimated
PAGE = 4096
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Built:
    """A finished database.

    Attributes:
        path: of the file.
        samples: in it.
        skipped: names of the images that could not be decoded, as they are in the source.
        bytes: of the file.
    """

    path: Path
    samples: int
    skipped: tuple[str, ...]
    bytes: int


def build_store(
    store: Store,
    path: Path,
    options: Options,
    *,
    workers: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Write the images of a store into a database of our layout.

    It grows under the name ``PATH.partial`` and is renamed when it is whole and on the disk. Broken
    off at any moment and called again with the same images and options, it goes on, and the file
    has the same bytes in the end.

    Args:
        store: the images.
        path: of the database, a file that is not there yet.
        options: how they are stored.
        workers: processes that prepare images.
        force: whether to replace a finished database, and to forget a half-built one.
        progress: called with (images done, of how many, bytes written).

    Raises:
        ValueError: for options or a place that cannot be, before anything is written.
        DataError: for an image that cannot be decoded, unless such are skipped; too little room.
    """
    options.check()
    _check_place(store, path, force)
    partial = path.with_name(path.name + ".partial")
    journal_path = partial.with_name(partial.name + ".journal")
    if force:
        for old in (partial, journal_path):
            old.unlink(missing_ok=True)
    done = _stored(partial)
    typical, largest = _looked_at(store, options)
    if done is not None:
        _check_room(partial, typical, len(store) - done)
    journal = Journal(journal_path, _plan(store, options))
    if done is None:  # whole already, but not renamed yet
        return _finish(store, partial, path, journal)
    journal.cut(done)
    writer = _Writer(partial, _map_size(len(store), largest), done)
    tell = progress or (lambda done, count, size: None)
    tell(len(journal.entries), len(store), partial.stat().st_size if partial.exists() else 0)
    for begin, samples in prepared(store, options, len(journal.entries), TOGETHER, workers):
        entries = _entries(store, begin, samples)
        journal.add(entries)
        writer.add([sample for sample in samples if sample is not None])
        tell(begin + len(samples), len(store), partial.stat().st_size)
    writer.end(_records(store, partial, journal.entries, options))
    return _finish(store, partial, path, journal)


def _check_place(store: Store, path: Path, force: bool) -> None:
    if path.is_dir():
        raise ValueError(f"{path} must be a file to be made, but is a folder. Name a file in it.")
    if path.exists() and not force:
        raise ValueError(
            f"{path} is there already. Choose another name, or replace it with --force."
        )
    source, place = store.path.resolve(), path.resolve()
    if source == place or (source.is_dir() and place.is_relative_to(source)):
        raise ValueError(
            f"a database must lie outside of what it is built from, but {path} lies in "
            f"{store.path}. Choose another place."
        )
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} must be a folder, but is none. Make it first.")


def _plan(store: Store, options: Options) -> dict[str, Any]:
    """What tells one build from another."""
    names = 0
    for index in range(len(store)):
        names = zlib.crc32(store.key(index).encode(errors="surrogateescape") + b"\0", names)
    how = options.to_dict()
    del how["on_corrupt"]  # may be changed on the way, where an image turns out to be corrupt
    return {
        "version": 1,
        **how,
        "images": len(store),
        "names": names,
        "labels": zlib.crc32(store.labels.astype("<i4").tobytes()),
    }


def _stored(partial: Path) -> int | None:
    """Samples in a half-built database; None if it is whole."""
    if not partial.exists() or partial.stat().st_size == 0:
        return 0
    pages = Pages(partial)
    return None if pages.find(HEADER) is not None else pages.entries


def _looked_at(store: Store, options: Options) -> tuple[float, int]:
    """Mean and largest room of an image on the disk, bytes, of some that are prepared for this."""
    sizes = [PAGE]
    for index in np.unique(np.linspace(0, len(store) - 1, LOOKED_AT).astype(int)).tolist():
        with suppress(DataError):  # met again in its turn
            sample = prepare(store.read(index), options, store.name(index))
            sizes.append(-(-(len(sample.value) + 16) // PAGE) * PAGE)
    return float(np.mean(sizes[1:] or sizes)), max(sizes)


def _check_room(partial: Path, typical: float, left: int) -> None:
    """Raise DataError unless what is left probably fits on the disk."""
    needed, free = 1.02 * typical * left, shutil.disk_usage(partial.parent).free
    if needed > free:
        raise DataError(
            f"{partial.parent} must have about {needed / 1e9:.1f} GB free (an estimate from "
            f"{LOOKED_AT} images), but has {free / 1e9:.1f} GB. Make room, or choose another disk."
        )


def _map_size(images: int, largest: int) -> int:
    """What the database may grow to; takes no room, and is the same when a build goes on."""
    return 2**34 + images * max(2**20, 4 * largest)


class _Writer:
    """Appends samples to a half-built database."""

    def __init__(self, partial: Path, size: int, done: int) -> None:
        self._partial, self._size, self._done = partial, size, done

    def add(self, samples: list[Sample]) -> None:
        """One transaction; it is on the disk afterwards."""
        self._put(
            [(key_of(self._done + n), padded(sample.value)) for n, sample in enumerate(samples)]
        )
        self._done += len(samples)

    def end(self, records: dict[bytes, bytes]) -> None:
        """The last transaction."""
        self._put(sorted(records.items()))

    def _put(self, items: list[tuple[bytes, bytes]]) -> None:
        try:
            with (
                lmdb.open(
                    str(self._partial), subdir=False, lock=False, map_size=self._size, meminit=True
                ) as database,
                database.begin(write=True) as transaction,
            ):
                for key, value in items:
                    transaction.put(key, value, append=True)
        except (lmdb.Error, OSError) as error:
            raise DataError(
                f"{self._partial} cannot be written: {error}. What was written stays: make room, "
                f"and run the same again."
            ) from error


def _entries(store: Store, begin: int, samples: list[Sample | None]) -> Entries:
    entries = np.zeros(len(samples), ENTRY)
    for n, sample in enumerate(samples):
        if sample is not None:
            entries[n] = (
                1, len(sample.value), checksum(sample.value), sample.height, sample.width,
                store.labels[begin + n], 0,
            )  # fmt: skip
    return entries


def _records(store: Store, partial: Path, entries: Entries, options: Options) -> dict[bytes, bytes]:
    """The five records that make a database whole."""
    kept = np.flatnonzero(entries["offset"])
    index = entries[kept]
    empty = set(store.labels.tolist()) - set(index["label"].tolist())
    if empty:
        names_of = ", ".join(store.classes[label] for label in sorted(empty)[:5])
        raise DataError(
            f"every class needs an image that can be decoded, but {len(empty)} have none: "
            f"{names_of}. Get their images anew, or leave the classes out of {store.path}."
        )
    names = [store.key(n).encode(errors="surrogateescape") for n in kept.tolist()]
    ends = np.cumsum([len(name) for name in names])
    if ends[-1] >= 2**32:
        raise DataError(f"names must take less than 4 GiB, but those of {store.path} do not.")
    index["name_end"] = ends
    for number, place in enumerate(Pages(partial).walk()):
        if place.key != key_of(number) or place.length < index[number]["length"]:
            raise DataError(f"{partial} is damaged at {place.key!r}. Begin anew with --force.")
        index[number]["offset"] = place.offset
    found = {
        INDEX: index.tobytes(),
        LABELS: index["label"].astype("<i4").tobytes(),
        NAMES: b"".join(names),
        CLASSES: json.dumps(list(store.classes)).encode(),
    }
    header = Header(
        count=len(index),
        store=options.store,
        largest_side=options.largest_side,
        quality=options.quality,
        repacked=options.repack,
        checksums={key.decode(): checksum(value) for key, value in found.items()},
    )
    return found | {HEADER: header.dump()}


def _finish(store: Store, partial: Path, path: Path, journal: Journal) -> Built:
    """Give the whole database its name, when it is on the disk."""
    skipped = [store.key(n) for n in np.flatnonzero(journal.entries["offset"] == 0).tolist()]
    if skipped:
        path.with_name(path.name + ".skipped.txt").write_text("\n".join(skipped) + "\n")
    for place in (partial, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            if place == path.parent:
                partial.replace(path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    journal.path.unlink()
    samples = len(journal.entries) - len(skipped)
    return Built(path, samples, tuple(skipped), path.stat().st_size)
