"""ImageNet's readers and batches: both layouts, reproducible crops, shares of ranks, messages."""

from __future__ import annotations

import io
import math
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import DataError, Look, load_dataset
from srsgd_ray.data.imagenet import ImageNet
from srsgd_ray.data.pictures import decode, random_crop
from srsgd_ray.data.sources import FolderSource, LmdbSource, Source, open_sources
from srsgd_ray.data.streams import _threads

LOOK = Look(torch.device("cpu"))
LOOK_OF = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
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


def read_by_threads(source: Source, _: object = None) -> list[bytes]:
    """All images, asked for by four threads at a time from a database that may not be open yet."""
    barrier = threading.Barrier(4)

    def read(index: int) -> bytes:
        barrier.wait(timeout=60)
        return source.read(index)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(read, range(4)))


def test_an_lmdb_source_can_be_read_in_a_spawned_process(databases: Path) -> None:
    source = LmdbSource(databases / "val_faster_imagefolder.lmdb")
    wanted = [source.read(index) for index in range(4)]
    assert read_by_threads(pickle.loads(pickle.dumps(source))) == wanted
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_by_threads, (source,)) == wanted


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child starts no thread
def test_an_lmdb_source_can_be_read_after_a_fork(databases: Path) -> None:
    source = LmdbSource(databases / "val_faster_imagefolder.lmdb")
    other = LmdbSource(databases / "val_faster_imagefolder.lmdb")  # shares what is open
    wanted = source.read(0)
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = source.read(0) == wanted == other.read(0)
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert source.read(0) == wanted


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


def test_threads_and_another_run_change_nothing_but_epochs_and_seeds_do(tree: Path) -> None:
    one, four = (config(tree, decode_threads=n) for n in (1, 4))
    for a, b, c in zip(*(epoch(load(chosen), chosen) for chosen in (one, four, four)), strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(b[0], c[0])
        assert torch.equal(a[1], b[1]) and torch.equal(b[1], c[1])
    first, *others = (epoch(load(one), one, **n) for n in ({}, {"epoch": 1}, {"seed": 2}))
    for other in others:
        assert not torch.equal(first[0][0], other[0][0])
    assert sorted(torch.cat([b[1] for b in first]).tolist()) == [0] * 4 + [1] * 4 + [2] * 4


def picture(source: Source, index: int) -> Image.Image:
    return Image.open(io.BytesIO(source.read(index))).convert("RGB")


def finished(image: Image.Image) -> Tensor:
    return functional.normalize(functional.to_tensor(image), *LOOK_OF)


def test_training_images_are_those_of_torchvisions_transforms(tree: Path) -> None:
    chosen = config(tree)
    source = FolderSource(tree / "train")
    for look in (LOOK, Look(torch.device("cpu"), channels_last=True)):
        batches = load(chosen).train_batches(chosen, look)
        order, tries, place, flip = (column.tolist() for column in batches.draws(seed=1, epoch=0))
        made = list(batches.epoch(seed=1, epoch=0, batch_size=5))
        layout = torch.channels_last if look.channels_last else torch.contiguous_format
        assert all(x.is_contiguous(memory_format=layout) for x, _, _ in made)
        images, labels = (torch.cat([part[n] for part in made]) for n in (0, 1))
        assert images.dtype == torch.float32 and labels.tolist() == [n // 4 for n in order]
        assert {True, False} == set(flip)
        for position, index in enumerate(order):
            image = picture(source, index)
            box = random_crop(image.height, image.width, tries[position], place[position])
            wanted = functional.resized_crop(image, *box, [32, 32])
            wanted = functional.hflip(wanted) if flip[position] else wanted
            assert (images[position] - finished(wanted)).abs().max() < 1e-6


def test_without_augmentation_images_are_only_shuffled(tree: Path) -> None:
    plain, augmented = (config(tree, augment=on) for on in (False, True))
    batches = load(plain).train_batches(plain, LOOK)
    order = batches.draws(1, 0).order
    assert torch.equal(order, load(augmented).train_batches(augmented, LOOK).draws(1, 0).order)
    images = torch.cat([images for images, _, _ in batches.epoch(1, 0, 5)])
    source = FolderSource(tree / "train")
    view = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32)])
    wanted = torch.stack([finished(view(picture(source, int(index)))) for index in order])
    assert (images - wanted).abs().max() < 1e-6


