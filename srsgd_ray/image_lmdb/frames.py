"""The parts of a JPEG file: its header, its restart markers, and a smaller file of some of it.

Four fifths of decoding a JPEG is reading its Huffman code, which has no marks to jump to: whoever
wants the lower right corner reads all that comes before. Restart markers are such marks. A file in
which each row of MCUs (blocks of, mostly, 16 x 16 pixels) is cut by them into runs of equal length
can be shortened to the runs that a crop lies in: what remains is an ordinary, smaller JPEG, and its
pixels are bit for bit those of the whole one. Without markers a file can still be left off below
the crop.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Box", "Frame", "Part", "frame_of", "shortened", "spliced", "upper", "with_table"]

Box = tuple[int, int, int, int]  # top, left, height, width

EOI, SOS, DRI = 0xD9, 0xDA, 0xDD
BASELINE = (0xC0, 0xC1)
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Chroma of half the resolution is interpolated from its neighbours: that far a pixel depends on
# others, and it must not lie at a border that the whole image has not.
REACH = 2
# An application segment with the runs' lengths (big-endian u16): a reader need not look for them.
TABLE, TABLE_NAME = 0xEA, b"srsgd_ray runs\0"
PAYS = 0.9  # a crop of more than this share of the image is decoded from the whole


class Frame(NamedTuple):
    """What the header of a JPEG file says.

    Attributes:
        height: pixels.
        width: pixels.
        plain: whether it is of the usual kind, 8 bits, three components, neither progressive nor
            arithmetic; others are left to Pillow.
        mcu_height: pixels of an MCU.
        mcu_width: pixels of an MCU.
        run: MCUs between restart markers, 0 without.
        frame_at: offset of the frame header's marker.
        data_at: offset of the coded data.
        table_at: offset of the segment with the runs' lengths, 0 without.
        table_end: offset of what follows it.
    """

    height: int
    width: int
    plain: bool
    mcu_height: int
    mcu_width: int
    run: int
    frame_at: int
    data_at: int
    table_at: int = 0
    table_end: int = 0


def frame_of(data: bytes) -> Frame | None:
    """The header of a JPEG file; None if the bytes are none, or end within it."""
    if data[:2] != b"\xff\xd8":
        return None
    at, end, run, frame_at, table = 2, len(data), 0, 0, (0, 0)
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
        elif marker == TABLE and data.startswith(TABLE_NAME, at + 4):
            table = at, at + 2 + length
        elif marker == SOS:
            frame = _frame(data, frame_at, run, at, at + 2 + length)
            return frame and frame._replace(table_at=table[0], table_end=table[1])
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
    return Frame(height, width, plain, 8 * down, 8 * across, run, at, data_at)


class Part(NamedTuple):
    """A shortened JPEG file, and where in the image it lies.

    Attributes:
        stream: the file, uint8 (bytes,).
        top: the image's row that is its first.
        left: the image's column that is its first.
        height: its pixels.
        width: its pixels.
    """

    stream: npt.NDArray[np.uint8]
    top: int
    left: int
    height: int
    width: int


def shortened(data: bytes, frame: Frame, box: Box) -> Part | None:
    """The JPEG file of those runs of MCUs that a box needs.

    None if the file has no restart markers that cut each row of MCUs into equal runs, or so little
    would be saved that it does not pay.
    """
    if not frame.run or not frame.plain:
        return None
    across = -(-frame.width // frame.mcu_width)
    down = -(-frame.height // frame.mcu_height)
    runs, rest = divmod(across, frame.run)  # of a row
    if rest:
        return None
    top, left, height, width = box
    step_y, step_x = frame.mcu_height, frame.mcu_width * frame.run
    first_y, first_x = max(top - REACH, 0) // step_y, max(left - REACH, 0) // step_x
    last_y = (min(top + height + REACH, frame.height) - 1) // step_y
    last_x = (min(left + width + REACH, frame.width) - 1) // step_x
    if (last_y - first_y + 1) * (last_x - first_x + 1) > PAYS * down * runs:
        return None
    bounds = _listed(data, frame, down * runs) if frame.table_at else None
    if bounds is None:
        bounds = _runs(data, frame.data_at, down * runs)
    if bounds is None:
        return None
    grid = bounds[:-1].reshape(down, runs), bounds[1:].reshape(down, runs)
    begins, ends = (g[first_y : last_y + 1, first_x : last_x + 1] for g in grid)
    pieces = [data[a:b] for a, b in zip(begins[:, 0].tolist(), ends[:, -1].tolist(), strict=True)]
    # Without the table: it is of no use to the decoder, and wrong from here on.
    header = data[: frame.table_at] + data[frame.table_end : frame.data_at]
    gone = frame.data_at - len(header)
    stream = np.frombuffer(bytearray(b"").join([header, *pieces]), np.uint8)
    rows = min((last_y + 1) * step_y, frame.height) - first_y * step_y
    columns = min((last_x + 1) * step_x, frame.width) - first_x * step_x
    at = frame.frame_at - (gone if frame.table_at < frame.frame_at else 0)
    stream[at + 5 : at + 9] = (rows >> 8, rows & 255, columns >> 8, columns & 255)
    # Markers count 0 to 7 and again; the last run ends with the end of the image instead.
    markers = len(header) + np.cumsum((ends - begins).ravel()) - 1
    stream[markers] = 0xD0 + np.arange(len(markers)) % 8
    stream[markers[-1]] = EOI
    return Part(stream, first_y * step_y, first_x * step_x, rows, columns)


def upper(data: bytes, frame: Frame, box: Box) -> tuple[bytearray, int] | None:
    """The same file, said to end below a box, and how many rows that leaves it.

    Its coded data are all there: to a decoder what follows those rows is garbage before the end
    marker. None if so little would be saved that it does not pay.
    """
    top, _, height, _ = box
    step = frame.mcu_height
    rows = -(-(top + height + REACH) // step) * step
    if not frame.plain or rows > PAYS * frame.height:
        return None
    stream = bytearray(data)
    stream[frame.frame_at + 5 : frame.frame_at + 7] = (rows >> 8, rows & 255)
    return stream, rows


def _listed(data: bytes, frame: Frame, count: int) -> npt.NDArray[np.int64] | None:
    """What :func:`_runs` finds, from the file's own table; None if that cannot be right."""
    begin = frame.table_at + 4 + len(TABLE_NAME)
    if frame.table_end - begin != 2 * count:
        return None
    lengths = np.frombuffer(data, ">u2", count, begin)
    bounds = np.concatenate([[frame.data_at], frame.data_at + np.cumsum(lengths, dtype=np.int64)])
    if bounds[-1] > len(data) or lengths.min() < 2:
        return None
    marks = np.frombuffer(data, np.uint8)[bounds[1:] - 2]
    return bounds if (marks == 0xFF).all() else None


