"""How fast a database (or folder tree) of images is read and made into training batches here.

Images a second: reading, decoding and making training batches, each in turn, against Pillow with
torchvision's RandomResizedCrop on the same images.

    python benchmarks/lmdb_reading.py DB [--images 512] [--rounds 3] [--threads 0] [--cold]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rates import bytes_read, drop_cache, rates, read_ahead, table

from srsgd_ray.data import BatchFormat, ImageSubset, StreamedTrain
from srsgd_ray.image_lmdb import Pixels, Store, jpeg, open_store
from srsgd_ray.image_lmdb.frames import frame_of

BATCH = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Time each method and print the table; exit status 2 after a message for bad input."""
    try:
        return _timed(_parser().parse_args(argv))
    except ValueError as error:
        print(f"lmdb_reading.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlmdb_reading.py: interrupted.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("path", type=Path, help="a database, or a folder tree of images")
    parser.add_argument("--images", type=int, default=512, help="how many, drawn at random [512]")
    parser.add_argument("--rounds", type=int, default=3, help="each way is timed so often [3]")
    parser.add_argument("--threads", type=int, default=0, help="that decode [all cores]")
    parser.add_argument("--size", type=int, default=224, help="pixels a side of a crop [224]")
    parser.add_argument(
        "--cold",
        action="store_true",
        help="also time reads after emptying the system's cache of it",
    )
    return parser


def _timed(given: argparse.Namespace) -> int:
    for name, low in (("images", 1), ("rounds", 1), ("threads", 0), ("size", 1)):
        if getattr(given, name) < low:
            raise ValueError(
                f"{low} <= --{name} must hold, but got {getattr(given, name)}. Correct it."
            )
    store = open_store(given.path)
    count = min(given.images, len(store))
    order = np.random.default_rng(0).permutation(len(store))[:count]
    cores = given.threads or len(os.sched_getaffinity(0))
    print(
        f"{given.path}: {len(store)} images ({store.kind}), {count} of them in random order, "
        f"crops of {given.size}; n = {given.rounds} rounds in turn after 1 to warm up, "
        f"medians [quartiles]"
    )
    odd = sum(_by_pillow_only(store.read(index)) for index in order.tolist())
    if odd:
        print(f"{odd} of them are no usual JPEG files, and are decoded by Pillow")
    torch.set_num_threads(1)
    ways = _ways(store, order, given.size, cores)
    print(table(rates(ways, given.rounds), next(iter(ways))))
    if given.cold:
        _cold(store, order.tolist(), given.rounds)
    return 0


def _by_pillow_only(data: bytes | Pixels) -> bool:
    frame = frame_of(data) if isinstance(data, bytes) else None
    return isinstance(data, bytes) and (frame is None or not frame.plain)


def _ways(
    store: Store, order: np.typing.NDArray[np.int64], size: int, cores: int
) -> dict[str, Callable[[int], int]]:
    indices = order.tolist()
    streams = {
        threads: StreamedTrain(
            ImageSubset(store, torch.from_numpy(order), size, threads),
            BatchFormat(torch.device("cpu")),
        )
        for threads in {1, cores}
    }

    def loader(threads: int, turn: int) -> int:
        batches = streams[threads]
        return sum(len(made.labels) for made in batches.pixels(0, turn, batches.shares(BATCH)))

    def read(turn: int) -> int:
        read_ahead(store, indices)
        return len(indices)

    def decode(turn: int) -> int:
        for index in indices:
            data = store.read(index)
            if isinstance(data, bytes):
                jpeg.decode(data, store.name(index), lenient=True)
        return len(indices)

    ways: dict[str, Callable[[int], int]] = {
        "Pillow, RandomResizedCrop, one core": partial(_by_pillow, store, indices, size),
        "our loader, one thread": partial(loader, 1),
    }
    if cores > 1:
        ways[f"our loader, {cores} threads"] = partial(loader, cores)
    return ways | {"decoding whole images, one core": decode, "reading, cached": read}


def _by_pillow(store: Store, indices: Sequence[int], size: int, turn: int) -> int:
    from PIL import Image
    from torchvision.transforms import RandomResizedCrop

    crop = RandomResizedCrop(size)
    for index in indices:
        data = store.read(index)
        if isinstance(data, bytes):
            data = jpeg.by_pillow(data, store.name(index), lenient=True)
        np.asarray(crop(Image.fromarray(data)))
    return len(indices)


def _cold(store: Store, indices: Sequence[int], rounds: int) -> None:
    beyond: list[float] = []

    def read(turn: int) -> int:
        before = bytes_read()
        asked = read_ahead(store, indices)
        after = bytes_read()
        if before is not None and after is not None:
            beyond.append((after - before) / asked)
        return len(indices)

    name = "reading, cold"
    empty = {name: partial(drop_cache, store.path)}
    found = rates({name: read}, rounds, warm_up=False, before=empty)[name]
    print(f"{name:44}{found.median:>10,.0f}", end="")
    if beyond and np.median(beyond) > 0:
        print(f"  {np.median(beyond):.3f} bytes from the disk for each that was asked for")
    else:
        print("  (the system does not say what the disk gave, or could not empty its cache)")


if __name__ == "__main__":
    sys.exit(main())
