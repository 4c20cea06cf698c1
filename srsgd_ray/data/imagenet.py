"""ImageNet: images decoded as they are needed, by threads, a few batches ahead."""

from __future__ import annotations

import io
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srsgd_ray.config import GENERATED, TrainConfig
from srsgd_ray.data.batches import Normaliser, check_share, count_steps
from srsgd_ray.data.dataset import DataError, Look
from srsgd_ray.data.generated import Folder, generated_imagenet
from srsgd_ray.data.sources import Source, open_sources
from srsgd_ray.data.split import hold_out

__all__ = ["ImageNet", "StreamedEval", "StreamedTrain", "random_crop"]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
AHEAD = 3  # batches that are decoded before they are asked for
TRIES = 10  # of a random crop, before the central one is taken
EVAL_BATCH = 100
Indices = npt.NDArray[np.int64]
_S = TypeVar("_S", bound="_Streamed")


class ImageNet:
    """Training, validation and test images, none of them in memory.

    Validation images are held out from ``train``; ``val``, as in the paper, is the test set.

    Args:
        config: reads ``data_dir``, ``train_on``, ``validation_fraction``, ``split_seed``,
            ``image_size`` and ``decode_threads``.

    Raises:
        DataError: see :func:`srsgd_ray.data.sources.open_sources`.
    """

    channels = 3

    def __init__(self, config: TrainConfig) -> None:
        self._folder = generated_imagenet() if config.data_dir == GENERATED else None
        root = config.data_dir if self._folder is None else self._folder.name
        self._train, self._test = open_sources(Path(root).expanduser())
        self.classes = len(self._train.classes)
        self._size = config.image_size
        self._threads = config.decode_threads or len(os.sched_getaffinity(0))
        self._kept: Indices = np.arange(len(self._train))
        self._held: Indices | None = None
        if config.train_on == "train" and config.validation_fraction > 0:
            labels = torch.from_numpy(self._train.labels)
            kept, held = hold_out(labels, config.validation_fraction, config.split_seed)
            self._kept, self._held = kept.numpy(), held.numpy()

    def train_batches(self, config: TrainConfig, look: Look) -> StreamedTrain:
        """The images to train on."""
        made = StreamedTrain(
            self._train, self._kept, self._size, look, self._threads, augment=config.augment
        )
        return self._holding(made)

    def eval_batches(self, part: str, look: Look) -> StreamedEval | None:
        """The images of ``validation`` or ``test``."""
        if part == "test":
            everything = np.arange(len(self._test))
            made = StreamedEval(self._test, everything, self._size, look, self._threads)
            return self._holding(made)
        if self._held is None:
            return None
        return self._holding(StreamedEval(self._train, self._held, self._size, look, self._threads))

    def _holding(self, made: _S) -> _S:
        """Generated files live as long as what reads them."""
        made.folder = self._folder
        return made


