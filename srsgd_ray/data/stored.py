"""Data whose images lie in a pair of stores, and are decoded as they are needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from srsgd_ray.config import TrainConfig
from srsgd_ray.data.dataset import BatchFormat, hold_out
from srsgd_ray.data.streamed import StreamedEval, StreamedTrain
from srsgd_ray.data.subset import ImageSubset, Skipped
from srsgd_ray.image_lmdb import open_pair


class StoredData:
    """Training, validation and test images, none of them in memory.

    Args:
        root: folder with a pair of stores, ``train`` and ``val``, which is the test set.
        image_size: pixels a side of a crop.
        held_out: share of ``train`` held out for validation; 0: none.
        split_seed: of that split.
        threads: that decode; 0: this process's share of the CPUs.
        skip: whether unreadable images are left out and counted; else the first one is an error.
        holding: what must live as long as the images are read.

    Raises:
        DataError: see :func:`srsgd_ray.image_lmdb.open_pair`.
        ValueError: for a share that leaves a part empty.
    """

    channels = 3

    def __init__(
        self,
        root: str,
        image_size: int,
        *,
        held_out: float = 0.0,
        split_seed: int = 0,
        threads: int = 0,
        skip: bool = False,
        holding: object = None,
    ) -> None:
        self._train, self._test = open_pair(Path(root).expanduser())
        self.classes, self.image_size = len(self._train.classes), image_size
        self._skipped = Skipped() if skip else None
        # Made-up files must outlive this object, if what reads them does.
        self._subset = partial(
            ImageSubset, size=image_size, threads=threads, skipped=self._skipped, holding=holding
        )
        self._kept = torch.arange(len(self._train), dtype=torch.int32)
        self._held: Tensor | None = None
        if held_out > 0:
            parts = hold_out(torch.from_numpy(self._train.labels), held_out, split_seed)
            self._kept, self._held = (part.to(torch.int32) for part in parts)

    def train_batches(self, config: TrainConfig, layout: BatchFormat) -> StreamedTrain:
        """The images to train on."""
        return StreamedTrain(self._subset(self._train, self._kept), layout, augment=config.augment)

    def eval_batches(self, part: str, layout: BatchFormat) -> StreamedEval | None:
        """The images of ``validation`` or ``test``."""
        source, indices = {
            "validation": (self._train, self._held),
            "test": (self._test, torch.arange(len(self._test), dtype=torch.int32)),
        }[part]
        return None if indices is None else StreamedEval(self._subset(source, indices), layout)

    def skipped(self) -> int:
        """How often an unreadable image was left out in this process so far."""
        return 0 if self._skipped is None else self._skipped.count
