"""Building databases: the same bytes however often broken off, nothing half that opens as whole."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from lmdb_images import CLASSES, encoded, files, make_caffe, make_original, make_tar, make_tree
from PIL import Image
from torchvision.datasets import ImageFolder

from srsgd_ray.cli import main
from srsgd_ray.data.crops import Cutter
from srsgd_ray.image_lmdb import (
    DataError,
    FolderStore,
    ImageLmdb,
    Options,
    build,
    convert,
    jpeg,
    open_pair,
    open_store,
)
from srsgd_ray.image_lmdb.build_checks import room_of
from srsgd_ray.image_lmdb.journal import Journal
from srsgd_ray.image_lmdb.layout import FORMAT, VERSION, key_of
from srsgd_ray.image_lmdb.verify import verify

writer_module = sys.modules["srsgd_ray.image_lmdb.writer"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images in three classes."""
    return make_tree(tmp_path_factory.mktemp("many"), 100, ("train",)) / "train"


@pytest.fixture
def small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "TOGETHER", 5)


def test_an_encoded_store_keeps_the_files(tree: Path, tmp_path: Path) -> None:
    (made,) = build(tree / "train", tmp_path / "x.lmdb", workers=1)
    assert (made.path, made.samples, made.skipped) == (tmp_path / "x.lmdb", 12, ())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.lmdb"]
    store, source = ImageLmdb(tmp_path / "x.lmdb"), FolderStore(tree / "train")
    assert store.classes == source.classes == CLASSES
    assert store.labels.tolist() == source.labels.tolist()
    for n in range(12):
        assert store.read(n) == source.read(n) and store.key(n) == source.key(n)
        store.read(n)
    assert store.header.count == 12 and not store.header.repacked


def test_the_layout_is_as_documented(tree: Path, tmp_path: Path) -> None:
    build(tree / "train", tmp_path / "x.lmdb", workers=1)
    source = FolderStore(tree / "train")
    with (
        lmdb.open(str(tmp_path / "x.lmdb"), subdir=False, readonly=True, lock=False) as env,
        env.begin() as txn,
    ):
        keys = list(txn.cursor().iternext(values=False))
        assert keys == [key_of(n) for n in range(12)] + sorted(
            [b"classes", b"header", b"index", b"labels", b"names"]
        )
        for n in range(12):
            value = txn.get(n.to_bytes(8, "big"))
            assert value == source.read(n).ljust(2048, b"\0")
        header = eval(txn.get(b"header").replace(b"null", b"None").replace(b"false", b"False"))
        assert (header["format"], header["version"]) == (FORMAT, VERSION)
        whole = (tmp_path / "x.lmdb").read_bytes()
        index = np.frombuffer(txn.get(b"index"), "<u8,<u4,<u4,<u4,<u4,<i4,<u4")
        for n, (offset, length, _, height, width, label, _) in enumerate(index.tolist()):
            assert whole[offset : offset + length] == source.read(n)
            assert (width, height) == Image.open(io.BytesIO(source.read(n))).size
            assert label == source.labels[n]


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(largest_side=70),
        Options(quality=50),
        Options(store="decoded", largest_side=64),
    ],
)
def test_options_do_what_they_say(tree: Path, tmp_path: Path, options: Options) -> None:
    build(tree / "train", tmp_path / "x.lmdb", options, workers=1)
    store, source = ImageLmdb(tmp_path / "x.lmdb"), FolderStore(tree / "train")
    for n in range(12):
        data, entry = store.read(n), store.entry(n)
        wanted = jpeg.decode(source.read(n), "")
        pixels = jpeg.decode(data, "") if isinstance(data, bytes) else data
        assert pixels.shape == (entry.height, entry.width, 3)
        side = options.largest_side
        if side is None:
            assert pixels.shape == wanted.shape
        else:
            assert max(pixels.shape) == side
            image = Image.fromarray(wanted).resize(pixels.shape[1::-1], Image.Resampling.BICUBIC)
            wanted = np.asarray(image)
        apart = np.abs(pixels.astype(int) - wanted).mean()
        assert apart == 0 if options == Options() else apart < 12
        assert isinstance(data, bytes) == (options.store == "encoded")
    assert store.header.store == options.store and store.header.largest_side == side


