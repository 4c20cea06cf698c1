"""Made-up data of the real layout: the same everywhere, gone afterwards, and never a way around."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

import pytest
import torch

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import BatchFormat, DataError, Dataset, load_dataset
from srsgd_ray.datasets._generated import generated_cifar, generated_imagenet
from srsgd_ray.training import train


def load(name: str, **changes: object) -> Dataset:
    config = TrainConfig().replace(dataset=name, data_dir="generated", **changes)
    data = load_dataset(config)
    assert isinstance(data, Dataset)
    return data


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_generated_cifar_is_read_by_the_ordinary_reader(
    name: str, classes: int, tmp_path: Path
) -> None:
    data = load(name, train_on="train+validation")
    assert data.train_images.shape[1:] == (3, 32, 32)
    assert data.classes == classes
    assert data.train_labels.bincount().unique().tolist() in ([5], [0, 5])
    assert set(data.train_labels.tolist()) == set(data.test_labels.tolist())
    again = load(name, train_on="train+validation")
    assert torch.equal(data.train_images, again.train_images)
    assert not torch.equal(data.train_images[:20], data.test_images[:20])
    held = load(name, validation_fraction=0.5)
    assert held.validation_images is not None
    assert len(held.validation_images) == len(data.train_images) // 2
    assert not list(tmp_path.glob("srsgd-ray-*")), "the folder is gone"


def test_a_real_folder_is_never_read_with_the_generated_sums() -> None:
    with (
        generated_cifar("cifar10") as (folder, _),
        pytest.raises(DataError, match="is not the published cifar10: missing nothing, damaged"),
    ):
        load_dataset(TrainConfig(dataset="cifar10", data_dir=str(folder)))


def test_generated_imagenet_is_a_folder_tree_that_goes_with_its_object(tmp_path: Path) -> None:
    folder = generated_imagenet()
    root = Path(folder.name)
    assert {p.name for p in root.iterdir()} == {"train", "val"}
    for part in ("train", "val"):
        classes = sorted(p.name for p in (root / part).iterdir())
        assert classes == [f"n{label:08d}" for label in range(8)]
    again = generated_imagenet()
    for file in root.glob("*/*/*"):
        assert file.read_bytes() == (Path(again.name) / file.relative_to(root)).read_bytes()
    del again
    assert [root] == list(tmp_path.glob("srsgd-ray-*"))
    del folder
    assert not list(tmp_path.glob("srsgd-ray-*"))


def test_generated_imagenet_lives_as_long_as_its_batches(tmp_path: Path) -> None:
    config = TrainConfig(
        dataset="imagenet", data_dir="generated", image_size=32, validation_fraction=0.25
    )
    form = BatchFormat(torch.device("cpu"))
    data = load_dataset(config)
    train_batches, validation = (
        data.train_batches(config, form),
        data.eval_batches("validation", form),
    )
    assert data.classes == 8 and validation is not None
    del data
    held = [labels for _, labels in validation.batches()]
    kept = [labels for _, labels, _ in train_batches.epoch(0, 0, 16)]
    assert torch.cat(held).bincount().tolist() in ([2] * 4 + [3] * 4, [3] * 4 + [2] * 4)
    assert len(torch.cat(held)) + len(torch.cat(kept)) == 80
    del train_batches, validation
    assert not list(tmp_path.glob("srsgd-ray-*"))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child starts no thread
def test_a_fork_that_ends_leaves_its_parents_folder() -> None:
    folder = generated_imagenet()
    child = os.fork()
    if child == 0:
        weakref.finalize._exitfunc()
        os._exit(0)
    os.waitpid(child, 0)
    assert Path(folder.name).is_dir()


@pytest.mark.parametrize(
    ("dataset", "model", "depth", "block"),
    [("cifar10", "preresnet", 11, "bottleneck"), ("imagenet", "imagenet_resnet18", 18, "basic")],
)
def test_a_network_learns_the_generated_data(
    dataset: str, model: str, depth: int, block: str
) -> None:
    config = TrainConfig(
        dataset=dataset, data_dir="generated", model=model, depth=depth, block=block, epochs=8,
        batch_size=16, image_size=32, lr=0.02, restart_f1=10, train_on="train+validation",
        evaluate_test=True, threads=1, decode_threads=2,
    )  # fmt: skip
    rows: list[dict[str, float]] = []
    outcome = train(config, lambda row, save: rows.append(row))
    assert outcome.state == "complete"
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["test_error"] is not None
