"""Images and databases in other people's layouts, for the tests of image_lmdb."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = ("n01440764", "n02102040", "n03000684")
PHOTOS = load_sample_images().images


def pixels_of(index: int) -> Any:
    """A piece of one of scikit-learn's photographs, of a size and place of its own."""
    top, left = 7 * index % 300, 11 * index % 480
    return PHOTOS[index % 2][top : top + 60 + index % 40, left : left + 80 + index % 30]


def encoded(index: int, mode: str = "RGB", form: str = "JPEG", **options: Any) -> bytes:
    """That piece as a file."""
    data = io.BytesIO()
    Image.fromarray(pixels_of(index)).convert(mode).save(data, form, **options)
    return data.getvalue()


def make_tree(root: Path, each: int = 4, parts: tuple[str, ...] = ("train", "val")) -> Path:
    """``each`` images a class; among them a CMYK, a grey, a progressive file and a PNG."""
    kinds: dict[int, dict[str, Any]] = {
        1: {"mode": "CMYK"}, 2: {"mode": "L"}, 3: {"progressive": True}, 5: {"form": "PNG"},
    }  # fmt: skip
    for start, part in enumerate(parts):
        for label, name in enumerate(CLASSES):
            folder = root / part / name
            folder.mkdir(parents=True)
            for n in range(each):
                index = 1000 * start + label * each + n
                data = encoded(index, **kinds.get(index, {}))
                (folder / f"{name}_{index}.JPEG").write_bytes(data)
    return root


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


def make_original(tree: Path, path: Path, *, prefix: str = "/data/imagenet") -> Path:
    """The original's layout: the path is the key, the file the value."""
    with lmdb.open(str(path), map_size=2**26) as env, env.begin(write=True) as txn:
        for file in files(tree):
            key = f"{prefix}/{tree.name}/{file.parent.name}/{file.name}"
            txn.put(key.encode(), file.read_bytes())
    (path / "lock.mdb").unlink()
    return path


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def datum(data: bytes, label: int, shape: tuple[int, int, int] | None = None) -> bytes:
    """A record of Caffe: an encoded file, or planes of (channels, height, width)."""
    out = b""
    for field, value in zip((1, 2, 3), shape or (), strict=False):
        out += varint(field << 3) + varint(value)
    out += varint(4 << 3 | 2) + varint(len(data)) + data + varint(5 << 3) + varint(label)
    return out if shape else out + varint(7 << 3) + varint(1)


def make_caffe(
    tree: Path,
    path: Path,
    *,
    raw: bool = False,
    key: Callable[[int, Path], str] = lambda n, file: f"{n:08d}_{file.parent.name}/{file.name}",
) -> Path:
    """Caffe's layout, as ``convert_imageset`` makes it; raw: planes, blue first."""
    with lmdb.open(str(path), map_size=2**26) as env, env.begin(write=True) as txn:
        for n, file in enumerate(files(tree)):
            label = CLASSES.index(file.parent.name)
            record = datum(file.read_bytes(), label)
            if raw:
                pixels = np.asarray(Image.open(file).convert("RGB"))
                planes = pixels.transpose(2, 0, 1)[::-1]
                record = datum(planes.tobytes(), label, planes.shape)
            txn.put(key(n, file).encode(), record)
    (path / "lock.mdb").unlink()
    return path


def make_tar(tree: Path, path: Path, *, nested: bool = True) -> Path:
    """ImageNet as it is handed out, a tar of a tar a class; or plain, of a folder a class."""
    with tarfile.open(path, "w") as outer:
        for folder in sorted(tree.iterdir()):
            if not nested:
                outer.add(folder, folder.name)
                continue
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as part:
                for file in sorted(folder.iterdir(), reverse=True):
                    part.add(file, file.name)
            member = tarfile.TarInfo(f"{folder.name}.tar")
            member.size = len(inner.getvalue())
            outer.addfile(member, io.BytesIO(inner.getvalue()))
    return path
