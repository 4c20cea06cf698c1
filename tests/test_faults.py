"""Faults of the machine: full, read-only and vanished folders, signals, and kills at any moment."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_local import LINE, SLOW, STUDY, conduct, driver, rows

from srsgd_ray.backends.ray.left import check_room
from srsgd_ray.backends.signals import handled, hangup, on_interrupt
from srsgd_ray.backends.store import CheckpointStore
from srsgd_ray.results import read_record
from srsgd_ray.results.record import Record
from srsgd_ray.study import Study, launch

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts small disks; skips where that is not allowed."""
    made: list[Path] = []

    def mount(place: Path, options: str) -> Path:
        place.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        made.append(place)
        return place

    yield mount
    for place in reversed(made):
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


WHOLE = dataclasses.replace(STUDY, base={"wait": 0.02}, epochs=5, trials=2, confirm_seeds=1)


def begin(folder: Path, *words: str, study: Study = WHOLE) -> int:
    where = ["--backend", "local", "--results", str(folder.parent), "--no-figures"]
    return launch(study, [*where, *words], command=["p"])


def sound(folder: Path, tmp_path: Path) -> None:
    """Resume a study: nothing is lost, and all is as if it had never stopped."""
    assert {t.state for t in read_record(folder).trials.values()} <= {"complete", "running"}
    told = rows(folder)
    assert begin(folder, "--resume") == 0
    conduct(WHOLE, tmp_path / "whole")
    assert rows(folder) == rows(tmp_path / "whole" / "t")
    assert all(rows(folder)[trial][: len(old)] == old for trial, old in told.items())
    assert not list(folder.glob("*.tmp")) and not list(folder.glob("checkpoints-*"))


@pytest.mark.on_disk
@pytest.mark.parametrize("room", [80])
def test_a_full_disk_stops_in_order_and_loses_nothing(
    tmp_path: Path, disk: Callable[..., Path], capfd: pytest.CaptureFixture[str], room: int
) -> None:
    results = disk(tmp_path / "r", f"size={room}k")
    folder = results / "t"
    assert begin(folder) == 2
    out, error = capfd.readouterr()
    assert "Stopped. Resume with:\n  p --backend local" in out
    assert re.fullmatch(r"p: .*(No space left|disk).*Make room, or correct the place\.\n", error)
    subprocess.run(["mount", "-o", "remount,size=4m", str(results)], check=True)
    sound(folder, tmp_path)


