"""Decodes every image of a store and says what is wrong with which."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.caffe import CaffeStore
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.frames import frame_of
from srsgd_ray.image_lmdb.jpeg import by_pillow, complaint, decode, decode_box
from srsgd_ray.image_lmdb.layout import checksum
from srsgd_ray.image_lmdb.losses import losses
from srsgd_ray.image_lmdb.opening import open_store
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.pool import in_processes
from srsgd_ray.image_lmdb.prepare import resembles
from srsgd_ray.image_lmdb.store import Pixels, Store, StrPath
from srsgd_ray.image_lmdb.tars import TarStore
from srsgd_ray.image_lmdb.verify_names import (
    Problem,
    keys_of,
    pairs_of,
    wrong_keys,
    wrong_labels,
    wrong_names,
    wrong_numbers,
)

KINDS = {
    "unreadable": "cannot be read, or decoded whole",
    "truncated": "ends before its end marker",
    "damaged": "its coded data are damaged, yet decode to something",
    "checksum": "differs from what was built",
    "size": "is not as large as the index says",
    "label": "has a label that its name or index contradicts",
    "key": "a key is missing, doubled or not in its place",
    "record": "a record, or the tree that finds it, is damaged",
    "missing": "is in the source but not here",
    "extra": "is here but not in the source",
    "differs": "differs from the source",
}
PART = 20  # images that a process is given at a time


# One image as a process saw it: its bytes' digest, what is wrong, and what of it is not read.
Seen = tuple[bytes, list[Problem], tuple[str, ...]]


@dataclass
class Verdict:
    """What a verification found in so many samples; problems are in the order of the images.

    ``doubled`` are names of images whose bytes are those of an earlier one, and of that one.
    ImageNet itself has such; it is no problem of the database. ``lost`` counts the images of which
    something is not read, by its kind in :data:`srsgd_ray.image_lmdb.losses.LOSSES`.
    """

    samples: int = 0
    problems: list[Problem] = field(default_factory=list)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)


def verify(
    path: StrPath,
    *,
    against: StrPath | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Read and decode all images of a store, and compare what is said of them.

    Args:
        path: a database of any layout, a folder tree, or a tar (``.tar``).
        against: images that must be the same ones, for instance the folder tree it was built from.
        workers: processes that decode.
        progress: called with (images done, of how many).

    Raises:
        DataError: if ``path`` or ``against`` cannot be opened at all.
    """
    store = _opened(path)
    other = None if against is None else _opened(against)
    found = Verdict(len(store))
    keys, found.problems = keys_of(store)
    if isinstance(store, ImageLmdb):
        found.problems += wrong_keys(store)
    elif isinstance(store, CaffeStore):
        found.problems += wrong_numbers(keys)
    found.problems += wrong_labels(store, keys) + wrong_names(store, keys)
    pairs: dict[int, int] = {}
    if other is not None:
        pairs, unpaired = pairs_of(store, keys, other)
        found.problems += unpaired
    said = {problem.text for problem in found.problems}
    parts = [range(n, min(n + PART, len(store))) for n in range(0, len(store), PART)]
    first: dict[bytes, int] = {}
    report = progress or (lambda done, count: None)
    report(0, len(store))
    for part, seen in zip(
        parts, in_processes(_look, (store, other, pairs), parts, workers), strict=True
    ):
        for index, (digest, problems, lost) in zip(part, seen, strict=True):
            found.lost.update(lost)
            found.problems += [problem for problem in problems if problem.text not in said]
            earlier = first.setdefault(digest, index)
            if earlier != index:
                one, two = (keys.get(n) or store.name(n) for n in (index, earlier))
                found.doubled.append((one, two))
        report(part.stop, len(store))
    return found


def _look(context: tuple[Store, Store | None, dict[int, int]], numbers: range) -> list[Seen]:
    store, other, pairs = context
    return [_one(store, other, pairs.get(index), index) for index in numbers]


def _one(store: Store, other: Store | None, number: int | None, index: int) -> Seen:
    name = store.name(index)
    try:
        data = store.as_found(index) if isinstance(store, ImageLmdb) else store.read(index)
    except DataError as error:
        return b"%d" % index, [Problem("unreadable", str(error))], ()
    raw = data if isinstance(data, bytes) else data.tobytes()
    digest = hashlib.blake2b(raw, digest_size=16).digest()
    try:
        pixels, problems = _decoded(data, name) if isinstance(data, bytes) else (data, [])
    except DataError as error:
        return digest, [*_ends(raw, name), Problem("unreadable", str(error))], ()
    if isinstance(store, ImageLmdb):
        entry = store.entry(index)
        if checksum(raw) != entry.checksum:
            problems.append(Problem("checksum", f"{name} was damaged after it was built"))
        if pixels.shape[:2] != (entry.height, entry.width):
            problems.append(
                Problem("size", f"{name} is {pixels.shape[:2]}, not {entry[3:5]} pixels")
            )
    if other is not None and number is not None:
        problems += _compared(store, other, number, index, data, pixels)
    return digest, problems, losses(data) if isinstance(data, bytes) else ()


def _opened(path: StrPath) -> Store:
    path = Path(path)
    return TarStore(path) if path.suffix == ".tar" and path.is_file() else open_store(path)


def _ends(data: bytes, name: str) -> list[Problem]:
    # What follows the marker is no damage: cameras and tools append to it.
    if frame_of(data) is None or b"\xff\xd9" in data:
        return []
    return [Problem("truncated", f"{name} has no end marker")]


def _decoded(data: bytes, name: str) -> tuple[Pixels, list[Problem]]:
    """An image's pixels, and what is wrong with it although it has some."""
    frame = frame_of(data)
    if frame is not None and frame.plain:
        pixels = decode_box(data, frame, (0, 0, frame.height, frame.width))
        if pixels is not None:
            return pixels, []
    pixels, said = by_pillow(data, name, lenient=True), complaint(data)
    if said is None:
        return pixels, []
    kind = "truncated" if said.startswith("Premature end") else "damaged"
    return pixels, [Problem(kind, f"{name}: {said}")]


def _compared(
    store: Store, other: Store, number: int, index: int, data: bytes | Pixels, pixels: Pixels
) -> list[Problem]:
    """Whether an image is that of the source.

    Files that our databases keep as they are must have the same bytes, others the same pixels;
    those that were scaled or encoded anew must resemble it.
    """
    exact = lossy = False
    side = None
    if isinstance(store, ImageLmdb):
        side, lossy = store.header.largest_side, store.header.quality is not None
        lossy = lossy or side is not None
        exact = not store.header.repacked and not lossy
    try:
        wanted = other.read(number)
        if isinstance(data, bytes) and isinstance(wanted, bytes):
            if data == wanted:
                return []
            if exact:
                text = f"{store.name(index)} has other bytes than {other.name(number)}"
                return [Problem("differs", text)]
        if isinstance(wanted, bytes):
            wanted = decode(wanted, other.name(number), lenient=True)
    except DataError as error:
        return [Problem("differs", f"{store.name(index)} cannot be compared: {error}")]
    alike = resembles(pixels, wanted, side) if lossy else np.array_equal(pixels, wanted)
    if alike:
        return []
    return [Problem("differs", f"{store.name(index)} has other pixels than {other.name(number)}")]
