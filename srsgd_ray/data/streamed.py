"""Training and evaluation batches of images that lie in a store."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srsgd_ray.data.batches import check_share, count_steps
from srsgd_ray.data.dataset import BatchFormat
from srsgd_ray.data.draws import CropDraws, crop_draws
from srsgd_ray.data.sampler import epoch_order, narrow, share_of_batch
from srsgd_ray.data.streams import ImageSubset, Made, Make, Streamed, Wanted

__all__ = ["StreamedEval", "StreamedTrain"]

EVAL_BATCH = 100


class StreamedTrain(Streamed):
    """Shuffled, augmented, normalised batches: ``RandomResizedCrop`` and a flip half of the time.

    As in :class:`srsgd_ray.data.TrainBatches`, order and augmentation are drawn from (seed, epoch)
    alone, and a global batch is shared out by rank: the images of all ranks together are bit for
    bit those of a single one, for any number of threads. Crops are distributed as torchvision's;
    their pixels differ from those of Pillow's antialiased scaling by 0.03/255 in the mean.

    Images stay uint8 until they are on the device; flip and normalisation are of whole batches.

    Memory beside the batches: 4 bytes an image for an epoch's order and 4 for the subset,
    10 MB for ImageNet; our own store (:class:`srsgd_ray.image_lmdb.ImageLmdb`) adds none.

    Args:
        subset: the images.
        layout: device and memory format of the batches.
        augment: False only shuffles, in the same order: each image's central crop, not mirrored.
    """

    def __init__(self, subset: ImageSubset, layout: BatchFormat, *, augment: bool = True) -> None:
        super().__init__(subset, layout)
        self._augment = augment

    def steps_per_epoch(self, batch_size: int, world_size: int = 1) -> int:
        """Number of global batches an epoch; a last one of fewer than ``world_size`` is dropped."""
        return count_steps(len(self._indices), batch_size, world_size)

    def order(self, seed: int, epoch: int) -> Tensor:
        """Which of the images is at each position of an epoch, int64 (N,)."""
        return epoch_order(len(self._indices), seed, epoch)

    def epoch(
        self,
        seed: int,
        epoch: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """(images, labels, share) of this rank's part of each global batch.

        Arguments, parts and shares are those of :meth:`srsgd_ray.data.TrainBatches.epoch`. Where
        an unreadable image was skipped, the batch is shorter and its share larger: the other images
        of this rank count for it, so that the step is still along a mean of gradients.

        Yields:
            images float32 (B, 3, size, size), labels int64 (B,), and the share.

        Raises:
            ValueError: at the call, if an argument is out of range.
            DataError: for an unreadable image, unless such are skipped.
        """
        made = self.pixels(seed, epoch, batch_size, rank, world_size, first_step)
        return ((*self._finished(batch), batch.share) for batch in made)

    def pixels(
        self,
        seed: int,
        epoch: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
    ) -> Generator[Made, None, None]:
        """What :meth:`epoch` gives, as it is before it goes to the device."""
        check_share(batch_size, rank, world_size)
        steps = range(first_step, self.steps_per_epoch(batch_size, world_size))
        order = narrow(self.order(seed, epoch))

        def batches() -> Iterator[Wanted]:
            for step in steps:
                begin, end = step * batch_size, min((step + 1) * batch_size, len(order))
                mine = share_of_batch(begin, end, rank, world_size)
                draws = crop_draws(seed, epoch, begin, end)
                own = slice(rank, None, world_size)
                draws = CropDraws(draws.tries[own], draws.place[own], draws.flip[own])
                flip = torch.from_numpy(draws.flip) if self._augment else None
                numbers = order[mine.start : mine.stop : mine.step]
                yield Wanted(numbers, self._maker(draws), flip, world_size / (end - begin))

        return self._stream(batches())

    def _maker(self, draws: CropDraws) -> Make:
        def make(place: int, index: int, out: Tensor) -> None:
            image, name = self._source.read(index), partial(self._source.name, index)
            if self._augment:
                self._cutter.random(image, name, draws.tries[place], draws.place[place], out)
            else:
                self._cutter.central(image, name, out)

        return make


class StreamedEval(Streamed):
    """Normalised central crops of a set in its own order.

    As torchvision's ``Resize`` and ``CenterCrop``; the pixels differ from those of Pillow's
    antialiased scaling by 0.03/255 in the mean.

    Args:
        subset: the images.
        layout: device and memory format of the batches.
    """

    def batches(
        self, rank: int = 0, world_size: int = 1, batch_size: int = EVAL_BATCH
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) of this rank's part: images rank, rank + world_size, ... of the set.

        Every image is seen by one rank, once. A rank may see none, if ranks outnumber images. A
        batch in which none is readable is left out, where such are skipped.

        Raises:
            ValueError: at the call, if an argument is out of range.
            DataError: for an unreadable image, unless such are skipped.
        """
        if batch_size < 1:
            raise ValueError(f"1 <= batch_size must hold, but got batch_size={batch_size}.")
        check_share(world_size, rank, world_size)
        mine = np.arange(rank, len(self._indices), world_size)
        return self._batches([mine[n : n + batch_size] for n in range(0, len(mine), batch_size)])

    def _batches(self, parts: Sequence[npt.NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        def make(place: int, index: int, out: Tensor) -> None:
            self._cutter.central(self._source.read(index), partial(self._source.name, index), out)

        made = self._stream((Wanted(part, make) for part in parts), may_be_empty=True)
        return (self._finished(batch) for batch in made)
