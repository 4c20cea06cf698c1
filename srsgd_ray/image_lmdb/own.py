"""Our own layout of images in LMDB (:mod:`srsgd_ray.image_lmdb.layout`), read by offset."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.data_file import LmdbFile
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.layout import (
    CLASSES,
    ENTRY,
    HEADER,
    INDEX,
    LABELS,
    NAMES,
    RECORDS,
    TRAILER,
    Header,
    checksum,
    key_of,
    parse_trailer,
)  # fmt: skip
from srsgd_ray.image_lmdb.places import find
from srsgd_ray.image_lmdb.store import Pixels, Store, StrPath

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


def find_records(file: LmdbFile) -> dict[bytes, tuple[int, int]]:
    """Offset and length of each record that is there, by the trailer or else by LMDB's tree.

    By the tree, some samples are found too: only there they may lie elsewhere than was built.

    Raises:
        DataError: if the tree is damaged.
    """
    end = file.read(max(file.size - TRAILER, 0), min(file.size, TRAILER))
    places = parse_trailer(end)
    if places is None:
        wanted = (*RECORDS, *(key_of(2**power - 1) for power in range(32)))
        places = {place.key: (place.offset, place.length) for place in find(file, wanted)}
    return places


class ImageLmdb(Store):
    """A database that ``srsgd-ray lmdb build`` made.

    Opening reads the header and the classes, and checks the labels. What the index says of a sample
    is read with it: nothing that grows with the number of samples stays in memory.

    Args:
        path: the file, or a folder with ``data.mdb``.
        records: what :func:`find_records` found, if it was called.

    Raises:
        DataError: if it is no such database, of an unknown version, damaged, or was rewritten by
            another tool so that its offsets no longer hold.

    Attributes:
        header: its header.
        file: the open file.
        records: offset and length of each of its five records.
    """

    kind = "srsgd_ray"
    checked = True

    def __init__(
        self, path: StrPath, records: Mapping[bytes, tuple[int, int]] | None = None
    ) -> None:
        self.path = path = Path(path)
        self.file = LmdbFile(path)
        places = records or find_records(self.file)
        self.records = {key: places[key] for key in RECORDS if key in places}
        if HEADER not in self.records:
            raise DataError(
                f"{self.path} must be made by `srsgd-ray lmdb build`, but has no header. Convert "
                f"it with `srsgd-ray lmdb convert`, or build it anew."
            )
        self.header = self._header()
        count = self.header.count
        for key in RECORDS:
            if key not in self.records:
                raise self.file.damaged(f"it has no record {key.decode()}")
            size = {LABELS: 4 * count, INDEX: ENTRY.itemsize * count}.get(key)
            if size not in (None, self.records[key][1]):
                raise self.file.damaged(f"{key.decode()} is not of {count} samples")
        labels = np.frombuffer(self._checked(LABELS), "<i4")
        self.classes = self._parse_classes(self._checked(CLASSES))
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise self.file.damaged(f"a label is not one of its {len(self.classes)} classes")
        for key in places.keys() - self.records.keys():
            self._check_place(int.from_bytes(key, "big"), *places[key])

    def _header(self) -> Header:
        if self.records[HEADER][1] > MOST_HEADER:
            raise self.file.damaged(f"a header of {self.records[HEADER][1]} bytes")
        return Header.parse(self.record(HEADER), self.path)

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        if self._header() != self.header:  # it holds checksums of all else
            raise self.file.changed()

    def record(self, key: bytes) -> bytes:
        """One of the five records."""
        return self.file.read(*self.records[key])

    def _checked(self, key: bytes) -> bytes:
        data = self.record(key)
        if checksum(data) != self.header.checksums[key.decode()]:
            raise self.file.damaged(f"the checksum of {key.decode()} is wrong")
        return data

    def _parse_classes(self, data: bytes) -> tuple[str, ...]:
        try:
            classes = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self.file.damaged("classes is no JSON list") from error
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise self.file.damaged("classes is no JSON list of names")
        return tuple(classes)

    def _check_place(self, index: int, offset: int, length: int) -> None:
        """Compare a sample's place in LMDB's tree with that in the index."""
        entry = self.entry(index) if index < self.header.count else None
        if entry is None or offset != entry.offset or length < entry.length:
            raise DataError(
                f"{self.path} must be a byte for byte copy of what was built, but sample {index} "
                f"lies elsewhere than its index says (mdb_copy -c does that). Copy it with cp or "
                f"rsync, or build it anew."
            )

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
        data = self.file.read(self.records[LABELS][0] + 4 * self._number(index), 4)
        label = int.from_bytes(data, "little", signed=True)
        if not 0 <= label < len(self.classes):  # it was changed since the file was opened
            raise self.file.damaged(f"the label of sample {index} is none of its classes")
        return label

    def entry(self, index: int) -> Entry:
        """What the index says of a sample.

        Raises:
            DataError: if it cannot be right.
        """
        at = self.records[INDEX][0] + ENTRY.itemsize * self._number(index)
        entry = Entry(*_ENTRY.unpack(self.file.read(at, ENTRY.itemsize)))
        if entry.offset + entry.length > self.file.size:
            raise self.file.damaged(f"sample {index} is said to lie beyond its end")
        return entry

    def _number(self, index: int) -> int:
        if not 0 <= index < self.header.count:
            raise IndexError(f"0 <= index < {self.header.count} must hold, but got {index}.")
        return index

    def as_found(self, index: int) -> bytes | Pixels:
        """What :meth:`read` gives, also if its checksum is wrong."""
        return self.read(index, checked=False)

    def read(self, index: int, *, checked: bool = True) -> bytes | Pixels:
        """An image file, or pixels (height, width, 3) from a decoded store: those that were built.

        Raises:
            DataError: if they have another checksum, unless ``checked`` is False, or cannot be
                read.
        """
        entry = self.entry(index)
        data = self.file.read(entry.offset, entry.length)
        if checked and checksum(data) != entry.checksum:
            raise DataError(
                f"{self.name(index)} must have the checksum of its index, but has another: it was "
                f"damaged after it was built. Copy or build {self.path} anew."
            )
        if self.header.store == "encoded":
            return data
        if entry.length != 3 * entry.height * entry.width:
            raise self.file.damaged(f"sample {index} is not as large as its index says")
        return np.frombuffer(data, np.uint8).reshape(entry.height, entry.width, 3)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Ask the system for samples ahead."""
        for index in indices:
            try:
                entry = self.entry(index)
            except DataError:
                continue  # whoever reads it will say so
            self.file.prefetch(entry.offset, entry.length)

    def key(self, index: int) -> str:
        """The image's name in what the database was built from."""
        end = self.entry(index).name_end
        begin = self.entry(index - 1).name_end if index else 0
        if not begin <= end <= self.records[NAMES][1]:
            raise self.file.damaged(f"the name of sample {index} is nowhere")
        name = self.file.read(self.records[NAMES][0] + begin, end - begin)
        return name.decode(errors="replace")

    def name(self, index: int) -> str:
        """The database and the image's name, or its number where a damaged index hides that."""
        try:
            return f"{self.path}: {self.key(index)}"
        except DataError:
            return f"{self.path}: sample {index}"
