"""Time and memory to open a database of ImageNet's number of samples, in a fresh process.

    python benchmarks/opening.py [--samples 1281167] [--times 5]

The samples are 16 bytes each, so that making them takes a minute: opening reads none of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import lmdb
import numpy as np

from srsgd_ray.image_lmdb import Pages, open_store
from srsgd_ray.image_lmdb.layout import ENTRY, PAD_TO, Header, checksum, key_of

CLASSES = [f"n{number:08d}" for number in range(1000)]


def put(path: Path, records: dict[bytes, bytes]) -> None:
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=2**34, sync=False) as database,
        database.begin(write=True) as transaction,
    ):
        for key, value in records.items():
            transaction.put(key, value, append=True)


def make_ours(path: Path, count: int) -> None:
    # The last page of the tree is rewritten with the records: its sample needs pages of its own.
    put(path, {key_of(n): bytes(16 if n < count - 1 else PAD_TO) for n in range(count)})
    index = np.zeros(count, ENTRY)
    index["offset"] = [place.offset for place in Pages(path).walk()]
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


def main() -> None:
    parser = argparse.ArgumentParser(description="open large databases")
    parser.add_argument("--samples", type=int, default=1_281_167)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
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
