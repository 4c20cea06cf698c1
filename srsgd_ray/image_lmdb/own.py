"""Our own layout of images in LMDB (:mod:`srsgd_ray.image_lmdb.layout`), read by offset."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.errors import DataError
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
)  # fmt: skip
from srsgd_ray.image_lmdb.pages import Pages, Place
from srsgd_ray.image_lmdb.store import Pixels, StrPath

__all__ = ["Entry", "ImageLmdb"]

_ENTRY = struct.Struct("<QIIIIiI")
MOST_HEADER = 2**20  # bytes


class Entry(NamedTuple):
    """What the index says of a sample; see :data:`srsgd_ray.image_lmdb.layout.ENTRY`."""

    offset: int
    length: int
    checksum: int
    height: int
    width: int
    label: int
    name_end: int


class ImageLmdb:
    """A database that ``srsgd-ray lmdb build`` made.

    Opening reads the header and the classes, and checks the labels. What the index says of a sample
    is read with it: nothing that grows with the number of samples stays in memory.

    Raises:
        DataError: if it is no such database, of an unknown version, damaged, or was rewritten by
            another tool so that its offsets no longer hold.

    Attributes:
        header: its header.
        pages: the file.
    """

    kind = "srsgd_ray"
    checked = True

    def __init__(self, path: StrPath) -> None:
        self.path = path = Path(path)
        self.pages = Pages(path)
        self.header = self._header()
        count = self.header.count
        self._index, self._names = self._place(INDEX), self._place(NAMES)
        self._labels = self._place(LABELS)
        if self._labels.length != 4 * count or self._index.length != ENTRY.itemsize * count:
            raise self._damaged(f"labels or index are not of {count} samples")
        labels, classes = self.record(LABELS), self.record(CLASSES)
        for key, data in ((LABELS, labels), (CLASSES, classes)):
            if checksum(data) != self.header.checksums[key.decode()]:
                raise self._damaged(f"the checksum of {key.decode()} is wrong")
        self.classes = self._parse_classes(classes)
        self._check_labels(np.frombuffer(labels, "<i4"))
        for index in {0, count // 2, count - 1}:
            self._check_place(index)

    def _header(self) -> Header:
        place = self.pages.find(HEADER)
        if place is None:
            raise DataError(
                f"{self.path} must be made by `srsgd-ray lmdb build`, but has no header. Convert "
                f"it with `srsgd-ray lmdb convert`, or build it anew."
            )
        if place.length > MOST_HEADER:
            raise self._damaged(f"a header of {place.length} bytes")
        return Header.parse(self.record(HEADER), self.path)

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        if self._header() != self.header:  # it holds checksums of all else
            raise self.pages.changed()

    def _place(self, key: bytes) -> Place:
        place = self.pages.find(key)
        if place is None:
            raise self._damaged(f"it has no record {key.decode()}")
        return place

    def record(self, key: bytes) -> bytes:
        """One of the records beside the samples."""
        place = self._place(key)
        return self.pages.read(place.offset, place.length)

    def _parse_classes(self, data: bytes) -> tuple[str, ...]:
        try:
            classes = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._damaged("classes is no JSON list") from error
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise self._damaged("classes is no JSON list of names")
        return tuple(classes)

    def _check_labels(self, labels: npt.NDArray[np.int32]) -> None:
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise self._damaged(f"a label is not one of its {len(self.classes)} classes")

    def _check_place(self, index: int) -> None:
        place = self.pages.find(key_of(index))
        entry = self.entry(index)
        if place is None or place.offset != entry.offset or place.length < entry.length:
            raise DataError(
                f"{self.path} must be a byte for byte copy of what was built, but sample {index} "
                f"lies elsewhere than its index says (mdb_copy -c does that). Copy it with cp or "
                f"rsync, or build it anew."
            )

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self.path} is damaged: {what}. Copy or build it anew.")

    def __len__(self) -> int:
        return self.header.count

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 (N,), read at each use."""
        return np.frombuffer(self.record(LABELS), "<i4").astype(np.int64)

    def label(self, index: int) -> int:
        """The class of a sample.

        Raises:
            DataError: if it cannot be read.
        """
        data = self.pages.read(self._labels.offset + 4 * self._number(index), 4)
        label = int.from_bytes(data, "little", signed=True)
        if not 0 <= label < len(self.classes):  # it was changed since the file was opened
            raise self._damaged(f"the label of sample {index} is none of its classes")
        return label

    def entry(self, index: int) -> Entry:
        """What the index says of a sample.

        Raises:
            DataError: if it cannot be right.
        """
        at = self._index.offset + ENTRY.itemsize * self._number(index)
        entry = Entry(*_ENTRY.unpack(self.pages.read(at, ENTRY.itemsize)))
        if entry.offset + entry.length > self.pages.size:
            raise self._damaged(f"sample {index} is said to lie beyond its end")
        return entry

    def _number(self, index: int) -> int:
        if not 0 <= index < self.header.count:
            raise IndexError(f"0 <= index < {self.header.count} must hold, but got {index}.")
        return index

    def read(self, index: int) -> bytes | Pixels:
        """An image file, or pixels (height, width, 3) from a decoded store: those that were built.

        Raises:
            DataError: if they have another checksum, or cannot be read.
        """
        return self._sample(index, checked=True)

    def as_found(self, index: int) -> bytes | Pixels:
        """What :meth:`read` gives, also if its checksum is wrong."""
        return self._sample(index, checked=False)

    def _sample(self, index: int, *, checked: bool) -> bytes | Pixels:
        entry = self.entry(index)
        data = self.pages.read(entry.offset, entry.length)
        if checked and checksum(data) != entry.checksum:
            raise DataError(
                f"{self.name(index)} must have the checksum of its index, but has another: it was "
                f"damaged after it was built. Copy or build {self.path} anew."
            )
        if self.header.store == "encoded":
            return data
        if entry.length != 3 * entry.height * entry.width:
            raise self._damaged(f"sample {index} is not as large as its index says")
        return np.frombuffer(data, np.uint8).reshape(entry.height, entry.width, 3)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system for samples ahead."""
        for index in indices:
            try:
                entry = self.entry(index)
            except DataError:
                continue  # whoever reads it will say so
            self.pages.prefetch(entry.offset, entry.length)

    def key(self, index: int) -> str:
        """The image's name in what the database was built from."""
        end = self.entry(index).name_end
        begin = self.entry(index - 1).name_end if index else 0
        if not begin <= end <= self._names.length:
            raise self._damaged(f"the name of sample {index} is nowhere")
        name = self.pages.read(self._names.offset + begin, end - begin)
        return name.decode(errors="replace")

    def name(self, index: int) -> str:
        """The database and the image's name, or its number where a damaged index hides that."""
        try:
            return f"{self.path}: {self.key(index)}"
        except DataError:
            return f"{self.path}: sample {index}"
