"""What is asked before a database is built: the place, and the room on the disk."""

from __future__ import annotations

import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from srsgd_ray.image_lmdb.data_file import DataFile
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.journal import Journal, of_plan
from srsgd_ray.image_lmdb.layout import ENTRY
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.prepare import Options, prepare
from srsgd_ray.image_lmdb.store import Store

__all__ = [
    "check_outside", "check_place", "check_room", "give_leave", "journal_of", "looked_at",
    "map_size", "partial_of", "plan_of", "room_of", "stated", "tidy",
]  # fmt: skip

LOOKED_AT = 48  # images from which the room is estimated
PAGE = 4096


def partial_of(path: Path) -> Path:
    """What a database is called while it grows."""
    return path.with_name(path.name + ".partial")


def journal_of(path: Path) -> Path:
    """The file beside it that tells how far it is."""
    return path.with_name(path.name + ".partial.journal")


def plan_of(store: Store, options: Options) -> dict[str, Any]:
    """What tells one build from another."""
    names = 0
    for index in range(len(store)):
        names = zlib.crc32(store.key(index).encode(errors="surrogateescape") + b"\0", names)
    how = options.to_dict()
    del how["on_corrupt"]  # may be changed on the way, where an image turns out to be corrupt
    return {
        "version": 1,
        **how,
        "images": len(store),
        "names": names,
        "labels": zlib.crc32(store.labels.astype("<i4").tobytes()),
    }


def stated(store: Store, options: Options) -> dict[str, Any]:
    """What the header says of how its images were made, also before they came into ``store``."""
    side, quality, repacked = options.largest_side, options.quality, options.repack
    if isinstance(store, ImageLmdb):
        was = store.header
        side = min(filter(None, (side, was.largest_side)), default=None)
        if not repacked and quality is None and options.largest_side is None:
            repacked = was.repacked and options.store == "encoded"
        quality = quality or was.quality
    return {"store": options.store, "largest_side": side, "quality": quality, "repacked": repacked}


def give_leave(store: Store, path: Path, options: Options) -> None:
    """Note that a database may be replaced, so that a build that is broken off may go on to it.

    Raises:
        DataError: if another process builds it.
    """
    with Journal(journal_of(path)) as journal:
        partial_of(path).unlink(missing_ok=True)
        journal.begin(plan_of(store, options), replaces=True)


def check_place(store: Store, path: Path, force: bool) -> None:
    """Raise ValueError unless a database of ``store`` can be made at ``path``.

    Args:
        store: the images.
        path: of the database.
        force: whether a finished one may be replaced.
    """
    if path.is_dir():
        raise ValueError(f"{path} must be a file to be made, but is a folder. Name a file in it.")
    if path.exists() and not _is_database(path):
        raise ValueError(
            f"{path} is there already, and is no database. Choose another name, or remove it."
        )
    if path.exists() and not force:
        raise ValueError(
            f"{path} is there already. Choose another name, or replace it with --force."
        )
    check_outside(store.path, path)
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} must be a folder, but is none. Make it first.")


def _is_database(path: Path) -> bool:
    try:
        DataFile(path)
    except DataError:
        return False
    return True


def check_outside(source: Path, path: Path) -> None:
    """Raise ValueError if ``path`` is, or lies in, what is read."""
    source, place = source.resolve(), path.resolve()
    if source == place or (source.is_dir() and place.is_relative_to(source)):
        raise ValueError(
            f"a database must lie outside of what it is built from, but {path} lies in {source}. "
            f"Choose another place."
        )


def looked_at(store: Store, options: Options) -> tuple[float, int]:
    """Mean and largest room of an image on the disk, bytes, of some that are prepared for this."""
    sizes = [PAGE]
    for index in np.unique(np.linspace(0, len(store) - 1, LOOKED_AT).astype(int)).tolist():
        with suppress(DataError):  # met again in its turn
            sample = prepare(store.read(index), options, store.name(index))
            sizes.append(-(-(len(sample.value) + 16) // PAGE) * PAGE)
    return float(np.mean(sizes[1:] or sizes)), max(sizes)


def tidy(store: Store, path: Path, options: Options) -> None:
    """Remove the journal of a build that was broken off after its database was given its name."""
    journal = journal_of(path)
    if not (path.is_file() and journal.exists()) or partial_of(path).exists():
        return
    first, _, entries = journal.read_bytes().partition(b"\n")
    if len(entries) == ENTRY.itemsize * len(store) and of_plan(first, plan_of(store, options)):
        journal.unlink()


def room_of(store: Store, options: Options) -> float:
    """Bytes that a database is going to take, about."""
    return looked_at(store, options)[0] * len(store)


def size(count: float) -> str:
    """A number of bytes, for messages."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.3g} MB"


def check_room(folder: Path, typical: float, left: int, freed: int, beside: float = 0.0) -> None:
    """Raise DataError unless what is left probably fits on the disk.

    Args:
        folder: where the database grows.
        typical: bytes of an image, see :func:`looked_at`.
        left: images to be stored.
        freed: bytes of an older half-built one, which goes first.
        beside: bytes that databases made after it are going to take.
    """
    needed, free = 1.02 * (typical * left + beside), shutil.disk_usage(folder).free + freed
    if needed > free:
        raise DataError(
            f"{folder} must have about {size(needed)} free (an estimate from "
            f"{LOOKED_AT} images), but has {size(free)}. Make room, or choose another disk."
        )


def map_size(images: int, largest: int) -> int:
    """What the database may grow to; takes no room, and is the same when a build goes on."""
    return 2**34 + images * max(2**20, 4 * largest)
