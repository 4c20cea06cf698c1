"""Opens images of any layout, recognised by what is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srsgd_ray.image_lmdb.caffe import CaffeStore, parse_datum
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.folder import FolderStore
from srsgd_ray.image_lmdb.layout import HEADER, key_of
from srsgd_ray.image_lmdb.original import OriginalStore
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.pages import Pages, Place
from srsgd_ray.image_lmdb.store import Store

__all__ = ["PAIRS", "check_classes", "open_pair", "open_store"]

# What training and validation images are called, in the order in which they are looked for.
PAIRS = (
    ("train.lmdb", "val.lmdb"),
    ("train_faster_imagefolder.lmdb", "val_faster_imagefolder.lmdb"),
    ("ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb"),
    ("train", "val"),
)


def open_store(path: Path, classes: Sequence[str] | None = None) -> Store:
    """Images in a folder tree or a database of any layout, found out by its contents.

    Args:
        path: a folder with a folder a class, an LMDB file, or a folder with ``data.mdb``.
        classes: names of the classes, for Caffe's databases, whose keys may not tell.

    Raises:
        DataError: if it is none of these, or is damaged.
    """
    if not path.exists():
        raise DataError(f"{path} must be a database or a folder, but is not there. Correct it.")
    if path.is_dir() and not (path / "data.mdb").exists():
        if path.suffix == ".lmdb" or path.name.endswith("_lmdb"):
            raise DataError(f"{path} must hold data.mdb, but does not. Build or copy it anew.")
        return FolderStore(path)
    pages = Pages(path)
    if pages.find(HEADER) is not None:
        return ImageLmdb(path)
    first = next(pages.walk(), None)
    if first is None:
        raise DataError(f"{path} must hold images, but is empty. Build or copy it anew.")
    if first.key == key_of(0):
        raise DataError(
            f"{path} must have a header, but has none: it is half built. Run the `srsgd-ray lmdb "
            f"build` that began it again."
        )
    return CaffeStore(path, classes) if _is_datum(pages, first) else OriginalStore(path)


def _is_datum(pages: Pages, place: Place) -> bool:
    """Whether a value is a record of Caffe. An image file is none: its first bytes cannot be."""
    try:
        datum = parse_datum(lambda at, length: pages.read(place.offset + at, length), place.length)
    except ValueError:
        return False
    return datum.length > 0 or datum.floats


def open_pair(data_dir: Path) -> tuple[Store, Store]:
    """Training and validation images in a folder, of any layout.

    Raises:
        DataError: if they are not there, or the two have other classes.
    """
    found = [pair for pair in PAIRS if all((data_dir / name).exists() for name in pair)]
    if not found:
        raise DataError(_missing(data_dir))
    names = found[0]
    train = open_store(data_dir / names[0])
    val = open_store(data_dir / names[1], train.classes)
    check_classes(train, val)
    return train, val


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
            return f"imagenet needs {data_dir}/{val} beside {train}, with the same classes."
    pairs = "; ".join(f"{train} and {val}" for train, val in PAIRS)
    return (
        f"imagenet not found: expected {pairs}, in data_dir={str(data_dir)!r}, which has none of "
        f"them. Correct data_dir."
    )
