"""Splits, and the digits."""

import random

import numpy as np
import pytest
import torch

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import TrainBatches, load_dataset, stratified_split
from srsgd_ray.datasets.digits import digits


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("held_out", [0, 1, 7, 20, 50])
def test_split_is_a_stratified_partition(held_out: int) -> None:
    labels = torch.tensor([0] * 10 + [1] * 15 + [5] * 25)[torch.randperm(50, generator=seeded(1))]
    kept, held = stratified_split(labels, held_out, seed=3)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(50))
    assert len(held) == held_out
    for label, size in ((0, 10), (1, 15), (5, 25)):
        assert abs(int((labels[held] == label).sum()) - held_out * size / 50) < 1
    assert kept.tolist() == sorted(kept.tolist()) and held.tolist() == sorted(held.tolist())


def test_split_by_hand() -> None:
    """Shares of 5 among classes of 3, 3, 4: 1.5, 1.5, 2; the place left goes to the lower label."""
    labels = torch.tensor([0, 1, 2] * 3 + [2])
    _, held = stratified_split(labels, 5, seed=0)
    assert labels[held].bincount().tolist() == [2, 1, 2]
    # The very choice, so that a library's change of stream cannot pass unseen.
    assert held.tolist() == [1, 2, 3, 6, 8]


@pytest.mark.parametrize(
    ("held_out", "seed", "message"),
    [
        (-1, 0, "0 <= held_out <= 4 must hold, but got held_out=-1"),
        (5, 0, "0 <= held_out <= 4 must hold, but got held_out=5"),
        (1, -1, "0 <= seed must hold, but got seed=-1"),
    ],
)
def test_split_bad_input(held_out: int, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stratified_split(torch.zeros(4, dtype=torch.int64), held_out, seed)


def test_digits_parts() -> None:
    data = load_dataset(TrainConfig(validation_fraction=0.2))
    assert data.validation_images is not None and data.validation_labels is not None
    parts = [
        (data.train_images, data.train_labels, 1150),
        (data.validation_images, data.validation_labels, 287),
        (data.test_images, data.test_labels, 360),
    ]
    for images, labels, count in parts:
        assert images.shape == (count, 1, 8, 8) and images.dtype == torch.uint8
        assert labels.shape == (count,) and labels.dtype == torch.int64
        shares = labels.bincount(minlength=10) / count
        assert len(shares) == 10 and ((shares > 0.09) & (shares < 0.11)).all()
    # All 1,797 digits differ, so that a set of their bytes tells whether parts overlap.
    assert len(set.union(*(rows(images) for images, _, _ in parts))) == 1797
    assert int(data.train_images.max()) == 255 and data.image_size == 8 and data.channels == 1
    assert (data.pad, data.flip) == (1, False)


def test_digits_constants() -> None:
    data = load_dataset(TrainConfig(train_on="train+validation"))
    assert data.validation_images is None and data.validation_labels is None
    pixels = data.train_images.double() / 255
    assert data.mean == (round(pixels.mean().item(), 4),)
    assert data.std == (round(pixels.std(correction=0).item(), 4),)


def test_split_seed_moves_validation_but_neither_test_nor_by_seed() -> None:
    one, other = (load_dataset(TrainConfig(split_seed=seed)) for seed in (0, 1))
    again = load_dataset(TrainConfig(split_seed=0, seed=5))
    assert torch.equal(one.test_images, other.test_images)
    assert torch.equal(one.train_images, again.train_images)
    assert one.validation_images is not None and other.validation_images is not None
    assert rows(one.validation_images) != rows(other.validation_images)
    everything = load_dataset(TrainConfig(train_on="train+validation"))
    for data in (one, other):
        assert data.validation_images is not None
        both = rows(data.train_images) | rows(data.validation_images)
        assert both == rows(everything.train_images)
        assert not both & rows(data.test_images)


def test_no_global_random_state() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    data = load_dataset(TrainConfig())
    train = TrainBatches(
        data.train_images, data.train_labels, mean=(0.3,), std=(0.4,), pad=1, flip=True
    )
    list(train.epoch(seed=0, epoch=0, batch_size=500))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dataset": "mnist"},
            "unknown data set 'mnist'. Valid: digits, cifar10, cifar100, imagenet.",
        ),
        ({"train_on": "test"}, "unknown train_on 'test'. Valid: train, train.validation."),
        ({"normalisation": "none"}, "unknown normalisation 'none'. Valid: dataset, as_published."),
        ({"validation_fraction": 0.0001}, "0 of 1437 images. Use 0 for no validation"),
        ({"validation_fraction": 0.9999}, "1437 of 1437 images"),
    ],
)
def test_bad_configs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset(TrainConfig().replace(**changes))


def test_validation_fraction_zero_holds_nothing_out() -> None:
    data = load_dataset(TrainConfig(validation_fraction=0.0))
    assert data.validation_images is None and len(data.train_images) == 1437


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    data = digits()
    images = torch.cat([data.train_images, data.test_images]).flatten(1)
    labels = torch.cat([data.train_labels, data.test_labels])
    ours = sorted(map(tuple, torch.cat([images, labels[:, None]], 1).tolist()))
    theirs = np.column_stack([np.rint(pixels * (255 / 16)), classes]).astype(int)
    assert ours == sorted(map(tuple, theirs.tolist()))
