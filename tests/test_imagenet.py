"""ImageNet's readers and batches: both layouts, reproducible crops, shares of ranks, messages."""

from __future__ import annotations

import io
import math
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.transforms import functional

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import BatchFormat, DataError, StoredData, load_dataset
from srsgd_ray.data.crops import Cutter, crop_draws, item_draws, random_crop
from srsgd_ray.data.loader import CropItems, EpochSampler
from srsgd_ray.data.streamed import _threads
from srsgd_ray.image_lmdb import ImageLmdb, Store, build, open_pair, open_store
from srsgd_ray.image_lmdb.layout import ENTRY, INDEX
from srsgd_ray.training import RankError, train

FORMAT = BatchFormat(torch.device("cpu"))
NORMALISED = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
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


def epoch(
    data: StoredData, chosen: TrainConfig, **share: int
) -> list[tuple[Tensor, Tensor, float]]:
    batches = data.train_batches(chosen, FORMAT)
    return list(batches.epoch(**{"seed": 1, "epoch": 0, "batch_size": 5, **share}))


def load(chosen: TrainConfig) -> StoredData:
    data = load_dataset(chosen)
    assert isinstance(data, StoredData)
    return data


def test_both_layouts_hold_the_same(tree: Path, databases: Path) -> None:
    folders, bases = open_pair(tree), open_pair(databases)
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
    assert data.train_batches(chosen, FORMAT).steps_per_epoch(5, 3) == 2


def test_threads_and_another_run_change_nothing_but_epochs_and_seeds_do(tree: Path) -> None:
    one, four = (config(tree, decode_threads=n) for n in (1, 4))
    for a, b, c in zip(*(epoch(load(chosen), chosen) for chosen in (one, four, four)), strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(b[0], c[0])
        assert torch.equal(a[1], b[1]) and torch.equal(b[1], c[1])
    first, *others = (epoch(load(one), one, **n) for n in ({}, {"epoch": 1}, {"seed": 2}))
    for other in others:
        assert not torch.equal(first[0][0], other[0][0])
    assert sorted(torch.cat([b[1] for b in first]).tolist()) == [0] * 4 + [1] * 4 + [2] * 4


def picture(source: Store, index: int) -> Image.Image:
    data = source.read(index)
    assert isinstance(data, bytes)
    return Image.open(io.BytesIO(data)).convert("RGB")


def levels(images: Tensor) -> Tensor:
    """What was normalised, in levels of 0 to 255 again."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in NORMALISED)
    return (images * std + mean) * 255


def assert_pillows(image: Tensor, wanted: Image.Image) -> None:
    """The pixels are those that Pillow's antialiased scaling gives, to within rounding."""
    apart = (levels(image) - functional.pil_to_tensor(wanted)).abs()
    assert apart.mean() < 0.5 and apart.max() < 3


def test_training_images_are_those_of_torchvisions_transforms(tree: Path) -> None:
    chosen = config(tree)
    source = open_store(tree / "train")
    for form in (FORMAT, BatchFormat(torch.device("cpu"), channels_last=True)):
        batches = load(chosen).train_batches(chosen, form)
        order, draws = batches.order(seed=1, epoch=0).tolist(), crop_draws(1, 0, 0, 12)
        made = list(batches.epoch(seed=1, epoch=0, batch_size=5))
        layout = torch.channels_last if form.channels_last else torch.contiguous_format
        assert all(x.is_contiguous(memory_format=layout) for x, _, _ in made)
        images, labels = (torch.cat([part[n] for part in made]) for n in (0, 1))
        assert images.dtype == torch.float32 and labels.tolist() == [n // 4 for n in order]
        assert {True, False} == set(draws.flip.tolist())
        for position, index in enumerate(order):
            image = picture(source, index)
            tries, place = draws.tries[position].tolist(), draws.place[position].tolist()
            box = random_crop(image.height, image.width, tries, place)
            wanted = functional.resized_crop(image, *box, [32, 32])
            wanted = functional.hflip(wanted) if draws.flip[position] else wanted
            assert_pillows(images[position], wanted)


def test_crops_of_photographs_are_within_two_levels_of_pillows() -> None:
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    cutter, out = Cutter(224, checked=True), torch.empty((224, 224, 3), dtype=torch.uint8)
    apart = []
    for n in range(60):
        draws = item_draws(0, 0, n)
        data = io.BytesIO()
        photos[n % 2].resize((500, 375)).save(data, "JPEG", quality=90)
        cutter.random(data.getvalue(), lambda: "x", draws.tries[0], draws.place[0], out)
        box = random_crop(375, 500, draws.tries[0].tolist(), draws.place[0].tolist())
        wanted = functional.resized_crop(Image.open(data), *box, [224, 224])
        apart.append((out.permute(2, 0, 1).int() - functional.pil_to_tensor(wanted)).abs().float())
    assert max(x.mean().item() for x in apart) < 2  # the largest, in levels of 255
    assert torch.stack(apart).mean() < 0.1
    assert cutter.by_pillow == 0


@pytest.mark.parametrize("checked", [True, False])
def test_files_without_a_checksum_are_decoded_whole(checked: bool) -> None:
    """Damage below the crop, which libjpeg tells of, is met only there."""
    data = jpeg(4)[:-2] + b"more" * 9 + jpeg(4)[-2:]
    cutter, out = Cutter(8, checked=checked), torch.empty((8, 8, 3), dtype=torch.uint8)
    tries, place = np.full((10, 2), 0.1, np.float32), np.zeros(2, np.float32)
    if not checked:
        with pytest.raises(DataError, match=r"x cannot be decoded: Corrupt .*extraneous"):
            cutter.random(data, lambda: "x", tries, place, out)
        return
    cutter.random(data, lambda: "x", tries, place, out)
    assert cutter.by_pillow == 0
    again = out.clone()
    Cutter(8, checked=True).random(jpeg(4), lambda: "x", tries, place, out)
    assert torch.equal(out, again)


def test_without_augmentation_images_are_only_shuffled(tree: Path) -> None:
    plain, augmented = (config(tree, augment=on) for on in (False, True))
    batches = load(plain).train_batches(plain, FORMAT)
    order = batches.order(1, 0)
    assert torch.equal(order, load(augmented).train_batches(augmented, FORMAT).order(1, 0))
    images = torch.cat([images for images, _, _ in batches.epoch(1, 0, 5)])
    source = open_store(tree / "train")
    view = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32)])
    for image, index in zip(images, order.tolist(), strict=True):
        assert_pillows(image, view(picture(source, index)))