class Full:
    """A record's file on a disk that has room for so many bytes more."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        """Write what there is room for, as the system does."""
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = self.file.write(data[: self.room])
        self.room -= done
        return int(done)


def test_a_line_of_the_record_that_does_not_fit_is_not_there_at_all(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "t", {"study": "t", "spec": STUDY.to_dict()})
    record.session()
    record.begin("a", "search", "near", 0, {"seed": 0})
    before = (tmp_path / "t" / "record.jsonl").read_bytes()
    whole = record._file
    record._file = Full(whole, 30)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left") as error:
        record.epoch("a", {"epoch": 1, "score": 1.0})
    assert error.value.filename == str(tmp_path / "t" / "record.jsonl")
    assert record.trials["a"].rows == []
    assert (tmp_path / "t" / "record.jsonl").read_bytes() == before
    record._file = whole
    assert record.epoch("a", {"epoch": 1, "score": 1.0})
    assert len(read_record(tmp_path / "t").trials["a"].rows) == 1
    record.close()


def test_a_full_place_for_checkpoints_stops_the_study_and_fails_no_trial(
    tmp_path: Path, disk: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    storage, folder = disk(tmp_path / "s", "size=12k"), tmp_path / "r" / "t"
    words = ["--storage", str(storage)]
    (storage / "fill").write_bytes(bytes(8000))
    assert begin(folder, *words) == 2
    out, error = capfd.readouterr()
    assert "Stopped. Resume with:" in out
    assert error.startswith(f"p: checkpoints can be neither stored nor read at {storage}/check")
    assert "No space left on device" in error and "Make room" in error
    assert {t.state for t in read_record(folder).trials.values()} == {"running"}
    subprocess.run(["mount", "-o", "remount,size=4m", str(storage)], check=True)
    assert begin(folder, *words, "--resume") == 0
    assert {t.state for t in read_record(folder).trials.values()} == {"complete"}


def test_a_disk_that_is_full_within_a_checkpoint_is_no_error_of_the_trial(
    tmp_path: Path, disk: Callable[..., Path]
) -> None:
    """Of a file that ends too early torch tells nothing but that, in a RuntimeError."""
    store = CheckpointStore(str(disk(tmp_path / "s", "size=1m") / "t"))

    def save(folder: Path) -> None:
        folder.mkdir(parents=True)
        with (folder / "checkpoint.pt").open("wb") as file:
            torch.save([torch.arange(30_000) for _ in range(10)], file)

    with pytest.raises(OSError, match=rf"stored nor read at {store.location}: .*No space left"):
        store.keep(save)
    assert list((tmp_path / "s").rglob("*")) == [tmp_path / "s" / "t"]


def test_ray_is_not_started_in_a_full_temporary_folder(
    tmp_path: Path, disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(disk(tmp_path / "t", "size=9m")))
    with pytest.raises(ValueError, match=r"/t has 9\.44 left\. Make room, or name .* RAY_TMPDIR"):
        check_room()
    monkeypatch.setenv("RAY_TMPDIR", str(disk(tmp_path / "u", "size=11m")))
    check_room()


@pytest.mark.parametrize("gone", [True, False])
def test_a_folder_that_vanishes_or_gets_read_only(
    tmp_path: Path, disk: Callable[..., Path], capfd: pytest.CaptureFixture[str], gone: bool
) -> None:
    folder, away = tmp_path / "r" / "t", tmp_path / "away"
    if not gone:
        disk(tmp_path / "any", "size=4k")  # skips where nothing can be mounted
    read_only = ["mount", "--bind", "-o", "ro", str(folder), str(folder)]

    def fail() -> None:
        record = folder / "record.jsonl"
        while not record.exists() or record.read_text().count('"event": "epoch"') < 3:
            time.sleep(0.005)
        folder.rename(away) if gone else subprocess.run(read_only, check=True)

    failing = threading.Thread(target=fail)
    failing.start()
    assert begin(folder) == 2
    failing.join()
    out, error = capfd.readouterr()
    assert "Stopped. Resume with:\n  p --backend local" in out
    if gone:
        assert "record.jsonl: No such file or directory. Is it still mounted? Put it back." in error
        shutil.rmtree(folder, ignore_errors=True)  # a trial's checkpoint may have made it anew
        away.rename(folder)
    else:
        assert "Read-only file system. Make it writable again." in error
        subprocess.run(["umount", str(folder)], check=True)
    sound(folder, tmp_path)


def test_a_terminal_that_closes_and_a_second_interrupt_end_the_study_in_order(
    tmp_path: Path,
) -> None:
    """With the signal that its kernel sends; the command that resumes is in log.txt.

    The second interrupt cuts off neither a row nor the last words.
    """
    ours, theirs = pty.openpty()
    line = f"{LINE} --no-figures --results r"
    started = driver(tmp_path, line, 4, stdin=theirs, stdout=theirs, stderr=theirs,
                     preexec_fn=own_terminal)  # fmt: skip
    os.close(theirs)
    os.close(ours)  # the kernel sends SIGHUP to all in the foreground
    assert started.wait(timeout=30) == 130
    folder = tmp_path / "r" / "t"
    last = (folder / "log.txt").read_text().strip().splitlines()
    assert last[-1].endswith(f"resume with: {line} --resume")
    assert last[-2].endswith("the session ends")
    assert "Traceback" not in (folder / "output.txt").read_text()
    told = rows(folder)
    started = driver(tmp_path, f"{line} --resume", sum(map(len, told.values())) + 2)
    for _ in range(2):
        started.send_signal(signal.SIGINT)
        time.sleep(0.003)
    out, _ = started.communicate()
    assert started.returncode == 130
    assert out.strip().splitlines()[-1].strip() == f"{line} --resume"
    assert conduct(SLOW, tmp_path / "r", resume=True).status == "finished"
    assert all(rows(folder)[trial][: len(old)] == old for trial, old in told.items())


def own_terminal() -> None:
    """Make standard input the terminal that this process is controlled by."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run after nohup
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_what_nohup_started_heeds_no_closed_terminal() -> None:
    with handled({signal.SIGHUP: signal.SIG_DFL}):  # these tests may be run by nohup, too
        assert hangup() == (signal.SIGHUP,)
    with handled({signal.SIGHUP: signal.SIG_IGN}), on_interrupt(lambda count: pytest.fail("heard")):
        assert hangup() == ()
        os.kill(os.getpid(), signal.SIGHUP)
