"""Looks at every image of a store and says what is wrong with which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srsgd_ray.image_lmdb.caffe import CaffeStore
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.frames import frame_of
from srsgd_ray.image_lmdb.jpeg import decode
from srsgd_ray.image_lmdb.layout import CLASSES, HEADER, INDEX, LABELS, NAMES, checksum
from srsgd_ray.image_lmdb.opening import open_store
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.store import Store
from srsgd_ray.image_lmdb.work import in_processes

__all__ = ["KINDS", "Problem", "Verdict", "verify"]

KINDS = {
    "unreadable": "cannot be read, or decoded whole",
    "truncated": "ends before its end marker",
    "checksum": "differs from what was built",
    "size": "is not as large as the index says",
    "label": "has a label that its name or index contradicts",
    "key": "a key is missing, doubled or not in its place",
    "record": "a record beside the samples is damaged",
    "missing": "is in the source but not here",
    "extra": "is here but not in the source",
    "differs": "differs from the source",
}
PART = 20  # images that a process is given at a time
NUMBER = re.compile(r"^(\d+)_")
BARE = re.compile(r"^(\d+)(?:_|$)")
# ImageNet's training images are named after their class.
OF_CLASS = re.compile(r"(?P<folder>n\d{8})/(?P<file>n\d{8})_[^/]*$")


class Problem(NamedTuple):
    """Something wrong.

    Attributes:
        kind: one of :data:`KINDS`.
        text: what, and with which image.
    """

    kind: str
    text: str


class _Seen(NamedTuple):
    """One image as a process saw it: its bytes' checksum and length, and what is wrong."""

    checksum: int
    length: int
    problems: list[Problem]


@dataclass
class Verdict:
    """What a verification found.

    Attributes:
        samples: images looked at.
        problems: in the order of the images.
        doubled: names of images whose bytes are those of an earlier one, and of that one. ImageNet
            itself has such; it is no problem of the database.
    """

    samples: int = 0
    problems: list[Problem] = field(default_factory=list)
    doubled: list[tuple[str, str]] = field(default_factory=list)


