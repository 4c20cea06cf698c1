"""Makes databases in our layout, in several processes; can be broken off and goes on.

Samples are written in order, in transactions of a fixed number of images, and the database is
closed and opened between them. So what is on the disk depends on the images and options alone, not
on the number of processes or on where a build was broken off.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np

from srsgd_ray.image_lmdb.build_checks import (
    check_place,
    check_room,
    journal_of,
    looked_at,
    map_size,
    partial_of,
    plan_of,
    stated,
)
from srsgd_ray.image_lmdb.data_file import DataFile
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.journal import Entries, Journal, may_replace, not_written
from srsgd_ray.image_lmdb.layout import (
    CLASSES,
    ENTRY,
    HEADER,
    INDEX,
    LABELS,
    NAMES,
    RECORDS,
    Header,
    checksum,
    key_of,
    padded,
    trailer,
)
from srsgd_ray.image_lmdb.places import find
from srsgd_ray.image_lmdb.prepare import Options, Sample
from srsgd_ray.image_lmdb.store import Store
from srsgd_ray.image_lmdb.work import prepared

__all__ = ["Built", "build_store", "seal"]

TOGETHER = 500  # images of a transaction
MOST = 2**26  # bytes of images, after which a transaction ends with fewer
TOLD_EVERY = 20  # images
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Built:
    """A finished database.

    Attributes:
        path: of the file.
        samples: in it.
        skipped: names of the images that could not be decoded, as they are in the source.
        bytes: of the file.
        kept: whether it was there already, and stayed as it was.
    """

    path: Path
    samples: int
    skipped: tuple[str, ...]
    bytes: int
    kept: bool = False


def build_store(
    store: Store,
    path: Path,
    options: Options,
    *,
    workers: int = 1,
    force: bool = False,
    progress: Progress | None = None,
    beside: float = 0.0,
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
        beside: bytes that must be left on the disk, for databases that are made after it.

    Raises:
        ValueError: for options or a place that cannot be, before anything is written.
        DataError: for an image that cannot be decoded, unless such are skipped; too little room.
    """
    options.check()
    partial = partial_of(path)
    plan = plan_of(store, options)
    check_place(store, path, force or may_replace(journal_of(path), plan))
    done = 0 if force else _stored(partial)
    typical, largest = looked_at(store, options)
    if done is not None:
        old = partial.stat().st_size if done == 0 and partial.exists() else 0
        check_room(partial.parent, typical, len(store) - done, old, beside)
    with Journal(journal_of(path)) as journal:
        # Once more: another process may have ended since.
        check_place(store, path, force or may_replace(journal.path, plan))
        done = 0 if force else _stored(partial)
        if done == 0:
            partial.unlink(missing_ok=True)
            journal.begin(plan, replaces=path.exists())
        else:
            journal.go_on(plan, done)
            _check_skipped(journal, options)
        if done is not None:  # else it is whole, but was not renamed yet
            writer = _Writer(partial, map_size(len(store), largest), done)
            begin, part = len(journal.entries), max(1, int(MOST / 16 / typical))
            with closing(prepared(store, options, begin, part, workers)) as samples:
                _write(store, samples, writer, journal, progress or (lambda *_: None))
            writer.end(_records(store, partial, journal.entries, options))
        return _finish(store, partial, path, journal)


def _check_skipped(journal: Journal, options: Options) -> None:
    skipped = int((journal.entries["offset"] == 0).sum())
    if skipped and options.on_corrupt != "skip":
        raise DataError(
            f"{journal.path.with_suffix('')} was begun with --on-corrupt skip and lacks {skipped} "
            f"images. Go on with that, or begin anew with --force."
        )


def _stored(partial: Path) -> int | None:
    """Samples in a half-built database; None if it is whole."""
    # A disk that was full at once may hold less than the two pages that LMDB begins with.
    if not partial.exists() or partial.stat().st_size < 2 * mmap.PAGESIZE:
        return 0
    try:
        places = find(DataFile(partial))
    except DataError as error:
        raise DataError(f"{error} Or begin anew with --force.") from error
    return None if HEADER in {place.key for place in places} else len(places)


