"""Our own layout of images in an LMDB file: what is written under which key (docs/lmdb.md).

One file, one part of a data set (training or validation). Sample ``i`` of N lies under its number
as a key of 8 bytes, most significant first, so that keys are in order; five
records with names are written last. Without its header a file is no database of ours, so that a
half-built one never opens.

========= ==========================================================================
key       value
========= ==========================================================================
0 .. N-1  an encoded image file (store "encoded"), or uint8 pixels (height, width, 3)
          in RGB (store "decoded"); padded with zero bytes to at least 2,048
``index`` N entries of :data:`ENTRY`: where each value lies, and what it is
``labels``  N int32, least significant byte first
``names`` the images' names, UTF-8, one after the other; ``ENTRY`` holds their ends
``classes`` a JSON list of the names of the classes; a label is an index into it
``header``  a JSON object, the fields of :class:`Header`
========= ==========================================================================

The padding makes LMDB keep each value on pages of its own, which never move once written: thus the
index can hold offsets in the file, and a reader needs neither LMDB nor a memory map.

Behind LMDB's last page the file has a *trailer*, :data:`TRAILER` bytes with the places of the five
records, by which it is opened without LMDB's tree. LMDB ignores it, and databases of the first
version lack it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError

FORMAT = "srsgd_ray image_lmdb"
VERSION = 1
STORES = ("encoded", "decoded")
INDEX, LABELS, NAMES, CLASSES, HEADER = b"index", b"labels", b"names", b"classes", b"header"
RECORDS = (CLASSES, HEADER, INDEX, LABELS, NAMES)
PAD_TO = 2048
TRAILER = 4096  # bytes
_TRAILER = struct.Struct("<16s10Q")  # a mark, then offset and length of each record
_MARK = b"srsgd_ray places"

# Of a sample: offset and length of its value in the file (without the padding), CRC-32 of that,
# height and width in pixels as decoded, label, and where its name ends in ``names``.
ENTRY = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u4"),
        ("checksum", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("label", "<i4"),
        ("name_end", "<u4"),
    ]
)


@dataclass(frozen=True)
class Header:
    """What the ``header`` record holds, apart from ``format`` and ``version``.

    Attributes:
        count: number of samples, N.
        store: ``encoded`` or ``decoded``.
        largest_side: pixels that no side exceeds, where images were scaled down; else None.
        quality: JPEG quality of images that were encoded again; else None.
        repacked: whether JPEG files were given restart markers, as version 0.1 could.
        checksums: CRC-32 of the records ``index``, ``labels``, ``names`` and ``classes``.
    """

    count: int
    store: str
    largest_side: int | None
    quality: int | None
    repacked: bool
    checksums: Mapping[str, int]

    def dump(self) -> bytes:
        """The record: the same bytes for the same fields."""
        return json.dumps(
            {"format": FORMAT, "version": VERSION, **asdict(self)}, sort_keys=True
        ).encode()

    @classmethod
    def parse(cls, data: bytes, path: Path) -> Header:
        """The header that ``data`` is.

        Raises:
            DataError: for another format, an unknown version, or a field of the wrong kind.
        """
        try:
            found = json.loads(data)
            form, version = found.pop("format"), found.pop("version")
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise _broken(path, "it is no JSON object with format and version") from error
        if form != FORMAT:
            raise DataError(
                f"{path} must be of format {FORMAT!r}, but says it is {form!r}. Correct the path."
            )
        if version != VERSION:
            raise DataError(
                f"version {VERSION} of the format can be read, but {path} has version {version!r}. "
                f"Use the srsgd_ray that made it, or build it anew."
            )
        names = [field.name for field in fields(cls)]
        if sorted(found) != sorted(names):
            raise _broken(path, f"it must have the fields {', '.join(names)}")
        header = cls(**found)
        header._check(path)
        return header

    def _check(self, path: Path) -> None:
        numbers = [self.count, *(n for n in (self.largest_side, self.quality) if n is not None)]
        if not all(type(number) is int and number > 0 for number in numbers):
            raise _broken(path, "count, largest_side and quality must be positive integers")
        if self.store not in STORES:
            raise _broken(path, f"store must be one of {', '.join(STORES)}, not {self.store!r}")
        if type(self.repacked) is not bool:
            raise _broken(path, "repacked must be true or false")
        sums = self.checksums
        wanted = {key.decode() for key in RECORDS if key != HEADER}
        if not isinstance(sums, dict) or set(sums) != wanted:
            raise _broken(path, f"checksums must be of {', '.join(sorted(wanted))}")
        if not all(type(number) is int for number in sums.values()):
            raise _broken(path, "checksums must be integers")


def _broken(path: Path, what: str) -> DataError:
    return DataError(f"{path} has a damaged header: {what}. Build or copy it anew.")


def key_of(index: int) -> bytes:
    """The key of a sample: its number in 8 bytes, most significant first."""
    return index.to_bytes(8, "big")


def padded(value: bytes) -> bytes:
    """A value as it is stored: with zero bytes behind it, if it is too short for its own pages."""
    return value if len(value) >= PAD_TO else value.ljust(PAD_TO, b"\0")


def checksum(data: bytes) -> int:
    """CRC-32, as zlib's."""
    return zlib.crc32(data)


def trailer(places: Mapping[bytes, tuple[int, int]]) -> bytes:
    """The last bytes of a file.

    Args:
        places: offset and length of each record.
    """
    data = _TRAILER.pack(_MARK, *(number for key in RECORDS for number in places[key]))
    return (data + struct.pack("<I", checksum(data))).ljust(TRAILER, b"\0")


def parse_trailer(data: bytes) -> dict[bytes, tuple[int, int]] | None:
    """Offset and length of each record; None if it is no trailer, or damaged."""
    end = _TRAILER.size
    if len(data) < TRAILER or data[end : end + 4] != struct.pack("<I", checksum(data[:end])):
        return None
    mark, *numbers = _TRAILER.unpack(data[:end])
    if mark != _MARK:
        return None
    return dict(zip(RECORDS, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
