"""The process of a slot with one worker: it dies, hangs, cannot start, or loses its Tune actor."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from srsgd_ray.backends import Assignment, Plan
from srsgd_ray.backends.base import Slot
from srsgd_ray.backends.probe import DRIVER, UNSEEN, put
from srsgd_ray.backends.ray import process, slot
from srsgd_ray.backends.ray.slot import TrialError, WarmTrainable, trial_config

HERE = str(Path(__file__).parent)


def config(root: str, number: int = 0, silence_limit: float = 100.0, **knobs: Any) -> Any:
    """Tune's configuration of a trial of the toy."""
    place = Slot(Plan(1, 1, 1.0, 0.0), "toy:toy", HERE, "workers", "score", root, silence_limit)
    trial = Assignment(f"search-t-{number:03d}", {"epochs": 3, **knobs}, 0, 3, 5, False)
    return {**trial_config(trial), "_slot": place}


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """A slot that begins a trial, and is cleaned up in the end."""
    monkeypatch.setattr(process, "PAUSE", 0.01)
    monkeypatch.setattr(slot, "LEAVE", 0.5)
    monkeypatch.setattr(slot, "POLL", 0.1)
    made: list[Any] = []

    def start(given: Any) -> Any:
        made.append(object.__new__(WarmTrainable))  # Tune's own __init__ needs Ray
        made[0].setup(given)
        return made[0]

    yield start
    made[0].cleanup()
    made[0]._thread.join(5)
    assert not made[0]._thread.is_alive()
    assert process_of(made[0]).returncode is not None


def process_of(made: Any) -> Any:
    return made._server._process


def whole(made: Any) -> tuple[list[float], dict[str, Any]]:
    """The scores of a trial, and its end."""
    scores, result = [], {"done": False}
    while not result["done"]:
        result = made.step()
        scores += [result["row"]["score"]] if result["row"] else []
    return scores, result["end"]


def test_a_process_that_dies_is_replaced_and_serves_on(
    tmp_path: Path, begin: Callable[[Any], Any]
) -> None:
    made = begin(config(str(tmp_path), wrong=f"kill:{tmp_path}/marker"))
    first = process_of(made).pid if process_of(made) else None
    scores, end = whole(made)
    assert (tmp_path / "marker").exists(), "it ended itself in the second epoch"
    assert scores == [10 - 0.25 + epoch + 0.005 for epoch in (1, 2, 3)]
    assert (end["state"], end["workers"]) == ("complete", 1)
    assert made._channel.heartbeat()["groups"] == 2
    second = process_of(made).pid
    assert second != first
    made.reset_config(config(str(tmp_path), 1, wrong="machine"))
    assert whole(made)[1]["reason"].startswith("RuntimeError: the machine gave up (toy.py:")
    assert process_of(made).pid != second, "an error that may pass needs a new process"
    made.reset_config(config(str(tmp_path), 2))
    assert whole(made)[0] == scores


def test_a_process_that_hangs_is_given_up_and_killed(begin: Callable[[Any], Any]) -> None:
    made = begin(config("", silence_limit=1.5, wait=100.0))
    with pytest.raises(TrialError, match=r"waited 2 s for row or end of epoch 1 .* no sign"):
        made.step()


def test_a_process_that_cannot_start_is_told(
    monkeypatch: pytest.MonkeyPatch, begin: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(process, "start", lambda module, pipe: subprocess.Popen(["false"]))
    with pytest.raises(TrialError, match=r"ended: its process cannot start \(exit status 1"):
        begin(config("")).step()


ACTOR = """
import test_worker_process as here
made = object.__new__(here.WarmTrainable)
made.setup(here.config("", wait=100.0))
made._channel.assign(made._assignment, 0)
while not made._channel.heartbeat()["groups"] or not here.process_of(made):
    here.time.sleep(0.02)
print(here.process_of(made).pid, flush=True)
here.time.sleep(100)
"""


def test_a_process_leaves_in_the_middle_of_a_trial_when_its_tune_actor_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ACTOR], cwd=HERE, stdout=subprocess.PIPE) as actor:
        assert actor.stdout is not None
        worker = Path("/proc", str(int(actor.stdout.readline())))
        assert worker.exists()
        actor.kill()
    deadline = time.monotonic() + 10
    while worker.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_machine_that_does_not_find_the_drivers_file_runs_no_trial(
    begin: Callable[[Any], Any], tmp_path: Path
) -> None:
    given = config(str(tmp_path))
    given["_slot"] = dataclasses.replace(given["_slot"], token="mine")
    made = begin(given)
    scores, end = whole(made)
    assert scores == [] and end["state"] == UNSEEN
    assert f"of {tmp_path} node {platform.node()} does not find there" in end["reason"]
    put(str(tmp_path / DRIVER), "mine")
    made.reset_config(given)
    scores, end = whole(made)
    assert len(scores) == 3 and end["state"] == "complete"
