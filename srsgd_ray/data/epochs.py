"""Which image is seen when and by whom: of (seed, epoch, rank, world size, position) alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """What an epoch's order and augmentation are drawn from.

    Raises:
        ValueError: if ``seed`` or ``epoch`` is negative.
    """
    if seed < 0 or epoch < 0:
        raise ValueError(f"0 <= seed and 0 <= epoch must hold, but got seed={seed}, epoch={epoch}.")
    # Seeds that differ by one bit give unrelated streams only after such a mix.
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch: a permutation of 0 to ``count - 1``, int64 (count,).

    Raises:
        ValueError: if ``seed`` or ``epoch`` is negative.
    """
    return torch.randperm(count, generator=epoch_generator(seed, epoch))


def narrow(numbers: Tensor) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
    """The same numbers from 0 on, in 4 bytes each if they fit."""
    wide: npt.NDArray[np.int64] = numbers.numpy()
    fits = len(wide) == 0 or wide.max() < 2**31
    return wide.astype(np.int32, copy=False) if fits else wide


def check_share(batch_size: int, rank: int, world_size: int) -> None:
    """Raise ValueError unless ``rank`` can have a share of each global batch."""
    if not 0 <= rank < world_size:
        raise ValueError(
            f"0 <= rank < world_size must hold, but got rank={rank}, world_size={world_size}."
        )
    if batch_size < world_size:
        raise ValueError(
            f"batch_size >= world_size must hold, but got batch_size={batch_size}, "
            f"world_size={world_size}."
        )


class Share(NamedTuple):
    """One rank's positions of one global batch, in an epoch's order: every ``step``-th.

    Attributes:
        own: this rank's positions.
        weight: world size / images of the global batch: the mean over ranks of ``weight`` times the
            sum of a rank's losses is the mean loss of the global batch, also where ranks hold
            unlike numbers of images.
    """

    own: slice
    weight: float


class Epochs(ABC):
    """Passes over a set of images in an order of (seed, epoch) alone, divided among ranks.

    A global batch is ``batch_size`` consecutive positions of the epoch's order, the last one what
    is left; a rank takes the positions rank, rank + world_size, ... so ranks differ by one image at
    most. A last batch with fewer images than ranks is dropped on all of them.
    """

    count: int

    def steps_per_epoch(self, batch_size: int, world_size: int = 1) -> int:
        """Number of global batches an epoch."""
        check_share(batch_size, 0, world_size)
        full, rest = divmod(self.count, batch_size)
        return full + (rest >= world_size)

    def epoch(
        self,
        seed: int,
        epoch: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """One pass over the set: (images, labels, share) of this rank's part of each global batch.

        Args:
            seed: the run's seed.
            epoch: 0-based number of the epoch.
            batch_size: images of a global batch, at least ``world_size``.
            rank: number of this process.
            world_size: number of processes.
            first_step: global batches that are left out at the beginning, to resume an epoch.

        Yields:
            images float32 (B, C, H, W) and labels int64 (B,) on the device, and the weight of each
            image's loss, see :class:`Share`.

        Raises:
            ValueError: at the call, if an argument is out of range.
        """
        return self._batches(seed, epoch, self.shares(batch_size, rank, world_size, first_step))

    def shares(
        self, batch_size: int, rank: int = 0, world_size: int = 1, first_step: int = 0
    ) -> Iterator[Share]:
        """A rank's part of each global batch; arguments and errors are those of :meth:`epoch`."""
        check_share(batch_size, rank, world_size)
        steps = range(first_step, self.steps_per_epoch(batch_size, world_size))
        ends = ((step * batch_size, min((step + 1) * batch_size, self.count)) for step in steps)
        return (
            Share(slice(begin + rank, end, world_size), world_size / (end - begin))
            for begin, end in ends
        )

    @abstractmethod
    def _batches(
        self, seed: int, epoch: int, shares: Iterator[Share]
    ) -> Iterator[tuple[Tensor, Tensor, float]]: ...


class Evaluations(ABC):
    """Passes over a set of images in its own order, divided among ranks."""

    count: int
    usual = 500  # images of a batch

    def batches(
        self, rank: int = 0, world_size: int = 1, batch_size: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) of this rank's part: images rank, rank + world_size, ... of the set.

        Every image is seen by one rank, once. A rank may see none, if ranks outnumber images.

        Raises:
            ValueError: at the call, if an argument is out of range.
        """
        size = self.usual if batch_size is None else batch_size
        if size < 1:
            raise ValueError(f"1 <= batch_size must hold, but got batch_size={batch_size}.")
        check_share(world_size, rank, world_size)
        own = range(rank, self.count, world_size)
        return self._parts([own[begin : begin + size] for begin in range(0, len(own), size)])

    @abstractmethod
    def _parts(self, parts: list[range]) -> Iterator[tuple[Tensor, Tensor]]: ...
