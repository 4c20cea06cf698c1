"""Batches, compared with torchvision's own transforms and across ranks."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as tv

from srsgd_ray.data import Draws, EvalBatches, TrainBatches
from srsgd_ray.data.batches import flat_store, windows

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
LOOK = {"mean": MEAN, "std": STD}
CROP = {"pad": 4, "flip": True}


def made_up(count: int, channels: int = 3, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    shape = (count, channels, size, size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return images, torch.arange(count)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pil_images(images: torch.Tensor, draws: Draws, pad: int) -> torch.Tensor:
    """What torchvision's transforms make of the images with the given draws."""
    out = []
    for index, dy, dx, flip in zip(*(column.tolist() for column in draws), strict=True):
        picture = Image.fromarray(images[index].permute(1, 2, 0).numpy())
        size = picture.height
        picture = tv.crop(tv.pad(picture, pad), dy, dx, size, size)
        picture = tv.hflip(picture) if flip else picture
        out.append(tv.normalize(tv.to_tensor(picture), MEAN, STD))
    return torch.stack(out)


@pytest.mark.parametrize(("pad", "flip"), [(4, True), (4, False), (0, True), (0, False), (1, True)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_equal_the_pil_pipeline(pad: int, flip: bool, channels_last: bool) -> None:
    images, labels = made_up(300)
    ours = TrainBatches(images, labels, pad=pad, flip=flip, channels_last=channels_last, **LOOK)
    draws = ours.draws(seed=1, epoch=2)
    parts = list(ours.epoch(seed=1, epoch=2, batch_size=128))
    assert [len(y) for _, y, _ in parts] == [128, 128, 44]
    assert [share for _, _, share in parts] == [1 / 128, 1 / 128, 1 / 44]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert all(x.is_contiguous(memory_format=layout) for x, _, _ in parts)
    x, y = torch.cat([x for x, _, _ in parts]), torch.cat([y for _, y, _ in parts])
    assert x.dtype == torch.float32 and torch.equal(y, draws.order)
    assert (x - pil_images(images, draws, pad)).abs().max().item() < 1e-6


def test_draws_cover_their_ranges_evenly() -> None:
    images, labels = made_up(3000, channels=1, size=2)
    draws = TrainBatches(images, labels, mean=(0.5,), std=(0.5,), pad=2, flip=True).draws(0, 0)
    assert sorted(draws.order.tolist()) == list(range(3000))
    for column, values in ((draws.dy, 5), (draws.dx, 5), (draws.flip, 2)):
        counts = column.bincount()
        assert len(counts) == values
        # 5 standard deviations of a binomial count.
        assert (counts - 3000 / values).abs().max() < 5 * (3000 / values) ** 0.5
    assert abs(np.corrcoef(draws.dy, draws.dx)[0, 1]) < 0.1


def test_draws_depend_on_seed_and_epoch_only() -> None:
    images, labels = made_up(100, size=8)
    ours = TrainBatches(images, labels, **CROP, **LOOK)
    first = ours.draws(0, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, ours.draws(0, 1), strict=True))
    for seed, epoch in ((1, 0), (0, 0), (1, 1), (0, 2)):
        assert not torch.equal(first.order, ours.draws(seed, epoch).order)
    plain = TrainBatches(images, labels, **CROP, **LOOK, augment=False)
    assert torch.equal(plain.draws(0, 1).order, first.order)


def test_without_augmentation_images_are_only_shuffled() -> None:
    images, labels = made_up(50, size=8)
    ours = TrainBatches(images, labels, **CROP, **LOOK, augment=False)
    (x, y, _), *rest = ours.epoch(seed=0, epoch=0, batch_size=50)
    assert not rest
    (expected, _), *_ = EvalBatches(images, labels, **LOOK).batches()
    assert torch.equal(x, expected[y])


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("count", [50, 49])  # last batches of 2 and 1 images
def test_union_over_ranks_is_the_single_process_epoch(world_size: int, count: int) -> None:
    images, labels = made_up(count, size=8)
    ours = TrainBatches(images, labels, **CROP, **LOOK)
    arguments = {"seed": 4, "epoch": 1, "batch_size": 16}
    alone = list(ours.epoch(**arguments))
    steps = ours.steps_per_epoch(16, world_size)
    assert steps == (4 if count % 16 >= world_size else 3)
    ranks = [
        list(ours.epoch(**arguments, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert all(len(parts) == steps for parts in ranks)
    for step in range(steps):
        x, y, share = alone[step]
        for rank, parts in enumerate(ranks):
            part_x, part_y, part_share = parts[step]
            assert torch.equal(part_x, x[rank::world_size])
            assert torch.equal(part_y, y[rank::world_size])
            assert part_share == pytest.approx(world_size * share)
        assert sum(len(parts[step][1]) for parts in ranks) == len(y)
        # What the docstring promises of the share.
        mean = np.mean([parts[step][1].sum().item() * parts[step][2] for parts in ranks])
        assert mean == pytest.approx(y.double().mean().item())


def test_cifar_has_391_steps_the_last_of_80() -> None:
    images = torch.zeros(50_000, 1, 1, 1, dtype=torch.uint8)
    labels = torch.zeros(50_000, dtype=torch.int64)
    ours = TrainBatches(images, labels, mean=(0.5,), std=(0.5,), pad=0, flip=False)
    sizes = [len(y) for _, y, _ in ours.epoch(seed=0, epoch=0, batch_size=128)]
    assert ours.steps_per_epoch(128) == len(sizes) == 391
    assert set(sizes[:-1]) == {128} and sizes[-1] == 80


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(5, 7), (8, 8), (1, 3)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_windows_by_rows_and_by_pixels_agree(
    channels: int, size: tuple[int, int], mirrored: bool
) -> None:
    """The CPU's way of cutting windows and the GPU's, against slices of plainly padded images."""
    shape = torch.Size((channels, *size))
    images = torch.randint(256, (4, *shape), dtype=torch.uint8, generator=seeded(0))
    pad, (height, width) = 1, size
    store = flat_store(images, pad, mirrored)
    both = torch.stack((images, images.flip(-1)), 1).flatten(0, 1) if mirrored else images
    padded = torch.nn.functional.pad(both, (pad,) * 4)
    for image in range(len(both)):
        for dy, dx in ((0, 0), (1, 2), (2, 0), (2, 2)):
            plane = (height + pad) * (width + pad)
            first = image * channels * plane + dy * (width + pad) + dx
            expected = padded[image, :, dy : dy + height, dx : dx + width]
            for runs in (True, False):
                source, offsets = windows(store, shape, pad, runs=runs)
                actual = source.index_select(0, (first + offsets).view(-1)).view(shape)
                assert torch.equal(actual, expected)


def test_batches_leave_the_data_alone() -> None:
    images, labels = made_up(40, size=8)
    before = images.clone()
    for pad, flip in ((2, True), (0, False)):
        for x, _, _ in TrainBatches(images, labels, pad=pad, flip=flip, **LOOK).epoch(0, 0, 16):
            x.zero_()
    for x, _ in EvalBatches(images, labels, **LOOK).batches():
        x.zero_()
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype(dtype: torch.dtype) -> None:
    images, labels = made_up(20, size=8)
    full, other = (
        next(iter(TrainBatches(images, labels, dtype=d, **CROP, **LOOK).epoch(0, 0, 20)))[0]
        for d in (torch.float32, dtype)
    )
    assert torch.equal(other, full.to(dtype))


@pytest.mark.parametrize("world_size", [1, 2, 3, 30])
def test_evaluation_sees_each_image_once(world_size: int) -> None:
    images, labels = made_up(23, size=8)
    ours = EvalBatches(images, labels, **LOOK)
    parts = [
        (x, y)
        for rank in range(world_size)
        for x, y in ours.batches(rank, world_size, batch_size=4)
    ]
    assert sorted(int(i) for _, y in parts for i in y) == list(range(23))
    for x, y in parts:
        for image, index in zip(x, y, strict=True):
            picture = Image.fromarray(images[index].permute(1, 2, 0).numpy())
            expected = tv.normalize(tv.to_tensor(picture), MEAN, STD)
            assert (image - expected).abs().max().item() < 1e-6


BAD_SETS = [
    ({"images": torch.zeros(4, 3, 8, 8)}, "images must be uint8 of shape .N, C, H, W."),
    ({"images": torch.zeros(4, 8, 8, dtype=torch.uint8)}, "but got torch.uint8 of shape .4, 8, 8."),
    ({"images": torch.zeros(0, 3, 8, 8, dtype=torch.uint8)}, "none of them 0"),
    (
        {"labels": torch.zeros(4)},
        "labels must be int64 of shape .4,., one an image, but got torch.f",
    ),
    ({"labels": torch.zeros(3, dtype=torch.int64)}, "torch.int64 of shape .3,."),
    ({"mean": (0.5,)}, "mean and std need one number a channel, 3, but got 1 and 3"),
    ({"std": (0.5, 0.0, 0.5)}, r"0 < std must hold, but got std=\(0.5, 0.0, 0.5\)"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SETS)
def test_bad_sets(change: dict[str, object], message: str) -> None:
    images, labels = made_up(4, size=8)
    arguments = {"images": images, "labels": labels, **LOOK, **change}
    with pytest.raises(ValueError, match=message):
        TrainBatches(**arguments, **CROP)
    with pytest.raises(ValueError, match=message):
        EvalBatches(**arguments)


@pytest.mark.parametrize("pad", [-1, 9])
def test_bad_pad(pad: int) -> None:
    images, labels = made_up(4, size=8)
    with pytest.raises(ValueError, match=f"0 <= pad <= 8 must hold, but got pad={pad}"):
        TrainBatches(images, labels, pad=pad, flip=False, **LOOK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "0 <= seed and 0 <= epoch must hold, but got seed=-1, epoch=0"),
        ({"epoch": -1}, "but got seed=0, epoch=-1"),
        ({"batch_size": 0}, "batch_size >= world_size must hold, but got batch_size=0"),
        ({"batch_size": 2, "world_size": 3}, "but got batch_size=2, world_size=3"),
        ({"rank": 1}, "0 <= rank < world_size must hold, but got rank=1, world_size=1"),
        ({"rank": -1}, "but got rank=-1"),
        ({"world_size": 0}, "but got rank=0, world_size=0"),
    ],
)
def test_bad_epochs(change: dict[str, int], message: str) -> None:
    images, labels = made_up(4, size=8)
    ours = TrainBatches(images, labels, **CROP, **LOOK)
    # At the call: an error inside a generator would come only with its first batch.
    with pytest.raises(ValueError, match=message):
        ours.epoch(**{"seed": 0, "epoch": 0, "batch_size": 4, **change})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1), "0 <= rank < world_size must hold, but got rank=1, world_size=1"),
        ((0, 1, 0), "1 <= batch_size must hold, but got batch_size=0"),
    ],
)
def test_bad_evaluations(arguments: tuple[int, ...], message: str) -> None:
    images, labels = made_up(4, size=8)
    with pytest.raises(ValueError, match=message):
        EvalBatches(images, labels, **LOOK).batches(*arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_equal_those_on_the_cpu() -> None:
    images, labels = made_up(300)
    cpu, gpu = (
        list(TrainBatches(images, labels, device=d, **CROP, **LOOK).epoch(0, 0, 128))
        for d in ("cpu", "cuda")
    )
    for (x, y, share), (gpu_x, gpu_y, gpu_share) in zip(cpu, gpu, strict=True):
        assert torch.equal(y, gpu_y.cpu()) and share == gpu_share
        assert (x - gpu_x.cpu()).abs().max().item() < 1e-6
