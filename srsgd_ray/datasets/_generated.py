"""Small made-up data in the real layout, to try a machine or a cluster without the real ones.

``data_dir="generated"`` makes each worker write them into a folder of its own and read them through
the ordinary readers. They are the same everywhere: each class is a pattern, each image its pattern
with noise. They are few, so that the deepest network passes over them on a CPU.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

CIFAR_TRAIN, CIFAR_TEST = 50, 20  # images in all training files together, and in the test file
CIFAR_CLASSES = 10  # that have images: with all 100 of CIFAR-100, too few a class to learn from
IMAGENET_CLASSES = 8
IMAGENET_TRAIN, IMAGENET_VAL = 10, 3  # images a class


def _images(labels: npt.NDArray[np.int64], size: int, seed: int) -> Images:
    """uint8 (N, size, size, 3): waves that differ from class to class, and noise."""
    rng = np.random.default_rng(seed)
    at = np.arange(size) / size
    made = np.empty((len(labels), size, size, 3))
    for index, label in enumerate(labels):
        own = np.random.default_rng(1000 + int(label))
        across, down, phase = own.uniform(0.5, 4.0, (3, 3))
        made[index] = np.sin(
            2 * np.pi * (across * at[:, None, None] + down * at[None, :, None]) + phase
        )
    made = 127.5 + 70 * made + rng.normal(0, 30, made.shape)
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


@contextmanager
def generated_cifar(name: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with the batches of CIFAR-10 or CIFAR-100, for the length of the context.

    Yields:
        The folder that holds ``cifar-10-batches-py`` or ``cifar-100-python``, and the md5 of each
        file in it by its name.
    """
    ten = name == "cifar10"
    classes = 10 if ten else 100
    key, label_names = ("labels", "label_names") if ten else ("fine_labels", "fine_label_names")
    files: dict[str, object] = {}
    train = [f"data_batch_{n}" for n in range(1, 6)] if ten else ["train"]
    test = "test_batch" if ten else "test"
    for seed, file in enumerate([*train, test]):
        count = CIFAR_TEST if file == test else CIFAR_TRAIN // len(train)
        labels = np.arange(count) % CIFAR_CLASSES * (classes // CIFAR_CLASSES)
        flat = _images(labels, 32, seed).transpose(0, 3, 1, 2).reshape(count, -1)
        files[file] = {"data": flat, key: labels.tolist()}
    files["batches.meta" if ten else "meta"] = {
        label_names: [f"class {label}" for label in range(classes)]
    }
    with tempfile.TemporaryDirectory(prefix="srsgd-ray-generated-") as folder:
        base = Path(folder) / ("cifar-10-batches-py" if ten else "cifar-100-python")
        base.mkdir()
        md5 = {}
        for file, content in files.items():
            data = pickle.dumps(content)
            (base / file).write_bytes(data)
            md5[file] = hashlib.md5(data, usedforsecurity=False).hexdigest()
        yield Path(folder), md5


class Folder:
    """A temporary folder that is removed with the last object that holds this one."""

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="srsgd-ray-generated-")
        weakref.finalize(self, _remove, self.name, os.getpid())


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a fork that ends must leave its parent's folder
        shutil.rmtree(folder, ignore_errors=True)


def generated_imagenet() -> Folder:
    """A folder with ``train`` and ``val``, each with a folder of JPEG files a class."""
    from PIL import Image

    folder = Folder()
    for seed, (part, each) in enumerate({"train": IMAGENET_TRAIN, "val": IMAGENET_VAL}.items()):
        labels = np.repeat(np.arange(IMAGENET_CLASSES), each)
        images = _images(labels, 96, seed)
        rng = np.random.default_rng(seed)
        for index, (label, image) in enumerate(zip(labels, images, strict=True)):
            own = Path(folder.name) / part / f"n{label:08d}"
            own.mkdir(parents=True, exist_ok=True)
            width, height = rng.integers(40, 97, 2)
            data = io.BytesIO()
            Image.fromarray(image[:height, :width]).save(data, "JPEG", quality=90)
            (own / f"n{label:08d}_{index}.JPEG").write_bytes(data.getvalue())
    return folder
