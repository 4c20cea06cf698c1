"""Studies controlled from another terminal: stop and skip, while they run and in between."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from test_local import STUDY, conduct, ends

from srsgd_ray.cli import main
from srsgd_ray.results import Record, read_record, read_trials
from srsgd_ray.study import Study, requests

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LOOK_EVERY", 0.05)


SLOW = dataclasses.replace(STUDY, base={"wait": 0.1}, epochs=100, trials=2, confirm_seeds=1)


@contextmanager
def running(study: Study, folder: Path, **options: Any) -> Iterator[threading.Thread]:
    """The study at work in a thread, which is over when the context is."""
    thread = threading.Thread(target=conduct, args=(study, folder), kwargs=options)
    thread.start()
    try:
        until(lambda: bool(begun(folder / "t")))
        yield thread
    finally:
        main(["stop", str(folder / "t")])
        thread.join()


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(folder: Path) -> list[str]:
    """The trials of which an epoch is recorded and that run."""
    if not (folder / "record.jsonl").is_file() or not (folder / "record.jsonl").stat().st_size:
        return []
    return [t.trial for t in read_record(folder).trials.values() if t.rows and t.end is None]


def says(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Status and text of a verb."""
    capsys.readouterr()
    status = main([*words, "--wait", "20"])
    captured = capsys.readouterr()
    text = captured.err if status else captured.out
    assert len(text.strip().splitlines()) == 1
    return status, text.strip()


@pytest.mark.parametrize("slots", [1, 2])
def test_stop_and_skip_what_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slots: int
) -> None:
    folder = tmp_path / "t"
    with running(SLOW, tmp_path, slots=slots) as thread:
        first = begun(folder)[0]
        assert says(capsys, "stop", str(folder), first)[0] == 0
        until(lambda: any(name != first for name in begun(folder)))
        second = next(name for name in begun(folder) if name != first)
        status, said = says(capsys, "skip", str(folder), second, "--reason", "too slow")
        assert status == 0
        assert said.startswith(f"{second} is failed, skipped by the user at epoch ")
        assert said.endswith(": too slow.")
        assert says(capsys, "skip", str(folder), first)[1].endswith("it has ended already.")
        wrong = says(capsys, "stop", str(folder), "search-near-009")[1]
        assert "unknown trial 'search-near-009'" in wrong
        assert says(capsys, "stop", str(folder)) == (
            0,
            f"{folder}: the study has stopped in order.",
        )
        thread.join(10)
        assert not thread.is_alive()
    found = read_record(folder).trials
    assert (found[first].state, found[second].state) == ("pruned", "failed")
    for trial in (found[first], found[second]):
        assert trial.end is not None
        assert f"by the user at epoch {len(trial.rows)}" in trial.end["reason"]
        assert 0 < len(trial.rows) < 100
    assert sum(t.end is None for t in found.values()) <= slots
    assert not (folder / "requests").exists()
    table = read_trials(folder).set_index("trial")
    assert table.loc[first, "state"] == "pruned"


def test_what_waits_in_an_interrupted_study_is_ended_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "t"
    with running(SLOW, tmp_path):
        waits = begun(folder)[0]
    status, said = says(capsys, "stop", str(folder))
    assert (status, "no process works on" in said) == (2, True)
    assert says(capsys, "skip", str(folder), waits, "--reason", "a bad idea")[0] == 0
    assert read_trials(folder).set_index("trial").loc[waits, "state"] == "failed"
    status, said = says(capsys, "retry", str(folder))
    assert (status, f"must be named: {waits}." in said) == (2, True)
    hours = [s["held_workers"] for s in read_record(folder).sessions]
    assert hours == [1, 0]
    with running(SLOW, tmp_path, resume=True):
        assert waits not in begun(folder)
    state, reason = ends(folder)[waits]
    assert state == "failed"
    assert str(reason).endswith(": a bad idea")


@pytest.mark.on_disk
def test_the_search_hears_how_a_trial_was_ended(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    with running(SLOW, tmp_path):
        stopped = begun(folder)[0]
        assert main(["stop", str(folder), stopped]) == 0
        until(lambda: begun(folder))
        skipped = begun(folder)[0]
    assert main(["skip", str(folder), skipped]) == 0
    with running(SLOW, tmp_path, resume=True):
        pass
    states = {}
    storage = f"sqlite:///{folder}/optuna.db"
    for summary in optuna.get_all_study_summaries(storage):
        for trial in optuna.load_study(study_name=summary.study_name, storage=storage).trials:
            states[trial.user_attrs["trial"]] = trial.state.name
    assert (states[stopped], states[skipped]) == ("PRUNED", "FAIL")


def test_a_request_for_an_earlier_session_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "t"
    with running(SLOW, tmp_path):
        old = {"kind": "stop", "session": 1.0}
        (folder / "requests").mkdir()
        (folder / "requests" / "old.json").write_text(json.dumps(old))
        until((folder / "requests" / "old.answer").exists)
        said = json.loads((folder / "requests" / "old.answer").read_text())
        assert said == {"done": False, "said": "the study was taken up anew meanwhile. Ask again"}
        assert begun(folder)
        # One that this version does not know: the next one is heard all the same.
        known = {"session": read_record(folder).sessions[-1]["at"]}
        (folder / "requests" / "other.json").write_text(json.dumps(known))
        until((folder / "requests" / "other.answer").exists)
        assert "KeyError" in (folder / "requests" / "other.answer").read_text()
        assert says(capsys, "skip", str(folder), begun(folder)[0])[0] == 0


def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "t"
    conduct(dataclasses.replace(STUDY, trials=1, confirm_seeds=0), tmp_path)
    with Record.reopen(folder):  # a process that holds it, and has no ear
        assert main(["stop", str(folder), "--wait", "0.3"]) == 2
    error = capsys.readouterr().err
    assert "has answered within 0.3 s, and nothing was changed" in error
    assert not (folder / "requests").exists()
    assert main(["stop", str(folder), "--wait", "0"]) == 2
    assert "--wait > 0 must hold" in capsys.readouterr().err