@pytest.mark.parametrize("size", [32, 96])  # 96: larger than some images
def test_evaluation_is_torchvisions_central_crop_each_image_once(tree: Path, size: int) -> None:
    test = load(config(tree, image_size=size)).eval_batches("test", FORMAT)
    assert test is not None
    ((images, labels),) = test.batches()
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    source = open_store(tree / "val")
    view = transforms.Compose(
        [transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)]
    )
    for index, image in enumerate(images):
        assert_pillows(image, view(picture(source, index)))
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
    validation = data.eval_batches("validation", FORMAT)
    assert validation is not None
    ((_, labels),) = validation.batches()
    assert sorted(labels.tolist()) == [0, 1, 2]
    assert sum(len(labels) for _, labels, _ in epoch(data, chosen)) == 9
    assert load(config(tree)).eval_batches("validation", FORMAT) is None


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
        ([(0.0, 0.5)], (0.999, 0.999), (60, 160, 40, 40)),  # the last row and column are reached
        ([(0.999, 0.5)] * 10, (0.0, 0.0), (0, 33, 100, 133)),  # none fits: the central one
    ],
)
def test_crops_by_hand(tries: Any, place: Any, box: Any) -> None:
    assert random_crop(100, 200, tries, place) == box


def test_draws_cover_their_ranges_and_follow_seed_epoch_and_position() -> None:
    first = crop_draws(0, 1, 0, 3000)
    assert first.tries.shape == (3000, 10, 2) and first.place.shape == (3000, 2)
    for values in (first.tries, first.place):
        assert 0 <= values.min() < 0.001 and 0.999 < values.max() < 1
    assert 0.45 < first.flip.mean() < 0.55
    assert len(np.unique(first.place[:, 0])) > 2990  # blocks are unlike each other
    part = crop_draws(0, 1, 1000, 2100)
    assert np.array_equal(part.tries, first.tries[1000:2100])
    assert np.array_equal(part.flip, first.flip[1000:2100])
    for other in ((1, 0), (0, 0), (1, 1)):
        assert not np.array_equal(crop_draws(*other, 0, 5).tries, first.tries[:5])
    one, again, other = (item_draws(0, 1, n) for n in (7, 7, 8))
    assert np.array_equal(one.tries, again.tries) and not np.array_equal(one.tries, other.tries)
    with pytest.raises(ValueError, match="0 <= seed and 0 <= epoch must hold"):
        item_draws(0, -1, 0)


