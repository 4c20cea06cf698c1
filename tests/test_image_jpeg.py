"""JPEG files decoded whole and in part: the same pixels, Pillow's too, and never a crash."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from srsgd_ray.image_lmdb import frames, jpeg
from srsgd_ray.image_lmdb.errors import DataError

PHOTOS = [Image.fromarray(photo) for photo in load_sample_images().images]


def photo(width: int, height: int, mode: str = "RGB", form: str = "JPEG", **options: Any) -> bytes:
    """A piece of a photograph as a file."""
    data = io.BytesIO()
    piece = PHOTOS[(width + height) % 2].crop((40, 30, 40 + width, 30 + height))
    piece.convert(mode).save(data, form, **options)
    return data.getvalue()


def by_pillow(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def boxes(count: int, height: int, width: int, draw: random.Random) -> list[frames.Box]:
    found = []
    for _ in range(count):
        h, w = draw.randint(1, height), draw.randint(1, width)
        found.append((draw.randint(0, height - h), draw.randint(0, width - w), h, w))
    return found


def differing(data: bytes, chosen: list[frames.Box], whole: Any) -> int:
    """How many boxes differ from those of the whole image."""
    frame = frames.frame_of(data)
    assert frame is not None
    room = np.empty(frame.height * frame.width * 3, np.uint8)
    bad = 0
    for n, box in enumerate(chosen):
        top, left, height, width = box
        part = jpeg.decode_box(data, frame, box, room if n % 2 else None)
        wanted = whole[top : top + height, left : left + width]
        bad += part is None or not np.array_equal(part, wanted)
    return bad


@pytest.mark.parametrize("run", [1, 2, 4])
def test_no_crop_differs_of_a_file_with_restart_markers(run: int) -> None:
    """As ``--repack`` made them until version 0.1."""
    draw = random.Random(run)
    left_off = 0
    for _ in range(15):
        width, height = draw.randint(20, 380), draw.randint(20, 390)
        data = photo(width, height, restart_marker_blocks=run, quality=draw.randint(40, 98))
        some = boxes(20, height, width, draw)
        assert differing(data, some, by_pillow(data)) == 0
        frame = frames.frame_of(data)
        assert frame is not None and frame.run == run
        left_off += sum(jpeg._upper(data, frame, box, None) is not None for box in some)
    assert left_off > 70


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_no_crop_differs_where_a_file_without_markers_is_left_off(subsampling: str) -> None:
    draw = random.Random(3)
    left_off = 0
    for _ in range(27):
        width, height = draw.randint(5, 500), draw.randint(5, 390)
        data = photo(width, height, subsampling=subsampling, quality=draw.randint(40, 98))
        chosen = boxes(25, height, width, draw)
        assert differing(data, chosen, by_pillow(data)) == 0
        frame = frames.frame_of(data)
        assert frame is not None
        left_off += sum(jpeg._upper(data, frame, box, None) is not None for box in chosen)
    assert left_off > 200


def test_damage_is_noticed_although_a_file_is_left_off() -> None:
    """A file that was cut short wherever, and what libjpeg says of the rows that are needed."""
    data = photo(300, 320)
    frame = frames.frame_of(data)
    assert frame is not None
    box = (20, 30, 100, 100)
    assert jpeg._upper(data, frame, box, None) is not None
    for cut in (2, 3, 100, 5000):
        assert jpeg.decode_box(data[:-cut], frame, box) is None
    marker = bytearray(data)  # the end of the image, long before the end of the crop
    marker[frame.data_at + 900 : frame.data_at + 902] = b"\xff\xd9"
    assert jpeg.decode_box(bytes(marker), frame, box) is None


def damaged(data: bytes, how: str) -> bytes:
    """The file as a broken disk may leave it, yet such that Pillow makes an image of it."""
    half = len(data) // 2
    return {
        "cut, with an end": data[:half] + b"\xff\xd9",
        "a hole of zeros": data[:half] + bytes(2000) + data[half + 2000 :],
        "zeros to the end": data[:half] + bytes(len(data) - half - 2) + b"\xff\xd9",
    }[how]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "L"}])
@pytest.mark.parametrize("how", ["cut, with an end", "a hole of zeros", "zeros to the end"])
def test_what_pillow_fills_with_grey_is_refused(how: str, options: dict[str, Any]) -> None:
    data = damaged(photo(300, 320, **options), how)
    assert by_pillow(data).shape == (320, 300, 3)
    with pytest.raises(DataError, match=r"the one cannot be decoded: (Corrupt JPEG data|Prem)"):
        jpeg.decode(data, "the one")
    assert np.array_equal(jpeg.decode(data, "the one", lenient=True), by_pillow(data))


def test_libjpegs_complaints_are_told() -> None:
    data = photo(300, 320)
    frame = frames.frame_of(data)
    assert frame is not None
    damaged = bytearray(data)
    damaged[frame.data_at + 900 : frame.data_at + 916] = b"\xff\x00" * 8
    assert by_pillow(bytes(damaged)).shape == (320, 300, 3)
    assert (jpeg.complaint(bytes(damaged)) or "").startswith("Corrupt JPEG data: ")
    assert jpeg.complaint(data[:-900]) == "Premature end of JPEG file"
    for whole in (data, photo(83, 61, "L"), photo(83, 61, "CMYK"), photo(83, 61, form="PNG")):
        assert jpeg.complaint(whole) is None
    assert jpeg.complaint(photo(83, 61, progressive=True)) is None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4"}])
def test_decoding_gives_pillows_pixels(mode: str, options: dict[str, Any]) -> None:
    data = photo(83, 61, mode, **options)
    frame = frames.frame_of(data)
    assert frame is not None and frame[:2] == (61, 83)
    assert frame.plain == (mode == "RGB" and "progressive" not in options)
    assert np.array_equal(jpeg.decode(data, "x"), by_pillow(data))


def test_a_png_named_jpeg_is_decoded() -> None:
    data = photo(83, 61, form="PNG")
    assert frames.frame_of(data) is None
    assert np.array_equal(jpeg.decode(data, "x"), by_pillow(data))


@pytest.mark.parametrize("cut", [0, 2, 20, 300, 650, -200, -30])
def test_damaged_images_are_named(cut: int) -> None:
    data = photo(83, 61)[:cut]
    with pytest.raises(DataError, match="must be readable, but the one cannot be decoded") as error:
        jpeg.decode(data, "the one")
    assert "Get it anew, or remove it." in str(error.value)


def test_a_file_that_claims_too_many_pixels_is_refused() -> None:
    data = bytearray(photo(83, 61))
    frame = frames.frame_of(bytes(data))
    assert frame is not None
    data[frame.frame_at + 5 : frame.frame_at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(DataError, match=r"cannot be decoded: .*pixels"):
        jpeg.decode(bytes(data), "x")


def test_mutated_files_give_pixels_or_one_error() -> None:
    draw = random.Random(5)
    seeds = [
        photo(96, 64, restart_marker_blocks=3),
        photo(96, 64, restart_marker_blocks=1, subsampling="4:4:4"),
        photo(50, 40),
        photo(50, 40, progressive=True),
        photo(50, 40, "CMYK"),
        photo(30, 20, form="PNG"),
    ]
    outcomes = {"pixels": 0, "error": 0, "part": 0}
    for case in range(4000):
        data = bytearray(seeds[case % len(seeds)])
        for _ in range(draw.choice((1, 1, 3, 20))):
            # Half of the changes hit the headers, where they do most.
            at = draw.randrange(min(len(data), 700) if draw.random() < 0.5 else len(data))
            data[at] = draw.randrange(256)
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)) :]
        changed = bytes(data)
        try:
            pixels = jpeg.decode(changed, "x")
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
            outcomes["pixels"] += 1
        except DataError:
            outcomes["error"] += 1
        frame = frames.frame_of(changed)
        if frame is not None and frame.plain and frame.height * frame.width < 10**6:
            (box,) = boxes(1, frame.height, frame.width, draw)
            part = jpeg.decode_box(changed, frame, box)
            assert part is None or part.shape == (*box[2:], 3)
            whole = jpeg.decode_box(changed, frame, (0, 0, frame.height, frame.width))
            if part is not None and whole is not None:
                top, left, height, width = box
                same = np.array_equal(part, whole[top : top + height, left : left + width])
                assert same or frame.run
            outcomes["part"] += part is not None
    assert min(outcomes.values()) > 100
