"""Parts for a ``DataLoader`` of one's own: a rank's sample numbers, and images one by one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from srsgd_ray.data.crops import Cutter, item_draws
from srsgd_ray.data.epochs import check_share, epoch_generator, epoch_order, narrow
from srsgd_ray.image_lmdb.store import Store

UNEVEN = ("drop", "pad", "keep")


class EpochSampler(Sampler[int]):
    """One rank's sample numbers of an epoch, for a ``DataLoader`` over a set of samples.

    All ranks draw the same order; each takes every ``world_size``-th of it. Without shuffling the
    order is 0 to ``count - 1``. What has been seen is a position in the common order, so that an
    interrupted epoch resumes at the very next sample, also with another world size: :meth:`state`
    after so many samples of this rank, :meth:`restore` before that epoch is resumed.

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

        It begins at its first sample, or where :meth:`restore` says, if it is that epoch.
        """
        epoch_generator(self.seed, epoch)  # refuses a negative epoch
        if self._restored and epoch == self.epoch:
            return
        self.epoch, self._begin, self._restored = epoch, 0, False

    def _positions(self) -> range:
        """This rank's positions of the common order, with what is padded or dropped."""
        left = self.count - self._begin
        if self.uneven == "drop":
            left = left // self.world_size * self.world_size
        elif self.uneven == "pad":
            left = -(-left // self.world_size) * self.world_size
        return range(self._begin + self.rank, self._begin + left, self.world_size)

    def __len__(self) -> int:
        """Samples of this rank that are left of the epoch."""
        return len(self._positions())

    def __iter__(self) -> Iterator[int]:
        """Sample numbers, 0 to ``count - 1``."""
        self._restored = False
        positions = self._positions()
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
        """Resume where ``state`` was taken.

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
                    f"a sampler resumes only with the same samples and order, but {name} was "
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


class CropItems(Dataset[tuple[Tensor, int]]):
    """Item ``i`` is a crop of image ``i`` of a store, and its label.

    An item is uint8 (3, size, size), to be normalised in a batch on the device, and a label. Its
    crop and flip depend on (seed, epoch, i) alone: the same for any number of loader workers and in
    any order. It can be pickled, for workers that are spawned. Use it with
    :class:`srsgd_ray.data.EpochSampler`; :class:`srsgd_ray.data.StreamedTrain` does without worker
    processes and is faster.

    Args:
        store: the images.
        size: pixels a side.
        seed: of the augmentation.
        augment: a random crop, mirrored half of the time; else the central one.

    Raises:
        ValueError: for an argument out of range.
    """

    def __init__(self, store: Store, size: int = 224, *, seed: int = 0, augment: bool = True):
        if size < 1:
            raise ValueError(f"1 <= size must hold, but got size={size}.")
        epoch_generator(seed, 0)  # refuses a negative seed
        self._store, self._size, self._seed, self._augment = store, size, seed, augment
        # In shared memory, so that workers that live for several epochs see it change.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._cutter: Cutter | None = None

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose augmentation items have from now on."""
        epoch_generator(self._seed, epoch)  # refuses a negative epoch
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The crop and the label.

        Raises:
            IndexError: unless 0 <= index < len(self).
            DataError: if the image cannot be read.
        """
        if not 0 <= index < len(self._store):
            raise IndexError(f"0 <= index < {len(self._store)} must hold, but got {index}.")
        if self._cutter is None:
            self._cutter = Cutter(self._size, checked=self._store.checked)
        store = self._store
        pixels = torch.empty((self._size, self._size, 3), dtype=torch.uint8)
        image, name = store.read(index), partial(store.name, index)
        if self._augment:
            draws = item_draws(self._seed, int(self._epoch), index)
            self._cutter.random(image, name, draws.tries[0], draws.place[0], pixels)
            if draws.flip[0]:
                pixels = pixels.flip(1)
        else:
            self._cutter.central(image, name, pixels)
        return pixels.permute(2, 0, 1), store.label(index)

    def __getstate__(self) -> dict[str, object]:
        """Without what belongs to this process's threads."""
        return {**self.__dict__, "_cutter": None}
