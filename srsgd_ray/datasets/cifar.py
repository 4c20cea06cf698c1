"""CIFAR-10 and CIFAR-100 from a folder that holds them, unpacked or as the published archive.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Every file's
md5 is checked against the one that torchvision publishes, before anything in it is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srsgd_ray.parts import GENERATED, data_set

if TYPE_CHECKING:
    from torch import Tensor

    from srsgd_ray.data import Dataset

SIZES = {"pixels": 32, "train": 50_000, "test": 10_000}
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
# Mean and standard deviation of each channel over the training images.
OWN = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
# The original's for both: its deviations are means over the images' own.
AS_PUBLISHED = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


@data_set("cifar10", "CIFAR-10, read from data_dir", classes=10, **SIZES)
def cifar10(data_dir: Path | str, normalisation: str = "dataset") -> Dataset:
    """All 50,000 training and 10,000 test images of 3x32x32 pixels, none held out.

    ``data_dir`` holds the unpacked folder (``cifar-10-batches-py``, ``cifar-100-python``) or the
    archive (``cifar-10-python.tar.gz``, ``cifar-100-python.tar.gz``). An archive without its
    folder is unpacked next to it once, also if several processes try at the same time; in a
    folder that cannot be written it is unpacked elsewhere for this call only.

    Args:
        data_dir: the folder; ``"generated"`` makes small data of the same layout.
        normalisation: ``"dataset"``, or ``"as_published"`` for the original's numbers.

    Raises:
        DataError: if a file is missing or its md5 is not the published one.
    """
    return _cifar("cifar10", data_dir, normalisation)


@data_set("cifar100", "CIFAR-100, read from data_dir", classes=100, **SIZES)
def cifar100(data_dir: Path | str, normalisation: str = "dataset") -> Dataset:
    """:func:`cifar10` with 100 classes, the fine labels."""
    return _cifar("cifar100", data_dir, normalisation)


def _cifar(name: str, data_dir: Path | str, normalisation: str) -> Dataset:
    import torchvision.datasets

    from srsgd_ray.data import DataError
    from srsgd_ray.datasets._generated import generated_cifar

    kind = torchvision.datasets.CIFAR10 if name == "cifar10" else torchvision.datasets.CIFAR100
    scale = OWN[name] if normalisation == "dataset" else AS_PUBLISHED
    if str(data_dir) == GENERATED:
        with generated_cifar(name) as (folder, md5):
            return _read(name, _with_sums(kind, md5), folder, scale)
    data_dir = Path(data_dir).expanduser()
    archive = data_dir / kind.filename
    if (data_dir / kind.base_folder).is_dir():
        return _read(name, kind, data_dir, scale)
    if not archive.is_file():
        near = [data_dir.absolute().parent]
        near += sorted(path for path in data_dir.glob("*") if path.is_dir())
        held = (kind.base_folder, kind.filename)
        right = next((p for p in near if any((p / name).exists() for name in held)), None)
        cure = f"Get the archive from {kind.url}, or correct data_dir={str(data_dir)!r}."
        if right is not None:
            which = "parent" if right is near[0] else "child"
            cure = f"It lies in the {which} of data_dir={str(data_dir)!r}: give {str(right)!r}."
        raise DataError(
            f"{name} not found: expected the folder {data_dir / kind.base_folder} or the archive "
            f"{archive}. {cure}"
        )
    if os.access(data_dir, os.W_OK):
        _unpack_next_to(archive, kind)
        return _read(name, kind, data_dir, scale)
    with tempfile.TemporaryDirectory() as elsewhere:
        _unpack(archive, Path(elsewhere), kind)
        return _read(name, kind, Path(elsewhere), scale)


def _unpack_next_to(archive: Path, kind: Any) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=archive.parent))
    target = archive.parent / kind.base_folder
    try:
        _unpack(archive, scratch, kind)
        try:
            (scratch / kind.base_folder).rename(target)
        except OSError:
            # A folder full of files cannot be renamed over: another process was faster.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch)


def _unpack(archive: Path, where: Path, kind: Any) -> None:
    from srsgd_ray.data import DataError

    found = _md5(archive)
    if found != kind.tgz_md5:
        raise DataError(
            f"{archive} is damaged or not the published archive: its md5 must be {kind.tgz_md5}, "
            f"but is {found}. Get it anew from {kind.url}."
        )
    with tarfile.open(archive, "r:gz") as tar:
        # Python 3.11.2, Debian 12's, has no filters; what is unpacked has the published sum.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(where)
    if not (where / kind.base_folder).is_dir():
        raise DataError(f"{archive} does not hold the folder {kind.base_folder}.")


def _with_sums(kind: Any, md5: dict[str, str]) -> Any:
    """torchvision's class, for files with other md5 sums than the published ones."""
    lists = {
        part: [[file, md5[file]] for file, _ in getattr(kind, part)]
        for part in ("train_list", "test_list")
    }
    meta = {**kind.meta, "md5": md5[kind.meta["filename"]]}
    return type(kind.__name__, (kind,), {**lists, "meta": meta})


def _read(name: str, kind: Any, root: Path, scale: Normalisation) -> Dataset:
    from srsgd_ray.data import DataError, Dataset

    try:
        train, test = (kind(root, train=part, download=False) for part in (True, False))
    except RuntimeError as error:
        folder = root / kind.base_folder
        published = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
        missing = [file for file, _ in published if not (folder / file).is_file()]
        damaged = [
            file for file, md5 in published if file not in missing and _md5(folder / file) != md5
        ]
        raise DataError(
            f"{folder} is not the published {name}: missing {missing or 'nothing'}, "
            f"damaged {damaged or 'nothing'}. Remove the folder and put {kind.filename} "
            f"(from {kind.url}) next to it."
        ) from error
    classes, (mean, std) = len(train.classes), scale
    return Dataset.of(
        _tensors(train), _tensors(test), classes=classes, mean=mean, std=std, pad=4, flip=True
    )


def _tensors(part: Any) -> tuple[Tensor, Tensor]:
    import numpy as np
    import torch

    planes = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
    return torch.from_numpy(planes), torch.tensor(part.targets, dtype=torch.int64)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
