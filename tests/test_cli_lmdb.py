"""``srsgd-ray lmdb``: what is refused, what is resumed, and what is said."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lmdb
import pytest
from lmdb_images import CLASSES, encoded, files, make_tree

from srsgd_ray.cli import main
from srsgd_ray.image_lmdb import DataError, ImageLmdb, Options, build, open_store
from srsgd_ray.image_lmdb.journal import Journal, partial_of
from srsgd_ray.image_lmdb.layout import key_of
from srsgd_ray.typed import typed

writer_module = sys.modules["srsgd_ray.image_lmdb.writer"]
RUN = (
    "import resource, sys\n"
    "import srsgd_ray.cli.lmdb\n"
    "from srsgd_ray.cli import main\n"
    "sys.modules['srsgd_ray.image_lmdb.writer'].TOGETHER = 20\n"
    "if int(sys.argv[1]): resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\n"
    "if __name__ == '__main__': sys.exit(main(['lmdb', *sys.argv[2:]]))"
)


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".partial.journal")


class Stop(Exception):
    pass


def stop_after(images: int) -> Any:
    def progress(name: str, done: int, count: int, size: int) -> None:
        if done >= images:
            raise Stop

    return progress


def stop_after_part(part: str, images: int) -> Any:
    def progress(name: str, done: int, count: int, size: int) -> None:
        if name == part and done >= images:
            raise Stop

    return progress


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lmdb_(*words: object) -> int:
    return main(["lmdb", *map(str, words), "--workers", "1"])


def start(*words: object, limit: int = 0, **environment: str) -> subprocess.Popen[str]:
    """The command in a process of its own, whose files may be of ``limit`` bytes."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(limit), *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images in three classes."""
    return make_tree(tmp_path_factory.mktemp("many"), 40, ("train",)) / "train"


@pytest.fixture
def small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "TOGETHER", 5)


