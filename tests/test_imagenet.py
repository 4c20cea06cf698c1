"""ImageNet's readers and batches: both layouts, reproducible crops, shares of ranks, messages."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import DataError, Look, load_dataset
from srsgd_ray.data.imagenet import ImageNet, random_crop
from srsgd_ray.data.sources import FolderSource, LmdbSource, open_sources

LOOK = Look(torch.device("cpu"))
CLASSES = ("n01440764", "n02102040", "n03000684")


def jpeg(index: int, mode: str = "RGB", form: str = "JPEG") -> bytes:
    """A piece of one of scikit-learn's photographs, of a size of its own."""
    photo = load_sample_images().images[index % 2]
    piece = photo[10 * index : 10 * index + 60 + index, 20 : 100 + 3 * index]
    data = io.BytesIO()
    Image.fromarray(piece).convert(mode).save(data, form)
    return data.getvalue()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 6 validation images in three classes; one is CMYK, one a PNG by content."""
    root = tmp_path_factory.mktemp("imagenet")
    for part, each in (("train", 4), ("val", 2)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for n in range(each):
                index = label * each + n
                mode, form = ("CMYK", "JPEG") if index == 3 else ("RGB", "JPEG")
                if index == 5:
                    form = "PNG"
                (root / part / name / f"{name}_{n}.JPEG").write_bytes(jpeg(index, mode, form))
    return root


@pytest.fixture
def databases(tree: Path, tmp_path: Path) -> Path:
    """The same images in the original's layout, with a pickle that must not be opened."""
    for part in ("train", "val"):
        path = tmp_path / f"{part}_faster_imagefolder.lmdb"
        with lmdb.open(str(path), map_size=2**24) as env, env.begin(write=True) as txn:
            for file in sorted((tree / part).glob("*/*")):
                txn.put(f"/data/imagenet/{file.relative_to(tree)}".encode(), file.read_bytes())
        (tmp_path / f"{path.name}.pt").write_bytes(pickle.dumps(Trap()))
    return tmp_path


class Trap:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return pytest.fail, ("the pickle was opened",)


def config(folder: Path, **changes: Any) -> TrainConfig:
    base = {"dataset": "imagenet", "data_dir": str(folder), "model": "imagenet_resnet18"}
    base |= {"image_size": 32, "decode_threads": 2, "train_on": "train+validation"}
    return TrainConfig().replace(**{**base, **changes}).check()


def epoch(data: ImageNet, chosen: TrainConfig, **share: int) -> list[tuple[Tensor, Tensor, float]]:
    batches = data.train_batches(chosen, LOOK)
    return list(batches.epoch(**{"seed": 1, "epoch": 0, "batch_size": 5, **share}))


def load(chosen: TrainConfig) -> ImageNet:
    data = load_dataset(chosen)
    assert isinstance(data, ImageNet)
    return data


