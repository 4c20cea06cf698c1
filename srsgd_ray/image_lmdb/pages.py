"""Where each value of an LMDB file lies, found by reading its pages with ``pread``.

LMDB itself maps the file into memory. That is fast while the file is cached and whole; a cold value
is then read in small pieces as its pages are touched, and a truncated or damaged file ends the
process with a signal. Reading the tree's pages instead costs little (a value of more than half a
page lies in one run of bytes on pages of its own), gives each value's offset and length, which can
be read ahead and at once, and turns damage into a message. Nothing is written, nothing locked.

The format is that of LMDB 0.9 (data version 1) on a 64-bit little-endian machine, as documented in
``lmdb.h`` and ``mdb.c``: two meta pages of which the one of the later transaction counts, branch
and leaf pages of nodes, and overflow pages.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srsgd_ray.image_lmdb.errors import DataError

__all__ = ["Pages", "Place"]

MAGIC = 0xBEEFC0DE
DATA_VERSION = 1
NO_PAGE = 2**64 - 1
HEADER = 16  # bytes of a page's header
BRANCH, LEAF, OVERFLOW, META = 0x01, 0x02, 0x04, 0x08  # kinds of pages
SUB_DATABASE, DUPLICATES, ELSEWHERE = 0x02, 0x04, 0x01  # kinds of nodes
DEEPEST = 32  # LMDB's own limit

_PAGE = struct.Struct("<QHHHH")  # number, pad, flags, lower, upper
_OVERFLOW = struct.Struct("<QHHI")  # number, pad, flags, pages
_META = struct.Struct("<IIQQ")  # magic, version, address, map size
_DATABASE = struct.Struct("<IHHQQQQQ")  # page size or pad, flags, depth, pages x 3, entries, root
_TRANSACTION = struct.Struct("<QQ")  # last page, number
_NODE = struct.Struct("<HHHH")  # low, high, flags, key size


class Place(NamedTuple):
    """A key, and where in the file its value lies."""

    key: bytes
    offset: int
    length: int


class Pages:
    """A read-only LMDB file.

    An instance may be used by several threads, after a fork, and can be pickled: reads name their
    offset, and nothing is kept but the file and its root.

    Args:
        path: the file, or a folder with ``data.mdb``.

    Attributes:
        file: path of the file.
        entries: number of keys.
        size: bytes of the file.
        map_size: bytes that the database may grow to.
        used: bytes that a whole file holds at least.

    Raises:
        DataError: if it is no LMDB file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        self.file = path / "data.mdb" if path.is_dir() else path
        if path.is_dir() and not self.file.is_file():
            raise DataError(f"{path} must hold data.mdb, but does not. Build or copy it anew.")
        self._descriptor = -1
        self._open()
        self._read_meta()

    def _open(self) -> None:
        try:
            # O_NONBLOCK: the opening of a named pipe would wait for a writer.
            self._descriptor = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except OSError as error:
            raise DataError(f"{self.file} must be readable, but: {error.strerror}.") from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{self.file} must be a file, but is a device or a pipe. Correct it.")
        self.size = status.st_size

    def _read_meta(self) -> None:
        first = self._meta(0)
        if first is None:
            raise DataError(
                f"{self.file} must be an LMDB database (0.9, 64-bit), but does not begin as one "
                f"does. Build or copy it anew."
            )
        self._page_size = first[0]
        if self._page_size < 512 or self._page_size & (self._page_size - 1):
            raise self._damaged(f"a page size of {self._page_size}")
        second = self._meta(self._page_size)
        newest = second if second is not None and second[4] > first[4] else first
        _, self._depth, self.entries, self._root, _, self.map_size, last = newest
        self.used = (last + 1) * self._page_size
        if self._root == NO_PAGE:
            self.entries = 0
        if self.entries > self.size // _NODE.size:  # or a tree in a circle would never end
            raise self._damaged(f"{self.entries} keys in {self.size} bytes")
        if self._depth > DEEPEST:
            raise self._damaged(f"a tree {self._depth} levels deep")

    def _meta(self, offset: int) -> tuple[int, int, int, int, int, int, int] | None:
        """(page size, depth, entries, root, transaction, map size, last page) of a meta page."""
        data = os.pread(self._descriptor, 16 + 24 + 96 + 16, offset)
        if len(data) < 152:
            return None
        magic, version, _, map_size = _META.unpack_from(data, 16)
        if magic != MAGIC or version & 0xFFFF != DATA_VERSION:
            return None
        page_size = _DATABASE.unpack_from(data, 40)[0]
        _, _, depth, _, _, _, entries, root = _DATABASE.unpack_from(data, 88)
        last, transaction = _TRANSACTION.unpack_from(data, 136)
        return page_size, depth, entries, root, transaction, map_size, last

    def __getstate__(self) -> dict[str, object]:
        """Without the open file, which belongs to its process."""
        return {**self.__dict__, "_descriptor": -1}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        known = self._tree()
        self._open()
        self._read_meta()
        if self._tree() != known:
            raise self.changed()

    def _tree(self) -> tuple[int, int, int, int]:
        return self.size, self.entries, self._root, self._depth

    def changed(self) -> DataError:
        """What to raise if the file is not the one that was opened first."""
        return DataError(
            f"{self.file} must stay as it is while it is in use, but was changed or replaced. "
            f"Start again."
        )

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, offset: int, length: int) -> bytes:
        """The bytes at an offset.

        Raises:
            DataError: if the file ends before, or cannot be read.
        """
        try:
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:  # pread may give less, and never gives over 2 GiB
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise DataError(
                        f"{self.file} must hold {length} bytes at {offset}, but ends before: it "
                        f"was cut short. Copy it anew."
                    )
                data += more
        except OSError as error:
            raise DataError(f"{self.file} cannot be read at {offset}: {error.strerror}.") from error
        return data

    def prefetch(self, offset: int, length: int) -> None:
        """Ask the system to read bytes ahead; returns at once."""
        os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_WILLNEED)

    def find(self, key: bytes) -> Place | None:
        """Where the value of a key lies; None if there is no such key.

        Raises:
            DataError: for a damaged page.
        """
        if self.entries == 0:
            return None
        number = self._root
        for _ in range(self._depth):
            page, kind, nodes = self._page(number)
            # The first key of a branch page stands for all that is smaller.
            low, high = (1, len(nodes)) if kind == BRANCH else (0, len(nodes))
            while low < high:
                middle = (low + high) // 2
                if self._key(page, nodes[middle]) < key + (b"\0" if kind == BRANCH else b""):
                    low = middle + 1
                else:
                    high = middle
            if kind == LEAF:
                if low == len(nodes) or self._key(page, nodes[low]) != key:
                    return None
                return self._place(page, nodes[low], number)
            number = self._child(page, nodes[low - 1])
        raise self._damaged("a tree deeper than its own account")

    def walk(self) -> Iterator[Place]:
        """All keys in order.

        Raises:
            DataError: for a damaged page, or if the pages hold another number of keys than the
                database says.
        """
        found = 0
        if self.entries:
            for place in self._below(self._root, self._depth):
                found += 1
                if found > self.entries:
                    break
                yield place
        if found != self.entries:
            raise self._damaged(f"{self.entries} keys by its account and {found} in its pages")

    def _below(self, number: int, depth: int) -> Iterator[Place]:
        if depth < 1:
            raise self._damaged("a tree deeper than its own account")
        page, kind, nodes = self._page(number)
        for node in nodes:
            if kind == LEAF:
                yield self._place(page, node, number)
            else:
                yield from self._below(self._child(page, node), depth - 1)

    def _page(self, number: int) -> tuple[bytes, int, tuple[int, ...]]:
        """(bytes, BRANCH or LEAF, offset of each node) of a page of the tree."""
        page = self.read(self._offset(number), self._page_size)
        own, _, flags, lower, upper = _PAGE.unpack_from(page)
        kind = flags & (BRANCH | LEAF)
        if own != number or kind not in (BRANCH, LEAF) or flags & ~0x13:
            raise self._damaged(f"page {number} is no page of a tree")
        if not HEADER <= lower <= upper <= self._page_size or lower % 2:
            raise self._damaged(f"page {number} has impossible bounds")
        nodes = struct.unpack_from(f"<{(lower - HEADER) // 2}H", page, HEADER)
        if not nodes or (kind == BRANCH and len(nodes) < 2):
            raise self._damaged(f"page {number} has too few nodes")
        if min(nodes) < lower or max(nodes) + _NODE.size > self._page_size:
            raise self._damaged(f"page {number} has a node outside of it")
        return page, kind, nodes

    def _offset(self, number: int) -> int:
        offset = number * self._page_size
        if number < 2 or offset + self._page_size > self.size:
            raise self._damaged(f"it refers to page {number}, but is cut short before that")
        return offset

    def _key(self, page: bytes, node: int) -> bytes:
        size = _NODE.unpack_from(page, node)[3]
        begin = node + _NODE.size
        if begin + size > self._page_size:
            raise self._damaged("a key reaches out of its page")
        return page[begin : begin + size]

    def _child(self, page: bytes, node: int) -> int:
        low, high, flags, _ = _NODE.unpack_from(page, node)
        return int(low | high << 16 | flags << 32)

    def _place(self, page: bytes, node: int, number: int) -> Place:
        low, high, flags, size = _NODE.unpack_from(page, node)
        key, length, begin = self._key(page, node), low | high << 16, node + _NODE.size + size
        if flags & (SUB_DATABASE | DUPLICATES):
            raise DataError(
                f"{self.file} must hold one value a key, but holds databases or duplicates under "
                f"{key!r}: it was made for another purpose."
            )
        if not flags & ELSEWHERE:
            if begin + length > self._page_size:
                raise self._damaged(f"the value of {key!r} reaches out of its page")
            return Place(key, number * self._page_size + begin, length)
        if begin + 8 > self._page_size:
            raise self._damaged(f"the value of {key!r} is nowhere")
        (elsewhere,) = struct.unpack_from("<Q", page, begin)
        offset = self._offset(elsewhere) + HEADER
        if offset + length > self.size:
            raise self._damaged(f"it is cut short within the value of {key!r}")
        return Place(key, offset, length)

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self.file} is damaged: {what}. Copy or build it anew.")