def verify(
    path: Path,
    *,
    against: Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Read and decode all images of a store, and compare what is said of them.

    Args:
        path: a database of any layout, or a folder tree.
        against: images that must be the same ones, for instance the folder tree it was built from.
        workers: processes that decode.
        progress: called with (images done, of how many).

    Raises:
        DataError: if ``path`` or ``against`` cannot be opened at all.
    """
    store = open_store(path)
    other = None if against is None else open_store(against)
    found = Verdict(len(store))
    if isinstance(store, ImageLmdb):
        found.problems += _keys(store)
    elif isinstance(store, CaffeStore):
        found.problems += _numbers(store)
    found.problems += _labels(store) + _names(store)
    pairs = _pairs(store, other, found) if other is not None else {}
    parts = [range(n, min(n + PART, len(store))) for n in range(0, len(store), PART)]
    first: dict[tuple[int, int], int] = {}
    tell = progress or (lambda done, count: None)
    tell(0, len(store))
    for part, seen in zip(
        parts, in_processes(_look, (store, other, pairs), parts, workers), strict=True
    ):
        for index, image in zip(part, seen, strict=True):
            found.problems += image.problems
            earlier = first.setdefault((image.checksum, image.length), index)
            if earlier != index:
                found.doubled.append((store.key(index), store.key(earlier)))
        tell(part.stop, len(store))
    return found


def _look(context: tuple[Store, Store | None, dict[int, int]], numbers: range) -> list[_Seen]:
    store, other, pairs = context
    return [_one(store, other, pairs.get(index), index) for index in numbers]


def _one(store: Store, other: Store | None, number: int | None, index: int) -> _Seen:
    name = store.name(index)
    try:
        data = store.read(index)
    except DataError as error:
        return _Seen(index, -1, [Problem("unreadable", str(error))])
    raw = data if isinstance(data, bytes) else data.tobytes()
    problems = []
    if isinstance(data, bytes):
        frame = frame_of(data)
        if frame is not None and b"\xff\xd9" not in data[-64:]:
            problems.append(Problem("truncated", f"{name} has no end marker"))
    try:
        pixels = decode(data, name) if isinstance(data, bytes) else data
    except DataError as error:
        return _Seen(checksum(raw), len(raw), [*problems, Problem("unreadable", str(error))])
    if isinstance(store, ImageLmdb):
        entry = store.entry(index)
        if checksum(raw) != entry.checksum:
            problems.append(Problem("checksum", f"{name} was damaged after it was built"))
        if pixels.shape[:2] != (entry.height, entry.width):
            problems.append(
                Problem("size", f"{name} is {pixels.shape[:2]}, not {entry[3:5]} pixels")
            )
    if other is not None and number is not None:
        problems += _compared(store, other, number, index, pixels)
    return _Seen(checksum(raw), len(raw), problems)


def _compared(
    store: Store, other: Store, number: int, index: int, pixels: np.typing.NDArray[np.uint8]
) -> list[Problem]:
    """Whether an image is that of the source, unless it was scaled or encoded anew."""
    if isinstance(store, ImageLmdb) and (store.header.largest_side or store.header.quality):
        return []
    try:
        data = other.read(number)
        theirs = decode(data, other.name(number)) if isinstance(data, bytes) else data
    except DataError as error:
        return [Problem("differs", f"{store.name(index)} cannot be compared: {error}")]
    if np.array_equal(pixels, theirs):
        return []
    return [Problem("differs", f"{store.name(index)} has other pixels than {other.name(number)}")]


def _keys(store: ImageLmdb) -> list[Problem]:
    """Keys that are missing, doubled or misplaced, and records that are damaged."""
    problems = []
    expected, last = 0, b""
    for place in store.pages.walk():
        if place.key in (HEADER, INDEX, LABELS, NAMES, CLASSES):
            continue
        if place.key <= last:
            problems.append(Problem("key", f"{place.key!r} comes twice, or after {last!r}"))
        last = place.key
        number = int.from_bytes(place.key, "big") if len(place.key) == 8 else -1
        if number < 0 or number >= len(store):
            problems.append(Problem("key", f"{place.key!r} is the number of no sample"))
            continue
        problems += [Problem("key", f"sample {n} is missing") for n in range(expected, number)]
        expected = number + 1
        if place.offset != store.entry(number).offset:
            problems.append(
                Problem("key", f"{store.name(number)} lies elsewhere than its index says")
            )
    problems += [Problem("key", f"sample {n} is missing") for n in range(expected, len(store))]
    for key in (INDEX, LABELS, NAMES, CLASSES):
        if checksum(store.record(key)) != store.header.checksums[key.decode()]:
            problems.append(Problem("record", f"the checksum of {key.decode()} is wrong"))
    for index, label in enumerate(store.labels.tolist()):
        if store.entry(index).label != label:
            problems.append(
                Problem("label", f"{store.name(index)}: index and labels name other classes")
            )
    return problems


def _numbers(store: CaffeStore) -> list[Problem]:
    """Gaps in the numbers that keys of Caffe begin with."""
    found = [BARE.match(store.key(index)) for index in range(len(store))]
    numbers = [int(match[1]) for match in found if match]
    problems = [
        Problem("key", f"number {n} is doubled") for n, k in Counter(numbers).items() if k > 1
    ]
    expected = 0
    for number in sorted(set(numbers)):
        if number > expected:
            last = f" to {number - 1}" if number - 1 > expected else ""
            problems.append(Problem("key", f"number {expected}{last} is missing"))
        expected = number + 1
    return problems


def _labels(store: Store) -> list[Problem]:
    """Images whose folder belongs to another label than theirs, by the majority of its images."""
    folders: dict[str, Counter[int]] = {}
    names = [store.key(index).rpartition("/")[0].rpartition("/")[2] for index in range(len(store))]
    if isinstance(store, CaffeStore):
        names = [NUMBER.sub("", name, count=1) for name in names]
    for name, label in zip(names, store.labels.tolist(), strict=True):
        folders.setdefault(name, Counter())[label] += 1
    if "" in folders or len(folders) < 2:
        return []
    if set(folders) <= set(store.classes):
        right = {name: store.classes.index(name) for name in folders}
    else:
        right = {name: count.most_common(1)[0][0] for name, count in folders.items()}
    return [
        Problem(
            "label",
            f"{store.name(index)} has label {label} ({store.classes[label]}), but lies in {name}, "
            f"which is {right[name]} ({store.classes[right[name]]})",
        )
        for index, (name, label) in enumerate(zip(names, store.labels.tolist(), strict=True))
        if label != right[name]
    ]


def _names(store: Store) -> list[Problem]:
    """Images of one name under several keys, and names of another class than the folder's."""
    keys = [store.key(index) for index in range(len(store))]
    count = Counter(_tail(key) for key in keys)
    problems = [
        Problem("key", f"{store.name(index)}: {_tail(key)} comes {count[_tail(key)]} times")
        for index, key in enumerate(keys)
        if count[_tail(key)] > 1
    ]
    for index, key in enumerate(keys):
        match = OF_CLASS.search(key)
        if match and match["folder"] != match["file"]:
            text = f"{store.name(index)} lies in {match['folder']}, but is named as one of "
            problems.append(Problem("label", text + match["file"]))
    return problems


def _pairs(store: Store, other: Store, found: Verdict) -> dict[int, int]:
    """The number in the source of each image, by name; what has no partner is a problem."""
    theirs = {_tail(other.key(number)): number for number in range(len(other))}
    pairs = {}
    for index in range(len(store)):
        number = theirs.pop(_tail(store.key(index)), None)
        if number is None:
            found.problems.append(Problem("extra", f"{store.name(index)} is not in {other.path}"))
            continue
        pairs[index] = number
        ours, wanted = store.labels[index], other.labels[number]
        if store.classes[ours] != other.classes[wanted]:
            found.problems.append(
                Problem(
                    "label",
                    f"{store.name(index)} has class {store.classes[ours]}, but "
                    f"{other.classes[wanted]} in {other.path}",
                )
            )
    found.problems += [
        Problem("missing", f"{other.name(number)} is not in {store.path}")
        for number in theirs.values()
    ]
    return pairs


def _tail(key: str) -> str:
    """Class folder and file: what names of different layouts have in common."""
    return "/".join(NUMBER.sub("", key, count=1).split("/")[-2:])