def test_both_layouts_hold_the_same(tree: Path, databases: Path) -> None:
    folders, bases = open_sources(tree), open_sources(databases)
    for folder, base in zip(folders, bases, strict=True):
        assert folder.classes == base.classes == CLASSES
        assert folder.labels.tolist() == base.labels.tolist()
        assert [folder.read(n) for n in range(len(folder))] == [
            base.read(n) for n in range(len(base))
        ]
    one, two = load(config(tree)), load(config(databases))
    for a, b in zip(epoch(one, config(tree)), epoch(two, config(databases)), strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def test_an_lmdb_source_survives_a_pickle_and_makes_no_lock(databases: Path) -> None:
    for lock in databases.glob("*/lock.mdb"):
        lock.unlink()
    source = LmdbSource(databases / "val_faster_imagefolder.lmdb")
    first = source.read(0)
    again = pickle.loads(pickle.dumps(source))
    assert again.read(0) == first
    assert not list(databases.glob("*/lock.mdb"))


def test_ranks_share_each_global_batch(tree: Path) -> None:
    chosen = config(tree)
    data = load(chosen)
    whole = epoch(data, chosen)
    assert [len(labels) for _, labels, _ in whole] == [5, 5, 2]
    parts = [epoch(data, chosen, rank=rank, world_size=2) for rank in (0, 1)]
    for (images, labels, share), *own in zip(whole, *parts, strict=True):
        assert share == pytest.approx(1 / len(labels))
        for rank, (mine, my_labels, my_share) in enumerate(own):
            assert torch.equal(mine, images[rank::2])
            assert torch.equal(my_labels, labels[rank::2])
            assert my_share == pytest.approx(2 / len(labels))
    # A last batch with fewer images than workers is dropped on all of them.
    assert data.train_batches(chosen, LOOK).steps_per_epoch(5, 3) == 2


def test_threads_change_nothing_and_epochs_do(tree: Path) -> None:
    one, four = (config(tree, decode_threads=n) for n in (1, 4))
    for a, b in zip(epoch(load(one), one), epoch(load(four), four), strict=True):
        assert torch.equal(a[0], b[0])
    first, second = (epoch(load(one), one, epoch=n) for n in (0, 1))
    assert not torch.equal(first[0][0], second[0][0])
    assert sorted(torch.cat([b[1] for b in first]).tolist()) == [0] * 4 + [1] * 4 + [2] * 4


def test_evaluation_is_the_central_crop_each_image_once(tree: Path) -> None:
    data = load(config(tree))
    test = data.eval_batches("test", LOOK)
    assert test is not None
    ((images, labels),) = test.batches()
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    source = FolderSource(tree / "val")
    with Image.open(io.BytesIO(source.read(0))) as opened:
        pixels = torch.from_numpy(np.array(opened)).permute(2, 0, 1)
    short = functional.resize(pixels, [37], antialias=True)  # 32 * 256 / 224, rounded
    crop = functional.center_crop(short, [32, 32]).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    wanted = (crop - mean[:, None, None]) / std[:, None, None]
    assert (images[0] - wanted).abs().max() < 0.04  # JPEG decoders differ by a grey level or two
    halves = [list(test.batches(rank=rank, world_size=2)) for rank in (0, 1)]
    assert torch.equal(halves[0][0][0], images[0::2])
    assert torch.equal(halves[1][0][0], images[1::2])


def test_validation_is_held_out_from_the_training_images(tree: Path) -> None:
    chosen = config(tree, train_on="train", validation_fraction=0.25)
    data = load(chosen)
    validation = data.eval_batches("validation", LOOK)
    assert validation is not None
    ((_, labels),) = validation.batches()
    assert sorted(labels.tolist()) == [0, 1, 2]
    assert sum(len(labels) for _, labels, _ in epoch(data, chosen)) == 9
    assert load(config(tree)).eval_batches("validation", LOOK) is None


@pytest.mark.parametrize(("height", "width"), [(300, 400), (40, 400)])
def test_crops_are_distributed_as_torchvisions(height: int, width: int) -> None:
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    )
    ours = np.array([random_crop(height, width, np.random.default_rng(n)) for n in range(4000)])
    for column in range(4):
        spread = max(theirs[:, column].std(), 1.0)
        difference = abs(theirs[:, column].mean() - ours[:, column].mean())
        assert difference < 5 * spread * (2 / 4000) ** 0.5
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


def test_what_is_missing_is_said_at_once(tree: Path, tmp_path: Path) -> None:
    def message(folder: Path) -> str:
        with pytest.raises(DataError) as error:
            load(config(folder))
        return str(error.value)

    assert "imagenet not found: expected folders train and val" in message(tmp_path / "none")
    (tmp_path / "train" / "a").mkdir(parents=True)
    assert "val beside train" in message(tmp_path)
    (tmp_path / "val").mkdir()
    assert "every class needs images" in message(tmp_path)
    (tmp_path / "train" / "a" / "x.jpg").write_bytes(jpeg(0))
    assert "must hold one folder a class" in message(tmp_path)
    (tmp_path / "val" / "b").mkdir()
    (tmp_path / "val" / "b" / "y.jpg").write_bytes(jpeg(0))
    assert "the same classes, but 2 are in one only: a, b" in message(tmp_path)
    (tmp_path / "val" / "b").rename(tmp_path / "val" / "a")
    (tmp_path / "train" / "a" / "x.jpg").write_bytes(b"no image")
    chosen = config(tmp_path)
    with pytest.raises(DataError, match=r"x\.jpg cannot be decoded"):
        epoch(load(chosen), chosen)


def test_bad_databases_are_said_at_once(tmp_path: Path) -> None:
    names = [f"{part}_faster_imagefolder.lmdb" for part in ("train", "val")]
    (tmp_path / names[0]).mkdir()
    with pytest.raises(DataError, match=r"missing: \['val_faster"):
        load(config(tmp_path))
    (tmp_path / names[1]).mkdir()
    with pytest.raises(DataError, match="is no LMDB database"):
        load(config(tmp_path))
    for name, key in (("empty", None), ("flat", b"justaname.JPEG")):
        with lmdb.open(str(tmp_path / name), map_size=2**20) as env, env.begin(write=True) as txn:
            if key is not None:
                txn.put(key, b"x")
    with pytest.raises(DataError, match="holds no image"):
        LmdbSource(tmp_path / "empty")
    with pytest.raises(DataError, match="a key must be a path with the class as its folder"):
        LmdbSource(tmp_path / "flat")
