"""Data that are brought to a machine: once, checked, and never half of a file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torchvision.datasets

from srsgd_ray import fetch as module
from srsgd_ray.cli import main
from srsgd_ray.fetch import CIFAR, fetch


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with two files of which sha256sum made a list."""
    made = tmp_path / "source"
    (made / "sub").mkdir(parents=True)
    (made / "train.lmdb").write_bytes(os.urandom(300_000))
    (made / "sub" / "a b").write_bytes(b"")
    sums = subprocess.run(
        ["sha256sum", "./train.lmdb", "sub/a b"], cwd=made, capture_output=True, check=True
    )
    (made / "SHA256SUMS").write_bytes(sums.stdout)
    return made


def names(folder: Path) -> list[str]:
    """What is there that a reader would see."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("[!.]*") if p.is_file())


def test_files_are_copied_once_and_only_read_again_if_they_were_touched(
    tmp_path: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "to" / "come"
    assert main(["fetch", str(source), str(here)]) == 0
    assert capsys.readouterr().out.count("copied, its checksum is right") == 2
    assert names(here) == ["sub/a b", "train.lmdb"]
    assert (here / "train.lmdb").read_bytes() == (source / "train.lmdb").read_bytes()
    read = []
    digest = module._digest
    monkeypatch.setattr(module, "_digest", lambda *a: read.append(a[0]) or digest(*a))
    assert [each.kept for each in fetch(str(source), here)] == [True, True]
    assert read == []
    os.utime(here / "train.lmdb")
    assert [each.kept for each in fetch(str(source), here)] == [True, True]
    assert read == [here / "train.lmdb"]
    (here / "train.lmdb").write_bytes(b"mine")
    assert main(["fetch", str(source), str(here)]) == 2
    assert "is there already" in (said := capsys.readouterr().err) and "Delete it" in said
    assert (here / "train.lmdb").read_bytes() == b"mine"


def test_two_processes_at_once_copy_each_file_once(tmp_path: Path, source: Path) -> None:
    command = [sys.executable, "-m", "srsgd_ray", "fetch", str(source), str(tmp_path / "here")]
    (tmp_path / "here").mkdir()
    both = []
    with (tmp_path / "here" / ".fetching").open("a") as held:  # so that they meet
        fcntl.flock(held, fcntl.LOCK_EX)
        for _ in range(2):
            both.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        for each in both:
            assert b"waiting" in each.stderr.readline()  # type: ignore[union-attr]
    said = [each.communicate(timeout=60)[0].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted(text.count("copied") for text in said) == [0, 2]
    assert sorted(text.count("was there already") for text in said) == [0, 2]


def test_what_was_copied_before_a_crash_is_used_and_half_a_file_is_never_there(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, pieces = tmp_path / "here", []
    monkeypatch.setattr(module, "PIECE", 100_000)

    def crash(name: str, done: int, size: int) -> None:
        pieces.append(done)
        assert "train.lmdb" not in names(here)
        if len(pieces) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(str(source), here, crash)
    assert pieces == [100_000, 200_000]
    opened: list[int] = []
    fetch(str(source), here, lambda name, done, size: opened.append(done))
    assert opened == [100_000, 200_000, 300_000]  # two from the disk
    assert (here / "train.lmdb").read_bytes() == (source / "train.lmdb").read_bytes()
    assert not list(here.glob("*.part")) and not list(here.glob(".*.part"))


def test_a_damaged_part_is_not_the_fault_of_the_source(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    monkeypatch.setattr(module, "PIECE", 100_000)
    with pytest.raises(KeyboardInterrupt):
        fetch(str(source), here, Mock(side_effect=KeyboardInterrupt))
    (part,) = here.glob(".*.part")
    part.write_bytes(b"x" * 100_000)
    fetch(str(source), here)
    assert (here / "train.lmdb").read_bytes() == (source / "train.lmdb").read_bytes()


def test_what_is_wrong_is_said_in_one_message_and_leaves_no_file(
    tmp_path: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "here"

    def said() -> str:
        assert main(["fetch", str(source), str(here)]) == 2
        return capsys.readouterr().err

    whole = (source / "train.lmdb").read_bytes()
    (source / "train.lmdb").write_bytes(whole[:-1] + b"?")
    assert "train.lmdb of" in (text := said()) and "its sha256 must be" in text
    assert not list(here.rglob("*train*"))
    (source / "train.lmdb").unlink()
    assert "lists train.lmdb, but it is not there" in said()
    (source / "train.lmdb").write_bytes(whole)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda place: Mock(free=1000))
    assert "0.0003 GB are still to come, and 1e-06 GB are free. Make room" in said()
    (source / "SHA256SUMS").write_text("0" * 64 + "  ../away\n")
    assert "a name below its folder" in said()
    (source / "SHA256SUMS").unlink()
    assert "sha256sum FILES > SHA256SUMS" in said()
    assert names(here) in ([], ["sub/a b"])


def test_a_disk_that_gets_full_meanwhile(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, done: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        fetch(str(source), tmp_path / "here", full)
    assert "train.lmdb" not in names(tmp_path / "here")


def test_cifar_archives_are_known_by_their_published_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100)
    assert {kind.filename: kind.tgz_md5 for kind in kinds} == CIFAR
    name, source = "cifar-10-python.tar.gz", tmp_path / "source"
    source.mkdir()
    (source / name).write_bytes(b"no archive")
    with pytest.raises(ValueError, match=f"{name} of .* is damaged: its md5 must be c58f30108f"):
        fetch(str(source), tmp_path / "here")
    monkeypatch.setitem(CIFAR, name, hashlib.md5(b"no archive").hexdigest())
    (fetched,) = fetch(str(source), tmp_path / "here")
    assert fetched.path.read_bytes() == b"no archive"
