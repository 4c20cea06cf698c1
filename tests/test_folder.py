"""A study's folder after a kill -9, and what is not as its driver left it."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pandas as pd
import pytest
import toy
from test_local import STUDY, conduct

from srsgd_ray.cli import main
from srsgd_ray.results import (
    read_epochs,
    read_record,
    read_table,
    read_trials,
    reading,
    write_tables,
)
from srsgd_ray.results.record import Record
from srsgd_ray.study import Study

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def killed(results: Path, study: Study, end: int) -> None:
    """Run a study in another process, which kills itself (-9) where that trial is to end."""

    def ends(self: Record, *args: Any, **facts: Any) -> bool:
        left.pop() if left else os.kill(os.getpid(), signal.SIGKILL)
        return true(self, *args, **facts)

    left, true = [None] * (end - 1), Record.end
    child = os.fork()
    if not child:
        try:
            Record.end = ends  # type: ignore[method-assign]
            conduct(study, results)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


FACTS = ["parameters", "workers", "host", "hardware", "state", "epochs_done"]
ONCE = dataclasses.replace(
    STUDY, trainable=toy.Once, trials=0, confirm_seeds=2,
    arms=tuple(dataclasses.replace(arm, space={}, fixed={"x": 0.1}) for arm in STUDY.arms),
)  # fmt: skip


def test_a_driver_killed_between_the_last_epoch_and_the_end_loses_no_fact(
    tmp_path: Path,
) -> None:
    killed(tmp_path, ONCE, 1)
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
    """The tables were written when the first trial had ended its first epoch, 2 s ago or less."""
    killed(tmp_path, STUDY, 8)
    folder, verbs = tmp_path / "t", [["table"], ["best"], ["export", "--to", "csv"]]

    def said() -> list[str]:
        found = []
        for name, *more in verbs:
            assert main([name, str(folder), *more]) == 0
            found.append(capsys.readouterr().out)
        return [*found, (folder / "export" / "csv" / "epochs.csv").read_text()]

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