@pytest.mark.parametrize("size", [32, 96])  # 96: larger than some images
def test_evaluation_is_torchvisions_central_crop_each_image_once(tree: Path, size: int) -> None:
    test = load(config(tree, image_size=size)).eval_batches("test", LOOK)
    assert test is not None
    ((images, labels),) = test.batches()
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    source = FolderSource(tree / "val")
    view = transforms.Compose(
        [transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)]
    )
    for index, image in enumerate(images):
        assert (image - finished(view(picture(source, index)))).abs().max() < 1e-6
    for world_size in (2, 7):
        parts = [list(test.batches(rank, world_size, batch_size=2)) for rank in range(world_size)]
        for rank, part in enumerate(parts):
            seen = [image for x, _ in part for image in x]
            assert all(len(x) <= 2 for x, _ in part)
            assert len(seen) == len(images[rank::world_size])
            for one, other in zip(seen, images[rank::world_size], strict=True):
                assert torch.equal(one, other)


def test_validation_is_held_out_from_the_training_images(tree: Path) -> None:
    chosen = config(tree, train_on="train", validation_fraction=0.25)
    data = load(chosen)
    validation = data.eval_batches("validation", LOOK)
    assert validation is not None
    ((_, labels),) = validation.batches()
    assert sorted(labels.tolist()) == [0, 1, 2]
    assert sum(len(labels) for _, labels, _ in epoch(data, chosen)) == 9
    assert load(config(tree)).eval_batches("validation", LOOK) is None


