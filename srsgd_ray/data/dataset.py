"""What a data set is to the training loop, and the kind that lives in memory as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from srsgd_ray.config import TrainConfig
from srsgd_ray.data.batches import EvalBatches, TrainBatches
from srsgd_ray.image_lmdb.errors import DataError

__all__ = [
    "BatchFormat",
    "Data",
    "DataError",
    "Dataset",
    "EvalSource",
    "TrainSource",
    "image_shape",
]


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

    def train_batches(self, config: TrainConfig, layout: BatchFormat) -> TrainBatches:
        """The images to train on, all on the device."""
        return TrainBatches(
            self.train_images,
            self.train_labels,
            mean=self.mean,
            std=self.std,
            pad=self.pad,
            flip=self.flip,
            augment=config.augment,
            device=layout.device,
            channels_last=layout.channels_last,
        )

    def eval_batches(self, part: str, layout: BatchFormat) -> EvalBatches | None:
        """The images of ``validation`` or ``test``, all on the device."""
        images, labels = {
            "validation": (self.validation_images, self.validation_labels),
            "test": (self.test_images, self.test_labels),
        }[part]
        if images is None or labels is None:
            return None
        return EvalBatches(
            images,
            labels,
            mean=self.mean,
            std=self.std,
            device=layout.device,
            channels_last=layout.channels_last,
        )

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
