"""A study's folder after a kill -9, and what is not as its driver left it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import toy
from test_faults import begin
from test_local import STUDY, conduct, rows

from srsgd_ray.cli import main
from srsgd_ray.results import (
    read_epochs,
    read_record,
    read_table,
    read_trials,
    reading,
    write_tables,
)
from srsgd_ray.results.lines import Lines
from srsgd_ray.results.record import Record
from srsgd_ray.results.remaining import remaining
from srsgd_ray.study import Study

pytestmark = pytest.mark.usefixtures("in_memory")


def killed(results: Path, study: Study, what: str, number: int, **options: Any) -> None:
    """Run a study in another process, which kills itself (-9) before it writes that event."""

    def dies(self: Record, *args: Any, **facts: Any) -> bool:
        while (
            not left
            and what == "epoch"
            and not list(place.glob("**/checkpoints-*/*/checkpoint.pt"))
        ):
            time.sleep(0.01)  # it is written beside the training
        left.pop() if left else os.kill(os.getpid(), signal.SIGKILL)
        return bool(true(self, *args, **facts))

    place = Path(options.get("storage", results))
    left, true = [None] * (number - 1), getattr(Record, what)
    child = os.fork()
    if not child:
        try:
            setattr(Record, what, dies)
            conduct(study, results, **options)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FACTS = ["parameters", "workers", "host", "hardware", "state", "epochs_done"]
ONCE = dataclasses.replace(
    STUDY, trainable=toy.Once, trials=0, confirm_seeds=2,
    arms=tuple(dataclasses.replace(arm, space={}, fixed={"x": 0.1}) for arm in STUDY.arms),
)  # fmt: skip


def test_a_driver_killed_between_the_last_epoch_and_the_end_loses_no_fact(
    tmp_path: Path,
) -> None:
    killed(tmp_path, ONCE, "end", 1)
    folder = tmp_path / "t"
    (trial,) = read_record(folder).trials.values()
    assert (len(trial.rows), trial.end) == (1, None)
    conduct(ONCE, tmp_path, resume=True)
    conduct(ONCE, tmp_path / "whole")
    now, whole = (read_trials(at / "t")[FACTS] for at in (tmp_path, tmp_path / "whole"))
    assert now.equals(whole)
    assert list(now.iloc[0]) == [3, 1, os.uname().nodename, now["hardware"][0], "complete", 1]
    assert (folder / "record.jsonl").read_text().count('"facts"') == len(now)


def test_what_reads_the_tables_after_a_kill_knows_what_the_record_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tables are of the record's first lines: they are written seconds later, at times."""
    killed(tmp_path, STUDY, "end", 8)
    folder = tmp_path / "t"
    path = folder / "record.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:9]))
    write_tables(folder, read_record(folder))
    path.write_bytes(whole)

    def said() -> list[str]:
        found = []
        for verb in ("table", "best"):
            assert main([verb, str(folder)]) == 0
            found.append(capsys.readouterr().out)
        return found

    before = said()
    assert len(pd.read_parquet(folder / "epochs.parquet")) < len(read_epochs(folder)) == 24
    write_tables(folder, read_record(folder))
    assert said() == before
    assert len(pd.read_parquet(folder / "epochs.parquet")) == 24
    (folder / "trials.parquet").unlink()
    assert len(read_trials(tmp_path)) == 8  # of a folder of studies, too


def test_tables_that_are_up_to_date_are_read_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conduct(ONCE, tmp_path)
    folder, made = tmp_path / "t", Mock(side_effect=AssertionError)
    monkeypatch.setattr(reading, "read_record", made)
    assert len(read_trials(folder)) == len(read_epochs(folder)) == 4
    assert len(read_table(folder, "curve")) == 12
    with (folder / "record.jsonl").open("ab") as file:
        file.write(b'{"event": "session", "at')  # torn: of a driver that is just coming up
    assert len(read_trials(folder)) == 4
    with (folder / "record.jsonl").open("ab") as file:
        file.write(b'": 1}\n')
    with pytest.raises(AssertionError):
        read_trials(folder)


