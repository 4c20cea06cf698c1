"""Caffe's LMDB of ``Datum`` records, as its ``convert_imageset`` makes them, encoded or raw.

A record is a protocol buffer with the fields of ``caffe.proto``: channels 1, height 2, width 3,
data 4, label 5, float_data 6, encoded 7. Raw pixels are planes, blue first. Keys are a number of
eight digits, ``_``, and the image's path in the list that it was made from; scripts in Python often
leave the path out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.places import Places
from srsgd_ray.image_lmdb.store import KeyedStore, Pixels

KEY = re.compile(rb"\d+_(?:(?P<folders>.*)/)?[^/]*")
WINDOW = 64  # bytes read at a time around the fields: data are skipped
MOST_CLASSES = 10**6
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
Get = Callable[[int, int], bytes]


@dataclass
class Datum:
    """A record, with the place of its data (offset and bytes) instead of them.

    Channels, height and width are those of raw pixels; without a label it is 0, and ``labelled``
    says whether there is one. ``floats`` says that pixels are in ``float_data``.
    """

    channels: int = 0
    height: int = 0
    width: int = 0
    label: int = 0
    labelled: bool = False
    encoded: bool = False
    floats: bool = False
    at: int = 0
    length: int = 0


class _Window:
    """Bytes of a record, read some at a time."""

    def __init__(self, get: Get, size: int) -> None:
        self.get, self.size = get, size
        self.begin, self.held = 0, b""

    def byte(self, at: int) -> int:
        if at >= self.size:
            raise ValueError("it ends within a field")
        if not self.begin <= at < self.begin + len(self.held):
            self.begin, self.held = at, self.get(at, min(WINDOW, self.size - at))
        return self.held[at - self.begin]

    def varint(self, at: int) -> tuple[int, int]:
        """A number, and where the next one begins."""
        value = 0
        for n in range(10):
            byte = self.byte(at + n)
            value |= (byte & 0x7F) << 7 * n
            if byte < 0x80:
                return value & (2**64 - 1), at + n + 1
        raise ValueError("a number of more than ten bytes")


def parse_datum(get: Get, size: int) -> Datum:
    """The fields of a record; unknown ones are skipped, of a repeated one the last counts.

    Args:
        get: called as ``get(offset, length)``, gives bytes of the record.
        size: of the record, bytes.

    Raises:
        ValueError: if it is no such record.
    """
    window, datum, at = _Window(get, size), Datum(), 0
    names = {1: "channels", 2: "height", 3: "width", 5: "label", 7: "encoded"}
    while at < size:
        tag, at = window.varint(at)
        field, kind = tag >> 3, tag & 7
        if field == 0:
            raise ValueError("a field numbered 0")
        if kind == VARINT:
            value, at = window.varint(at)
            datum.labelled |= field == 5
            if field in names:
                # Negative numbers come as 64 bits. One beyond an int32 is refused where it is used.
                signed = value - (2**64 if value & 2**63 else 0)
                setattr(datum, names[field], bool(value) if field == 7 else signed)
            elif field in (4, 6):
                raise ValueError(f"field {field} is a number")
            continue
        if field in names:
            raise ValueError(f"field {field} is no number")
        if kind == BYTES:
            length, at = window.varint(at)
            if field == 4:
                datum.at, datum.length = at, length
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"a field of type {kind}")
        datum.floats |= field == 6
        if length > size - at:
            raise ValueError("a field reaches beyond its end")
        at += length
    return datum


class CaffeStore(KeyedStore):
    """A database of ``Datum`` records.

    Opening reads all fields but the data of each record, some seconds to minutes for ImageNet.

    Args:
        path: of the database.
        places: all of its values.
        classes: names of the classes; by default the folders in the keys, where each label has
            exactly one, else the labels as text.

    Raises:
        DataError: if a record or label is damaged.

    Attributes:
        folders: the folder of each label in the keys, if that is one to one; else empty.
    """

    kind = "caffe"

    def __init__(self, path: Path, places: Places, classes: Sequence[str] | None = None) -> None:
        super().__init__(path, places)
        self._labelled = self._unlabelled = 0
        self._zero = False
        self._labels = np.array([self._label(n) for n in range(len(places))], dtype=np.int64)
        # A writer of proto3 leaves zeros out: then no record states one.
        if self._unlabelled and (self._zero or not self._labelled):
            raise DataError(
                f"every record of {path} needs a label, but {self._unlabelled:,} of "
                f"{len(places):,} have none: they would all be of class 0. Build the database "
                f"anew from a list with labels."
            )
        count = int(self._labels.max()) + 1
        self.folders = self._folders()
        if classes is None:
            self._check_gaps(count)
            classes = [self.folders.get(label, str(label)) for label in range(count)]
        elif count > len(classes):
            raise DataError(
                f"every label must be one of {len(classes)} classes, but {path} has {count - 1}. "
                f"Take the training set that it belongs to."
            )
        self.classes = tuple(classes)

    def _check_gaps(self, count: int) -> None:
        missing = np.setdiff1d(np.arange(count), self.labels)
        if len(missing):
            index = int(self.labels.argmax())
            raise DataError(
                f"every label from 0 to the largest needs an image, but {self.name(index)} has "
                f"label {count - 1}, and {len(missing)} below it have none, such as "
                f"{int(missing[0])}. Build the database anew from a list with all classes."
            )

    def _label(self, index: int) -> int:
        datum = self._datum(index)
        label = datum.label
        self._labelled += datum.labelled
        self._unlabelled += not datum.labelled
        self._zero |= datum.labelled and label == 0
        if not 0 <= label < MOST_CLASSES:
            raise DataError(
                f"a label must be a number from 0 to {MOST_CLASSES - 1}, but {self.name(index)} "
                f"has {label}. Build the database anew."
            )
        return label

    def _folders(self) -> dict[int, str]:
        found: dict[int, bytes] = {}
        for index, label in enumerate(self.labels.tolist()):
            match = KEY.fullmatch(self._places.keys[index])
            folders = match and match["folders"]
            if not folders:
                return {}
            folder = folders.rsplit(b"/", 1)[-1]
            if found.setdefault(label, folder) != folder:
                return {}
        if len(set(found.values())) < len(found):
            return {}
        return {label: folder.decode(errors="replace") for label, folder in found.items()}

    def _datum(self, index: int) -> Datum:
        def get(at: int, length: int) -> bytes:
            return self._places.read(index, at, length)

        try:
            return parse_datum(get, self._places[index].length)
        except DataError:
            raise
        except ValueError as error:
            raise DataError(
                f"{self.name(index)} must be a Datum record of Caffe, but: {error}. "
                f"Build or copy the database anew."
            ) from error

    def read(self, index: int) -> bytes | Pixels:
        """An image file, or the pixels (height, width, 3) of a raw record."""
        datum = self._datum(index)
        data = self._places.read(index, datum.at, datum.length)
        if datum.encoded:
            return data
        shape = (datum.channels, datum.height, datum.width)
        if datum.floats or datum.channels not in (1, 3) or min(shape) < 1:
            raise DataError(
                f"{self.name(index)} must hold bytes of 1 or 3 channels, but holds "
                f"{'floats' if datum.floats else shape}. Build the database of 8-bit images."
            )
        if datum.channels * datum.height * datum.width != len(data):
            raise DataError(
                f"{self.name(index)} must hold {shape} bytes, but holds {len(data)}. "
                f"Build or copy the database anew."
            )
        planes = np.frombuffer(data, np.uint8).reshape(shape)[::-1]  # blue, green, red
        return np.ascontiguousarray(np.broadcast_to(planes, (3, *shape[1:])).transpose(1, 2, 0))
