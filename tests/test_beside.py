"""What happens beside an epoch: checkpoints, and the answer to its row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from toy import ToyConfig, toy

from srsgd_ray.backends import Assignment, Plan, beside, processes
from srsgd_ray.backends.base import AHEAD, Slot
from srsgd_ray.backends.beside import Beside
from srsgd_ray.backends.processes import Running, _Pipe
from srsgd_ray.backends.store import CheckpointStore
from srsgd_ray.testing import play


class Slow(CheckpointStore):
    """A place that puts a checkpoint where it belongs when a test says so."""

    def __init__(self, location: Path) -> None:
        super().__init__(str(location))
        self.may, self.broken = threading.Event(), False

    def _put(self, aside: Path) -> None:
        assert self.may.wait(5)
        if self.broken:
            raise OSError(28, "No space left on device")
        super()._put(aside)

    def text(self) -> str:
        """What the checkpoint says."""
        return Path(self.location, "checkpoint.pt").read_text()


def saying(text: str) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.pt").write_text(text)
        return folder

    return save


def test_a_checkpoint_is_copied_at_the_call_and_written_while_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "EVERY", 0.0)
    monkeypatch.setattr(beside, "SHARE", 0.0)
    store, state = Slow(tmp_path), ["one"]
    made = Beside(store)
    made.offer(lambda folder: saying(state[0])(folder))
    state[0] = "two"  # the work goes on, and the first is not in place
    made.offer(saying("left out: one at a time"))
    assert not (tmp_path / "checkpoint.pt").exists()
    store.may.set()
    made.keep(saying("three"))  # asked for in words: it waits for the one before
    assert store.text() == "one"
    made.close()
    assert store.text() == "three"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_an_epoch_soon_after_a_checkpoint_gets_none_unless_the_work_asks(tmp_path: Path) -> None:
    store = Slow(tmp_path)
    store.may.set()
    made = Beside(store)
    made.offer(saying("one"))
    made._writing.result()  # type: ignore[union-attr]
    made.offer(saying("too soon"))
    made._check()
    assert store.text() == "one"
    made.keep(saying("asked for"))
    made.close()
    assert store.text() == "asked for"


def test_a_checkpoint_that_could_not_be_written_is_an_error_of_the_next_or_told_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Slow(tmp_path)
    made, store.broken = Beside(store), True
    made.offer(saying("one"))
    store.may.set()
    with pytest.raises(OSError, match="No space left"):
        made.keep(saying("two"))
    assert caplog.text == ""
    made.keep(saying("three"))
    made.close()
    assert f"the last checkpoint of {tmp_path} is missing: [Errno 28] No space" in caplog.text


def test_epochs_whose_checkpoint_was_left_out_are_trained_again_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "EVERY", 60.0)
    config = ToyConfig(epochs=6)
    whole = play(toy, config).rows
    cut = play(toy, config, folder=tmp_path, cut_after=5)
    assert len(cut.rows) == 5
    again = play(toy, config, folder=tmp_path).rows
    assert [row["time"] for row in again[:1]] == [cut.rows[0]["time"]]  # of the checkpoint
    assert again[1]["time"] > cut.rows[-1]["time"]  # trained once more
    assert [row["score"] for row in again] == [row["score"] for row in whole]


@pytest.mark.parametrize("runs_ahead", [True, False])
def test_a_trial_runs_ahead_by_one_epoch_where_no_scheduler_can_stop_it(runs_ahead: bool) -> None:
    ours, theirs = Pipe()
    link = _Pipe(theirs, runs_ahead)
    link.row({"epoch": 1}, {})
    if not runs_ahead:
        ours.send(True)
    assert link.leave(1)
    link.row({"epoch": 2}, {})
    ours.send(False)
    assert not link.leave(2)
    assert link._unanswered == runs_ahead
    if runs_ahead:
        ours.send(True)
        link._began -= AHEAD  # an epoch that took long is worth no wait
        assert link.leave(2)
        assert link._unanswered == 0


def test_a_row_after_a_stop_counts_no_more() -> None:
    trials = Mock(**{"continues.return_value": False})
    running = Running(trials, Assignment("t", {}, 0, 5, 0, False, True))
    assert not running.row({"epoch": 1}, {})
    assert not running.row({"epoch": 2}, {"curve": {"x": [1]}})
    running.ended({"state": "stopped", "reason": ""})
    trials.epoch.assert_called_once_with("t", {"epoch": 1})
    trials.artifact.assert_not_called()
    trials.ended.assert_called_once_with(
        "t", "pruned", "stopped by the scheduler at epoch 1", workers=1
    )


def test_each_slot_has_a_card_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []

    def attempt(start: Any) -> Any:
        devices.append(start.keywords["device"])
        return {}, None

    monkeypatch.setattr(processes, "attempt", attempt)
    monkeypatch.setattr(processes.signal, "signal", Mock())
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    slot = Slot(Plan(8, 1, 1.0, 1.0), "toy:toy", str(Path(__file__).parent))
    for number in range(5):
        pipe = Mock()
        pipe.recv.side_effect = [Assignment("t", {}, 0, 1, 0, False), EOFError]
        processes._serve(pipe, slot, number)
    assert devices == ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:0"]
