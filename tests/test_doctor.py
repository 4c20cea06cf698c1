"""What the doctor finds: a study's folder in every state, this machine, and what hangs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_local import STUDY, conduct

from srsgd_ray.backends import probe
from srsgd_ray.backends.ray.left import end_left, noted
from srsgd_ray.cli import main
from srsgd_ray.doctor import Finding, Look, examined, left, machine, places, study
from srsgd_ray.results import read_record, read_table
from srsgd_ray.results.record import FILE_NAME, Record
from srsgd_ray.study.display import numbers


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conduct(STUDY, tmp_path_factory.mktemp("doctor")).folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "t"))


def found(folder: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in examined(study.looks(folder))}


def levels(folder: Path) -> set[str]:
    return {finding.level for finding in found(folder).values()}


def test_a_sound_folder_and_the_whole_verb(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert levels(folder) == {"ok"}
    record = found(folder)["record"].value
    assert record == "sound: 10 complete; 30 epochs"
    assert main(["doctor", str(folder), "--storage", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"{folder} can be written and read from here" in said
    assert "10 trials, 30 epochs, as in the record" in said
    assert main(["doctor", str(folder.parent)]) == 2
    assert "no study here" in capsys.readouterr().err


def test_a_folder_in_which_something_disagrees(folder: Path) -> None:
    record = folder / FILE_NAME
    lines = record.read_text().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines) if '"event": "end"' in line)
    record.write_text("".join(lines[:cut]))
    now = found(folder)
    assert now["lock"].level == "warning"
    assert "resume" in now["lock"].cure
    assert now["tables"].level == "warning"
    with sqlite3.connect(folder / "optuna.db") as database:
        database.execute("DELETE FROM trials")
    record.write_text("".join(lines))
    assert found(folder)["optuna.db"].value == "0 ended trials, but the record has 6 of the search"
    (folder / "optuna.db").write_bytes(b"no database at all" * 100)
    assert found(folder)["optuna.db"].level == "error"
    record.write_text("".join([lines[0], "{damaged\n", *lines[1:]]))
    assert found(folder)["record"].level == "error"


def test_who_works_on_it(folder: Path) -> None:
    with Record.reopen(folder):
        assert found(folder)["lock"].value == f"process {os.getpid()} works on it"
    assert found(folder)["lock"].value == "free"


def test_looks_that_hang_or_fail_end_in_time() -> None:
    def fails() -> list[Finding]:
        raise RuntimeError("no such thing")

    looks = [Look("a", lambda: time.sleep(60) or [], 0.2), Look("b", fails)]  # type: ignore[func-returns-value]
    began = time.monotonic()
    said = list(examined(looks))
    assert time.monotonic() - began < 5
    assert [(each.level, each.what) for each in said] == [("error", "a"), ("warning", "b")]


def test_a_disk_and_a_storage_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.disk("results", tmp_path / "to" / "come")[0].level == "ok"
    (tmp_path / "file").touch()
    (wrong,) = places.from_here(str(tmp_path / "file" / "x"))
    assert wrong.level == "error"
    assert "--storage" in wrong.cure
    monkeypatch.setattr(probe, "LIMIT", 0.2)
    monkeypatch.setattr(probe, "_try", lambda place: time.sleep(60))
    with pytest.raises(ValueError, match=r"no answer within 0\.2 s"):
        probe.check_storage(str(tmp_path))


def test_a_cluster_that_nobody_answers_for() -> None:
    (wrong,) = places.nodes("127.0.0.1:9", "")
    assert wrong.level == "error"
    assert "refused" in wrong.value
    assert "ray start --head" in wrong.cure


LEFT = """
import time
open({log!r}, "w").write(" ")
kept = open({log!r})
time.sleep(60)
"""


def test_what_a_session_of_ray_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the file that it has open, not by its name; and only with its parent gone."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    log = tmp_path / "ray" / "session_2026-01-02_03-04-05_123456_99" / "worker.out"
    log.parent.mkdir(parents=True)

    def wrong() -> list[Finding]:
        """Of this session: other tests may have a Ray of their own just now."""
        found = [each for each in left.leftovers() if each.level != "ok"]
        return [each for each in found if log.parent.name in each.value]

    process = subprocess.Popen([sys.executable, "-c", LEFT.format(log=str(log))])
    try:
        deadline = time.monotonic() + 10
        while log.parent.name not in left.sessions() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [p.pid for p in left.sessions()[log.parent.name]] == [process.pid]
        assert not wrong()
        monkeypatch.setattr(left, "_orphan", lambda process: True)
        (found,) = wrong()
        assert found.cure == f"kill {process.pid}"
    finally:
        process.kill()
        process.wait()
    monkeypatch.setattr(left, "MOST", 0)
    assert "1 ended sessions" in left.leftovers()[-1].value


def test_a_dashboard_is_not_waited_for_when_ray_is_left(tmp_path: Path) -> None:
    with (tmp_path / "x.log").open("w") as log:
        for name, status in (("ray-dashboard-JobHead-0", -9), ("raylet", None)):
            with subprocess.Popen(["bash", "-c", f"exec -a {name} sleep 60"], stdout=log) as part:
                while name != Path(f"/proc/{part.pid}/cmdline").read_text().partition("\0")[0]:
                    time.sleep(0.001)
                with noted(tmp_path):
                    assert part.poll() is None
                if status is not None:
                    part.wait(5)
                assert part.poll() == status
                part.kill()


DRIVER = """
import subprocess, sys, time
from pathlib import Path
from srsgd_ray.backends.ray.left import noted
session, other = Path({session!r}), subprocess.Popen(["sleep", "60"])
agent = subprocess.Popen(["sleep", "60"], stdout=open(session / "raylet.out", "w"))
with noted(session):
    print(agent.pid, other.pid, flush=True)
    time.sleep(60)
"""


def test_the_next_start_ends_what_a_killed_driver_left_of_its_ray_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    session = tmp_path / "ray" / "session_2026-01-02_03-04-05_123456_99"
    session.mkdir(parents=True)
    code = DRIVER.format(session=str(session))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        agent, other = map(int, driver.stdout.readline().split())
        assert end_left() == [], "its driver lives"
        driver.kill()
    reader = subprocess.Popen(["tail", "-f", str(session / "raylet.out")])
    try:
        assert end_left() == [
            f"Ended what a killed driver left of its Ray, {session.name}: {agent}"
        ]
        assert not psutil.pid_exists(agent) or psutil.Process(agent).status() == "zombie"
        assert psutil.pid_exists(other) and reader.poll() is None
        assert end_left() == []
        assert [path.name for path in session.iterdir()] == ["raylet.out"]
    finally:
        for process in (psutil.Process(other), reader):
            process.kill()
        reader.wait()


def test_what_ray_is_told_equals_the_record(folder: Path) -> None:
    contents = read_record(folder)
    told = numbers(STUDY, contents.trials.values())
    trials = read_table(folder, "trials")
    for each in told:
        rows = trials[trials["arm"] == each.tags["arm"]]
        found = {
            "trials": (rows["state"] == each.tags.get("state")).sum(),
            "epochs": rows["epochs_done"].sum(),
            "best": rows[rows["phase"] == "search"]["score"].max(),
        }
        assert each.value == found[each.name], each
    assert {each.name for each in told} == {"trials", "epochs", "best"}
