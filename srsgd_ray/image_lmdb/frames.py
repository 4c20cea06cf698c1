"""The header of a JPEG file, and the file shortened to end below a crop.

Four fifths of decoding a JPEG is reading its Huffman code, which has no marks to jump to: a reader
of the lower right corner reads all that comes before. What comes after it can be left out.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

Box = tuple[int, int, int, int]  # top, left, height, width

SOS, DRI = 0xDA, 0xDD
BASELINE = (0xC0, 0xC1)
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Chroma of half the resolution is interpolated from its neighbours: that far a pixel depends on
# others, and it must not lie at a border that the whole image has not.
REACH = 2
PAYS = 0.9  # a crop that ends below this share of the image is decoded from the whole


class Frame(NamedTuple):
    """What the header of a JPEG file says; height and width are in pixels.

    Attributes:
        plain: whether it is of the usual kind, 8 bits, three components, neither progressive nor
            arithmetic; others are left to Pillow.
        mcu_height: pixels of a block of the code, an MCU.
        run: MCUs between restart markers, 0 without.
        frame_at: offset of the frame header's marker.
        data_at: offset of the coded data.
    """

    height: int
    width: int
    plain: bool
    mcu_height: int
    run: int
    frame_at: int
    data_at: int


def frame_of(data: bytes) -> Frame | None:
    """The header of a JPEG file; None if the bytes are none, or end within it."""
    if data[:2] != b"\xff\xd8":
        return None
    at, end, run, frame_at = 2, len(data), 0, 0
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes are allowed before a marker
            at += 1
            continue
        length = data[at + 2] << 8 | data[at + 3]
        if length < 2 or at + 2 + length > end:
            return None
        if marker == DRI and length >= 4:
            run = data[at + 4] << 8 | data[at + 5]
        elif marker in FRAMES:
            frame_at = at
        elif marker == SOS:
            return _frame(data, frame_at, run, at, at + 2 + length)
        at += 2 + length
    return None


def _frame(data: bytes, at: int, run: int, scan_at: int, data_at: int) -> Frame | None:
    if at == 0:
        return None
    length, bits, height, width, components = struct.unpack_from(">HBHHB", data, at + 2)
    if length < 8 + 3 * components or not height or not width or not components:
        return None
    sampling = [data[at + 11 + 3 * n] for n in range(components)]
    across, down = max(s >> 4 for s in sampling), max(s & 15 for s in sampling)
    if not across or not down:
        return None
    plain = data[at + 1] in BASELINE and bits == 8 and components == 3 and data[scan_at + 4] == 3
    return Frame(height, width, plain, 8 * down, run, at, data_at)


def upper(data: bytes, frame: Frame, box: Box) -> tuple[bytearray, int] | None:
    """The same file, said to end below a box, and how many rows that leaves it.

    Its coded data are all there: to a decoder what follows those rows is garbage before the end
    or a restart marker. None if so little would be saved that it does not pay.
    """
    top, _, height, _ = box
    step = frame.mcu_height
    rows = -(-(top + height + REACH) // step) * step
    if not frame.plain or rows > PAYS * frame.height:
        return None
    stream = bytearray(data)
    stream[frame.frame_at + 5 : frame.frame_at + 7] = (rows >> 8, rows & 255)
    return stream, rows
