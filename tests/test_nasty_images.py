"""Image files and databases as the world has them: all who read one agree, and a loss is told."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torchvision
from lmdb_images import datum, encoded, pixels_of
from PIL import Image

from srsgd_ray.cli import main
from srsgd_ray.data.crops import Cutter
from srsgd_ray.datasets.cifar import cifar10
from srsgd_ray.image_lmdb import DataError, ImageLmdb, Options, build, open_store
from srsgd_ray.image_lmdb.jpeg import decode
from srsgd_ray.image_lmdb.losses import losses
from srsgd_ray.image_lmdb.prepare import prepare
from srsgd_ray.image_lmdb.verify import _decoded, verify

RGB = pixels_of(0)
IMAGE, GREY = Image.fromarray(RGB), Image.fromarray(RGB).convert("L")
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def deep_rgb() -> bytes:
    """A PNG of 16 bits a colour, which Pillow cannot write."""
    rows = b"".join(b"\0" + row.tobytes() for row in (RGB.astype(np.uint16) * 257).astype(">u2"))
    head = struct.pack(">IIBBBBB", RGB.shape[1], RGB.shape[0], 16, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts
    )


JPEG, LATE = encoded(0), encoded(0, progressive=True)
TURNED = Image.Exif()
TURNED[0x0112] = 6
THUMB = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + JPEG
# What is sound, with what of it is not read.
SOUND: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "plain": (JPEG, ()),
    "data behind the end": (JPEG + b"x" * 100, ()),
    "a film behind the end": (JPEG + JPEG[:-2] + b"x" * 100, ()),
    "zeros behind the end": (JPEG + bytes(200), ()),
    "two ends": (JPEG + b"\xff\xd9", ()),
    "progressive": (LATE, ()),
    "progressive, data behind": (LATE + b"y" * 100, ()),
    "grey": (encoded(0, "L"), ()),
    "grey, data behind": (encoded(0, "L") + b"z" * 99, ()),
    "CMYK": (encoded(0, "CMYK"), ("colours",)),
    "CMYK, data behind": (encoded(0, "CMYK") + b"z" * 99, ("colours",)),
    "turned": (saved(IMAGE, "JPEG", exif=TURNED), ("orientation",)),
    "thumbnail": (saved(IMAGE, "JPEG", exif=THUMB), ()),
    "profile": (saved(IMAGE, "JPEG", icc_profile=b"Adobe RGB" * 20), ("profile",)),
    "sRGB": (saved(IMAGE, "JPEG", icc_profile=b"sRGB IEC61966" * 20), ()),
    "PNG": (saved(IMAGE, "PNG"), ()),
    "PNG, data behind": (saved(IMAGE, "PNG") + b"t" * 99, ()),
    "PNG without its end": (saved(IMAGE, "PNG")[:-12], ()),
    "16 bits": (saved(DEEP, "PNG"), ("depth",)),
    "16 bits of each": (deep_rgb(), ("depth",)),
    "an animation": (
        saved(IMAGE, "PNG", save_all=True, append_images=[IMAGE.rotate(90)]),
        ("frames",),
    ),
    "pages": (saved(IMAGE, "TIFF", save_all=True, append_images=[IMAGE.rotate(90)]), ("frames",)),
    "16 bits in a TIFF": (saved(DEEP, "TIFF"), ("depth",)),
    "RGBA": (saved(IMAGE.convert("RGBA"), "PNG"), ("alpha",)),
    "grey and alpha": (saved(IMAGE.convert("LA"), "PNG"), ("alpha",)),
    "palette": (saved(IMAGE.convert("P"), "PNG"), ()),
    "a colour left out": (saved(IMAGE.convert("P"), "PNG", transparency=0), ("alpha",)),
    "black and white": (saved(IMAGE.convert("1"), "PNG"), ()),
    "CMYK in a TIFF": (saved(IMAGE.convert("CMYK"), "TIFF"), ("colours",)),
    "WebP": (saved(IMAGE, "WEBP"), ()),
    "BMP": (saved(IMAGE, "BMP"), ()),
}
NOT_SOUND = {
    "no end": JPEG[:-2],
    "cut": JPEG[:-300],
    "cut, zeros behind": JPEG[:-2] + bytes(2),
    "progressive, no end": LATE[:-2],
    "progressive, cut": LATE[:-400],
    "grey, no end": encoded(0, "L")[:-2],
    "grey, cut": encoded(0, "L")[:-200],
    "CMYK, no end": encoded(0, "CMYK")[:-2],
    "PNG, cut": saved(IMAGE, "PNG")[:-300],
    "floats": saved(Image.fromarray(np.asarray(GREY).astype(np.float32) * 100), "TIFF"),
    "32 bits": saved(Image.fromarray(np.asarray(GREY).astype(np.int32) * 1000), "TIFF"),
    "empty": b"",
    "no image": b"<html>404</html>",
}


@pytest.mark.parametrize("name", SOUND)
def test_all_take_what_is_sound_and_read_the_same(name: str) -> None:
    data, lost = SOUND[name]
    pixels = decode(data, name)
    seen, problems = _decoded(data, name)
    assert problems == []
    for read in (seen, *(Cutter(8, checked=c)._whole(data, lambda: name) for c in (False, True))):
        assert np.array_equal(read, pixels)
    assert prepare(data, Options(), name).value == data
    assert losses(data) == lost
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    if name in ("16 bits", "16 bits in a TIFF"):  # which Pillow clips to white
        shown = np.asarray(GREY.convert("RGB"))
    assert np.array_equal(pixels, shown)


@pytest.mark.parametrize("name", NOT_SOUND)
def test_all_refuse_what_is_not_sound(name: str) -> None:
    data = NOT_SOUND[name]
    with pytest.raises(DataError, match=name):
        prepare(data, Options(), name)
    with pytest.raises(DataError, match=name):
        Cutter(8, checked=False)._whole(data, lambda: name)
    try:
        assert _decoded(data, name)[1]
    except DataError as error:
        assert name in str(error)


def test_a_folder_is_built_verified_and_trained_on_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tree" / "a").mkdir(parents=True)
    for n, (data, _) in enumerate(SOUND.values()):
        (tmp_path / "tree" / "a" / f"{n:02d}.jpg").write_bytes(data)
    path = tmp_path / "x.lmdb"
    (built,) = build(tmp_path / "tree", path, workers=1)
    found, store, tree = verify(path), ImageLmdb(path), open_store(tmp_path / "tree")
    assert found.problems == verify(tmp_path / "tree").problems == []
    expected = {"colours": 3, "orientation": 1, "profile": 1, "depth": 3, "alpha": 3, "frames": 2}
    assert built.lost == found.lost == expected
    for n in range(len(store)):
        a, b = (Cutter(8, checked=s is store)._whole(s.read(n), str) for s in (store, tree))  # type: ignore[arg-type]
        assert np.array_equal(a, b)
    capsys.readouterr()
    assert main(["lmdb", "verify", str(path), "--workers", "1"]) == 0
    assert main(["lmdb", "build", str(tmp_path / "tree"), str(path), "--force"]) == 0
    line = f"note: 3 of {len(SOUND)} images: transparency, which is left out"
    assert capsys.readouterr().out.splitlines().count(line) == 2


# Databases.


def database(path: Path, records: dict[bytes, bytes]) -> Path:
    with lmdb.open(str(path), map_size=2**26) as env, env.begin(write=True) as txn:
        for key, value in records.items():
            txn.put(key, value)
    return path


def bare(label: int = 0, *, says: bool = False) -> bytes:
    """A record of Caffe whose label, its last field but one, is stated or left out."""
    whole = datum(JPEG, label)
    return whole if says else whole[:-4] + whole[-2:]


def test_a_database_of_caffes_needs_labels(tmp_path: Path) -> None:
    keys = [f"{n:08d}_{n}.jpg".encode() for n in range(4)]
    none = database(tmp_path / "none", {key: bare() for key in keys})
    with pytest.raises(DataError, match="needs a label, but 4 of 4 have none: they would all be"):
        open_store(none)
    some = {key: bare(n, says=n < 2) for n, key in enumerate(keys)}
    with pytest.raises(DataError, match="needs a label, but 2 of 4 have none"):
        open_store(database(tmp_path / "some", some))
    # A writer of proto3 leaves a 0 out.
    third = {key: bare(n % 2, says=n % 2 == 1) for n, key in enumerate(keys)}
    assert open_store(database(tmp_path / "third", third)).labels.tolist() == [0, 1, 0, 1]


TENSOR = b"\x08\x03\x08\x04\x10\x03"  # dims 3 and 4, type byte
OTHERS = {
    "Caffe2's, of TensorProtos": {b"00000": b"\x0a\x06" + TENSOR + b"\x0a\x04\x08\x01\x10\x02"},
    "basicsr's, whose images have no classes": {b"baboon_s001": JPEG},
    "of pickles, which are never opened": {b"00000": b"\x80\x04\x95\x10\0\0\0\0\0\0\0."},
    "of values in a format of Python's": {b"00000": b"\x92\xc4\x01", b"__len__": b"\x01"},
    "one of texts in images": {b"image-000000001": JPEG, b"num-samples": b"1"},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_database_of_another_kind_is_named(kind: str, tmp_path: Path) -> None:
    path = database(tmp_path / "db", OTHERS[kind])
    if kind.startswith("basicsr"):
        (path / "meta_info.txt").write_text("baboon_s001.png (480,480,3) 1\n")
    with pytest.raises(DataError, match=f"must hold images with their classes, but is {kind}"):
        open_store(path)


@pytest.mark.parametrize(
    ("given", "cure"), [("d/cifar-10-batches-py", "the parent of .*: give '.*/d'"),
                        ("d/cifar-10-batches-py/x", "Get the archive"),
                        (".", "the child of .*: give '.*/d'"), ("e", "Get the archive")],
)  # fmt: skip
@pytest.mark.parametrize("archive", [False, True])
def test_a_folder_of_cifar_one_too_deep_or_too_high(
    given: str, cure: str, archive: bool, tmp_path: Path
) -> None:
    base = tmp_path / "d" / torchvision.datasets.CIFAR10.base_folder
    (base / "x").mkdir(parents=True)
    (tmp_path / "e" / "f").mkdir(parents=True)
    if archive:
        (base.parent / torchvision.datasets.CIFAR10.filename).touch()
        if "x" not in given:
            shutil.rmtree(base / "x")
    with pytest.raises(DataError, match=f"cifar10 not found: .*{cure}"):
        cifar10(tmp_path / given)