def test_memory_that_is_used_again_does_not_mix_batches(tree: Path) -> None:
    """Twelve batches, of which four are made at a time, of one image each, and one of twelve."""
    chosen = config(tree)
    batches = load(chosen).train_batches(chosen, FORMAT)
    for number in range(4):
        ((whole, labels, _),) = batches.epoch(1, number, 12)
        singles = [(x, y) for x, y, _ in batches.epoch(1, number, 1)]
        assert torch.equal(torch.cat([x for x, _ in singles]), whole)
        assert torch.equal(torch.cat([y for _, y in singles]), labels)
        taken = []
        for made in batches.pixels(1, number, batches.shares(1)):  # as a slow step would
            time.sleep(0.005)
            taken.append(made.pixels.clone())
        pixels = next(iter(batches.pixels(1, number, batches.shares(12)))).pixels
        assert torch.equal(torch.cat(taken), pixels)


def collect(rows: list[dict[str, Any]], row: dict[str, Any], save: Any) -> None:
    rows.append(row)


def test_skipped_images_are_counted_once_where_an_epoch_is_broken_off(
    tree: Path, tmp_path: Path
) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    (tmp_path / "tree" / "train" / CLASSES[1] / f"{CLASSES[1]}_2.JPEG").write_bytes(b"no image")
    chosen = config(
        tmp_path / "tree", bad_images="skip", batch_size=3, epochs=1, checkpoint_steps=1
    )
    kept: list[Path] = []

    def keep(save: Any) -> None:
        folder = tmp_path / str(len(kept))
        folder.mkdir()
        kept.append(save(folder))

    whole: list[dict[str, Any]] = []
    train(chosen, lambda row, save: whole.append(row), keep=keep)
    assert len(kept) == 3 and whole[0]["skipped_images"] == 1
    for number in range(3):
        again: list[dict[str, Any]] = []
        listen = partial(collect, again)
        train(chosen, listen, resume_from=tmp_path / str(number))
        for name in ("skipped_images", "train_loss", "train_error"):
            assert again[0][name] == whole[0][name]


def test_an_epoch_goes_on_at_any_step(tree: Path) -> None:
    chosen = config(tree)
    batches = load(chosen).train_batches(chosen, FORMAT)
    whole = list(batches.epoch(1, 0, 5))
    rest = list(batches.epoch(1, 0, 5, first_step=1))
    assert len(rest) == 2
    for (a, b, c), (x, y, z) in zip(whole[1:], rest, strict=True):
        assert torch.equal(a, x) and torch.equal(b, y) and c == z


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_items_are_the_same_for_any_number_of_loader_workers(tree: Path, workers: int) -> None:
    items = CropItems(open_store(tree / "train"), 32, seed=3)
    sampler = EpochSampler(len(items), seed=3)
    alone = [items[n] for n in sampler]
    items.set_epoch(1)
    assert not torch.equal(items[0][0], dict(zip(sampler, alone, strict=True))[0][0])
    sampler.set_epoch(1)
    wanted = [items[n] for n in sampler]
    loader = DataLoader(
        items,
        batch_size=5,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context="spawn" if workers == 1 else "fork" if workers else None,
    )
    images, labels = (torch.cat(column) for column in zip(*loader, strict=True))
    assert images.dtype == torch.uint8 and images.shape == (12, 3, 32, 32)
    assert torch.equal(images, torch.stack([image for image, _ in wanted]))
    assert labels.tolist() == [label for _, label in wanted]


