"""A database in our layout while it grows: interrupted at any moment, it is resumed.

It grows as ``PATH.partial``, and gets its name when it is whole and on the disk. Samples are
written in order, in transactions of a fixed number of images, and the database is closed and opened
between them. So what is on the disk depends on the images and options alone, not on the number of
processes or on where a build was interrupted. A transaction's entries reach the journal before it.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from srsgd_ray.image_lmdb.data_file import LmdbFile
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.journal import ANEW, Entries, Journal, not_written, partial_of
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
)  # fmt: skip
from srsgd_ray.image_lmdb.places import find
from srsgd_ray.image_lmdb.prepare import Sample

TOGETHER = 500  # images of a transaction
MOST = 2**26  # bytes of images, after which a transaction ends with fewer


class Writer:
    """The database that grows into ``path``; a context manager, which holds the journal's lock.

    Args:
        path: of the finished database.
        plan: what is built of what: plain values that tell one build from another.
        map_size: bytes that the database may grow to.
        force: whether to replace a finished database, and a half-built one that cannot be resumed.
        may_skip: whether images may be missing from what is resumed.

    Raises:
        ValueError: if there is a finished database.
        DataError: if another process builds it, what is there was begun otherwise, is damaged or
            was changed, or the disk is full.

    ``partial`` is the file that grows, ``entries`` has one row an image that is done, and ``whole``
    says that nothing is missing but the trailer and the name.
    """

    def __init__(
        self,
        path: Path,
        plan: Mapping[str, Any],
        map_size: int,
        *,
        force: bool = False,
        may_skip: bool = False,
    ) -> None:
        self.path, self.partial, self._map_size = path, partial_of(path), map_size
        self.entries: Entries = np.zeros(0, ENTRY)
        self.whole = False
        self._waiting: list[tuple[Sample | None, int]] = []
        self._samples = self._bytes = 0  # of what is waiting
        with ExitStack() as stack:
            self._journal = stack.enter_context(Journal(path))
            if path.exists() and not force:
                raise ValueError(
                    f"{path} is there already. Choose another name, or replace it with --force."
                )
            try:
                found = self._found(plan, may_skip)
            except DataError:
                if not force:
                    raise
                found = None
            if found is None:
                self.partial.unlink(missing_ok=True)
                self._journal.begin(plan)
            else:
                self.entries, self.whole = found
            self._open = stack.pop_all()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _found(self, plan: Mapping[str, Any], may_skip: bool) -> tuple[Entries, bool] | None:
        """Entries of what is there, and whether it is whole; None if nothing is stored."""
        # A disk that was full at once may hold less than the two pages that LMDB begins with.
        if not self.partial.exists() or self.partial.stat().st_size < 2 * mmap.PAGESIZE:
            return None
        try:
            places = find(LmdbFile(self.partial))
        except DataError as error:
            raise DataError(f"{error} Or {ANEW}.") from error
        if not len(places):
            return None
        entries = self._journal.entries(plan)
        done = np.flatnonzero(entries["offset"])
        whole = len(places) == len(done) + len(RECORDS) and places.keys[len(done) + 1] == HEADER
        stored = len(done) if whole else len(places)
        if (
            stored > len(done)
            or any(key != key_of(n) for n, key in zip(range(stored), places.keys, strict=False))
            or (places.lengths[:stored] < entries["length"][done[:stored]]).any()
        ):
            raise self._changed("the samples of its journal")
        if not whole:  # the last entries' transaction may be missing
            entries = entries[: done[stored - 1] + 1]
            self._journal.cut(len(entries))
        if stored < len(entries) and not may_skip:
            raise DataError(
                f"{self.partial} was begun with --on-corrupt skip and lacks "
                f"{len(entries) - stored} images. Continue with that, or {ANEW}."
            )
        return entries, whole

    @property
    def done(self) -> int:
        """Images that were added, skipped ones too."""
        return len(self.entries) + len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def add(self, sample: Sample | None, label: int) -> bool:
        """The next image, None if it is skipped; returns whether a transaction is over.

        A transaction ends with an image that is stored: those skipped after it belong to the next
        one. So a build that is resumed divides them as one that was never interrupted.

        Raises:
            DataError: if it cannot be written.
        """
        self._waiting.append((sample, label))
        if sample is not None:
            self._samples, self._bytes = self._samples + 1, self._bytes + len(sample.value)
        full = self._samples == TOGETHER or self._bytes >= MOST
        if full:
            self.flush()
        return full

    def flush(self) -> None:
        """One transaction of what was added; it is on the disk afterwards."""
        stored = int((self.entries["offset"] > 0).sum())
        entries = np.zeros(len(self._waiting), ENTRY)
        items: list[tuple[bytes, bytes]] = []
        for n, (sample, label) in enumerate(self._waiting):
            if sample is not None:
                value, height, width, _ = sample
                entries[n] = 1, len(value), checksum(value), height, width, label, 0
                items.append((key_of(stored + len(items)), padded(value)))
        self._journal.append(entries.tobytes())
        self._put(items)
        self.entries = np.concatenate([self.entries, entries])
        self._waiting, self._samples, self._bytes = [], 0, 0

    def finish(self, names: list[bytes], classes: tuple[str, ...], how: Mapping[str, Any]) -> None:
        """Write the records that make the database whole.

        Args:
            names: of the images that are stored.
            classes: names of the classes.
            how: the header's fields of how images were made.

        Raises:
            DataError: if they cannot be written.
        """
        index = self.entries[self.entries["offset"] > 0]
        index["name_end"] = np.cumsum([len(name) for name in names])
        places = find(LmdbFile(self.partial))
        if len(places) != len(index):
            raise self._changed(f"{len(index)} samples")
        index["offset"] = places.offsets
        records = {
            INDEX: index.tobytes(),
            LABELS: index["label"].astype("<i4").tobytes(),
            NAMES: b"".join(names),
            CLASSES: json.dumps(list(classes)).encode(),
        }
        sums = {key.decode(): checksum(value) for key, value in records.items()}
        records[HEADER] = Header(count=len(index), **how, checksums=sums).dump()
        self._put(sorted(records.items()))
        self.whole = True

    def publish(self) -> None:
        """Give the whole database its name, when it is on the disk."""
        try:
            seal(self.partial)
        except OSError as error:
            raise not_written(self.partial, error) from error
        for place in (self.partial, self.path.parent):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                if place == self.path.parent:
                    self.partial.replace(self.path)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _changed(self, what: str) -> DataError:
        return DataError(
            f"{self.partial} must hold {what}, but was changed by others. {ANEW.capitalize()}."
        )

    def _put(self, items: list[tuple[bytes, bytes]]) -> None:
        if not items:
            return
        try:
            with (
                lmdb.open(
                    str(self.partial), subdir=False, lock=False, map_size=self._map_size,
                    meminit=True,
                ) as database,
                database.begin(write=True) as transaction,
            ):  # fmt: skip
                for key, value in items:
                    if not transaction.put(key, value, append=True):
                        raise self._changed(f"no key after {key!r}")
        except (lmdb.Error, OSError) as error:
            raise not_written(self.partial, error) from error


def seal(path: Path) -> None:
    """Write the trailer of a database behind LMDB's last page.

    Raises:
        OSError: if it cannot be written.
        DataError: if the database is damaged.
    """
    places = find(LmdbFile(path), RECORDS)
    with path.open("r+b") as file:
        file.truncate(places.used)  # of a trailer that was written in part
        file.seek(places.used)
        file.write(trailer({place.key: (place.offset, place.length) for place in places}))
