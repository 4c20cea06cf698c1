"""ImageNet, from a folder tree or from LMDB databases."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from srsgd_ray.config import GENERATED, TrainConfig
from srsgd_ray.data.dataset import BatchFormat
from srsgd_ray.data.generated import generated_imagenet
from srsgd_ray.data.split import hold_out
from srsgd_ray.data.streamed import StreamedEval, StreamedTrain
from srsgd_ray.data.streams import ImageSubset, Skipped
from srsgd_ray.image_lmdb import Store, open_pair

__all__ = ["ImageNet"]


class ImageNet:
    """Training, validation and test images, none of them in memory.

    Validation images are held out from ``train``; ``val``, as in the paper, is the test set.

    Args:
        config: reads ``data_dir``, ``train_on``, ``validation_fraction``, ``split_seed``,
            ``image_size``, ``decode_threads`` and ``bad_images``.

    Raises:
        DataError: see :func:`srsgd_ray.image_lmdb.open_pair`.
        ValueError: for a fraction that leaves a part empty.
    """

    channels = 3

    def __init__(self, config: TrainConfig) -> None:
        self._folder = generated_imagenet() if config.data_dir == GENERATED else None
        root = config.data_dir if self._folder is None else self._folder.name
        self._train, self._test = open_pair(Path(root).expanduser())
        self.classes = len(self._train.classes)
        self.image_size, self._threads = config.image_size, config.decode_threads
        self._skipped = Skipped() if config.bad_images == "skip" else None
        self._kept = torch.arange(len(self._train), dtype=torch.int32)
        self._held: Tensor | None = None
        if config.train_on == "train" and config.validation_fraction > 0:
            labels = torch.from_numpy(self._train.labels)
            parts = hold_out(labels, config.validation_fraction, config.split_seed)
            self._kept, self._held = (part.to(torch.int32) for part in parts)

    def train_batches(self, config: TrainConfig, layout: BatchFormat) -> StreamedTrain:
        """The images to train on."""
        return StreamedTrain(self._some(self._train, self._kept), layout, augment=config.augment)

    def eval_batches(self, part: str, layout: BatchFormat) -> StreamedEval | None:
        """The images of ``validation`` or ``test``."""
        source, indices = {
            "validation": (self._train, self._held),
            "test": (self._test, torch.arange(len(self._test), dtype=torch.int32)),
        }[part]
        return None if indices is None else StreamedEval(self._some(source, indices), layout)

    def skipped(self) -> int:
        """How often an unreadable image was left out in this process so far."""
        return 0 if self._skipped is None else self._skipped.count

    def _some(self, source: Store, indices: Tensor) -> ImageSubset:
        # Made-up files must outlive this object, if what reads them does.
        return ImageSubset(
            source, indices, self.image_size, self._threads, self._skipped, self._folder
        )