@pytest.mark.parametrize(("height", "width"), [(300, 400), (40, 400), (400, 30)])
def test_crops_are_distributed_as_torchvisions(height: int, width: int) -> None:
    count = 4000
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    get = transforms.RandomResizedCrop.get_params
    theirs = np.array([get(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])
    tries, place = np.random.default_rng(0).random((count, 10, 2)), np.random.default_rng(1)
    ours = np.array([random_crop(height, width, t, place.random(2)) for t in tries])
    for column in range(4):
        # The largest distance between two empirical distributions; 1.95: one in a thousand.
        values = np.unique(np.concatenate([theirs[:, column], ours[:, column]]))
        share = [np.searchsorted(np.sort(x[:, column]), values, "right") for x in (theirs, ours)]
        assert np.abs(share[0] - share[1]).max() / count < 1.95 * math.sqrt(2 / count)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


@pytest.mark.parametrize(
    ("tries", "place", "box"),
    [
        # 0.54 of 200 x 100 in shape 1: 103.9 high does not fit; 0.08 in shape 1: 40 x 40.
        ([(0.5, 0.5), (0.0, 0.5)], (0.5, 0.999), (30, 160, 40, 40)),
        ([(0.0, 0.5), (0.5, 0.5)], (0.0, 0.0), (0, 0, 40, 40)),
        ([(0.999, 0.5)] * 10, (0.0, 0.0), (0, 33, 100, 133)),  # none fits: the central one
    ],
)
def test_crops_by_hand(tries: Any, place: Any, box: Any) -> None:
    assert random_crop(100, 200, tries, place) == box


def test_draws_cover_their_ranges_and_follow_seed_and_epoch(tree: Path) -> None:
    chosen = config(tree)
    batches = load(chosen).train_batches(chosen, LOOK)
    first = batches.draws(0, 1)
    assert sorted(first.order.tolist()) == list(range(12))
    assert first.tries.shape == (12, 10, 2) and first.place.shape == (12, 2)
    assert 0 <= first.tries.min() < 0.1 and 0.9 < first.tries.max() < 1
    for again, same in ((batches.draws(0, 1), True), (batches.draws(1, 0), False)):
        assert torch.equal(first.tries, again.tries) is same


def test_an_epoch_that_is_left_early_leaves_no_thread(tree: Path) -> None:
    def decoding() -> int:
        return sum(thread.name.startswith("decode") for thread in threading.enumerate())

    chosen = config(tree)
    batches = load(chosen).train_batches(chosen, LOOK).epoch(0, 0, 2)
    next(batches)
    assert decoding() > 0
    del batches
    assert decoding() == 0


def test_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert (_threads(3), _threads(0)) == (3, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert (_threads(1), _threads(0)) == (1, 4)


@pytest.mark.parametrize(("mode", "form"), [("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG")])
def test_every_format_becomes_rgb(mode: str, form: str) -> None:
    image = decode(jpeg(0, mode, form), "x")
    assert image.mode == "RGB" and image.size == (80, 60)


@pytest.mark.parametrize("data", [b"", b"no image", jpeg(0)[:-400], jpeg(0, form="PNG")[:60]])
def test_damaged_images_are_named(data: bytes) -> None:
    with pytest.raises(DataError, match="every image must be readable, but the one cannot be dec"):
        decode(data, "the one")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "0 <= seed and 0 <= epoch must hold, but got seed=-1, epoch=0"),
        ({"batch_size": 2, "world_size": 3}, "batch_size >= world_size must hold"),
        ({"rank": 1}, "0 <= rank < world_size must hold, but got rank=1, world_size=1"),
    ],
)
def test_bad_epochs(tree: Path, change: dict[str, int], message: str) -> None:
    batches = load(config(tree)).train_batches(config(tree), LOOK)
    with pytest.raises(ValueError, match=message):
        batches.epoch(**{"seed": 0, "epoch": 0, "batch_size": 4, **change})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1), "0 <= rank < world_size must hold, but got rank=1, world_size=1"),
        ((0, 1, 0), "1 <= batch_size must hold, but got batch_size=0"),
    ],
)
def test_bad_evaluations(tree: Path, arguments: tuple[int, ...], message: str) -> None:
    batches = load(config(tree)).eval_batches("test", LOOK)
    assert batches is not None
    with pytest.raises(ValueError, match=message):
        batches.batches(*arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_equal_those_on_the_cpu(tree: Path) -> None:
    chosen = config(tree)
    gpu = Look(torch.device("cuda"), channels_last=True)
    batches = (load(chosen).train_batches(chosen, look).epoch(0, 0, 5) for look in (LOOK, gpu))
    for (x, y, share), (gpu_x, gpu_y, gpu_share) in zip(*batches, strict=True):
        assert torch.equal(y, gpu_y.cpu()) and share == gpu_share
        assert gpu_x.is_contiguous(memory_format=torch.channels_last)
        assert (x - gpu_x.cpu()).abs().max() < 1e-6


def message(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        load(config(folder))
    return str(error.value)


def test_what_is_missing_is_said_at_once(tmp_path: Path) -> None:
    assert "imagenet not found: expected folders train and val" in message(tmp_path / "none")
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / ".cache").mkdir()
    assert "val beside train" in message(tmp_path)
    (tmp_path / "val").mkdir()
    assert "every class needs images" in message(tmp_path)
    (tmp_path / "train" / "a" / "x.jpg").write_bytes(jpeg(0))
    (tmp_path / "train" / "a" / "._x.jpg").write_bytes(b"no image")
    assert "val must hold one folder a class" in message(tmp_path)
    (tmp_path / "val" / "b").mkdir()
    (tmp_path / "val" / "b" / "y.jpg").write_bytes(jpeg(0))
    assert "the same classes, but 2 are in one only: a, b" in message(tmp_path)
    (tmp_path / "val" / "b").rename(tmp_path / "val" / "a")
    chosen = config(tmp_path)
    assert len(epoch(load(chosen), chosen)) == 1
    (tmp_path / "train" / "a" / "x.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train/a/x\.jpg cannot be decoded"):
        epoch(load(chosen), chosen)


def test_bad_databases_are_said_at_once(tmp_path: Path) -> None:
    names = [f"{part}_faster_imagefolder.lmdb" for part in ("train", "val")]
    (tmp_path / names[0]).mkdir()
    assert f"which has ['{names[0]}']" in message(tmp_path)
    (tmp_path / names[1]).mkdir()
    assert f"{names[0]} must hold data.mdb, but does not" in message(tmp_path)
    (tmp_path / names[0] / "data.mdb").write_bytes(b"no database" * 1000)
    assert f"{names[0]} must be an LMDB database, but" in message(tmp_path)
    for name, key in (("empty", None), ("flat", b"justaname.JPEG")):
        with lmdb.open(str(tmp_path / name), map_size=2**20) as env, env.begin(write=True) as txn:
            if key is not None:
                txn.put(key, b"x")
    with pytest.raises(DataError, match="must hold images, but is empty"):
        LmdbSource(tmp_path / "empty")
    with pytest.raises(DataError, match="a key must be a path with the class as its folder"):
        LmdbSource(tmp_path / "flat")