def test_processes_and_a_second_time_change_no_byte(tree: Path, tmp_path: Path) -> None:
    for name, workers in (("a", 1), ("b", 2), ("c", 2)):
        build(tree, tmp_path / name, workers=workers)
    for part in ("train.lmdb", "val.lmdb"):
        assert len({digest(tmp_path / name / part) for name in "abc"}) == 1
    train, val = open_pair(tmp_path / "a")
    assert (train.kind, len(train), len(val)) == ("srsgd_ray", 12, 12)


class Stop(Exception):
    pass


def stop_after(images: int) -> Any:
    def progress(name: str, done: int, count: int, size: int) -> None:
        if done >= images:
            raise Stop

    return progress


@pytest.mark.usefixtures("small_transactions")
@pytest.mark.parametrize("images", [1, 5, 10, 12])
def test_a_build_that_was_broken_off_goes_on(tree: Path, tmp_path: Path, images: int) -> None:
    build(tree / "train", tmp_path / "whole.lmdb", workers=1)
    path = tmp_path / "cut.lmdb"
    with pytest.raises(Stop):
        build(tree / "train", path, workers=1, progress=stop_after(images))
    assert not path.exists()
    partial = tmp_path / "cut.lmdb.partial"
    with pytest.raises(DataError, match="must have a header, but has none: it is half built"):
        open_store(partial)
    first: list[int] = []
    build(tree / "train", path, workers=1, progress=lambda name, done, *_: first.append(done))
    assert first[0] == min(-(-images // 5) * 5, 12)
    assert digest(path) == digest(tmp_path / "whole.lmdb")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.lmdb", "whole.lmdb"]


@pytest.mark.usefixtures("small_transactions")
def test_a_crash_between_any_two_steps_loses_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off after the journal, after the last records, and before the renaming."""
    build(tree / "train", tmp_path / "whole.lmdb", workers=1)
    path = tmp_path / "cut.lmdb"
    for place in ("_put", "finish", "publish"):
        with monkeypatch.context() as patch:
            patch.setattr(writer_module.Writer, place, lambda *_: (_ for _ in ()).throw(Stop))
            with pytest.raises(Stop):
                build(tree / "train", path, workers=1)
        assert not path.exists()
    # The journal's last entry, and the trailer, may be written in part only.
    for name in ("cut.lmdb.partial.journal", "cut.lmdb.partial"):
        with (tmp_path / name).open("ab") as file:
            file.write(b"srsgd_ray places")
    build(tree / "train", path, workers=1)
    assert digest(path) == digest(tmp_path / "whole.lmdb")


def test_kill_9_at_any_moment_leaves_the_same_bytes_in_the_end(many: Path, tmp_path: Path) -> None:
    """A process that writes a transaction every 5 images is killed again and again."""
    code = (
        "import sys; import srsgd_ray.cli.lmdb; from srsgd_ray.cli import main\n"
        "sys.modules['srsgd_ray.image_lmdb.writer'].TOGETHER = 5\n"
        "if __name__ == '__main__': sys.exit(main(['lmdb', *sys.argv[1:]]))"
    )
    script, draw = tmp_path / "run.py", random.Random(1)
    script.write_text(code)
    journal = tmp_path / "cut.lmdb.partial.journal"

    def begin(name: str) -> subprocess.Popen[bytes]:
        words = ["build", str(many), str(tmp_path / name), "--quality", "60", "--workers", "2"]
        return subprocess.Popen(
            [sys.executable, str(script), *words], stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    assert begin("whole.lmdb").wait(timeout=60) == 0
    # Killed at the very beginning, and as soon as so many images have their journal entry.
    for images in (0, 1, 90, 220, 280):
        process = begin("cut.lmdb")
        while process.poll() is None and (
            not journal.exists() or journal.stat().st_size < 300 + 32 * images
        ):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.02))
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "cut.lmdb").exists()
    assert begin("cut.lmdb").wait(timeout=60) == 0
    assert digest(tmp_path / "cut.lmdb") == digest(tmp_path / "whole.lmdb")
    assert not journal.exists()


def test_ctrl_c_prints_the_command_that_goes_on(many: Path, tmp_path: Path) -> None:
    for attempt in range(5):  # where the machine is busy, all may be built before the signal
        path = tmp_path / str(attempt) / "my images.lmdb"
        path.parent.mkdir()
        words = ["lmdb", "build", str(many), str(path), "--quality", "70", "--workers", "2"]
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from srsgd_ray.cli import main\n"
             "if __name__ == '__main__': sys.exit(main())", *words],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        journal = path.with_name(f"{path.name}.partial.journal")
        while not journal.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        if process.returncode:
            break
    assert process.returncode == 130, said
    line = next(n for n in said.splitlines() if "Resume with: " in n)
    assert line.endswith(f" lmdb build {many} '{path}' --quality 70 --workers 2")
    assert "Traceback" not in said and not path.exists()
    assert main(words) == 0
    assert len(open_store(path)) == 300


@pytest.mark.usefixtures("small_transactions")
def test_unreadable_images_stop_or_are_listed(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tree / "train", tmp_path / "train")
    bad = files(tmp_path / "train")[4]
    bad.write_bytes(bad.read_bytes()[:-300])
    path = tmp_path / "x.lmdb"
    with pytest.raises(DataError, match=rf"{bad.name} cannot be decoded.*--on-corrupt skip"):
        build(tmp_path / "train", path, workers=2)
    assert not path.exists()
    words = ["lmdb", "build", str(tmp_path / "train"), str(path), "--on-corrupt", "skip"]
    assert main([*words, "--workers", "1"]) == 0
    name = f"{bad.parent.name}/{bad.name}"
    said = capsys.readouterr().out
    assert "x.lmdb: 11 images" in said
    assert f"1 images could not be decoded and were left out; they are listed in {path}" in said
    assert (tmp_path / "x.lmdb.skipped.txt").read_text() == f"{name}\n"
    store = open_store(path)
    assert len(store) == 11 and name not in [store.key(n) for n in range(11)]


def test_a_class_without_a_readable_image_is_an_error(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "train", tmp_path / "train")
    for file in (tmp_path / "train" / CLASSES[1]).iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match=f"can be decoded, but 1 have none: {CLASSES[1]}"):
        build(tmp_path / "train", tmp_path / "x.lmdb", Options(on_corrupt="skip"), workers=1)
    assert not (tmp_path / "x.lmdb").exists()
    for file in (tmp_path / "train" / CLASSES[1]).iterdir():
        file.unlink()
    tar = make_tar(tmp_path / "train", tmp_path / "x.tar")
    with pytest.raises(DataError, match=rf"every class needs images, but {CLASSES[1]}\.tar has"):
        build(tar, tmp_path / "x.lmdb", workers=1)


def test_a_damaged_image_stops_is_skipped_or_kept(tree: Path, tmp_path: Path) -> None:
    """One that Pillow makes something of; what was kept is trained on as it is."""
    shutil.copytree(tree / "train", tmp_path / "train")
    file = files(tmp_path / "train")[8]
    file.write_bytes(file.read_bytes()[:-400] + b"\xff\xd9")
    path = tmp_path / "x.lmdb"
    with pytest.raises(DataError, match=rf"{file.name} cannot be decoded: .*skip leaves .* keep"):
        build(tmp_path / "train", path, workers=1)
    (made,) = build(tmp_path / "train", path, Options(on_corrupt="skip"), workers=1)
    assert made.samples == 11 and made.skipped == (f"{file.parent.name}/{file.name}",)
    (made,) = build(tmp_path / "train", path, Options(on_corrupt="keep"), workers=1, force=True)
    assert made.samples == 12 and made.skipped == ()
    assert ImageLmdb(path).read(8) == file.read_bytes()
    out = torch.empty((8, 8, 3), dtype=torch.uint8)
    Cutter(8, checked=True).central(file.read_bytes(), lambda: "x", out)
    with pytest.raises(DataError, match="x cannot be decoded"):
        Cutter(8, checked=False).central(file.read_bytes(), lambda: "x", out)
    file.write_bytes(b"no image")
    with pytest.raises(DataError, match=rf"{file.name} cannot be decoded: it is of no known fo"):
        build(tmp_path / "train", path, Options(on_corrupt="keep"), workers=1, force=True)


@pytest.mark.usefixtures("small_transactions")
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_half_built_database_that_was_cut_is_refused(
    tree: Path, tmp_path: Path, share: float
) -> None:
    """LMDB maps the file: it would be a signal that ends the process."""
    path, partial = tmp_path / "x.lmdb", tmp_path / "x.lmdb.partial"
    with pytest.raises(Stop):
        build(tree / "train", path, workers=1, progress=stop_after(10))
    os.truncate(partial, int(share * partial.stat().st_size))
    with pytest.raises(DataError, match=r"it is cut short: it must hold.*--force"):
        build(tree / "train", path, workers=1)
    build(tree / "train", path, workers=1, force=True)
    assert len(ImageLmdb(path)) == 12


def test_a_crash_after_the_renaming_leaves_nothing_behind(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, journal = tmp_path / "x.lmdb", tmp_path / "x.lmdb.partial.journal"
    for force in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "__exit__", lambda self, *error: self._file.close())
            build(tree / "train", path, workers=1, force=force)
        before = digest(path)
        assert journal.stat().st_size > 12 * 32
        with pytest.raises(ValueError, match="is there already"):
            build(tree / "train", path, workers=1)
        assert [p.name for p in tmp_path.iterdir()] == ["x.lmdb"] and digest(path) == before


def test_the_room_for_both_parts_is_asked_for_first(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    room = int(1.1 * 12 * room_of(FolderStore(tree / "train"), Options())[0])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, room))
    with pytest.raises(DataError, match="must have about"):
        build(tree, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()
    build(tree / "train", tmp_path / "x.lmdb", workers=1)


def test_a_tree_is_read_as_torchvision_reads_it(tree: Path, tmp_path: Path) -> None:
    """Subfolders of a class, and all kinds of files."""
    shutil.copytree(tree / "train", tmp_path / "train")
    image = Image.open(files(tmp_path / "train")[0]).convert("RGB")
    for name in ("b/deep/er/1.png", "a/2.bmp", "z.tiff", "1.webp", "b/3.ppm"):
        file = tmp_path / "train" / CLASSES[1] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)
    theirs = ImageFolder(str(tmp_path / "train"))
    ours = FolderStore(tmp_path / "train")
    assert [(ours.name(n), ours.label(n)) for n in range(len(ours))] == theirs.samples
    build(tmp_path / "train", tmp_path / "x.lmdb", workers=1)
    assert verify(tmp_path / "x.lmdb", against=tmp_path / "train").problems == []


def test_links_in_a_tar_are_followed_or_refused(tree: Path, tmp_path: Path) -> None:
    first = files(tree / "train")[0]
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(first, "a/1.JPEG")
        link = tarfile.TarInfo("b/2.JPEG")
        link.type, link.linkname = tarfile.LNKTYPE, "a/1.JPEG"
        tar.addfile(link)
    build(tmp_path / "x.tar", tmp_path / "x.lmdb", workers=1)
    store = ImageLmdb(tmp_path / "x.lmdb")
    assert store.classes == ("a", "b") and store.read(0) == store.read(1) == first.read_bytes()
    assert verify(tmp_path / "x.lmdb", against=tmp_path / "x.tar").problems == []
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        link.type, link.linkname, link.name = tarfile.SYMTYPE, "../a/1.JPEG", "b/3.JPEG"
        tar.addfile(link)
    with pytest.raises(DataError, match=r"but b/3.JPEG in it is a link to ../a/1.JPEG. Make it"):
        build(tmp_path / "x.tar", tmp_path / "y.lmdb", workers=1)


def add(tar: tarfile.TarFile, name: str, data: bytes | None) -> None:
    """A file, or a folder."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
    member.size = len(data or b"")
    tar.addfile(member, io.BytesIO(data or b""))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/1.JPEG", "b/"), "every class needs images .*, but b in .* has none. Fill or remove"),
        (("train/a/1.JPEG", "val/a/2.JPEG"), "has some in train and some in val. Make one tar of"),
        (("a/1.JPEG", "a/b/2.JPEG"), r"has some in \. and some in a\. Make one tar of each part"),
        (("a/1.JPEG", "b.tar.gz"), r"holds b.tar.gz. Unpack it into one folder a class"),
    ],
)
def test_what_a_tar_would_lose_or_mix_is_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in names:
            add(tar, name, None if name.endswith("/") else encoded(1))
    with pytest.raises(DataError, match=message):
        build(tmp_path / "x.tar", tmp_path / "x.lmdb", workers=1)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:  # folders of their own are no classes
        for name in ("./", "./data/", "./data/a/", "./data/a/1.JPEG", "./data/.b/", ".c/2.JPEG"):
            add(tar, name, None if name.endswith("/") else encoded(1))
    build(tmp_path / "x.tar", tmp_path / "x.lmdb", workers=1)
    assert ImageLmdb(tmp_path / "x.lmdb").classes == ("a",)


