"""Trials that wait for workers: seen in Tune, recorded, shown, and not waited for without end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from ray.tune.experiment import Trial

from srsgd_ray.backends import Plan
from srsgd_ray.backends.ray import tuning
from srsgd_ray.pages.live import live
from srsgd_ray.progress import waiting
from srsgd_ray.results import Record, read_record
from srsgd_ray.results.log import LOG

NEED = Plan(2, 2, 3.0, 1.0).need


def test_the_need_in_words() -> None:
    assert NEED == "2 workers with 3 CPUs and 1 GPU each"
    assert Plan(1, 1, 0.99, 0.0).need == "1 worker with 0.99 CPUs"


def trial(name: str, status: str, since: float = 0.0) -> Any:
    return SimpleNamespace(config={"_trial": name}, status=status, last_result={"waiting": since})


def test_trials_without_workers_are_told_and_end_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    now = SimpleNamespace(time=lambda: clock[0], monotonic=lambda: clock[0])
    freed = Mock()
    monkeypatch.setattr(tuning, "time", now)
    monkeypatch.setattr(tuning, "free_abandoned", freed)
    study = Mock()
    callback = tuning.TrialCallback(study, Mock(), [], NEED, wait_limit=100.0)

    def step(at: float, *trials: Any) -> list[Any]:
        clock[0] = at
        study.reset_mock()
        callback.on_step_begin(0, list(trials))
        return [call.args for call in study.waits.call_args_list]

    runs = trial("a", Trial.RUNNING)
    assert step(1002, runs, trial("b", Trial.PENDING)) == []  # an actor takes its time to start
    assert step(1040, runs, trial("b", Trial.PENDING)) == [({"b": 1002.0}, NEED, False)]
    assert step(1042, runs, trial("b", Trial.PENDING)) == []  # told once
    assert step(1150, runs, trial("b", Trial.PENDING)) == []  # something runs: no end of it
    freed.assert_not_called()
    lost = trial("a", Trial.RUNNING, since=1151.0)  # its workers' machine was taken away
    assert step(1200, lost, trial("b", Trial.PENDING)) == [
        ({"b": 1002.0, "a": 1151.0}, NEED, False)
    ]
    freed.assert_called_once_with()
    several = [trial(name, Trial.PENDING) for name in "bcd"]
    assert step(1202, lost, *several) == []
    assert len(step(1238, lost, *several)[0][0]) == 4
    assert step(1240, lost, *several[:2]) == []  # another list, but one was told just now
    assert len(step(1249, lost, *several[:2])[0][0]) == 3
    assert step(1252, runs, trial("b", Trial.RUNNING)) == [({}, NEED, False)]
    assert step(1330, trial("b", Trial.PENDING)) == []
    assert step(1353, trial("b", Trial.PENDING)) == [({"b": 1330.0}, NEED, True)]
    assert step(1500, trial("b", Trial.PENDING)) == [({"b": 1330.0}, NEED, False)]


def test_a_wait_is_in_record_log_and_pages(tmp_path: Path) -> None:
    with Record.create(tmp_path, {"study": "s", "columns": {}, "spec": {}}) as record:
        record.session(host="here", held_workers=1)
        for number in (0, 1):
            record.begin(f"search-a-{number:03d}", "search", "a", number, {})
        record.waits({"search-a-000": 100.0, "search-a-001": 160.0}, NEED)
        contents = read_record(tmp_path)
        assert waiting(contents.waiting, contents.need, 171.0) == (
            "2 wait for 2 workers with 3 CPUs and 1 GPU each, 1:11 so far"
        )
        shown = live(tmp_path, contents, 171.0)
        assert (shown["waiting"], shown["need"]) == (contents.waiting, NEED)
        record.end("search-a-000", "failed", "?")
        assert list(record.contents.waiting) == ["search-a-001"]
        record.waits({f"search-a-{number:03d}": 0.0 for number in range(100)}, NEED)
        record.waits({}, NEED)
        assert (record.contents.waiting, record.contents.need) == ({}, "")
        record.waits({"search-a-001": 160.0}, NEED, over=True)
        record.pause()
        record.session(host="here", held_workers=1)
        assert record.contents.waiting == {}
    log = (tmp_path / LOG).read_text(encoding="utf-8")
    assert "search-a-000, search-a-001 wait for 2 workers with 3 CPUs" in log
    assert "search-a-001, search-a-002 and 97 more wait for" in log
    assert "no trial waits for workers now" in log
    assert "the study stops: no trial has workers for so long (--wait-hours): search-a-001" in log
