"""What a store holds, in a few lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.frames import frame_of
from srsgd_ray.image_lmdb.jpeg import decode
from srsgd_ray.image_lmdb.opening import open_store
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.store import StrPath

SAMPLES = 200  # images whose sizes are read
KINDS = {
    "folder": "a folder a class",
    "original": "the original's LMDB: keys are paths",
    "caffe": "Caffe's LMDB of Datum records",
    "srsgd_ray": "made by srsgd-ray lmdb build",
}


def info(path: StrPath) -> dict[str, str]:
    """What there is to say of a database or folder tree, by name; reads 200 images at most.

    Raises:
        DataError: if it cannot be opened.
    """
    path = Path(path)
    store = open_store(path)
    each = np.bincount(store.labels, minlength=len(store.classes))
    found = {
        "path": str(path),
        "layout": f"{store.kind}, {KINDS[store.kind]}",
        "images": f"{len(store):,}",
        "classes": f"{len(store.classes):,} ({store.classes[0]} to {store.classes[-1]})",
        "images a class": f"{each.min():,} to {each.max():,}",
    }
    file = path / "data.mdb" if path.is_dir() else path
    if file.is_file():
        found["file"] = f"{file.stat().st_size / 1e9:.3f} GB"
    if isinstance(store, ImageLmdb):
        header = store.header
        found["store"] = header.store
        found["largest side"] = _stated(header.largest_side, "pixels")
        found["quality"] = _stated(header.quality, "")
    sizes, lengths, odd = [], [], 0
    some = np.unique(np.linspace(0, len(store) - 1, SAMPLES).astype(int)).tolist()
    for index in some:
        try:
            data = store.read(index)
            pixels = decode(data, store.name(index)) if isinstance(data, bytes) else data
        except DataError:
            odd += 1
            continue
        sizes.append(pixels.shape[:2])
        lengths.append(len(data) if isinstance(data, bytes) else data.nbytes)
        if isinstance(data, bytes):
            frame = frame_of(data)
            odd += frame is None or not frame.plain
    if sizes:
        height, width = np.median(sizes, axis=0)
        found[f"of {len(some)} images"] = (
            f"median {width:.0f} x {height:.0f} pixels, largest side {np.max(sizes)}, "
            f"{np.mean(lengths) / 1000:.0f} kB in the mean"
        )
        found["left to Pillow, or unreadable"] = f"{odd} of {len(some)}"
    return found


def _stated(value: int | None, unit: str) -> str:
    return "as it was" if value is None else f"{value} {unit}".strip()