def test_force_replaces_databases_only(tree: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("mine")
    for force in (False, True):
        with pytest.raises(ValueError, match="is there already, and is no database"):
            build(tree / "train", thesis, workers=1, force=force)
    build(tree, tmp_path / "out", workers=1)
    (tmp_path / "out" / "val.lmdb").write_text("mine")
    before = sorted(p.name for p in (tmp_path / "out").iterdir())
    with pytest.raises(ValueError, match="is no database"):
        build(tree, tmp_path / "out", workers=1, force=True)
    build(tree, tmp_path / "both", workers=1)
    with pytest.raises(ValueError, match="must lie outside of what it is built from"):
        convert(tmp_path / "both", tmp_path / "both", workers=1, force=True)
    # No leave to replace stays behind.
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == before
    assert sorted(p.name for p in (tmp_path / "both").iterdir()) == ["train.lmdb", "val.lmdb"]


@pytest.mark.usefixtures("small_transactions")
def test_what_was_skipped_is_not_taken_for_whole_later(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "train", tmp_path / "train")
    files(tmp_path / "train")[2].write_bytes(b"no image")
    path, skip = tmp_path / "x.lmdb", Options(on_corrupt="skip")
    with pytest.raises(Stop):
        build(tmp_path / "train", path, skip, workers=1, progress=stop_after(7))
    with pytest.raises(DataError, match=r"lacks 1 images. Continue with that, or begin anew"):
        build(tmp_path / "train", path, workers=1)
    (made,) = build(tmp_path / "train", path, skip, workers=1)
    assert made.samples == 11


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("pair", r"holds two sets of images, train and val. Name one of them: .*/train$"),
        ("built", r"holds two sets of images, train.lmdb and val.lmdb. Name one of them: .*lmdb$"),
        ("part", r"holds train, which is a part of a data set. Name .*/train instead"),
        ("flat", r"but holds no folder and 4 image files. Sort the images into folders, or"),
    ],
)
def test_a_folder_of_another_kind_is_told(
    tree: Path, tmp_path: Path, layout: str, message: str
) -> None:
    folder = tree
    if layout == "built":
        build(tree, folder := tmp_path / "built", workers=1)
    elif layout == "part":
        shutil.copytree(tree / "train", tmp_path / "part" / "train")
        folder = tmp_path / "part"
    elif layout == "flat":
        folder = tree / "train" / CLASSES[0]
    with pytest.raises(DataError, match=message):
        verify(folder)


