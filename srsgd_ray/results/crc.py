"""CRC-32 backwards: what it was before a text, and which one byte of a text was changed."""

from __future__ import annotations

import zlib

_ALL = 0xFFFFFFFF
_TABLE = [zlib.crc32(bytes([byte]), _ALL) ^ _ALL for byte in range(256)]  # of a state of 0
_BYTE = {state: byte for byte, state in enumerate(_TABLE)}
_TOP = {state >> 24: byte for byte, state in enumerate(_TABLE)}


def _back(state: int, byte: int) -> int:
    """The state before it took in a byte."""
    index = _TOP[state >> 24]
    return ((state ^ _TABLE[index]) << 8) & _ALL | index ^ byte


def before(text: bytes, crc: int) -> int:
    """The value with which the checksum of ``text`` was begun, if it is ``crc``."""
    state = crc ^ _ALL
    for byte in reversed(text):
        state = _back(state, byte)
    return state ^ _ALL


def one_byte_mended(text: bytes, begun: int, crc: int) -> bytes | None:
    """The text with the one byte changed that gives it this checksum; None if none does.

    A text that was damaged at several places is taken for one with a single change once in
    2**32 / (255 * len(text)) times.
    """
    wrong = zlib.crc32(text, begun) ^ crc
    for place in reversed(range(len(text))):
        if wrong in _BYTE and wrong:
            return text[:place] + bytes([text[place] ^ _BYTE[wrong]]) + text[place + 1 :]
        wrong = _back(wrong, 0)
    return None
