"""ImageNet loaders, all in one run and in turn: the original's, ImageFolder's, and ours.

JPEG files of about ImageNet's size are cut from scikit-learn's two photographs, and kept as a
folder tree, as the original's LMDB, and in our stores. "The original's pipeline" is py-lmdb with
``readahead=False``, Pillow, ``RandomResizedCrop(224)``, a flip, ``ToTensor`` and ``Normalize``.
Beside it, what could be built from libraries: torchvision's decoder and transforms v2 on uint8, and
simplejpeg with OpenCV's area resize (only if ``opencv-python-headless`` is installed).

    python benchmarks/imagenet.py [--images 1000] [--rounds 5] [--folder DIR]
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import simplejpeg
import torch
from PIL import Image
from rates import Rate, bytes_read, drop_cache, rates, read_ahead, table
from rows import row
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from srsgd_ray.data import BatchFormat, CropItems, EpochSampler, ImageSubset, StreamedTrain
from srsgd_ray.image_lmdb import Options, Store, build, jpeg, open_store

SIZES = ((500, 375), (500, 333), (375, 500), (500, 400), (400, 300))
CLASSES = 10
BATCH = 64
SIZE = 224
DECODED_SIDE = 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Ways = dict[str, Callable[[int], int]]


def make_tree(folder: Path, count: int) -> None:
    """``count`` JPEG files in ten classes, pieces of the photographs enlarged to usual sizes."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    draw = random.Random(0)
    for n in range(count):
        width, height = draw.choice(SIZES)
        scale = draw.uniform(0.75, 1.0) * min(640 / width, 427 / height)
        w, h = int(width * scale), int(height * scale)
        left, top = draw.randint(0, 640 - w), draw.randint(0, 427 - h)
        piece = photos[n % 2].crop((left, top, left + w, top + h))
        own = folder / f"n{n % CLASSES:08d}"
        own.mkdir(parents=True, exist_ok=True)
        piece.resize((width, height), Image.Resampling.LANCZOS).save(
            own / f"n{n % CLASSES:08d}_{n}.JPEG", "JPEG", quality=96
        )


def make_original(tree: Path, path: Path) -> None:
    """The same files as the original's LMDB holds them: by path, in no order of reading."""
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=2**40) as env,
        env.begin(write=True) as transaction,
    ):
        for file in sorted(tree.rglob("*.JPEG")):
            transaction.put(str(file.relative_to(tree.parent)).encode(), file.read_bytes())


@cache
def opened(path: Path) -> Any:
    """LMDB allows a process to open a database once; forked workers use their parent's."""
    return lmdb.open(
        str(path), subdir=False, readonly=True, lock=False, readahead=False, meminit=False
    )


class OriginalItems(Dataset[tuple[Tensor, int]]):
    """The original's way to an image; ``finish`` is what follows crop and flip."""

    def __init__(self, path: Path, finish: Any) -> None:
        self.path = path
        with opened(path).begin() as transaction:
            self.keys = list(transaction.cursor().iternext(values=False))
        self.transform = transforms.Compose(
            [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), finish]
        )

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, index: int) -> bytes:
        """The bytes of a file."""
        with opened(self.path).begin() as transaction:
            return bytes(transaction.get(self.keys[index]))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.open(io.BytesIO(self.read(index))).convert("RGB")
        return self.transform(image), 0


class TorchvisionItems(OriginalItems):
    """The same file, decoded by torchvision and transformed as uint8 tensors."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, transforms.PILToTensor())
        self.cut = v2.Compose(
            [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip()]
        )

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        data = np.frombuffer(bytearray(self.read(index)), np.uint8)
        return self.cut(decode_jpeg(torch.from_numpy(data), mode=ImageReadMode.RGB)), 0


class OpenCvItems(OriginalItems):
    """The same file, decoded by simplejpeg, cropped, and scaled by OpenCV."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        cv2: Any = import_module("cv2")  # no dependency
        image = simplejpeg.decode_jpeg(self.read(index))
        shape = torch.empty((3, *image.shape[:2]), device="meta")
        scale, ratio = (0.08, 1.0), (3 / 4, 4 / 3)
        top, left, height, width = transforms.RandomResizedCrop.get_params(shape, scale, ratio)
        part = image[top : top + height, left : left + width]
        way = cv2.INTER_AREA if height > SIZE or width > SIZE else cv2.INTER_LINEAR
        made = cv2.resize(part, (SIZE, SIZE), interpolation=way)
        if random.random() < 0.5:
            made = cv2.flip(made, 1)
        return torch.from_numpy(made).permute(2, 0, 1), 0