@pytest.mark.parametrize("nested", [True, False])
def test_a_tar_gives_what_its_tree_gives(tree: Path, tmp_path: Path, nested: bool) -> None:
    build(tree / "train", tmp_path / "tree.lmdb", workers=1)
    tar = make_tar(tree / "train", tmp_path / "images.tar", nested=nested)
    build(tar, tmp_path / "tar.lmdb", workers=2)
    assert digest(tmp_path / "tar.lmdb") == digest(tmp_path / "tree.lmdb")


def test_other_databases_are_converted(tree: Path, tmp_path: Path) -> None:
    source = FolderStore(tree / "train")
    made = {
        "original": make_original(tree / "train", tmp_path / "train_faster_imagefolder.lmdb"),
        "caffe": make_caffe(tree / "train", tmp_path / "caffe"),
    }
    for name, path in made.items():
        convert(path, tmp_path / f"{name}.lmdb", workers=1)
        store = open_store(tmp_path / f"{name}.lmdb")
        assert store.kind == "srsgd_ray" and store.classes == CLASSES
        assert [store.read(n) for n in range(12)] == [source.read(n) for n in range(12)]
        assert store.labels.tolist() == source.labels.tolist()
    raw = make_caffe(tree / "train", tmp_path / "raw", raw=True)
    with pytest.raises(ValueError, match="pixels can be stored encoded only with a loss, but got"):
        convert(raw, tmp_path / "raw.lmdb", workers=1)
    convert(raw, tmp_path / "raw.lmdb", Options("decoded", 500), workers=1)
    store = open_store(tmp_path / "raw.lmdb")
    for n in range(12):
        assert np.array_equal(store.read(n), jpeg.decode(source.read(n), ""))
    # Ours can be converted again, and a pair at a time.
    make_original(tree / "val", tmp_path / "val_faster_imagefolder.lmdb")
    assert len(convert(tmp_path, tmp_path / "pair", workers=1)) == 2
    convert(tmp_path / "original.lmdb", tmp_path / "again.lmdb", Options("decoded", 40), workers=1)
    assert len(open_pair(tmp_path / "pair")[1]) == 12


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (Options(quality=80), Options(), ("encoded", None, 80, False)),
        (Options(largest_side=50), Options(largest_side=60), ("encoded", 50, None, False)),
        (Options(largest_side=60), Options("decoded", 50), ("decoded", 50, None, False)),
    ],
)
def test_a_converted_database_says_what_was_done_before(
    tree: Path, tmp_path: Path, before: Options, after: Options, wanted: tuple[Any, ...]
) -> None:
    build(tree / "train", tmp_path / "a.lmdb", before, workers=1)
    convert(tmp_path / "a.lmdb", tmp_path / "b.lmdb", after, workers=1)
    header = ImageLmdb(tmp_path / "b.lmdb").header
    assert (header.store, header.largest_side, header.quality, header.repacked) == wanted
    assert verify(tmp_path / "b.lmdb", against=tree / "train").problems == []


