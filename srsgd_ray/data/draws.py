"""All that is random in an image's augmentation, of (seed, epoch, position) alone."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srsgd_ray.data.batches import epoch_generator
from srsgd_ray.data.pictures import TRIES

__all__ = ["CropDraws", "crop_draws", "item_draws"]

BLOCK = 1024  # positions whose augmentation is drawn together
ITEM = 1  # sets an item's draws apart from a block's


class CropDraws(NamedTuple):
    """All that is random in some images' augmentation, one row an image.

    Attributes:
        tries: float32 (N, 10, 2) in [0, 1); see :func:`srsgd_ray.data.pictures.random_crop`.
        place: float32 (N, 2) in [0, 1); see there.
        flip: where the crop is mirrored left to right, bool (N,).
    """

    tries: npt.NDArray[np.float32]
    place: npt.NDArray[np.float32]
    flip: npt.NDArray[np.bool_]


def crop_draws(seed: int, epoch: int, begin: int, end: int) -> CropDraws:
    """The augmentation at the positions from ``begin`` to ``end`` of an epoch's order.

    It depends on nothing but (seed, epoch, position).

    Raises:
        ValueError: if ``seed`` or ``epoch`` is negative.
    """
    epoch_generator(seed, epoch)  # refuses negative ones
    first = begin // BLOCK
    blocks = [_block(seed, epoch, number) for number in range(first, -(-end // BLOCK))]
    rows = np.concatenate(blocks)[begin - first * BLOCK : end - first * BLOCK]
    return _split(rows)


def item_draws(seed: int, epoch: int, index: int) -> CropDraws:
    """The augmentation of one image, whatever its position: of (seed, epoch, index) alone.

    Raises:
        ValueError: if ``seed`` or ``epoch`` is negative.
    """
    epoch_generator(seed, epoch)  # refuses negative ones
    mixed = np.random.SeedSequence((seed, epoch, index, ITEM))
    rows = np.random.default_rng(mixed).random((1, 2 * TRIES + 3), dtype=np.float32)
    return _split(rows)


def _split(rows: npt.NDArray[np.float32]) -> CropDraws:
    tries = rows[:, : 2 * TRIES].reshape(-1, TRIES, 2)
    return CropDraws(tries, rows[:, 2 * TRIES : -1], rows[:, -1] < 0.5)


@lru_cache(maxsize=8)
def _block(seed: int, epoch: int, number: int) -> npt.NDArray[np.float32]:
    mixed = np.random.SeedSequence((seed, epoch, number))
    return np.random.default_rng(mixed).random((BLOCK, 2 * TRIES + 3), dtype=np.float32)