def test_a_second_driver_gets_one_message_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(tmp_path, STUDY, "epoch", 5)  # its lock went with it
    folder = tmp_path / "t"
    with Record.reopen(folder):
        before = files(folder)
        assert begin(folder, "--resume") == begin(folder) == 2
        held, taken = capsys.readouterr().err.splitlines()
        assert "another process is working on this study: it holds" in held
        assert "already holds a study" in taken
        assert files(folder) == before


def test_a_record_that_another_driver_has_replaced_is_left_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    first = Record.create(folder, {"study": "t", "spec": STUDY.to_dict()})
    (folder / "record.jsonl").unlink()
    with Record.create(folder, {"study": "t", "spec": STUDY.to_dict()}), first:
        before = files(folder)
        with pytest.raises(FileNotFoundError, match="another file lies here now"):
            first.session()
        assert files(folder) == before and first.contents.sessions == []


def test_a_clock_that_jumps_spoils_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true, calls = time.time, iter(range(10**9))

    def jumping() -> float:
        """Back by an hour after a while, and later forward by a day."""
        call = next(calls)
        return true() - 3600 * (call > 8) + 86400 * (call > 20)

    with monkeypatch.context() as patched:
        patched.setattr(time, "time", jumping)
        conduct(STUDY, tmp_path)
        assert next(calls) > 25
    folder = tmp_path / "t"
    conduct(STUDY, tmp_path, resume=True)  # a day earlier
    table = read_trials(folder)
    assert (table["ended"] - table["started"]).between(0, 1000).all()
    lines = Lines(folder / "record.jsonl")
    with (folder / "record.jsonl").open("rb") as file:
        times, found = [], []
        for event in lines.events(file):
            times.append(event["at"])
            assert lines.contents is not None
            for jump in (-3600, 0, 86400):
                found.append(remaining(lines.contents, event["at"] + jump).seconds)
    assert times == sorted(times)
    assert all(seconds is None or 0 <= seconds < 1000 for seconds in found)
    assert sum(seconds is not None for seconds in found) > 100


def test_a_copied_folder_leaves_the_other_alone_and_a_moved_one_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"storage": str(tmp_path / "common")}
    killed(tmp_path / "a", STUDY, "epoch", 8, **common)
    conduct(STUDY, tmp_path / "whole")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = files(tmp_path / "a") | files(tmp_path / "common")
    assert any(path.name == "checkpoint.pt" for path in before)
    assert main(["status", str(tmp_path / "b" / "t")]) == 0
    assert capsys.readouterr().out.strip().endswith(f"srsgd-ray resume {tmp_path / 'b' / 't'}")
    conduct(STUDY, tmp_path / "b", resume=True, **common)
    assert files(tmp_path / "a") | files(tmp_path / "common") == before
    (tmp_path / "a").rename(tmp_path / "c")
    conduct(STUDY, tmp_path / "c", resume=True, **common)
    assert files(tmp_path / "common") == {}
    assert (
        rows(tmp_path / "b" / "t") == rows(tmp_path / "c" / "t") == rows(tmp_path / "whole" / "t")
    )


@pytest.mark.parametrize("how", ["cut", "byte", "empty"])
def test_a_trial_with_a_damaged_checkpoint_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    killed(tmp_path, STUDY, "epoch", 6)
    (path,) = (tmp_path / "t").glob("checkpoints-*/*/checkpoint.pt")
    data = path.read_bytes()
    half = len(data) // 2
    other = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
    path.write_bytes({"cut": data[:half], "byte": other, "empty": b""}[how])
    conduct(STUDY, tmp_path, resume=True)
    assert "is damaged" in caplog.text and "the trial begins anew" in caplog.text
    conduct(STUDY, tmp_path / "whole")
    assert rows(tmp_path / "t") == rows(tmp_path / "whole" / "t")
