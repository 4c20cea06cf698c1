"""Crops of one stored image: how they are drawn, and cut into a batch's own memory.

A crop is scaled by torch's antialiased bilinear kernel for uint8, which torchvision's transforms
use too, and which runs in the thread that calls it. It is called below torchvision because only
there can it write into a batch that is there already: the page faults of a new 150 kB result cost
as much as the scaling.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srsgd_ray.data.epochs import epoch_generator
from srsgd_ray.image_lmdb.frames import Box, frame_of
from srsgd_ray.image_lmdb.jpeg import by_pillow, decode_box
from srsgd_ray.image_lmdb.store import Pixels

TRIES = 10  # of a random crop, before the central one is taken
AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
ROOM = 2**20  # bytes, what a thread decodes into at first
BLOCK = 1024  # positions whose augmentation is drawn together
ITEM = 1  # sets an item's draws apart from a block's


class CropDraws(NamedTuple):
    """All that is random in some images' augmentation, one row an image.

    Attributes:
        tries: float32 (N, 10, 2) in [0, 1); see :func:`random_crop`.
        place: float32 (N, 2) in [0, 1); see there.
        flip: where the crop is mirrored left to right, bool (N,).
    """

    tries: npt.NDArray[np.float32]
    place: npt.NDArray[np.float32]
    flip: npt.NDArray[np.bool_]


def crop_draws(seed: int, epoch: int, begin: int, end: int, step: int = 1) -> CropDraws:
    """The augmentation at every ``step``-th position from ``begin`` to ``end`` of an epoch's order.

    It depends on nothing but (seed, epoch, position).

    Raises:
        ValueError: if ``seed`` or ``epoch`` is negative.
    """
    epoch_generator(seed, epoch)  # refuses negative ones
    first = begin // BLOCK
    blocks = [_block(seed, epoch, number) for number in range(first, -(-end // BLOCK))]
    rows = np.concatenate(blocks)[begin - first * BLOCK : end - first * BLOCK : step]
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


def random_crop(
    height: int, width: int, tries: Sequence[Sequence[float]], place: Sequence[float]
) -> Box:
    """The crop that uniform draws mean in an image of this size, in torchvision's distribution.

    A try (u, v) asks for 8 + 92 u % of the area, and for the ratio of width to height whose
    logarithm lies the share v between log 3/4 and log 4/3. The first try that fits is
    taken, and ``place`` (p, q) puts its top at floor(p (height - h + 1)) and its left side
    likewise. If none fits: the largest central crop with an allowed ratio. This is the law of
    torchvision's ``RandomResizedCrop``.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        tries: pairs of numbers in [0, 1), torchvision's ten.
        place: two numbers in [0, 1).
    """
    low, high = (math.log(ratio) for ratio in RATIO)
    for u, v in tries:
        area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * u)
        ratio = math.exp(low + (high - low) * v)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(place[0] * (height - h + 1)), int(place[1] * (width - w + 1)), h, w
    h, w = height, width
    if width / height < RATIO[0]:
        h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(height * RATIO[1])
    return (height - h) // 2, (width - w) // 2, h, w


class Cutter:
    """Makes crops of ``size`` x ``size`` pixels; may be used by several threads.

    Args:
        size: pixels a side.
        checked: whether encoded images are known to be undamaged. Else they are decoded whole, so
            that damage outside of a crop is noticed too.

    Attributes:
        by_pillow: images that were decoded by Pillow so far, because they are no usual JPEG.
    """

    def __init__(self, size: int, *, checked: bool) -> None:
        self._size, self._checked = size, checked
        self._own = threading.local()
        self._lock = threading.Lock()
        self.by_pillow = 0

    def random(
        self,
        image: bytes | Pixels,
        name: Callable[[], str],
        tries: npt.NDArray[np.float32],
        place: npt.NDArray[np.float32],
        out: Tensor,
    ) -> None:
        """The crop that the draws mean; see :func:`random_crop`.

        Args:
            image: an encoded image, or its pixels (height, width, 3).
            name: gives what a message calls the image.
            tries: (10, 2) in [0, 1).
            place: (2,) in [0, 1).
            out: uint8 (size, size, 3), is filled.

        Raises:
            DataError: if the image cannot be decoded.
        """
        draws, there = tries.tolist(), place.tolist()
        if isinstance(image, bytes):
            frame = frame_of(image) if self._checked else None
            if frame is not None and frame.plain:
                box = random_crop(frame.height, frame.width, draws, there)
                part = decode_box(image, frame, box, self._room(frame.height * frame.width * 3))
                if part is not None:
                    _scale(part, out)
                    return
            image = self._whole(image, name)
        whole_height, whole_width = image.shape[:2]
        top, left, height, width = random_crop(whole_height, whole_width, draws, there)
        _scale(image[top : top + height, left : left + width], out)

    def central(self, image: bytes | Pixels, name: Callable[[], str], out: Tensor) -> None:
        """The central pixels, after scaling the shorter side to 256/224 of ``size``.

        Args:
            image: an encoded image, or its pixels (height, width, 3).
            name: gives what a message calls the image.
            out: uint8 (size, size, 3), is filled.

        Raises:
            DataError: if the image cannot be decoded.
        """
        size = self._size
        pixels = image if isinstance(image, np.ndarray) else self._whole(image, name)
        short, least = round(size * 256 / 224), min(pixels.shape[:2])
        height, width = (short * side // least for side in pixels.shape[:2])
        scaled = torch.empty((height, width, 3), dtype=torch.uint8)
        _scale(pixels, scaled)
        top, left = round((height - size) / 2), round((width - size) / 2)
        out.copy_(scaled[top : top + size, left : left + size])

    def _whole(self, image: bytes, name: Callable[[], str]) -> Pixels:
        frame = frame_of(image)
        if frame is not None and frame.plain:
            box = (0, 0, frame.height, frame.width)
            pixels = decode_box(image, frame, box, self._room(frame.height * frame.width * 3))
            if pixels is not None:
                return pixels
        with self._lock:
            self.by_pillow += 1
        # What was checked when it was built was taken there, as it is.
        return by_pillow(image, name(), lenient=self._checked)

    def _room(self, size: int) -> npt.NDArray[np.uint8] | None:
        """This thread's memory to decode into, for images that are not unusually large."""
        if size > 16 * ROOM:
            return None
        room: npt.NDArray[np.uint8] | None = getattr(self._own, "room", None)
        if room is None or room.size < size:
            room = self._own.room = np.empty(max(size, ROOM), np.uint8)
        return room


def _scale(pixels: Pixels, out: Tensor) -> None:
    """Scale (h, w, 3) to the size of ``out`` (H, W, 3), bilinearly without aliasing."""
    if not pixels.flags.writeable:
        pixels = pixels.copy()  # torch warns of others
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    wanted = out.permute(2, 0, 1)[None]
    torch.ops.aten._upsample_bilinear2d_aa.out(
        given, list(out.shape[:2]), False, None, None, out=wanted
    )
