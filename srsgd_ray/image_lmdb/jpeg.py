"""JPEG files: decoding them, or no more of them than a crop needs, and preparing them for that."""

from __future__ import annotations

import io
import math
import shutil
import subprocess

import numpy as np
import numpy.typing as npt

from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.frames import Box, Frame, frame_of, shortened, upper, with_table
from srsgd_ray.image_lmdb.store import Pixels

__all__ = ["by_pillow", "complaint", "decode", "decode_box", "repack", "repack_problem"]

MOST_PIXELS = 89_478_485  # Pillow's limit too: a file that claims more is taken for damaged
LEFT_OFF = "extraneous bytes before marker 0xd9"  # libjpeg of a file with more data than rows
RUN = 64  # pixels between markers, as nearly as a row can be divided


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
    part = shortened(data, frame, box)
    try:
        if part is not None:
            stream, above, before, rows, columns = part
            pixels: Pixels
            pixels = simplejpeg.decode_jpeg(stream, buffer=_enough(room, rows * columns * 3))
            if pixels.shape[:2] == (rows, columns):
                top, left = top - above, left - before
                return pixels[top : top + height, left : left + width]
        rest = _upper(data, frame, box, room)
        if rest is not None:
            return rest[top : top + height, left : left + width]
        pixels = simplejpeg.decode_jpeg(data, buffer=_enough(room, frame.height * frame.width * 3))
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
    flat = room if room is not None and room.size >= size else np.empty(size, np.uint8)
    try:
        simplejpeg.decode_jpeg(stream, buffer=flat)
    except ValueError as error:
        # What is told is the first that libjpeg complained of, at the end, with all rows decoded.
        # Whatever else it is, truncation too, the whole image has to show.
        if LEFT_OFF in str(error):
            return flat[:size].reshape(rows, frame.width, 3)
    return None


def _enough(room: npt.NDArray[np.uint8] | None, size: int) -> npt.NDArray[np.uint8] | None:
    return room if room is not None and room.size >= size else None


def repack_problem() -> str | None:
    """Why :func:`repack` cannot work here, with the cure; None if it can."""
    if shutil.which("jpegtran") is None:
        return (
            "restart markers are put in by jpegtran (libjpeg-turbo), which is not on PATH. "
            "Install it (Debian and Ubuntu: libjpeg-turbo-progs), or build without --repack."
        )
    return None


def repack(data: bytes) -> bytes | None:
    """The same image as a plain JPEG with restart markers and optimal Huffman codes.

    Pixels are compared: they are the same, bit for bit. Metadata (EXIF, colour profile) is left
    out; nothing that decodes images for training reads it.

    Returns:
        None if it is no JPEG of three colours, is damaged, or would not be the same.

    Raises:
        OSError: if jpegtran is not there; see :func:`repack_problem`.
    """
    frame = frame_of(data)
    if frame is None or frame.height * frame.width > MOST_PIXELS:
        return None
    across = -(-frame.width // frame.mcu_width)
    runs = [run for run in range(1, across + 1) if across % run == 0]
    run = min(runs, key=lambda run: abs(math.log(run * frame.mcu_width / RUN)))
    made = subprocess.run(
        ["jpegtran", "-copy", "none", "-optimize", "-restart", f"{run}B"],
        input=data,
        capture_output=True,
        check=False,
    )
    own = frame_of(made.stdout)
    if made.returncode or own is None or not own.plain:
        return None
    listed = with_table(made.stdout, own)
    try:
        same = np.array_equal(decode(data, ""), decode(listed, ""))
    except DataError:
        return None
    return listed if same else None