def test_plain_items_are_central_crops(tree: Path) -> None:
    items = CropItems(open_store(tree / "val"), 32, augment=False)
    view = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32)])
    wanted = functional.pil_to_tensor(view(picture(open_store(tree / "val"), 4)))
    assert (items[4][0].int() - wanted).abs().float().mean() < 0.5
    with pytest.raises(ValueError, match="1 <= size must hold, but got size=0"):
        CropItems(open_store(tree / "val"), 0)


def test_an_epoch_that_is_left_early_leaves_no_thread(tree: Path) -> None:
    def decoding() -> int:
        return sum(thread.name.startswith("decode") for thread in threading.enumerate())

    chosen = config(tree)
    batches = load(chosen).train_batches(chosen, FORMAT).epoch(0, 0, 2)
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


def test_other_kinds_of_files_are_counted(tree: Path) -> None:
    chosen = config(tree)
    batches = load(chosen).train_batches(chosen, FORMAT)
    assert sum(len(labels) for _, labels, _ in batches.epoch(0, 0, 4)) == 12
    assert batches.by_pillow == 2  # the CMYK file and the PNG


def test_unreadable_images_stop_or_are_skipped_and_counted(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    damaged = tmp_path / "tree" / "train" / CLASSES[1] / f"{CLASSES[1]}_2.JPEG"
    whole = config(tmp_path / "tree")
    before = epoch(load(whole), whole)
    damaged.write_bytes(damaged.read_bytes()[:-500])
    with pytest.raises(DataError, match=rf"{damaged.name} cannot be decoded"):
        epoch(load(whole), whole)
    chosen = whole.replace(bad_images="skip")
    data = load(chosen)
    after = epoch(data, chosen)
    position = data.train_batches(chosen, FORMAT).order(1, 0).tolist().index(6)
    for n, ((a, b, c), (x, y, z)) in enumerate(zip(before, after, strict=True)):
        keep = [k for k in range(len(a)) if 5 * n + k != position]
        assert torch.equal(x, a[keep]) and torch.equal(y, b[keep])
        assert z * len(y) == pytest.approx(c * len(b))  # a mean's weights, with or without it
    assert data.skipped() == 1
    assert f"an image is left out: every image must be readable, but {damaged}" in caplog.text
    epoch(data, chosen)
    assert data.skipped() == 2 and caplog.text.count("is left out") == 1
    rows: list[dict[str, Any]] = []
    train(chosen.replace(epochs=1, batch_size=4), lambda row, save: rows.append(row))
    assert rows[0]["skipped_images"] == 1


def test_only_what_was_left_out_of_a_batch_in_use_counts(tree: Path, tmp_path: Path) -> None:
    """Not what was made ahead: an epoch that is broken off there meets it again."""
    shutil.copytree(tree, tmp_path / "tree")
    (tmp_path / "tree" / "train" / CLASSES[1] / f"{CLASSES[1]}_2.JPEG").write_bytes(b"no image")
    chosen = config(tmp_path / "tree", bad_images="skip")
    data = load(chosen)
    batches = data.train_batches(chosen, FORMAT)
    position = batches.order(1, 0).tolist().index(6)
    for n, _ in enumerate(batches.epoch(1, 0, 2)):
        assert data.skipped() == (n >= position // 2)
        if n == position // 2 - 1:
            break
    counted = sum(1 for _ in batches.epoch(1, 0, 2, first_step=position // 2))
    assert counted == 6 - position // 2 and data.skipped() == 1


def test_unreadable_images_of_all_parts_are_counted(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    chosen = config(
        tmp_path / "tree", bad_images="skip", epochs=1, batch_size=4, evaluate_test=True
    )
    file = sorted((tmp_path / "tree" / "val").rglob("*.JPEG"))[-1]
    file.write_bytes(b"no image")
    rows: list[dict[str, Any]] = []
    train(chosen, lambda row, save: rows.append(row))
    assert rows[0]["skipped_images"] == 1 and rows[0]["test_error"] is not None


def test_a_damaged_index_entry_is_an_unreadable_image_too(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path, workers=1)
    store = ImageLmdb(tmp_path / "train.lmdb")
    with store.path.open("r+b") as file:
        file.seek(store.records[INDEX][0] + 5 * ENTRY.itemsize)
        file.write(b"\xff" * 8)  # far beyond the end
    chosen = config(tmp_path, bad_images="skip")
    data = load(chosen)
    assert sum(len(labels) for _, labels, _ in epoch(data, chosen)) == 11
    assert data.skipped() == 1
    with pytest.raises(DataError, match="sample 5 is said to lie beyond its end"):
        epoch(load(config(tmp_path)), config(tmp_path))


def test_an_evaluation_batch_without_a_readable_image_is_left_out(
    tree: Path, tmp_path: Path
) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    found = sorted((tmp_path / "tree" / "val").rglob("*.JPEG"))
    found[-1].write_bytes(b"no image")
    chosen = config(tmp_path / "tree", bad_images="skip", evaluate_test=True, epochs=1)
    source = load(chosen).eval_batches("test", FORMAT)
    assert [len(labels) for _, labels in source.batches(batch_size=5)] == [5]
    assert list(source.batches(rank=5, world_size=6)) == []
    for file in found:
        file.write_bytes(b"no image")
    with pytest.raises(RankError, match="all were unreadable and left out"):
        train(chosen.replace(batch_size=4), lambda row, save: None)


def test_a_batch_without_a_readable_image_is_an_error(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    for file in (tmp_path / "tree" / "train").rglob("*.JPEG"):
        file.write_bytes(b"no image")
    chosen = config(tmp_path / "tree", bad_images="skip")
    with pytest.raises(DataError, match="a batch needs a readable image, but none of its 5 is"):
        epoch(load(chosen), chosen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "0 <= seed and 0 <= epoch must hold, but got seed=-1, epoch=0"),
        ({"batch_size": 2, "world_size": 3}, "batch_size >= world_size must hold"),
        ({"rank": 1}, "0 <= rank < world_size must hold, but got rank=1, world_size=1"),
    ],
)
def test_bad_epochs(tree: Path, change: dict[str, int], message: str) -> None:
    batches = load(config(tree)).train_batches(config(tree), FORMAT)
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
    batches = load(config(tree)).eval_batches("test", FORMAT)
    assert batches is not None
    with pytest.raises(ValueError, match=message):
        batches.batches(*arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_equal_those_on_the_cpu(tree: Path) -> None:
    chosen = config(tree)
    gpu = BatchFormat(torch.device("cuda"), channels_last=True)
    batches = (load(chosen).train_batches(chosen, form).epoch(0, 0, 5) for form in (FORMAT, gpu))
    for (x, y, share), (gpu_x, gpu_y, gpu_share) in zip(*batches, strict=True):
        assert torch.equal(y, gpu_y.cpu()) and share == gpu_share
        assert gpu_x.is_contiguous(memory_format=torch.channels_last)
        assert (x - gpu_x.cpu()).abs().max() < 1e-6


def message(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        load(config(folder))
    return str(error.value)


def test_what_is_missing_is_said_at_once(tmp_path: Path) -> None:
    assert "imagenet not found: expected train.lmdb and val.lmdb; train_faster_" in message(
        tmp_path / "none"
    )
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / ".cache").mkdir()
    assert "val next to train, with the same" in message(tmp_path)
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
    assert f"{names[1]} next to {names[0]}" in message(tmp_path)
    (tmp_path / names[1]).mkdir()
    assert f"{names[0]} must hold data.mdb, but does not" in message(tmp_path)
    (tmp_path / names[0] / "data.mdb").write_bytes(b"no database" * 1000)
    assert f"{names[0]}/data.mdb must be an LMDB database (0.9, 64-bit), but" in message(tmp_path)
    for name, key in (("empty", None), ("flat", b"justaname.JPEG")):
        with lmdb.open(str(tmp_path / name), map_size=2**20) as env, env.begin(write=True) as txn:
            if key is not None:
                txn.put(key, b"x")
    with pytest.raises(DataError, match="must hold images, but is empty"):
        open_store(tmp_path / "empty")
    with pytest.raises(DataError, match="a key must be a path with the class as its folder"):
        open_store(tmp_path / "flat")
