"""Opens images of any layout, recognised by what is there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from srsgd_ray.image_lmdb.caffe import CaffeStore, parse_datum
from srsgd_ray.image_lmdb.data_file import LmdbFile
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.folder import FolderStore
from srsgd_ray.image_lmdb.layout import HEADER, key_of
from srsgd_ray.image_lmdb.original import OriginalStore
from srsgd_ray.image_lmdb.own import ImageLmdb, find_records
from srsgd_ray.image_lmdb.places import Places, find
from srsgd_ray.image_lmdb.store import Store, StrPath

# What training and validation images are called, in the order in which they are looked for.
PAIRS = (
    ("train.lmdb", "val.lmdb"),
    ("train_faster_imagefolder.lmdb", "val_faster_imagefolder.lmdb"),
    ("ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb"),
    ("train_lmdb", "val_lmdb"),
    ("train", "val"),
)
LOOKED_AT = 16  # values by which a database is recognised: the first may be damaged
# How image files begin: JPEG, PNG, GIF, BMP, WebP, TIFF; JPEG 2000 and AVIF.
IMAGES = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"\0\0\0")


def open_store(path: StrPath, classes: Sequence[str] | None = None) -> Store:
    """Images in a folder tree or a database of any layout, found out by its contents.

    Args:
        path: a folder with a folder a class, an LMDB file, or a folder with ``data.mdb``.
        classes: names of the classes, for Caffe's databases, whose keys may not tell.

    Raises:
        DataError: if it is none of these, or is damaged.
    """
    path = Path(path)
    try:
        is_tree = path.is_dir() and not (path / "data.mdb").exists()
        is_there = path.exists()
    except OSError as error:
        raise DataError(f"{path} must be readable, but: {error.strerror}. Correct it.") from error
    if not is_there:
        raise DataError(f"{path} must be a database or a folder, but is not there. Correct it.")
    if is_tree:
        if path.suffix == ".lmdb" or path.name.endswith("_lmdb"):
            raise DataError(f"{path} must hold data.mdb, but does not. Build or copy it anew.")
        for names in PAIRS:
            if all((path / name).exists() for name in names):
                raise DataError(
                    f"{path} holds two sets of images, {' and '.join(names)}. Name one of them: "
                    f"{path / names[0]}"
                )
        return FolderStore(path)
    file = LmdbFile(path)
    records = find_records(file)
    if HEADER in records:
        return ImageLmdb(path, records)
    places = find(file)
    if not len(places):
        raise DataError(f"{path} must hold images, but is empty. Build or copy it anew.")
    first = places.keys[0]
    if first == key_of(0):
        raise DataError(
            f"{path} must have a header, but has none: it is half built. Run the `srsgd-ray lmdb "
            f"build` that began it again."
        )
    begins = [places.read(n, 0, 8) for n in range(min(len(places), LOOKED_AT))]
    images = [begin.startswith(IMAGES) for begin in begins]
    datums = sum(not image and _is_datum(places, n) for n, image in enumerate(images))
    if datums > sum(images):
        return CaffeStore(path, places, classes)
    if known := _other_kind(path, places, any(images)):
        raise DataError(
            f"{path} must hold images with their classes, but is {known}. Make a folder of images "
            f"a class of it, and run `srsgd-ray lmdb build`."
        )
    if not any(images) and b"/" in first:  # else the key alone is said to be wrong
        raise DataError(
            f"{path} must hold image files or Datum records of Caffe, but the value of "
            f"{first!r} begins with {begins[0]!r}: it is of an unknown kind. Correct the path."
        )
    return OriginalStore(path, places)


def _other_kind(path: Path, places: Places, images: bool) -> str:
    """What a database is that cannot be read, by what others put into theirs; "" if not known."""
    keys, value = places.keys, places.read(0, 0, min(places[0].length, 64))
    bare = b"/" not in keys[0]
    if (path / "meta_info.txt").is_file() and bare:
        return "basicsr's, whose images have no classes"
    if value[:1] == b"\x80" and 2 <= value[1] <= 5:
        return "of pickles, which are never opened: a pickle can run any program"
    if not images and _is_protos(value, places[0].length):
        return "Caffe2's, of TensorProtos records"
    if not images and any(key in (b"__len__", b"__keys__") for key in keys):
        return "of values in a format of Python's (msgpack, pyarrow)"
    if bare and any(key == b"num-samples" for key in keys):
        return "one of texts in images, whose labels are no classes"
    return ""


def _is_protos(value: bytes, size: int) -> bool:
    """Whether a value is caffe2.proto's TensorProtos: a field 1 that is a TensorProto.

    That begins with its dims, plain or packed, or with its type, where it is of no dimension.
    """
    at = 1  # the length of the field, whose last byte is below 128
    while at < len(value) and value[at] & 0x80:
        at += 1
    inner = value[at + 1 : at + 2]
    return value[:1] == b"\x0a" and at + 1 < size and inner in (b"\x08", b"\x0a", b"\x10")


def _is_datum(places: Places, index: int) -> bool:
    """Whether a value is a record of Caffe."""
    try:
        datum = parse_datum(partial(places.read, index), places[index].length)
    except ValueError:
        return False
    return datum.length > 0 or datum.floats


def open_pair(data_dir: StrPath) -> tuple[Store, Store]:
    """Training and validation images in a folder, of any layout.

    Raises:
        DataError: if they are not there, or the two have other classes.
    """
    data_dir = Path(data_dir)
    try:
        found = [pair for pair in PAIRS if all((data_dir / name).exists() for name in pair)]
        if not found:
            raise DataError(_missing(data_dir))
    except OSError as error:
        raise DataError(
            f"{data_dir} must be readable, but: {error.strerror}. Correct it."
        ) from error
    names = found[0]
    train = open_store(data_dir / names[0])
    val = open_store(data_dir / names[1], train.classes)
    check_classes(train, val)
    if isinstance(val, CaffeStore):
        _check_folders(train, val)
    return train, val


def _check_folders(train: Store, val: CaffeStore) -> None:
    """Raise DataError if folders in the keys contradict the classes that were taken from train."""
    if len(val.folders) < 2:  # all in one folder: it is no class
        return
    for label, folder in sorted(val.folders.items()):
        name = train.classes[label]
        if name != folder and str(label) not in (name, folder):  # a number names no class
            raise DataError(
                f"a label must mean the same class in {train.path.name} and {val.path.name}, but "
                f"{label} is {name} in the one and {folder} in the other. Build both from lists "
                f"with the same labels."
            )


def check_classes(train: Store, val: Store) -> None:
    """Raise DataError unless both have the same classes."""
    if train.classes == val.classes:
        return
    differ = sorted(set(train.classes) ^ set(val.classes))
    raise DataError(
        f"{train.path.name} and {val.path.name} must have the same classes, but {len(differ)} are "
        f"in one only: {', '.join(differ[:5])}{' ...' * (len(differ) > 5)}. Complete the other."
    )


def _missing(data_dir: Path) -> str:
    for train, val in PAIRS:
        if (data_dir / train).exists():
            return f"imagenet needs {data_dir}/{val} next to {train}, with the same classes."
    pairs = "; ".join(f"{train} and {val}" for train, val in PAIRS)
    return (
        f"imagenet not found: expected {pairs}, in data_dir={str(data_dir)!r}, which has none of "
        f"them. Correct data_dir."
    )