def test_a_pair_of_a_converted_pair_is_resumed(tree: Path, tmp_path: Path) -> None:
    """A finished part is known again by what its header says, not by the options alone."""
    build(tree, tmp_path / "a", Options(quality=80), workers=1)
    convert(tmp_path / "a", tmp_path / "b", workers=1)
    (tmp_path / "b" / "val.lmdb").unlink()
    made = convert(tmp_path / "a", tmp_path / "b", workers=1)
    assert [done.kept for done in made] == [True, False]


def bad_places(tree: Path, folder: Path) -> list[tuple[list[str], str]]:
    (folder / "there.lmdb").write_bytes(b"x")
    (folder / "empty" / "a").mkdir(parents=True)
    (folder / "flat").mkdir()
    (folder / "no.tar").write_bytes(b"no tar" * 500)
    with tarfile.open(folder / "flat.tar", "w") as tar:
        tar.add(files(tree / "val")[0], "ILSVRC2012_val_00000001.JPEG")
    tarfile.open(folder / "none.tar", "w").close()
    (folder / "text.txt").write_text("hello")
    train, new = str(tree / "train"), str(folder / "new.lmdb")
    return [
        ([train, new, "--store", "half"], "store must be one of encoded, decoded, but got 'half'"),
        ([train, new, "--largest-side", "0"], "1 <= largest_side must hold"),
        ([train, new, "--quality", "101"], "1 <= quality <= 100 must hold, but got quality=101"),
        ([train, new, "--store", "decoded"], "a decoded store needs its largest side stated"),
        ([train, new, "--store", "decoded", "--largest-side", "9", "--quality", "9"],
         "a decoded store holds no JPEG files, but got quality"),
        ([train, new, "--on-corrupt", "x"], "on_corrupt must be one of stop, skip, keep"),
        ([train, new, "--workers", "-1"], "0 <= workers must hold, but got workers=-1"),
        ([train, str(folder / "there.lmdb")], "is there already"),
        ([train, str(folder)], "must be a file to be made, but is a folder"),
        ([train, f"{train}/x.lmdb"], "must lie outside of what it is built from"),
        ([train, str(folder / "no" / "x.lmdb")], "must be a folder, but is none. Make it first"),
        ([str(tree), new], "train and val are made into a folder, but"),
        ([str(folder / "gone"), new], "must be a folder or a tar file, but is not there"),
        ([str(folder / "empty"), new], "every class needs images"),
        ([str(folder / "flat"), new], "must hold one folder a class with its images"),
        ([str(folder / "flat.tar"), new], "its 1 images, such as ILSVRC2012_val_0"),
        ([str(folder / "none.tar"), new], "must hold one tar or folder a class with images"),
        ([str(folder / "no.tar"), new], "must be an uncompressed tar file of images, but"),
    ]  # fmt: skip


