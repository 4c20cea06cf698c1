"""Finds where the values of an LMDB file lie: a program of its own, which :mod:`places` runs.

LMDB maps the file into memory. The tree of a damaged file leads it anywhere, and the process that
reads it may be ended by a signal; so that is never a process which trains. This one imports the
standard library and py-lmdb alone, and starts within 15 ms:

    python -I -S scan.py FOLDER_OF_PY_LMDB [KEY_IN_HEX ...] < data.mdb
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from array import array
from collections.abc import Iterable
from itertools import islice
from typing import Any

if __name__ == "__main__":  # without site-packages
    sys.path.append(sys.argv[1])

import lmdb

REFUSED = 3  # exit status after a message
INNER = 48  # bytes that LMDB keeps of a database within another


class Refused(Exception):
    """The file is no database that can be read; the text says why."""


def scan(descriptor: int, wanted: list[bytes]) -> bytes:
    """Where values lie, as :func:`srsgd_ray.image_lmdb.places.find` takes it.

    The offset in the file is a value's address in LMDB's memory map, less that of the map's first
    byte.

    Args:
        descriptor: of the open file.
        wanted: keys whose values are located; none: all, in order.

    Returns:
        The number of values n, and the bytes that a whole file holds at least, as int64; n offsets,
        n lengths and n ends of keys, int64; the keys, one after the other.

    Raises:
        Refused: if LMDB finds damage, or the database is of another kind.
    """
    keys, ends, offsets, lengths = bytearray(), array("q"), array("q"), array("q")
    # One call a value; numpy takes twice as long. It is deprecated, but in Python's stable ABI.
    locate = ctypes.pythonapi.PyObject_AsReadBuffer
    locate.argtypes = ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p
    address, size = ctypes.c_size_t(), ctypes.c_ssize_t()
    into = ctypes.addressof(address), ctypes.addressof(size)
    path = f"/proc/self/fd/{descriptor}"
    try:
        with (
            lmdb.open(
                path, subdir=False, readonly=True, lock=False, readahead=False, max_dbs=1
            ) as database,
            database.begin(buffers=True) as transaction,
            transaction.cursor() as cursor,
        ):
            entries, used = _sizes(database, os.fstat(descriptor).st_size)
            main = database.open_db(txn=transaction)
            if main.flags(transaction)["dupsort"]:  # type: ignore[call-arg]  # before 3.0
                raise Refused("it holds several values a key, and was made for another purpose")
            if cursor.first():
                first = cursor.value()
                locate(first, *into)
                base = _map_begin(address.value)
                if os.pread(descriptor, 64, address.value - base)[: len(first)] != first[:64]:
                    raise Refused("its memory map differs from the file")
            some = ((key, transaction.get(key)) for key in wanted)
            found = ((key, value) for key, value in some if value is not None)
            # One more than there should be: a tree in a circle has no end.
            pairs: Iterable[Any] = found if wanted else cursor
            for key, value in islice(pairs, entries + 1):
                length = len(value)
                if length == INNER and _is_database(database, transaction, bytes(key)):
                    raise Refused(f"it holds a database in {bytes(key)!r}, for another purpose")
                locate(value, *into)
                keys += key
                ends.append(len(keys))
                offsets.append(address.value - base)
                lengths.append(length)
    except lmdb.Error as error:
        raise Refused(str(error).removeprefix(f"{path}: ")) from error
    if not wanted and len(ends) != entries:
        raise Refused(f"{entries} keys by its account and {len(ends)} in its pages")
    numbers = struct.pack("<qq", len(ends), used)
    return b"".join((numbers, offsets.tobytes(), lengths.tobytes(), ends.tobytes(), keys))


def _sizes(database: lmdb.Environment, size: int) -> tuple[int, int]:
    """Number of keys, and bytes of a whole file; of those it has ``size``."""
    state = database.stat()
    entries, used = state["entries"], (database.info()["last_pgno"] + 1) * state["psize"]
    if used > size:
        raise Refused(f"it is cut short: it must hold {used} bytes, but holds {size}")
    if entries > size // 8:
        raise Refused(f"{entries} keys in {size} bytes")
    return entries, used


def _is_database(database: lmdb.Environment, transaction: lmdb.Transaction, key: bytes) -> bool:
    try:
        database.open_db(key, txn=transaction, create=False)
    except lmdb.Error:
        return False
    return True


def _map_begin(address: int) -> int:
    """Address of the first byte of the file in whose memory map an address lies."""
    with open("/proc/self/maps", errors="replace") as maps:  # noqa: PTH123
        for line in maps:
            span, _, offset, *_ = line.split()
            begin, end = (int(part, 16) for part in span.split("-"))
            if begin <= address < end:
                return begin - int(offset, 16)
    raise Refused("a value lies outside of its memory map")


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(scan(0, [bytes.fromhex(key) for key in sys.argv[2:]]))
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(REFUSED)