def floats() -> Any:
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def loaded(items: Dataset[Any], workers: int, turn: int) -> int:
    """Pass a DataLoader once, in another order each round."""
    generator = torch.Generator().manual_seed(turn)
    count = 0
    for images, _ in DataLoader(
        items, BATCH, shuffle=True, num_workers=workers, generator=generator
    ):
        count += len(images)
    return count


def streamed(store: Store, threads: int, finish: bool, turn: int) -> int:
    """Pass our loader once: to uint8 batches, or to normalised ones on the CPU."""
    subset = ImageSubset(store, size=SIZE, threads=threads)
    batches = StreamedTrain(subset, BatchFormat(torch.device("cpu")))
    if finish:
        return sum(len(labels) for _, labels, _ in batches.epoch(0, turn, BATCH))
    return sum(len(made.labels) for made in batches.pixels(0, turn, batches.shares(BATCH)))


def item_loaded(store: Store, workers: int, turn: int) -> int:
    """Pass a DataLoader of our items once."""
    items = CropItems(store, SIZE)
    items.set_epoch(turn)
    sampler = EpochSampler(len(store), seed=turn)
    loader = DataLoader(items, BATCH, sampler=sampler, num_workers=workers)
    return sum(len(labels) for _, labels in loader)


def read_all(read: Callable[[int], object], count: int, turn: int) -> int:
    for index in np.random.default_rng(turn).permutation(count).tolist():
        read(index)
    return count


def read_in_turn(store: Store, turn: int) -> int:
    """Read in a random order, with the next samples asked for before."""
    read_ahead(store, np.random.default_rng(turn).permutation(len(store)).tolist())
    return len(store)


def decode_all(store: Store, turn: int) -> int:
    for index in range(len(store)):
        data = store.read(index)
        if isinstance(data, bytes):
            jpeg.decode(data, "")
    return len(store)


def stores(folder: Path) -> Iterator[tuple[str, Store]]:
    """Our stores of the tree, built if they are not there."""
    kinds: dict[str, dict[str, Any]] = {
        "encoded": {},
        f"decoded, side {DECODED_SIDE}": {"store": "decoded", "largest_side": DECODED_SIDE},
    }
    for name, options in kinds.items():
        path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.lmdb"
        if not path.exists():
            build(folder / "tree", path, Options(**options))
        yield name, open_store(path)


def per_core(folder: Path, ours: dict[str, Store]) -> Ways:
    original = folder / "original.lmdb"
    tree = transforms.Compose(
        [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), floats()]
    )
    ways: Ways = {
        "original's pipeline, floats": partial(loaded, OriginalItems(original, floats()), 0),
        "original's pipeline, uint8": partial(
            loaded, OriginalItems(original, transforms.PILToTensor()), 0
        ),
        "ImageFolder, floats": partial(loaded, datasets.ImageFolder(str(folder / "tree"), tree), 0),
    }
    ways["torchvision's decoder and transforms v2, uint8"] = partial(
        loaded, TorchvisionItems(original), 0
    )
    if find_spec("cv2"):
        items = OpenCvItems(original, transforms.PILToTensor())
        ways["simplejpeg and OpenCV, uint8"] = partial(loaded, items, 0)
    for name, store in ours.items():
        ways[f"ours, {name}, uint8"] = partial(streamed, store, 1, False)
        ways[f"ours, {name}, floats on the CPU"] = partial(streamed, store, 1, True)
    ways["decode alone, whole images (a limit)"] = partial(decode_all, ours["encoded"])
    return ways


def all_cores(folder: Path, ours: dict[str, Store], cores: int) -> Ways:
    original = folder / "original.lmdb"
    ways: Ways = {
        f"original, DataLoader, {cores} processes": partial(
            loaded, OriginalItems(original, floats()), cores
        ),
        f"original uint8, DataLoader, {cores} processes": partial(
            loaded, OriginalItems(original, transforms.PILToTensor()), cores
        ),
    }
    for name, store in ours.items():
        ways[f"ours, {name}, {cores} threads"] = partial(streamed, store, cores, False)
        ways[f"ours, {name}, DataLoader, {cores} processes"] = partial(item_loaded, store, cores)
    return ways


