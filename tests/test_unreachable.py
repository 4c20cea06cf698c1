"""What cannot be reached ends in one message, within seconds."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from srsgd_ray.backends.ray import head


@pytest.fixture
def listening() -> socket.socket:
    """A port that takes connections and says nothing."""
    return socket.create_server(("127.0.0.1", 0))


def at(port: socket.socket) -> str:
    return f"127.0.0.1:{port.getsockname()[1]}"


def test_an_address_where_nobody_listens(listening: socket.socket) -> None:
    listening.close()
    with pytest.raises(ValueError, match=r"refused\. Start one there with `ray start --head`"):
        head.check_address("127.0.0.1:9")
    with pytest.raises(ValueError, match="as of a dashboard"):
        head.check_address("http://127.0.0.1:8265")


def test_an_address_where_something_else_listens(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "ANSWER", 0.5)
    with listening, pytest.raises(ValueError, match="is no Ray, or did not answer"):
        head.check_address(at(listening))


def test_a_head_or_a_raylet_that_is_gone_is_noticed_once(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "EVERY", 0.05)
    monkeypatch.setattr(head, "LOST_AFTER", 0.2)
    said: list[str] = []
    gone, other = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def lost(why: str) -> None:
        said.append(why)
        gone.set()

    both = {"this": at(listening), "the other": at(other)}
    with other, head.watched(both, lost):
        assert not gone.wait(0.4)
        listening.close()
        assert gone.wait(5)
    assert len(said) == 1
    assert said[0].startswith(f"this at {both['this']} is gone: no answer for")
    assert "refused" in said[0]


GONE = """
import sys, threading, time
sys.path.insert(0, {tests!r})
from srsgd_ray.backends.local import LocalBackend
from srsgd_ray.cli.launch import launch
from test_local import STUDY

def run(self, trials, job, plan, screen):
    trial = trials.next()
    trials.epoch(trial.trial, {{"epoch": 1, "score": 1.0, "cost": 1.0}})
    threading.Thread(target=self.lost, args=("the head is gone.",)).start()
    time.sleep(60)

LocalBackend.run = run
launch(STUDY, ["--backend", "local", "--results", {results!r}], command=["python", "study.py"])
"""


def test_a_study_whose_place_is_gone_ends_in_order(tmp_path: Path) -> None:
    """Although its main thread waits for ever; by hand with Ray's head killed, too."""
    code = GONE.format(tests=str(Path(__file__).parent), results=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 130, done.stderr
    assert "\nThe head is gone.\n\nStopped. Resume with:\n" in done.stdout
    assert "--resume\n" in done.stdout
    (folder,) = tmp_path.iterdir()
    assert (folder / "record.jsonl").read_text().splitlines()[-1].startswith('{"event": "pause"')
    assert (folder / "epochs.parquet").exists()