def random_crop(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop, distributed as torchvision's RandomResizedCrop's.

    The area is 8 to 100 % of the image, the ratio of sides 3/4 to 4/3, uniform in its logarithm;
    after ten tries that do not fit, the largest central crop with an allowed ratio.
    """
    area = height * width
    for _ in range(TRIES):
        target = area * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    h, w = height, width
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


class _Streamed:
    """Images of a source, decoded by threads; what is made depends on no thread's timing."""

    def __init__(
        self, source: Source, indices: Indices, size: int, look: Look, threads: int
    ) -> None:
        self._source, self._indices, self._size = source, indices, size
        self._threads, self._look = threads, look
        self._labels = source.labels[indices]
        self.folder: Folder | None = None
        self._finish = Normaliser(3, MEAN, STD, look.device, torch.float32, look.channels_last)

    def _stream(self, batches: Sequence[Indices], draw: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of batches of positions; ``draw(position)`` is an image's generator."""
        pending: deque[tuple[Indices, list[Future[Tensor]]]] = deque()
        todo = iter(batches)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        try:
            while True:
                while len(pending) < AHEAD and (batch := next(todo, None)) is not None:
                    made = [pool.submit(self._image, int(p), draw) for p in batch]
                    pending.append((batch, made))
                if not pending:
                    return
                batch, futures = pending.popleft()
                images = torch.empty((len(batch), 3, self._size, self._size), dtype=torch.uint8)
                for row, future in zip(images, futures, strict=True):
                    row.copy_(future.result())
                labels = torch.from_numpy(self._labels[batch])
                yield self._finish(self._move(images)), self._move(labels)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _move(self, values: Tensor) -> Tensor:
        if self._look.device.type == "cuda":
            values = values.pin_memory()
        return values.to(self._look.device, non_blocking=True)

    def _image(self, position: int, draw: Any) -> Tensor:
        index = int(self._indices[position])
        image = _decode(self._source.read(index), self._source.name(index))
        if draw is None:
            return _central(image, self._size)
        rng = draw(position)
        top, left, height, width = random_crop(image.shape[1], image.shape[2], rng)
        flip = rng.random() < 0.5
        image = _resized(image[:, top : top + height, left : left + width], self._size, self._size)
        return image.flip(2) if flip else image


class StreamedTrain(_Streamed):
    """Shuffled, augmented batches; order and crops are drawn from (seed, epoch, position) alone.

    As in :class:`srsgd_ray.data.TrainBatches`, a global batch is shared out by rank, so the images
    of all ranks together are those of a single one.
    """

    def __init__(
        self,
        source: Source,
        indices: Indices,
        size: int,
        look: Look,
        threads: int,
        *,
        augment: bool = True,
    ) -> None:
        super().__init__(source, indices, size, look, threads)
        self._augment = augment

    def steps_per_epoch(self, batch_size: int, world_size: int = 1) -> int:
        """Number of global batches an epoch; a last one of fewer than ``world_size`` is dropped."""
        return count_steps(len(self._indices), batch_size, world_size)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """(images, labels, share) of this rank's part of each global batch.

        Shapes: images float32 (B, 3, size, size), labels int64 (B,).

        Raises:
            ValueError: at the call, if an argument is out of range.
            DataError: for an image that cannot be decoded.
        """
        check_share(batch_size, rank, world_size)
        steps = self.steps_per_epoch(batch_size, world_size)
        order = np.random.default_rng((seed, epoch)).permutation(len(self._indices))
        bounds = [(s * batch_size, min((s + 1) * batch_size, len(order))) for s in range(steps)]
        mine = [order[begin + rank : end : world_size] for begin, end in bounds]

        def draw(position: int) -> np.random.Generator:
            return np.random.default_rng((seed, epoch, position))

        made = self._stream(mine, draw if self._augment else None)
        shares = (world_size / (end - begin) for begin, end in bounds)
        return (
            (images, labels, share) for (images, labels), share in zip(made, shares, strict=True)
        )


class StreamedEval(_Streamed):
    """Central crops of a set in its own order; each image is seen by one rank, once."""

    def batches(self, rank: int = 0, world_size: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) of this rank's part: images rank, rank + world_size, ... of the set.

        Raises:
            ValueError: at the call, if an argument is out of range.
            DataError: for an image that cannot be decoded.
        """
        check_share(world_size, rank, world_size)
        mine = np.arange(len(self._indices))[rank::world_size]
        parts = [mine[begin : begin + EVAL_BATCH] for begin in range(0, len(mine), EVAL_BATCH)]
        return self._stream(parts, None)


def _decode(data: bytes, name: str) -> Tensor:
    """uint8 (3, H, W), of whatever format and colours: ImageNet has CMYK files, and a PNG."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.array(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be decoded: {error}. Get it anew, or remove it.") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.resize(image, [height, width], antialias=True)  # type: ignore[no-any-return]


def _central(image: Tensor, size: int) -> Tensor:
    """The central ``size`` pixels after scaling the shorter side to 256/224 of that."""
    height, width = image.shape[1:]
    short = round(size * 256 / 224)
    scale = short / min(height, width)
    h, w = max(short, int(height * scale)), max(short, int(width * scale))
    image = _resized(image, h, w)
    top, left = round((h - size) / 2), round((w - size) / 2)
    return image[:, top : top + size, left : left + size]
