"""Batches of images that are decoded as they are needed, by threads, a few batches ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srsgd_ray.data.batches import Normaliser, check_share, count_steps, epoch_generator
from srsgd_ray.data.dataset import Look
from srsgd_ray.data.pictures import TRIES, central_crop, cut, decode, random_crop
from srsgd_ray.data.sources import Source

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Chosen", "CropDraws", "StreamedEval", "StreamedTrain"]

# ImageNet's usual ones, of each channel, where 255 counts as 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
AHEAD = 3  # batches that are made before they are asked for
EVAL_BATCH = 100

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Chosen:
    """Some images of a source.

    Attributes:
        source: the encoded images.
        indices: which of them, int64 (N,).
        size: pixels a side of what is made of them.
        threads: that decode; 0: this process's share of the CPUs.
        holding: what must live as long as the images are read.
    """

    source: Source
    indices: Tensor
    size: int
    threads: int = 0
    holding: object = None


class _Streamed:
    """Images made by threads; what is made depends on no thread's timing."""

    def __init__(self, chosen: Chosen, look: Look) -> None:
        self._source, self._size, self._threads = chosen.source, chosen.size, chosen.threads
        self._indices = chosen.indices.numpy()
        self._device = look.device
        self._labels = torch.from_numpy(self._source.labels[self._indices]).to(look.device)
        self._finish = Normaliser(3, MEAN, STD, look.device, torch.float32, look.channels_last)
        self._holding = chosen.holding

    def _decoded(self, number: int) -> Image:
        """The chosen image of this number."""
        index = int(self._indices[number])
        return decode(self._source.read(index), self._source.name(index))

    def _stream(
        self, batches: Sequence[range], make: Callable[[int], Pixels]
    ) -> Generator[Tensor, None, None]:
        """Batches of images, float32 (B, 3, size, size), of what ``make`` gives for each number.

        Raises:
            DataError: for an image that cannot be decoded.
        """
        pool = ThreadPoolExecutor(_threads(self._threads), thread_name_prefix="decode")
        todo = iter(batches)
        pending: deque[tuple[Tensor, list[Future[None]]]] = deque()
        try:
            while True:
                for batch in islice(todo, AHEAD - len(pending)):
                    pending.append(self._begin(pool, batch, make))
                if not pending:
                    return
                pixels, jobs = pending.popleft()
                for job in jobs:
                    job.result()
                moved = pixels.to(self._device, non_blocking=True)
                yield self._finish(moved.permute(0, 3, 1, 2))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _begin(
        self, pool: ThreadPoolExecutor, batch: range, make: Callable[[int], Pixels]
    ) -> tuple[Tensor, list[Future[None]]]:
        """A batch (B, size, size, 3) on the CPU, and the jobs that fill it."""
        shape = (len(batch), self._size, self._size, 3)
        pinned = self._device.type == "cuda"  # so that its copy waits for nothing
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)

        def fill(row: Pixels, number: int) -> None:
            row[...] = make(number)

        rows = zip(pixels.numpy(), batch, strict=True)
        return pixels, [pool.submit(fill, row, number) for row, number in rows]


