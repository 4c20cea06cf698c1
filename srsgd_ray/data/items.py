"""A store's images one by one, for a ``DataLoader`` of one's own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from srsgd_ray.data.batches import epoch_generator
from srsgd_ray.data.draws import item_draws
from srsgd_ray.data.pictures import Cutter
from srsgd_ray.image_lmdb.store import Store

__all__ = ["CropItems"]


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
        image = store.read(index)

        def name() -> str:
            return store.name(index)

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
