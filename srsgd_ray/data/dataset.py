"""What a data set is to the training loop: tensors, and how they are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["DataError", "Dataset"]


class DataError(ValueError):
    """Data that is missing or damaged; the message says which file was expected where."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels in memory, with the data set's usual normalisation and augmentation.

    Images are uint8 tensors (N, channels, image_size, image_size) of values 0 to 255, labels are
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
        image_size: pixels a side.
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