def _threads(wanted: int) -> int:
    """Threads that decode: as many as wanted, or this process's share of the CPUs."""
    share = wanted or torch.get_num_threads()
    if share == 1 and not wanted and "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun allows torch one thread, however many CPUs there are.
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        share = max(1, len(os.sched_getaffinity(0)) // local)
    return share


class CropDraws(NamedTuple):
    """All that is random in an epoch, one row for each position of its order, on the CPU.

    Attributes:
        order: which of the chosen images is at each position, a permutation, int64 (N,).
        tries: float32 (N, 10, 2) in [0, 1); see :func:`srsgd_ray.data.pictures.random_crop`.
        place: float32 (N, 2) in [0, 1); see there.
        flip: where the crop is mirrored left to right, bool (N,).
    """

    order: Tensor
    tries: Tensor
    place: Tensor
    flip: Tensor


class StreamedTrain(_Streamed):
    """Shuffled, augmented, normalised batches: ``RandomResizedCrop`` and a flip half of the time.

    As in :class:`srsgd_ray.data.TrainBatches`, order and augmentation of the whole set are drawn
    from (seed, epoch) before an epoch, and a global batch is shared out by rank: the images of all
    ranks together are bit for bit those of a single one. The pixels are those of torchvision's
    transforms of Pillow images with the same draws.

    Memory: 100 bytes an image for the draws, 0.13 GB for ImageNet.

    Args:
        chosen: the images.
        look: device and memory format of the batches.
        augment: False only shuffles, in the same order: each image's central crop, not mirrored.
    """

    def __init__(self, chosen: Chosen, look: Look, *, augment: bool = True) -> None:
        super().__init__(chosen, look)
        self._augment = augment

    def steps_per_epoch(self, batch_size: int, world_size: int = 1) -> int:
        """Number of global batches an epoch; a last one of fewer than ``world_size`` is dropped."""
        return count_steps(len(self._indices), batch_size, world_size)

    def draws(self, seed: int, epoch: int) -> CropDraws:
        """The order and augmentation of an epoch, for the whole set.

        Raises:
            ValueError: if ``seed`` or ``epoch`` is negative.
        """
        generator = epoch_generator(seed, epoch)
        count = len(self._indices)
        order = torch.randperm(count, generator=generator)
        tries = torch.rand((count, TRIES, 2), generator=generator)
        place = torch.rand((count, 2), generator=generator)
        flip = torch.randint(2, (count,), generator=generator, dtype=torch.bool)
        return CropDraws(order, tries, place, flip)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """(images, labels, share) of this rank's part of each global batch.

        Arguments, parts and shares are those of :meth:`srsgd_ray.data.TrainBatches.epoch`.

        Yields:
            images float32 (B, 3, size, size), labels int64 (B,), and the share.

        Raises:
            ValueError: at the call, if an argument is out of range.
            DataError: for an image that cannot be decoded.
        """
        check_share(batch_size, rank, world_size)
        steps = self.steps_per_epoch(batch_size, world_size)
        return self._epoch(self.draws(seed, epoch), batch_size, rank, world_size, steps)

    def _epoch(
        self, draws: CropDraws, batch_size: int, rank: int, world_size: int, steps: int
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        labels = self._labels.index_select(0, draws.order.to(self._device))
        order, tries, place, flip = (column.numpy() for column in draws)

        def make(position: int) -> Pixels:
            image = self._decoded(order[position])
            if not self._augment:
                return central_crop(image, self._size)
            box = random_crop(
                image.height, image.width, tries[position].tolist(), place[position].tolist()
            )
            pixels = cut(image, box, self._size)
            return pixels[:, ::-1] if flip[position] else pixels

        begins = [step * batch_size for step in range(steps)]
        ends = [min(begin + batch_size, len(labels)) for begin in begins]
        mine = [range(b + rank, e, world_size) for b, e in zip(begins, ends, strict=True)]
        with closing(self._stream(mine, make)) as stream:
            for images, part, begin, end in zip(stream, mine, begins, ends, strict=True):
                share = world_size / (end - begin)
                yield images, labels[part.start : part.stop : part.step], share


class StreamedEval(_Streamed):
    """Normalised central crops of a set in its own order.

    The pixels are those of torchvision's ``Resize`` and ``CenterCrop`` of Pillow images.

    Args:
        chosen: the images.
        look: device and memory format of the batches.
    """

    def batches(
        self, rank: int = 0, world_size: int = 1, batch_size: int = EVAL_BATCH
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) of this rank's part: images rank, rank + world_size, ... of the set.

        Every image is seen by one rank, once. A rank may see none, if ranks outnumber images.

        Raises:
            ValueError: at the call, if an argument is out of range.
            DataError: for an image that cannot be decoded.
        """
        if batch_size < 1:
            raise ValueError(f"1 <= batch_size must hold, but got batch_size={batch_size}.")
        check_share(world_size, rank, world_size)
        mine = range(rank, len(self._indices), world_size)
        return self._batches([mine[n : n + batch_size] for n in range(0, len(mine), batch_size)])

    def _batches(self, parts: Sequence[range]) -> Iterator[tuple[Tensor, Tensor]]:
        def make(number: int) -> Pixels:
            return central_crop(self._decoded(number), self._size)

        with closing(self._stream(parts, make)) as stream:
            for images, part in zip(stream, parts, strict=True):
                yield images, self._labels[part.start : part.stop : part.step]
