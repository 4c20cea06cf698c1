"""What a data set is to the training loop, the kind that lives in memory, and stratified splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from srsgd_ray.config import TrainConfig
from srsgd_ray.data.batches import EvalBatches, TrainBatches


@dataclass(frozen=True)
class BatchFormat:
    """Where and how batches are wanted: on which device, in which memory format."""

    device: torch.device
    channels_last: bool = False


class TrainSource(Protocol):
    """Augmented batches, drawn from (seed, epoch) alone; see :class:`TrainBatches`."""

    def steps_per_epoch(self, batch_size: int, world_size: int = 1) -> int:
        """Number of global batches an epoch."""

    def epoch(
        self,
        seed: int,
        epoch: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """(images, labels, share) of this rank's part of each global batch from a step on."""


class EvalSource(Protocol):
    """Batches of a set as it is; see :class:`EvalBatches`."""

    def batches(self, rank: int = 0, world_size: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) of this rank's part of the set; each image is seen by one rank."""


@runtime_checkable
class Data(Protocol):
    """A data set, split: what the training loop needs of it.

    If it also has ``image_size``, pixels a side, a network that does not take its images is found
    before the run begins.
    """

    @property
    def channels(self) -> int:
        """Channels of an image."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    def train_batches(self, config: TrainConfig, layout: BatchFormat) -> TrainSource:
        """The images to train on; reads ``config.augment``."""

    def eval_batches(self, part: str, layout: BatchFormat) -> EvalSource | None:
        """The ``validation`` or ``test`` part; None if nothing was held out."""

    def skipped(self) -> int:
        """How often an unreadable image was left out in this process so far."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels in memory, with the data set's usual normalisation and augmentation.

    Images are uint8 tensors (N, channels, height, width) of values 0 to 255, labels are
    int64 tensors (N,) of values 0 to ``classes - 1``; all are on the CPU and not to be changed.

    Attributes:
        train_images: images to train on; those held out for validation are not among them.
        train_labels: their labels.
        validation_images: images held out, or None if nothing was.
        validation_labels: their labels, or None.
        test_images: the data set's own test set, never split.
        test_labels: their labels.
        channels: channels of an image.
        classes: number of classes.
        image_size: pixels a side; of the height, if the width is another.
        mean: mean of each channel, where 255 counts as 1.
        std: standard deviation of each channel, in the same unit.
        pad: black pixels added on each side before a random crop to the old size.
        flip: whether a training image is mirrored left to right half of the time.
    """

    train_images: Tensor
    train_labels: Tensor
    validation_images: Tensor | None
    validation_labels: Tensor | None
    test_images: Tensor
    test_labels: Tensor
    channels: int
    classes: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int
    flip: bool

    @classmethod
    def of(
        cls,
        train: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor] | None = None,
        *,
        classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        pad: int = 0,
        flip: bool = False,
    ) -> Dataset:
        """A data set of (images, labels) of each part; channels and size are the images'."""
        channels, image_size = train[0].shape[1:3]
        held: tuple[Tensor | None, Tensor | None] = validation or (None, None)
        return cls(*train, *held, *test, channels, classes, image_size, mean, std, pad, flip)

    def split(self, fraction: float, seed: int) -> Dataset:
        """With a share of the images to train on held out for validation, stratified by class."""
        kept, held = hold_out(self.train_labels, fraction, seed)
        return replace(
            self,
            train_images=self.train_images[kept],
            train_labels=self.train_labels[kept],
            validation_images=self.train_images[held],
            validation_labels=self.train_labels[held],
        )

    def joined(self) -> Dataset:
        """With the validation part, if there is one, among the images to train on."""
        if self.validation_images is None or self.validation_labels is None:
            return self
        return replace(
            self,
            train_images=torch.cat([self.train_images, self.validation_images]),
            train_labels=torch.cat([self.train_labels, self.validation_labels]),
            validation_images=None,
            validation_labels=None,
        )

    def train_batches(self, config: TrainConfig, layout: BatchFormat) -> TrainBatches:
        """The images to train on, all on the device."""
        random: dict[str, Any] = {"pad": self.pad, "flip": self.flip, "augment": config.augment}
        random |= self._finish(layout)
        return TrainBatches(self.train_images, self.train_labels, **random)

    def eval_batches(self, part: str, layout: BatchFormat) -> EvalBatches | None:
        """The images of ``validation`` or ``test``, all on the device."""
        images, labels = {
            "validation": (self.validation_images, self.validation_labels),
            "test": (self.test_images, self.test_labels),
        }[part]
        if images is None or labels is None:
            return None
        return EvalBatches(images, labels, **self._finish(layout))

    def _finish(self, layout: BatchFormat) -> dict[str, Any]:
        scale = {"mean": self.mean, "std": self.std}
        return {**scale, "device": layout.device, "channels_last": layout.channels_last}

    def skipped(self) -> int:
        """0: these images need no decoding."""
        return 0


def image_shape(data: Data) -> tuple[int, int, int] | None:
    """(channels, height, width) of an image of ``data``; None if it does not tell its size."""
    if isinstance(data, Dataset):
        channels, height, width = data.train_images.shape[1:]
        return channels, height, width
    size = getattr(data, "image_size", None)
    return (data.channels, size, size) if isinstance(size, int) else None


def stratified_split(labels: Tensor, held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Choose ``held_out`` positions, from each class in proportion to its size.

    A class gives its exact share rounded down; the places left over go to the classes with the
    largest remainders (the lower label first). Which images of a class go is decided by the raw
    64-bit stream of numpy's PCG64, whose values numpy promises to keep from version to version.

    Args:
        labels: class of each position, int64 (N,).
        held_out: number of positions to choose, 0 to N.
        seed: any whole number from 0.

    Returns:
        The positions kept and the positions held out, int64, each in increasing order.

    Raises:
        ValueError: if ``held_out`` or ``seed`` is out of range.
    """
    total = len(labels)
    if not 0 <= held_out <= total:
        raise ValueError(f"0 <= held_out <= {total} must hold, but got held_out={held_out}.")
    if seed < 0:
        raise ValueError(f"0 <= seed must hold, but got seed={seed}.")
    _, which, sizes = np.unique(labels.numpy(), return_inverse=True, return_counts=True)
    # Whole numbers throughout: a share in floating point could tie or round otherwise elsewhere.
    quota, rest = np.divmod(held_out * sizes, max(total, 1))
    extra = np.argsort(-rest, kind="stable")[: held_out - int(quota.sum())]
    quota[extra] += 1
    keys = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(total)
    order = np.lexsort((keys, which))
    first = np.cumsum(sizes) - sizes
    place = np.arange(total) - first[which[order]]
    mask = np.zeros(total, dtype=bool)
    mask[order] = place < quota[which[order]]
    return torch.from_numpy(np.flatnonzero(~mask)), torch.from_numpy(np.flatnonzero(mask))


def hold_out(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """:func:`stratified_split` of a share of the positions.

    Raises:
        ValueError: if ``fraction`` leaves either part empty.
    """
    total = len(labels)
    count = round(fraction * total)
    if not 0 < count < total:
        raise ValueError(
            f"validation_fraction must leave images in both parts, but got "
            f"validation_fraction={fraction}, {count} of {total} images. Use 0 for no validation."
        )
    return stratified_split(labels, count, seed)
