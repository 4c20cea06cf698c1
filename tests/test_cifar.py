"""CIFAR from archives of the real layout, made here with a few made-up images."""

import hashlib
import io
import pickle
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import DataError, Dataset, load_dataset
from srsgd_ray.datasets.cifar import _unpack_next_to

OWN = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
AS_PUBLISHED = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def archive(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, list]:
    """Write a small archive of the real layout; returns its training images (HWC) and labels.

    torchvision's md5 tables are replaced by the made-up files' md5, so that its check stays real.
    """
    kind = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[
        name
    ]
    classes = 10 if name == "cifar10" else 100
    key = "labels" if name == "cifar10" else "fine_labels"
    rng = np.random.default_rng(7)
    files, images, labels = {}, [], []
    for file, _ in (*kind.train_list, *kind.test_list):
        each = 20 if name == "cifar10" else 200
        data = rng.integers(0, 256, (each, 3072), dtype=np.uint8)
        target = (np.arange(each) % classes).tolist()
        entry = {"data": data, key: target, "batch_label": file}
        if name == "cifar100":
            entry["coarse_labels"] = [0] * each
        files[file] = pickle.dumps(entry, protocol=2)
        if file not in dict(kind.test_list):
            images.append(data)
            labels += target
    names = [f"class {i}" for i in range(classes)]
    files[kind.meta["filename"]] = pickle.dumps({kind.meta["key"]: names}, protocol=2)
    path = folder / kind.filename
    with tarfile.open(path, "w:gz") as tar:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{kind.base_folder}/{file}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    for table in ("train_list", "test_list"):
        rewritten = [[file, md5(files[file])] for file, _ in getattr(kind, table)]
        monkeypatch.setattr(kind, table, rewritten)
    meta = {**kind.meta, "md5": md5(files[kind.meta["filename"]])}
    monkeypatch.setattr(kind, "meta", meta)
    monkeypatch.setattr(kind, "tgz_md5", md5(path.read_bytes()))
    hwc = np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return hwc, labels


def cifar(name: str, folder: Path, **changes: object) -> Dataset:
    return load_dataset(TrainConfig().replace(dataset=name, data_dir=str(folder), **changes))


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_from_the_archive_then_from_the_folder(
    name: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = archive(tmp_path, name, monkeypatch)
    data = cifar(name, tmp_path, train_on="train+validation")
    assert np.array_equal(data.train_images.permute(0, 2, 3, 1).numpy(), images)
    assert data.train_labels.tolist() == labels
    assert data.train_images.dtype == torch.uint8 and data.train_labels.dtype == torch.int64
    assert data.train_images.is_contiguous()
    assert (data.classes, data.channels, data.image_size) == (classes, 3, 32)
    assert (data.mean, data.std, data.pad, data.flip) == (*OWN[name], 4, True)
    published = cifar(name, tmp_path, normalisation="as_published")
    assert (published.mean, published.std) == AS_PUBLISHED
    for path in tmp_path.glob("*.tar.gz"):
        path.unlink()
    assert [path.name for path in tmp_path.iterdir()] == [
        {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    ]
    again = cifar(name, tmp_path, validation_fraction=0.5)
    assert again.validation_images is not None and again.validation_labels is not None
    assert len(again.validation_images) == len(again.train_images) == len(labels) // 2
    assert again.validation_labels.bincount().unique().numel() == 1
    assert torch.equal(again.test_images, data.test_images)
    assert not rows(again.test_images) & (rows(again.train_images) | rows(again.validation_images))


def test_cifar_in_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(tmp_path, "cifar10", monkeypatch)
    monkeypatch.setattr("srsgd_ray.datasets.cifar.os.access", lambda path, mode: False)
    assert len(cifar("cifar10", tmp_path, train_on="train+validation").train_images) == 100
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]


def test_cifar_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cifar10 not found") as caught:
        cifar("cifar10", tmp_path)
    assert str(tmp_path / "cifar-10-batches-py") in str(caught.value)
    assert str(tmp_path / "cifar-10-python.tar.gz") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_cifar_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path, "cifar10", monkeypatch)
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz is damaged .* its md5 must be"):
        cifar("cifar10", tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_cifar_archive_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path, "cifar10", monkeypatch)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "base_folder", "elsewhere")
    with pytest.raises(DataError, match="does not hold the folder elsewhere"):
        cifar("cifar10", tmp_path)


def test_cifar_damaged_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path, "cifar10", monkeypatch)
    cifar("cifar10", tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"half")
    (tmp_path / "cifar-10-batches-py" / "batches.meta").unlink()
    with pytest.raises(DataError, match=r"missing \['batches.meta'\], damaged \['data_batch_2'\]"):
        cifar("cifar10", tmp_path)


def test_cifar_unpacked_by_several_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path, "cifar10", monkeypatch)
    barrier = threading.Barrier(4)

    def load(_: int) -> int:
        barrier.wait(timeout=60)
        return len(cifar("cifar10", tmp_path, train_on="train+validation").train_images)

    # Threads race for the folder as processes do, and share the replaced md5 tables.
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(load, range(4))) == [100] * 4
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


def test_a_slower_process_keeps_the_faster_ones_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(tmp_path, "cifar10", monkeypatch)
    path = tmp_path / "cifar-10-python.tar.gz"
    _unpack_next_to(path, torchvision.datasets.CIFAR10)
    marker = tmp_path / "cifar-10-batches-py" / "first"
    marker.touch()
    _unpack_next_to(path, torchvision.datasets.CIFAR10)
    assert marker.exists() and len(list(tmp_path.iterdir())) == 2
