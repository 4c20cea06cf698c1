"""Which sample is seen when and by whom: of (seed, epoch, rank, world size, position) alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from srsgd_ray.data.batches import check_share, epoch_generator

__all__ = ["EpochSampler", "epoch_order", "narrow", "share_of_batch"]

UNEVEN = ("drop", "pad", "keep")


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


def share_of_batch(begin: int, end: int, rank: int, world_size: int) -> range:
    """The positions from ``begin`` to ``end`` that are this rank's: every ``world_size``-th."""
    return range(begin + rank, end, world_size)


class EpochSampler(Sampler[int]):
    """One rank's sample numbers of an epoch, for a ``DataLoader`` over a set of samples.

    All ranks draw the same order; each takes every ``world_size``-th of it. Without shuffling the
    order is 0 to ``count - 1``. What has been seen is a position in the common order, so that an
    epoch that was broken off goes on at the very next sample, also with another world size:
    :meth:`state` after so many samples of this rank, :meth:`restore` before going on with that
    epoch.

    Args:
        count: number of samples.
        rank: number of this process.
        world_size: number of processes.
        seed: of the order.
        shuffle: whether to draw an order for each epoch.
        uneven: what happens if samples cannot be shared out evenly. ``drop`` leaves out the last
            few, ``pad`` gives the first ones of the order once more; then all ranks have equally
            many. ``keep`` does neither: ranks differ by one, each sample is seen by one rank, once
            (for validation).

    Raises:
        ValueError: for an argument out of range.
    """

    def __init__(
        self,
        count: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        uneven: str = "drop",
    ) -> None:
        if uneven not in UNEVEN:
            raise ValueError(f"uneven must be one of {', '.join(UNEVEN)}, but got {uneven!r}.")
        if count < 1:
            raise ValueError(f"1 <= count must hold, but got count={count}.")
        check_share(max(count, world_size), rank, world_size)
        if uneven == "drop" and count < world_size:
            raise ValueError(
                f"count >= world_size must hold to drop the rest, but got count={count}, "
                f"world_size={world_size}. Use uneven='pad' or 'keep'."
            )
        epoch_generator(seed, 0)  # refuses a negative seed
        self.count, self.rank, self.world_size = count, rank, world_size
        self.seed, self.shuffle, self.uneven = seed, shuffle, uneven
        self.epoch = 0
        self._begin = 0  # position in the common order at which this pass begins
        self._restored = False  # and no pass begun since

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next pass is of.

        It begins at its first sample, or where :meth:`restore` was told to, if it is that epoch.
        """
        epoch_generator(self.seed, epoch)  # refuses a negative epoch
        if self._restored and epoch == self.epoch:
            return
        self.epoch, self._begin, self._restored = epoch, 0, False

    def _end(self) -> int:
        """Positions of the common order, with what is padded or dropped."""
        left = self.count - self._begin
        if self.uneven == "drop":
            left = left // self.world_size * self.world_size
        elif self.uneven == "pad":
            left = -(-left // self.world_size) * self.world_size
        return self._begin + left

    def __len__(self) -> int:
        """Samples of this rank that are left of the epoch."""
        return len(share_of_batch(self._begin, self._end(), self.rank, self.world_size))

    def __iter__(self) -> Iterator[int]:
        """Sample numbers, 0 to ``count - 1``."""
        self._restored = False
        positions = share_of_batch(self._begin, self._end(), self.rank, self.world_size)
        if not self.shuffle:
            yield from (position % self.count for position in positions)
            return
        order = narrow(epoch_order(self.count, self.seed, self.epoch))
        for position in positions:
            yield int(order[position % self.count])

    def state(self, seen: int) -> dict[str, Any]:
        """What :meth:`restore` needs, after each rank has seen ``seen`` samples of this pass.

        A loader's workers run ahead of the training: it is for the training to count.

        Raises:
            ValueError: if this rank had fewer.
        """
        if not 0 <= seen <= len(self):
            raise ValueError(f"0 <= seen <= {len(self)} must hold, but got seen={seen}.")
        position = min(self._begin + seen * self.world_size, self.count)
        same = {"count": self.count, "seed": self.seed, "shuffle": self.shuffle}
        return {"epoch": self.epoch, "position": position, **same}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            ValueError: if it is of other samples, another seed or order.
        """
        missing = {"epoch", "position", "count", "seed", "shuffle"} - set(state)
        if missing:
            raise ValueError(
                f"a state must be what state() gave, but has no {', '.join(sorted(missing))}. Take "
                f"another one, or start a new epoch."
            )
        for name in ("count", "seed", "shuffle"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"a sampler goes on only with the same samples and order, but {name} was "
                    f"{state[name]} and is {getattr(self, name)}. Start a new epoch instead."
                )
        if not 0 <= state["position"] <= self.count:
            raise ValueError(
                f"0 <= position <= {self.count} must hold, but got position={state['position']}. "
                f"Take another state, or start a new epoch."
            )
        self._restored = False
        self.set_epoch(state["epoch"])
        self._begin, self._restored = state["position"], True