def warm_reads(folder: Path, ours: dict[str, Store]) -> Ways:
    original = OriginalItems(folder / "original.lmdb", floats())
    tree = open_store(folder / "tree")
    ways: Ways = {
        "original's reader": partial(read_all, original.read, len(original)),
        "loose files": partial(read_all, tree.read, len(tree)),
    }
    return ways | {f"ours, {n}": partial(read_all, s.read, len(s)) for n, s in ours.items()}


def empty(path: Path) -> None:
    """Have the system forget what it holds of a file or folder.

    Pages that a process has mapped stay in memory: the original's database is closed before, and
    opened again within the time.
    """
    if path.name == "original.lmdb":
        opened(path).close()
        opened.cache_clear()
    drop_cache(path)


def cold(way: Callable[[int], int], asked: int, amplification: list[float]) -> Callable[[int], int]:
    """The way, where what was read beyond what was asked for is noted."""

    def timed(turn: int) -> int:
        before = bytes_read()
        count = way(turn)
        after = bytes_read()
        if before is not None and after is not None:
            amplification.append((after - before) / asked)
        return count

    return timed


def cold_reads(
    folder: Path, ours: dict[str, Store], read: dict[str, list[float]]
) -> tuple[Ways, dict[str, Callable[[], None]]]:
    """The ways, and what empties the cache before each."""
    original = OriginalItems(folder / "original.lmdb", floats())
    tree = open_store(folder / "tree")
    asked = sum(len(tree.read(n)) for n in range(len(tree)))
    ways: Ways = {}
    before: dict[str, Callable[[], None]] = {}

    def add(name: str, path: Path, way: Callable[[int], int], size: int = asked) -> None:
        ways[name] = cold(way, size, read.setdefault(name, []))
        before[name] = partial(empty, path)

    add("original's reader", original.path, partial(read_all, original.read, len(original)))
    add("loose files", folder / "tree", partial(read_all, tree.read, len(tree)))
    for name, store in ours.items():
        size = sum(np.frombuffer(store.read(n), np.uint8).size for n in range(len(store)))
        add(f"ours, {name}", store.path, partial(read_in_turn, store), size)
    return ways, before


def show(title: str, found: dict[str, Rate]) -> None:
    first = next(iter(found))
    print(f"\n{title}\n{table(found, first)}", flush=True)
    for name, rate in found.items():
        if name.startswith("ours"):
            ratio = rate.over(found[first]).values
            row(f"{title[0].lower()}{title[1:]}: {name}, against {first}", ratio, least=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="ImageNet loaders, in turn")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are made [a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "tree").exists():
            make_tree(folder / "tree", options.images)
            make_original(folder / "tree", folder / "original.lmdb")
        ours = dict(stores(folder))
        measure(folder, ours, options.rounds)


def measure(folder: Path, ours: dict[str, Store], rounds: int) -> None:
    files = [file.stat().st_size for file in (folder / "tree").rglob("*.JPEG")]
    cores = len(os.sched_getaffinity(0))
    print(f"{len(files)} JPEG files, {np.mean(files) / 1000:.0f} kB in the mean; torch ", end="")
    print(f"{torch.__version__}, {cores} cores ({platform.machine()}); n = {rounds} interleaved ")
    print("rounds after 1 to warm up; medians [quartiles]; ratios are to the first line")
    torch.set_num_threads(1)
    show("One core", rates(per_core(folder, ours), rounds))
    show("All cores", rates(all_cores(folder, ours, cores), rounds))
    show("Reads alone, cached", rates(warm_reads(folder, ours), rounds))
    read: dict[str, list[float]] = {}
    ways, before = cold_reads(folder, ours, read)
    show("Reads alone, cold", rates(ways, rounds, before=before))
    for name, values in read.items():
        if values:
            print(f"{name}: {np.median(values):.3f} bytes read from the disk a byte asked for")


if __name__ == "__main__":
    main()
