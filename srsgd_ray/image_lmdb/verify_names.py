"""What is wrong with keys, labels and names: all that can be said without decoding an image."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from srsgd_ray.image_lmdb.caffe import CaffeStore
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.layout import ENTRY, INDEX, RECORDS, checksum
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.places import find
from srsgd_ray.image_lmdb.store import Store

Names = dict[int, str]  # by number of the image
NUMBER = re.compile(r"^(\d+)_")
BARE = re.compile(r"^(\d+)(?:_|$)")
# ImageNet's training images are named after their class.
OF_CLASS = re.compile(r"(?P<folder>n\d{8})/(?P<file>n\d{8})_[^/]*$")


class Problem(NamedTuple):
    """Something wrong.

    Attributes:
        kind: one of :data:`srsgd_ray.image_lmdb.verify.KINDS`.
        text: what, and with which image.
    """

    kind: str
    text: str


def keys_of(store: Store) -> tuple[Names, list[Problem]]:
    """The name of each image, but of those that a damaged index hides; and what is damaged."""
    keys: Names = {}
    said: dict[str, Problem] = {}
    for index in range(len(store)):
        try:
            keys[index] = store.key(index)
        except DataError as error:
            said.setdefault(str(error), Problem("record", str(error)))
    return keys, list(said.values())


def wrong_keys(store: ImageLmdb) -> list[Problem]:
    """Records that are damaged or contradict each other, and keys missing, doubled or misplaced."""
    index, labels = np.frombuffer(store.record(INDEX), ENTRY), store.labels
    problems = [
        Problem("record", f"the checksum of {key} is wrong")
        for key, wanted in store.header.checksums.items()
        if checksum(store.record(key.encode())) != wanted
    ] + [
        Problem("label", f"{store.name(n)}: index and labels name other classes")
        for n in np.flatnonzero(index["label"] != labels).tolist()
    ]
    try:
        places = list(find(store.file))
    except DataError as error:  # images are read without LMDB's tree
        return [*problems, Problem("record", str(error))]
    records = {place.key: (place.offset, place.length) for place in places if place.key in RECORDS}
    if records != store.records:
        problems.append(Problem("record", "the records lie elsewhere than the trailer says"))
    missing, last = set(range(len(store))), b""
    for key, offset, _ in places:
        number = int.from_bytes(key, "big") if len(key) == 8 else -1
        if key <= last:
            problems.append(Problem("key", f"{key!r} comes twice, or after {last!r}"))
        last = key
        missing.discard(number)
        if key in RECORDS:
            continue
        if not 0 <= number < len(store):
            problems.append(Problem("key", f"{key!r} is the number of no sample"))
        elif offset != index["offset"][number]:
            what = f"{store.name(number)} lies elsewhere than its index says"
            problems.append(Problem("key", what))
    return problems + [Problem("key", f"sample {n} is missing") for n in sorted(missing)]


def wrong_numbers(keys: Names) -> list[Problem]:
    """Gaps in the numbers that keys of Caffe begin with."""
    numbers = Counter(int(match[1]) for key in keys.values() if (match := BARE.match(key)))
    problems = [Problem("key", f"number {n} is doubled") for n, k in numbers.items() if k > 1]
    expected = 0
    for number in sorted(numbers):
        if number > expected:
            last = f" to {number - 1}" if number - 1 > expected else ""
            problems.append(Problem("key", f"number {expected}{last} is missing"))
        expected = number + 1
    return problems


def wrong_labels(store: Store, keys: Names) -> list[Problem]:
    """Images whose folder belongs to another label than theirs, by the majority of its images."""
    classes, labels = set(store.classes), store.labels.tolist()
    names = {index: _folder(key, classes) for index, key in keys.items()}
    if isinstance(store, CaffeStore):
        names = {index: NUMBER.sub("", name, count=1) for index, name in names.items()}
    folders: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for index, name in names.items():
        folders[name][labels[index]] += 1
    if "" in folders or len(folders) < 2:
        return []
    if folders.keys() <= classes:
        right = {name: store.classes.index(name) for name in folders}
    else:
        right = {name: count.most_common(1)[0][0] for name, count in folders.items()}
    return [
        Problem(
            "label",
            f"{store.name(index)} has label {labels[index]} ({store.classes[labels[index]]}), but "
            f"lies in {name}, which is {right[name]} ({store.classes[right[name]]})",
        )
        for index, name in names.items()
        if labels[index] != right[name]
    ]


def wrong_names(store: Store, keys: Names) -> list[Problem]:
    """Images of one name under several keys, and names of another class than the folder's."""
    tails = _tails(store, keys)
    count = Counter(tails.values())
    problems = [
        Problem("key", f"{store.name(index)}: {tail} comes {count[tail]} times")
        for index, tail in tails.items()
        if count[tail] > 1
    ]
    for index, key in keys.items():
        match = OF_CLASS.search(key)
        if match and match["folder"] != match["file"]:
            text = f"{store.name(index)} lies in {match['folder']}, but is named as one of "
            problems.append(Problem("label", text + match["file"]))
    return problems


def pairs_of(store: Store, keys: Names, other: Store) -> tuple[dict[int, int], list[Problem]]:
    """The number in the source of each image, by name; and what has no partner there or here."""
    problems, pairs = [], {}
    there = _tails(other, {number: other.key(number) for number in range(len(other))})
    theirs = {tail: number for number, tail in there.items()}
    ours, wanted = store.labels, other.labels
    for index, tail in _tails(store, keys).items():
        number = theirs.pop(tail, None)
        if number is None:
            problems.append(Problem("extra", f"{store.name(index)} is not in {other.path}"))
            continue
        pairs[index] = number
        own, named = store.classes[ours[index]], other.classes[wanted[number]]
        if own != named:
            what = f"{store.name(index)} has class {own}, but {named} in {other.path}"
            problems.append(Problem("label", what))
    problems += [
        Problem("missing", f"{other.name(number)} is not in {store.path}")
        for number in theirs.values()
    ]
    return pairs, problems


def _folder(key: str, classes: set[str]) -> str:
    """The class folder that a name lies in, or the last folder where none is called as a class."""
    folders = key.split("/")[:-1]
    return next((name for name in reversed(folders) if name in classes), (folders or [""])[-1])


def _tails(store: Store, keys: Names) -> Names:
    """Class folder and file of each: what names of different layouts have in common."""
    classes = set(store.classes)
    numbers = {match[1] for key in keys.values() if (match := NUMBER.match(key))}
    # Caffe numbers its records; a folder that begins with a number holds several images.
    numbered = len(numbers) == len(keys) > 1
    return {index: _tail(key, numbered, classes) for index, key in keys.items()}


def _tail(key: str, numbered: bool, classes: set[str]) -> str:
    # Databases give names that are no UTF-8 with replacements, folders with surrogates.
    key = key.encode(errors="surrogateescape").decode(errors="replace")
    parts = (NUMBER.sub("", key, count=1) if numbered else key).split("/")
    begin = max((n for n, part in enumerate(parts[:-1]) if part in classes), default=-2)
    return "/".join(parts[begin:])
