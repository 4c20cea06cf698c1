"""What is asked before a database is built: the place, the plan, and the room on the disk."""

from __future__ import annotations

import shutil
import zlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from srsgd_ray.image_lmdb.data_file import LmdbFile
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.journal import Journal, partial_of
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.prepare import Options, prepare
from srsgd_ray.image_lmdb.store import Store

SAMPLES = 48  # images from which the room is estimated
PAGE = 4096


def tidy(path: Path) -> None:
    """Remove the journal of a build that was interrupted after its database got its name."""
    if path.with_name(path.name + ".partial.journal").exists() and not partial_of(path).exists():
        with Journal(path):
            pass


def check_place(store: Store, path: Path) -> None:
    """Raise ValueError unless a database of ``store`` can be made at ``path``."""
    if path.is_dir():
        raise ValueError(f"{path} must be a file to be made, but is a folder. Name a file in it.")
    if path.exists():
        try:
            LmdbFile(path)
        except DataError as error:
            raise ValueError(
                f"{path} is there already, and is no database. Choose another name, or remove it."
            ) from error
    check_outside(store.path, path)
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} must be a folder, but is none. Make it first.")


def check_outside(source: Path, path: Path) -> None:
    """Raise ValueError if ``path`` is, or lies in, what is read."""
    source, place = source.resolve(), path.resolve()
    if source == place or (source.is_dir() and place.is_relative_to(source)):
        raise ValueError(
            f"a database must lie outside of what it is built from, but {path} lies in {source}. "
            f"Choose another place."
        )


def plan_of(store: Store, options: Options) -> dict[str, Any]:
    """What distinguishes one build from another."""
    names = 0
    for index in range(len(store)):
        names = zlib.crc32(store.key(index).encode(errors="surrogateescape") + b"\0", names)
    how = asdict(options)
    del how["on_corrupt"]  # may be changed meanwhile, where an image turns out to be corrupt
    labels = zlib.crc32(store.labels.astype("<i4").tobytes())
    return {"version": 1, **how, "images": len(store), "names": names, "labels": labels}


def stated(store: Store, options: Options) -> dict[str, Any]:
    """What the header says of how its images were made, also before they came into ``store``."""
    side, quality, repacked = options.largest_side, options.quality, False
    if isinstance(store, ImageLmdb):
        was = store.header
        repacked = was.repacked and options.store == "encoded" and side is quality is None
        side = min(filter(None, (side, was.largest_side)), default=None)
        quality = quality or was.quality
    return {"store": options.store, "largest_side": side, "quality": quality, "repacked": repacked}


def room_of(store: Store, options: Options) -> tuple[float, int]:
    """Mean and largest room of an image on the disk, bytes, of some that are prepared for this."""
    sizes = []
    for index in np.unique(np.linspace(0, len(store) - 1, SAMPLES).astype(int)).tolist():
        with suppress(DataError):  # met again in its turn
            sample = prepare(store.read(index), options, store.name(index))
            sizes.append(-(-(len(sample.value) + 16) // PAGE) * PAGE)
    return float(np.mean(sizes or [PAGE])), max(sizes, default=PAGE)


def check_room(folder: Path, wanted: float) -> None:
    """Raise DataError unless so many bytes probably fit on the disk."""
    needed, free = 1.02 * wanted, shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder} must have about {_size(needed)} free (an estimate from "
            f"{SAMPLES} images), but has {_size(free)}. Make room, or choose another disk."
        )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.3g} MB"


def map_size(images: int, largest: int) -> int:
    """Bytes a database may grow to; takes no room, and is the same when a build is resumed."""
    return 2**34 + images * max(2**20, 4 * largest)
