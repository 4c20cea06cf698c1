"""JPEG files: decoding them, or no more of them than a crop needs."""

from __future__ import annotations

import io
import re

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.frames import Box, Frame, frame_of, upper
from srsgd_ray.image_lmdb.store import Pixels

MOST_PIXELS = 89_478_485  # Pillow's limit too: a file that claims more is taken for damaged
# What libjpeg says of a file with more data than rows, by whether it has restart markers.
LEFT_OFF = {
    False: re.compile(r"extraneous bytes before marker 0xd9"),
    True: re.compile(r"extraneous bytes before marker 0xd[0-79]"),
}


def decode(data: bytes, name: str, *, lenient: bool = False) -> Pixels:
    """The pixels (height, width, 3) of an image file of any format and colours, in RGB.

    Usual JPEG files are decoded by libjpeg-turbo through simplejpeg, others by Pillow: ImageNet has
    CMYK, grey and progressive files, and a PNG. Both give the same pixels for the same JPEG.

    Args:
        data: the file.
        name: what a message calls it.
        lenient: whether to take what Pillow makes of a JPEG whose coded data are damaged.

    Raises:
        DataError: if it cannot be decoded whole.
    """
    frame = frame_of(data)
    if frame is not None and frame.plain:
        pixels = decode_box(data, frame, (0, 0, frame.height, frame.width))
        if pixels is not None:
            return pixels
    return by_pillow(data, name, lenient=lenient)


def complaint(data: bytes) -> str | None:
    """What libjpeg says of damaged coded data, which Pillow passes over; None if it is content.

    Truncated files apart, Pillow decodes such an image to something: grey areas, shifted colours.
    """
    import simplejpeg

    frame = frame_of(data)
    if frame is None or frame.height * frame.width > MOST_PIXELS:
        return None
    try:
        simplejpeg.decode_jpeg(data)
    except ValueError as error:
        # Others are what this decoder cannot do, such as CMYK.
        if str(error).startswith(("Corrupt JPEG data", "Premature end")):
            return str(error)
    return None


def by_pillow(data: bytes, name: str, *, lenient: bool = False) -> Pixels:
    """What :func:`decode` does, by Pillow alone."""
    import PIL.Image  # here: most need not load Pillow

    try:
        said = None if lenient else complaint(data)
        if said is not None:
            raise ValueError(said)
        try:
            image = PIL.Image.open(io.BytesIO(data))
        except PIL.UnidentifiedImageError as error:  # its text is an address
            raise ValueError("it is of no known format") from error
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it claims {image.width} x {image.height} pixels")
        image.load()
        if image.mode in ("I", "F"):
            raise ValueError(
                f"its pixels are {'whole numbers of 32 bits' if image.mode == 'I' else 'floats'}, "
                f"which no rule brings to 8 bits"
            )
        if image.mode.startswith("I;16"):  # which Pillow would clip at 255
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise DataError(
            f"every image must be readable, but {name} cannot be decoded: {error}. "
            f"Get it anew, or remove it."
        ) from error


def decode_box(
    data: bytes, frame: Frame, box: Box, room: npt.NDArray[np.uint8] | None = None
) -> Pixels | None:
    """The pixels (height, width, 3) of a box of a plain JPEG; None if Pillow must decode it.

    They are those of the same box of the whole decoded image, bit for bit.

    Args:
        data: the file.
        frame: its header.
        box: lies within the image.
        room: flat memory to decode into, used if large enough; the result then lies in it.
    """
    import simplejpeg

    if frame.height * frame.width > MOST_PIXELS:
        return None
    top, left, height, width = box
    pixels = _upper(data, frame, box, room)
    if pixels is None:
        size = frame.height * frame.width * 3
        try:
            pixels = simplejpeg.decode_jpeg(data, buffer=_enough(room, size))
        except ValueError:  # libjpeg warns or refuses: Pillow may be less strict, or says why
            return None
        if pixels.shape[:2] != (frame.height, frame.width):
            return None
    return pixels[top : top + height, left : left + width]


def _upper(
    data: bytes, frame: Frame, box: Box, room: npt.NDArray[np.uint8] | None
) -> Pixels | None:
    """The image's rows down to the lower edge of a box; None if they cannot be had alone."""
    import simplejpeg

    part = upper(data, frame, box)
    if part is None:
        return None
    stream, rows = part
    size = rows * frame.width * 3
    flat = _enough(room, size)
    if flat is None:
        flat = np.empty(size, np.uint8)
    try:
        simplejpeg.decode_jpeg(stream, buffer=flat)
    except ValueError as error:
        # It is libjpeg's first complaint, raised at the end, with all rows decoded.
        # Whatever else it is, truncation too, the whole image has to show.
        if LEFT_OFF[frame.run > 0].search(str(error)):
            return flat[:size].reshape(rows, frame.width, 3)
    return None


def _enough(room: npt.NDArray[np.uint8] | None, size: int) -> npt.NDArray[np.uint8] | None:
    return room if room is not None and room.size >= size else None