def _runs(data: bytes, begin: int, count: int) -> npt.NDArray[np.int64] | None:
    """Where the runs begin, and the end of the last (markers included); None if not as many."""
    coded = np.frombuffer(data, np.uint8, offset=begin)
    # In coded data 0xFF is followed by 0 unless it begins a marker.
    marks = np.flatnonzero(coded[:-1] == 0xFF)
    kinds = coded[marks + 1]
    marks = marks[kinds != 0]
    kinds = coded[marks + 1]
    if len(marks) < count or kinds[count - 1] != EOI:
        return None
    if not np.array_equal(kinds[: count - 1], 0xD0 + np.arange(count - 1) % 8):
        return None
    return np.concatenate([[begin], marks[:count] + (begin + 2)])


def spliced(data: bytes) -> bool:
    """Whether a crop of this file can be decoded from a part of it."""
    frame = frame_of(data)
    return frame is not None and shortened(data, frame, (0, 0, 1, 1)) is not None


def with_table(data: bytes, frame: Frame) -> bytes:
    """The file with the lengths of its runs, if they fit into one segment."""
    across = -(-frame.width // frame.mcu_width)
    down = -(-frame.height // frame.mcu_height)
    bounds = _runs(data, frame.data_at, down * across // frame.run) if frame.run else None
    if bounds is None:
        return data
    lengths = np.diff(bounds)
    size = 2 + len(TABLE_NAME) + 2 * len(lengths)
    if lengths.max() >= 2**16 or size >= 2**16:
        return data
    table = TABLE_NAME + lengths.astype(">u2").tobytes()
    return data[:2] + struct.pack(">BBH", 0xFF, TABLE, size) + table + data[2:]
