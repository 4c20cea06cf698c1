"""From the bytes of an image to the uint8 pixels of one crop, as torchvision does it with Pillow.

Nothing here uses torch: its operations would start threads of their own in each decoding thread.
(Its own JPEG decoder is deprecated.) Pillow lets go of Python's lock while it decodes and resizes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from srsgd_ray.data.dataset import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["TRIES", "Box", "central_crop", "cut", "decode", "random_crop"]

Box = tuple[int, int, int, int]  # top, left, height, width

TRIES = 10  # of a random crop, before the central one is taken
AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


def decode(data: bytes, name: str) -> Image:
    """An RGB image, of whatever format and colours: ImageNet has CMYK files, and a PNG.

    Raises:
        DataError: if it cannot be decoded; ``name`` says which.
    """
    import PIL.Image  # here: a digits run need not load Pillow

    try:
        image = PIL.Image.open(io.BytesIO(data))
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise DataError(
            f"every image must be readable, but {name} cannot be decoded: {error}. "
            f"Get it anew, or remove it."
        ) from error


def random_crop(
    height: int, width: int, tries: Sequence[Sequence[float]], place: Sequence[float]
) -> Box:
    """The crop that uniform draws mean in an image of this size, in torchvision's distribution.

    A try (u, v) asks for 8 + 92 u % of the area, and for the ratio of width to height whose
    logarithm lies the share v of the way from log 3/4 to log 4/3. The first try that fits is
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


def cut(image: Image, box: Box, size: int) -> npt.NDArray[np.uint8]:
    """Pixels (size, size, 3) of a box of the image, scaled bilinearly without aliasing."""
    from PIL.Image import Resampling

    top, left, height, width = box
    part = image.crop((left, top, left + width, top + height))
    return np.asarray(part.resize((size, size), Resampling.BILINEAR))


def central_crop(image: Image, size: int) -> npt.NDArray[np.uint8]:
    """The central pixels (size, size, 3), after scaling the shorter side to 256/224 of that."""
    from PIL.Image import Resampling

    short = round(size * 256 / 224)
    least = min(image.size)
    width, height = (short * side // least for side in image.size)
    scaled = image.resize((width, height), Resampling.BILINEAR)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return np.asarray(scaled.crop((left, top, left + size, top + size)))
