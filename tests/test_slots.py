"""A slot's waits and its checkpoints, without Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from srsgd_ray.trainables import SlotOptions, TrialError, WarmTrainable, trial_config
from srsgd_ray.trainables.store import CheckpointStore

PULSE = {"silent": 0.0, "step": 5, "groups": 1, "trouble": None, "epoch": 2}


@pytest.fixture
def slot(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A slot whose mailbox gives the pulse that a test wants; its calls are kept in ``called``."""
    monkeypatch.setattr("srsgd_ray.trainables.warm.free_abandoned", lambda: 0)

    def make(**pulse: Any) -> Any:
        made = object.__new__(WarmTrainable)
        made._options = SlotOptions(workers=2, silence_limit=100.0, start_limit=300.0, restarts=3)
        made._error = None
        made._thread = threading.current_thread()
        made._trial = "search-sgd-000"
        made.called = []

        def call(method: str, *args: Any) -> Any:
            made.called.append(method)
            return {**PULSE, **pulse}

        made._call = call
        return made

    return make


def test_a_trial_that_lives_is_waited_for(slot: Callable[..., Any]) -> None:
    assert slot(silent=99.0)._watch("row", 10_000.0) is None
    assert slot(groups=0, silent=299.0)._watch("row", 10_000.0) is None


@pytest.mark.parametrize(
    ("pulse", "message"),
    [
        ({"silent": 101.0}, "waited 100 s for row of epoch 3 (step 5) and saw no sign of life"),
        ({"silent": 301.0, "groups": 0}, "waited 300 s for a group of 2 workers with 1.0 CPUs"),
    ],
)
def test_every_wait_ends_and_says_what_was_awaited(
    slot: Callable[..., Any], pulse: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrialError) as error:
        slot(**pulse)._watch("row", 10_000.0)
    assert message in str(error.value)


def test_the_silence_before_a_wait_does_not_count(slot: Callable[..., Any]) -> None:
    assert slot(silent=10_000.0)._watch("row", 99.0) is None


def test_a_trial_that_kills_its_workers_fails_and_frees_the_slot(slot: Callable[..., Any]) -> None:
    made = slot(groups=5, trouble="CUDA out of memory")
    message = made._watch("row", 1.0)
    assert message["kind"] == "error"
    assert "was begun 5 times" in message["error"]
    assert "CUDA out of memory" in message["error"]
    assert made.called[-1] == "drop"
    assert made._result({"epoch": 2}, **message) == {
        "row": {"epoch": 2},
        "workers": 2,
        "epoch": 2,
        "state": "failed",
        "reason": message["error"],
        "done": True,
    }


def test_a_group_that_ended_is_told(slot: Callable[..., Any]) -> None:
    made = slot()
    made._error = RuntimeError("no such GPU")
    with pytest.raises(TrialError, match=r"ended: no such GPU"):
        made._watch("row", 1.0)


def test_tune_keys_are_the_configs_names() -> None:
    config = trial_config("t", {"lr": 0.1}, known_epochs=3, checkpoints="/c/t")
    assert config == {"lr": 0.1, "_trial": "t", "_known_epochs": 3, "_checkpoints": "/c/t"}


@pytest.mark.parametrize("where", ["path", "file URI", "remote"])
def test_checkpoints_are_kept_fetched_and_removed(tmp_path: Path, where: str) -> None:
    prefix = "file://" if where == "file URI" else ""
    store = CheckpointStore(f"{prefix}{tmp_path}/study/trial")
    if where == "remote":  # the path that object stores take, on a file system that is here
        store._remote, store._path = pafs.LocalFileSystem(), store.location
    with store.fetch() as folder:
        assert folder is None

    def save(folder: Path, text: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.pt").write_text(text)
        return folder / "checkpoint.pt"

    for text in ("one", "two"):
        store.keep(lambda folder, text=text: save(folder, text))  # type: ignore[misc]
        with store.fetch() as folder:
            assert folder is not None
            assert (folder / "checkpoint.pt").read_text() == text
    store.remove()
    store.remove()
    assert not (tmp_path / "study" / "trial").exists()
