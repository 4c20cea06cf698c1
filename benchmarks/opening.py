"""Time and memory to open a database of ImageNet's number of samples, and to load from it.

Opening is measured in a fresh process; loading in the two worker processes of a DataLoader, forked
and spawned, from ImageNet's number of samples and from a hundredth of it.

    python benchmarks/opening.py [--samples 1281167] [--times 5]

The samples are empty, so that making them takes a minute: opening reads none of them. Where samples
are loaded, nearly all places in the index are those of one small image.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data import DataLoader

from srsgd_ray.data import CropItems, EpochSampler
from srsgd_ray.image_lmdb import open_store
from srsgd_ray.image_lmdb.data_file import LmdbFile
from srsgd_ray.image_lmdb.layout import ENTRY, PAD_TO, Header, checksum, key_of
from srsgd_ray.image_lmdb.places import find
from srsgd_ray.image_lmdb.writer import seal

CLASSES = [f"n{number:08d}" for number in range(1000)]


LOADED = 2000  # samples that each of two workers loads


def put(path: Path, records: dict[bytes, bytes]) -> None:
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=2**34, sync=False) as database,
        database.begin(write=True) as transaction,
    ):
        for key, value in records.items():
            transaction.put(key, value, append=True)


def make_ours(path: Path, count: int) -> None:
    image = io.BytesIO()
    photo = Image.fromarray(load_sample_images().images[0])
    photo.resize((64, 48)).save(image, "JPEG", quality=80)
    data = image.getvalue()
    # Without a trailer opening looks for three samples. Their own pages stay where they are.
    real = {0, count // 2, count - 1}
    put(path, {key_of(n): data.ljust(PAD_TO, b"\0") if n in real else b"" for n in range(count)})
    index = np.zeros(count, ENTRY)
    index["offset"] = find(LmdbFile(path)).offsets
    index["offset"][[n not in real for n in range(count)]] = index["offset"][0]
    index["length"], index["checksum"] = len(data), checksum(data)
    index["height"], index["width"] = 48, 64
    index["label"] = np.arange(count) * len(CLASSES) // count
    records = {
        b"classes": json.dumps(CLASSES).encode(),
        b"index": index.tobytes(),
        b"labels": index["label"].tobytes(),
        b"names": b"",
    }
    sums = {key.decode(): checksum(value) for key, value in records.items()}
    records[b"header"] = Header(count, "encoded", None, None, False, sums).dump()
    put(path, dict(sorted(records.items())))
    seal(path)


def make_original(path: Path, count: int) -> None:
    names = (
        f"train/{CLASSES[n * 1000 // count]}/{CLASSES[n * 1000 // count]}_{n:07d}.JPEG"
        for n in range(count)
    )
    put(path, {name.encode(): b"\xff\xd8" + bytes(14) for name in names})


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def opened(path: Path) -> tuple[float, int, int]:
    """Seconds, bytes that stay, and samples."""
    before, began = resident(), time.perf_counter()
    store = open_store(path)
    return time.perf_counter() - began, resident() - before, len(store)


def private() -> int:
    """Bytes that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


class Measured(CropItems):
    """With each crop, how large the process that made it is."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels, _ = super().__getitem__(index)
        return pixels, private() if index % 50 == 0 else 0  # asking takes a millisecond


def loaded(path: Path, start: str) -> float:
    """MB of the larger of two workers, once they have loaded all they had to."""
    items = Measured(open_store(path), 32)
    sampler = EpochSampler(len(items))
    loader = DataLoader(
        items, 50, sampler=sampler, num_workers=2, multiprocessing_context=start, prefetch_factor=2
    )
    sizes: list[int] = []
    for number, (_, size) in enumerate(loader):
        sizes.append(int(size.max()))
        if number * 50 >= 2 * LOADED:
            break
    return max(sizes[len(sizes) // 2 :]) / 1e6


def load(folder: Path, samples: int) -> None:
    """Print how much memory workers take, for few samples and for many."""
    for count in (samples // 100, samples):
        path = folder / f"loaded-{count}"
        make_ours(path, count)
        sizes = {start: loaded(path, start) for start in ("fork", "spawn")}
        print(
            f"a worker's own memory, {min(LOADED, count // 2):,} of {count:,} samples loaded: "
            + ", ".join(f"{size:.1f} MB ({start})" for start, size in sizes.items()),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="open large databases")
    parser.add_argument("--samples", type=int, default=1_281_167)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        load(Path(temporary), options.samples)
        for name, make in (("ours", make_ours), ("original", make_original)):
            path = Path(temporary) / name
            make(path, options.samples)
            found = []
            for _ in range(options.times):
                with get_context("spawn").Pool(1) as pool:
                    found.append(pool.apply(opened, (path,)))
            seconds, size = ([row[n] for row in found] for n in (0, 1))
            middle = 1000 * statistics.median(seconds)
            print(
                f"{name}: {found[0][2]:,} samples opened in {middle:.1f} ms "
                f"({1000 * min(seconds):.1f} to {1000 * max(seconds):.1f}), "
                f"{statistics.median(size) / 1e6:.1f} MB more memory, n = {options.times}",
                flush=True,
            )


if __name__ == "__main__":
    main()
