"""What becomes of one image on its way into a database."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.jpeg import decode
from srsgd_ray.image_lmdb.layout import STORES
from srsgd_ray.image_lmdb.losses import losses
from srsgd_ray.image_lmdb.store import Pixels, Store

QUALITY = 90  # of images that are scaled down and encoded again, unless stated
FAR = 25.0  # levels in the mean by which an image and another encoding of it hardly differ


@dataclass(frozen=True)
class Options:
    """How images are stored.

    Attributes:
        store: ``encoded`` keeps image files, ``decoded`` uint8 pixels.
        largest_side: pixels that no side may exceed: larger images are scaled down, antialiased.
        quality: JPEG quality, 1 to 100, with which every image is encoded anew; None: those that
            need no scaling keep their bytes, others get 90.
        on_corrupt: ``stop`` at an image that cannot be decoded, or whose coded data libjpeg says
            are damaged; ``skip`` and count it; or ``keep`` a damaged one that Pillow makes
            something of, and stop at others.
    """

    store: str = "encoded"
    largest_side: int | None = None
    quality: int | None = None
    on_corrupt: str = "stop"

    def check(self) -> Options:
        """This, if it makes sense.

        Raises:
            ValueError: with rule, value and cure.
        """
        for name, value, valid in (
            ("store", self.store, STORES),
            ("on_corrupt", self.on_corrupt, ("stop", "skip", "keep")),
        ):
            if value not in valid:
                raise ValueError(
                    f"{name} must be one of {', '.join(valid)}, but got {value!r}. Correct it."
                )
        if self.largest_side is not None and self.largest_side < 1:
            raise ValueError(
                f"1 <= largest_side must hold, but got largest_side={self.largest_side}. "
                f"Correct it, or leave it out."
            )
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(
                f"1 <= quality <= 100 must hold, but got quality={self.quality}. Correct it, or "
                f"leave it out."
            )
        if self.store == "decoded" and self.largest_side is None:
            raise ValueError(
                "a decoded store needs its largest side stated, since pixels take ten times the "
                "room of files, but got largest_side=None. Try 256."
            )
        if self.store == "decoded" and self.quality is not None:
            raise ValueError(
                "a decoded store holds no JPEG files, but got quality. Leave it out, or store them "
                "encoded."
            )
        return self


class Sample(NamedTuple):
    """A stored image: its bytes, its height and width in pixels, and what of it is not read."""

    value: bytes
    height: int
    width: int
    lost: tuple[str, ...] = ()


def prepare(data: bytes | Pixels, options: Options, name: str) -> Sample:
    """The image as it is stored. It is decoded whole in any case, so that damage is found.

    Raises:
        DataError: if it cannot be decoded, or is damaged and not to be kept; ``name`` says which.
        ValueError: for pixels that are to be stored encoded without a quality.
    """
    encoded, lenient = isinstance(data, bytes), options.on_corrupt == "keep"
    pixels = decode(data, name, lenient=lenient) if isinstance(data, bytes) else data
    side, quality = options.largest_side, options.quality
    if scale := side is not None and max(pixels.shape[:2]) > side:
        pixels = _scaled(pixels, _size(pixels, side))
    height, width = pixels.shape[:2]
    if options.store == "decoded":
        return Sample(pixels.tobytes(), height, width)
    if not encoded and quality is None:
        raise ValueError(
            f"pixels can be stored encoded only with a loss, but got no quality, and {name} is not "
            f"encoded. State the quality, or store them decoded."
        )
    if isinstance(data, bytes) and not scale and quality is None:
        return Sample(data, height, width)
    from PIL import Image

    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "JPEG", quality=quality or QUALITY, optimize=True)
    return Sample(made.getvalue(), height, width)


def prepare_part(context: tuple[Store, Options], numbers: range) -> list[Sample | None]:
    """Some images of a store as they are stored; None for one that is skipped.

    Raises:
        DataError: for an image that cannot be decoded, unless such are skipped.
    """
    store, options = context
    made: list[Sample | None] = []
    for index in numbers:
        try:
            data = store.read(index)
            sample = prepare(data, options, store.name(index))
            made.append(sample._replace(lost=losses(data)) if isinstance(data, bytes) else sample)
        except DataError as error:
            if options.on_corrupt != "skip":
                hint = "Or continue without: --on-corrupt skip leaves such images out."
                if options.on_corrupt == "stop":
                    hint += " With keep, what can be decoded of damaged ones is taken."
                raise DataError(f"{error} {hint}") from error
            made.append(None)
    return made


def resembles(pixels: Pixels, source: Pixels, side: int | None) -> bool:
    """Whether an image can be a scaled or newly encoded ``source``: of its size, and like it.

    Args:
        pixels: of the image.
        source: pixels of what it is compared with.
        side: that no side exceeds, or None.
    """
    height, width = pixels.shape[:2]
    wanted = source.shape[:2]
    if side is not None and max(wanted) > side:
        wanted = _size(source, side)
    # One that was scaled several times may be rounded otherwise.
    if abs(height - wanted[0]) > 1 or abs(width - wanted[1]) > 1:
        return False
    if (height, width) != source.shape[:2]:
        source = _scaled(source, (height, width))
    return float(np.abs(pixels.astype(np.int16) - source).mean()) < FAR


def _size(pixels: Pixels, side: int) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    longest = max(height, width)
    return max(1, round(height * side / longest)), max(1, round(width * side / longest))


def _scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    from PIL import Image

    image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS)
    return np.asarray(image)