def test_bad_input_is_one_message_and_leaves_nothing(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in bad_places(tree, tmp_path):
        before = sorted(str(p) for p in tmp_path.rglob("*"))
        assert main(["lmdb", "build", *words]) == 2, words
        said = capsys.readouterr().err
        assert said.startswith("srsgd-ray lmdb build: ") and message in said, (words, said)
        assert said.count("\n") == 1
        assert sorted(str(p) for p in tmp_path.rglob("*")) == before, words


def test_a_database_is_not_built_from_files(tree: Path, tmp_path: Path) -> None:
    make_original(tree / "train", tmp_path / "train_faster_imagefolder.lmdb")
    with pytest.raises(DataError, match="must be a folder of image files, but is of databases"):
        build(tmp_path, tmp_path.parent / "x.lmdb")


@pytest.mark.usefixtures("small_transactions")
def test_other_options_do_not_go_on_with_a_half_built_one(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.lmdb"
    with pytest.raises(Stop):
        build(tree / "train", path, workers=1, progress=stop_after(5))
    with pytest.raises(DataError, match=r"was begun with quality=None \(now 50\)") as error:
        build(tree / "train", path, Options(quality=50), workers=1)
    assert "Continue with the same source and options, or begin anew with --force" in str(
        error.value
    )
    with pytest.raises(DataError, match=r"was begun with other names than now\. Con"):
        build(tree / "val", path, workers=1)
    build(tree / "train", path, Options(quality=50), workers=1, force=True)
    assert ImageLmdb(path).header.quality == 50


def test_too_small_a_disk_is_said_first(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 20_000))
    with pytest.raises(DataError, match=r"about 0\.0\d+ MB free .* has 0\.02 MB") as error:
        build(tree / "train", tmp_path / "x.lmdb", workers=1)
    assert "Make room, or choose another disk" in str(error.value)
    assert not (tmp_path / "x.lmdb.partial").exists()


@pytest.mark.usefixtures("small_transactions")
def test_a_full_disk_loses_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tree / "train", tmp_path / "whole.lmdb", workers=1)
    path = tmp_path / "x.lmdb"
    real = lmdb.open
    with monkeypatch.context() as patch:
        # A map that is full after some transactions fails as a disk that is.
        patch.setattr(
            writer_module.lmdb, "open", lambda *a, **k: real(*a, **{**k, "map_size": 2**15})
        )
        with pytest.raises(DataError, match=r"cannot be written: .* What was written stays: make"):
            build(tree / "train", path, workers=1)
    assert not path.exists()
    build(tree / "train", path, workers=1)
    assert digest(path) == digest(tmp_path / "whole.lmdb")