def _write(
    store: Store,
    samples: Iterable[Sample | None],
    writer: _Writer,
    journal: Journal,
    tell: Progress,
) -> None:
    """Store images in transactions, each with its journal entries before it.

    A transaction ends with an image that is stored: those skipped after it belong to the next one.
    So a build that goes on divides them as one that was never broken off.
    """
    together: list[Sample | None] = []
    stored = room = 0
    tell(len(journal.entries), len(store), writer.bytes)
    for sample in samples:
        together.append(sample)
        if sample is not None:
            stored, room = stored + 1, room + len(sample.value)
        if stored == TOGETHER or room >= MOST:
            journal.add(_entries(store, len(journal.entries), together))
            writer.add([sample for sample in together if sample is not None])
            together, stored, room = [], 0, 0
        done = len(journal.entries) + len(together)
        if len(together) % TOLD_EVERY == 0 and done < len(store):
            tell(done, len(store), writer.bytes)
    if together:
        journal.add(_entries(store, len(journal.entries), together))
        writer.add([sample for sample in together if sample is not None])
    tell(len(journal.entries), len(store), writer.bytes)


class _Writer:
    """Appends samples to a half-built database."""

    def __init__(self, partial: Path, size: int, done: int) -> None:
        self._partial, self._size, self._done = partial, size, done
        self.bytes = partial.stat().st_size if done else 0

    def add(self, samples: list[Sample]) -> None:
        """One transaction; it is on the disk afterwards."""
        self._put(
            [(key_of(self._done + n), padded(sample.value)) for n, sample in enumerate(samples)]
        )
        self._done += len(samples)
        self.bytes = self._partial.stat().st_size if self._done else 0

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
                    if not transaction.put(key, value, append=True):
                        raise DataError(
                            f"{self._partial} must end before {key!r}, but does not: it was "
                            f"changed by others. Begin anew with --force."
                        )
        except (lmdb.Error, OSError) as error:
            raise not_written(self._partial, error) from error


def _entries(store: Store, begin: int, samples: list[Sample | None]) -> Entries:
    entries, labels = np.zeros(len(samples), ENTRY), store.labels
    for n, sample in enumerate(samples):
        if sample is not None:
            entries[n] = (
                1, len(sample.value), checksum(sample.value), sample.height, sample.width,
                labels[begin + n], 0,
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
            f"{names_of}. Get their images anew, or leave the classes out of {store.path}, and "
            f"begin anew with --force."
        )
    names = [store.key(n).encode(errors="surrogateescape") for n in kept.tolist()]
    ends = np.cumsum([len(name) for name in names])
    if ends[-1] >= 2**32:
        raise DataError(f"names must take less than 4 GiB, but those of {store.path} do not.")
    index["name_end"] = ends
    places = find(DataFile(partial))
    if len(places) != len(index):
        raise DataError(
            f"{partial} must hold {len(index)} samples, but holds {len(places)}: it was changed "
            f"by others. Begin anew with --force."
        )
    for number, place in enumerate(places):
        if place.key != key_of(number) or place.length < index[number]["length"]:
            raise DataError(f"{partial} is damaged at {place.key!r}. Begin anew with --force.")
    index["offset"] = places.offsets
    found = {
        INDEX: index.tobytes(),
        LABELS: index["label"].astype("<i4").tobytes(),
        NAMES: b"".join(names),
        CLASSES: json.dumps(list(store.classes)).encode(),
    }
    header = Header(
        count=len(index),
        **stated(store, options),
        checksums={key.decode(): checksum(value) for key, value in found.items()},
    )
    return found | {HEADER: header.dump()}


def seal(partial: Path) -> None:
    """Write the trailer behind LMDB's last page."""
    places = find(DataFile(partial), RECORDS)
    try:
        with partial.open("r+b") as file:
            file.truncate(places.used)  # a trailer that was written in part
            file.seek(places.used)
            file.write(trailer({place.key: (place.offset, place.length) for place in places}))
    except OSError as error:
        raise not_written(partial, error) from error


def _finish(store: Store, partial: Path, path: Path, journal: Journal) -> Built:
    """Give the whole database its name, when it is on the disk."""
    skipped = [store.key(n) for n in np.flatnonzero(journal.entries["offset"] == 0).tolist()]
    listed = path.with_name(path.name + ".skipped.txt")
    if skipped:
        listed.write_bytes(
            "".join(f"{name}\n" for name in skipped).encode(errors="surrogateescape")
        )
    else:
        listed.unlink(missing_ok=True)  # of a database that is replaced
    seal(partial)
    for place in (partial, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            if place == path.parent:
                partial.replace(path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    journal.remove()
    samples = len(journal.entries) - len(skipped)
    return Built(path, samples, tuple(skipped), path.stat().st_size)