@pytest.mark.parametrize(
    ("place", "more", "message"),
    [
        ("{tree}/out", (), "must lie outside of what it is built from, but"),
        ("{tmp}/a/out", ("--quality", "0"), "1 <= quality <= 100 must hold"),
        ("{tmp}/a/out", ("--store", "decoded"), "needs its largest side stated"),
    ],
)
def test_what_is_refused_for_a_pair_makes_no_folder(
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    place: str,
    more: tuple[str, ...],
    message: str,
) -> None:
    (tmp_path / "a").mkdir()
    out = place.format(tree=tree, tmp=tmp_path)
    assert lmdb_("build", tree, out, *more) == 2
    assert message in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_folder_made_for_nothing_goes_again(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 20_000})()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="MB free"):
        build(tree, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_abbreviated_options_are_refused(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The command that continues is printed word by word.
    with pytest.raises(SystemExit) as end:
        lmdb_("build", tree, tmp_path / "x", "--forc")
    assert end.value.code == 2
    assert "unknown option '--forc'. Did you mean '--force'?" in capsys.readouterr().err


def test_names_need_not_be_utf_8(tree: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tree / "train", tmp_path / "t")
    good, bad = (os.fsencode(folder / CLASSES[1]) + name for name in (b"/\xe9.JPEG", b"/\xff.JPEG"))
    Path(os.fsdecode(good)).write_bytes(encoded(50))
    Path(os.fsdecode(bad)).write_bytes(b"no image")
    path = tmp_path / "x.lmdb"
    strict = {"PYTHONIOENCODING": "utf-8:strict", "LC_ALL": "C.UTF-8"}
    process = start("build", folder, path, "--on-corrupt", "skip", "--workers", "1", **strict)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"{CLASSES[1]}/\\udcff.JPEG" in said
    listed = (tmp_path / "x.lmdb.skipped.txt").read_bytes()
    assert listed == CLASSES[1].encode() + b"/\xff.JPEG\n"
    Path(os.fsdecode(bad)).unlink()
    assert lmdb_("verify", path, "--against", folder) == 0
    # What is skipped no more is listed no more.
    assert lmdb_("build", folder, path, "--force") == 0
    assert not (tmp_path / "x.lmdb.skipped.txt").exists()


@pytest.mark.usefixtures("small_transactions")
@pytest.mark.parametrize("images", [0, 5, 10])
def test_a_replacement_is_resumed(
    tree: Path, tmp_path: Path, images: int, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Options(quality=30)
    build(tree / "train", tmp_path / "new.lmdb", wanted, workers=1)
    path = tmp_path / "x.lmdb"
    build(tree / "train", path, workers=1)
    old = digest(path)
    with pytest.raises(Stop):
        build(tree / "train", path, wanted, workers=1, force=True, progress=stop_after(images))
    assert digest(path) == old
    assert lmdb_("build", tree / "train", path, "--quality", "30") == 2
    assert "is there already" in capsys.readouterr().err and digest(path) == old
    first: list[int] = []
    build(
        tree / "train", path, wanted, workers=1, force=True,
        progress=lambda n, done, *_: first.append(done),
    )  # fmt: skip
    assert first[0] == images and digest(path) == digest(tmp_path / "new.lmdb")
    with pytest.raises(Stop):
        build(tree / "train", path, workers=1, force=True, progress=stop_after(5))
    # Other options begin anew.
    build(tree / "train", path, wanted, workers=1, force=True)
    assert digest(path) == digest(tmp_path / "new.lmdb")


@pytest.mark.usefixtures("small_transactions")
def test_both_parts_of_a_pair_are_replaced_or_neither_kind(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, wanted = tmp_path / "pair", Options(quality=30)
    build(tree, pair, workers=1)
    (pair / "val.lmdb").unlink()
    assert lmdb_("build", tree, pair, "--quality", "30") == 2
    said = capsys.readouterr().err
    assert "train.lmdb is there already, built with quality=None (now 30). Replace both" in said
    assert not list(pair.glob("val.*"))
    assert lmdb_("build", tree, pair) == 0
    said = capsys.readouterr().out
    assert "train.lmdb: 12 images, 0.000 GB, was there already and stays\n" in said
    assert "val.lmdb: 12 images, 0.000 GB\n" in said
    with pytest.raises(Stop):
        build(tree, pair, wanted, workers=1, force=True, progress=stop_after(5))
    for name in ("train.lmdb", "val.lmdb"):
        assert ImageLmdb(pair / name).header.quality is None
    with pytest.raises(Stop):  # in the second part, when the first is whole
        build(tree, pair, wanted, workers=1, force=True, progress=stop_after_part("val.lmdb", 5))
    for name in ("train.lmdb", "val.lmdb"):
        assert ImageLmdb(pair / name).header.quality is None
    assert len(build(tree, pair, wanted, workers=1, force=True)) == 2
    for name in ("train.lmdb", "val.lmdb"):
        assert ImageLmdb(pair / name).header.quality == 30
    assert sorted(p.name for p in pair.iterdir()) == ["train.lmdb", "val.lmdb"]


def test_two_processes_do_not_build_one_database(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.lmdb"
    with Journal(path):
        for force in (False, True):
            with pytest.raises(DataError, match="is being built by another process"):
                build(tree / "train", path, workers=1, force=force)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["x.lmdb.partial.journal"]
    build(tree / "train", path, workers=1)
    assert len(open_store(path)) == 12


def test_a_file_that_may_not_grow_is_gone_on_with(many: Path, tmp_path: Path) -> None:
    """As on a full disk: within LMDB's first two pages, a transaction, and the journal."""
    writer_module.TOGETHER, before = 20, writer_module.TOGETHER
    try:
        build(many, tmp_path / "whole.lmdb", workers=1)
    finally:
        writer_module.TOGETHER = before
    size = (tmp_path / "whole.lmdb").stat().st_size
    path = tmp_path / "x.lmdb"
    for limit in (1, 4096, 8192, 70_000, size // 2, size - 4096):
        process = start("build", many, path, "--workers", "1", limit=limit)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2 and "Traceback" not in said
        assert "cannot be written: " in said and "What was written stays: make room" in said
        name = journal_of(path).name if limit == 1 else partial_of(path).name
        assert f"/{name} cannot be written" in said and not path.exists()
    process = start("build", many, path, "--workers", "1")
    assert process.communicate(timeout=60)[1] and process.returncode == 0
    assert digest(path) == digest(tmp_path / "whole.lmdb")


@pytest.mark.parametrize(("images_of_one", "most"), [(500, 1), (500, 2_000), (2, 2**26)])
def test_transactions_end_at_so_many_images_or_bytes_whatever_is_skipped(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images_of_one: int, most: int
) -> None:
    folder = shutil.copytree(tree / "train", tmp_path / "t")
    for n in (0, 3, 4, 5, 11):
        files(folder)[n].write_bytes(b"no image")
    monkeypatch.setattr(writer_module, "MOST", most)
    monkeypatch.setattr(writer_module, "TOGETHER", images_of_one)
    skip = Options(on_corrupt="skip")
    sizes: list[int] = []
    real = writer_module.Writer.flush

    def flush(self: Any) -> None:
        sizes.append(sum(sample is not None for sample, _ in self._waiting))
        real(self)

    monkeypatch.setattr(writer_module.Writer, "flush", flush)
    build(folder, tmp_path / "whole.lmdb", skip, workers=1)
    assert sum(sizes) == 7 and (len(sizes) == 8 if most == 1 else 2 < len(sizes) < 6)
    for images in range(1, 12):
        path = tmp_path / f"{images}.lmdb"
        with pytest.raises(Stop):
            build(folder, path, skip, workers=1, progress=stop_after(images))
        build(folder, path, skip, workers=1)
        assert digest(path) == digest(tmp_path / "whole.lmdb")
        assert len(path.with_name(path.name + ".skipped.txt").read_text().splitlines()) == 5


@pytest.mark.parametrize("size", [0, 100, 4096, 8192])
def test_a_file_without_its_first_pages_is_begun_anew(
    tree: Path, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "x.lmdb"
    with lmdb.open(str(tmp_path / "e"), subdir=False, lock=False, map_size=2**20):
        pass  # an empty database: two pages
    partial_of(path).write_bytes((tmp_path / "e").read_bytes()[:size])
    build(tree / "train", path, workers=1)
    build(tree / "train", tmp_path / "whole.lmdb", workers=1)
    assert digest(path) == digest(tmp_path / "whole.lmdb")


@pytest.mark.usefixtures("small_transactions")
@pytest.mark.parametrize("extra", [True, False])
def test_a_half_built_one_that_others_changed_is_refused(
    tree: Path, tmp_path: Path, extra: bool
) -> None:
    path = tmp_path / "x.lmdb"
    with pytest.raises(Stop):
        build(tree / "train", path, workers=1, progress=stop_after(10))
    with (
        lmdb.open(str(partial_of(path)), subdir=False, lock=False, map_size=2**36) as env,
        env.begin(write=True) as txn,
    ):
        if extra:
            txn.put(key_of(99), bytes(3000))
        else:
            txn.delete(key_of(3))
    with pytest.raises(DataError, match="Begin anew with --force"):
        build(tree / "train", path, workers=1)
    assert not path.exists()
    build(tree / "train", path, workers=1, force=True)
    assert len(open_store(path)) == 12


def test_sigterm_says_how_to_continue(many: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.lmdb"
    words = ("build", many, path, "--quality", "70", "--workers", "2")
    process = start(*words, "--force")
    while not journal_of(path).exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    line = typed("srsgd-ray", "lmdb", *words, "--force")
    assert said.endswith(f"Resume with: {line}\n")
    assert "Traceback" not in said and not path.exists()
    process = start(*words, "--force")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    # Without a terminal the end is told once.
    assert said.count("x.lmdb: 120 of 120, ") == 1