def test_a_process_that_is_killed_is_said(many: Path, tmp_path: Path) -> None:
    me, killed = os.getpid(), []

    def progress(name: str, done: int, count: int, size: int) -> None:
        if not killed:
            own = [
                int(p.name) for p in Path("/proc").glob("[0-9]*")
                if f"PPid:\t{me}\n" in (p / "status").read_text()
                and b"spawn_main" in (p / "cmdline").read_bytes()
            ]  # fmt: skip
            killed.extend(own)
            for process in own:
                os.kill(process, signal.SIGKILL)

    writer_module.TOGETHER, before = 20, writer_module.TOGETHER
    try:
        with pytest.raises(DataError, match="a worker process ended unasked"):
            build(
                many, tmp_path / "x.lmdb", Options(quality=90), workers=2,
                progress=lambda *a: progress(*a) if a[1] else None,
            )  # fmt: skip
    finally:
        writer_module.TOGETHER = before
    assert killed


def test_small_values_are_padded_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "tree" / "a"
    folder.mkdir(parents=True)
    Image.new("RGB", (3, 2), (200, 10, 30)).save(folder / "x.png")
    (folder / "y.jpg").write_bytes(encoded(0))
    build(tmp_path / "tree", tmp_path / "x.lmdb", Options("decoded", 50), workers=1)
    pixels = open_store(tmp_path / "x.lmdb").read(0)
    assert isinstance(pixels, np.ndarray) and pixels.tolist() == [[[200, 10, 30]] * 3] * 2
