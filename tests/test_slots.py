"""A slot's waits and its checkpoints, without Ray."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pyarrow.fs as pafs
import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.core.generated import gcs_pb2 as generated
from ray.exceptions import OutOfMemoryError, RayActorError

from srsgd_ray.backends import Assignment, Plan
from srsgd_ray.backends.base import RESTARTS, Slot
from srsgd_ray.backends.probe import check_storage
from srsgd_ray.backends.ray import abandoned
from srsgd_ray.backends.ray.abandoned import FREE_AFTER
from srsgd_ray.backends.ray.cluster import _staying, gentle_stop
from srsgd_ray.backends.ray.slot import TrialError, WarmTrainable, trial_config
from srsgd_ray.backends.ray.tuning import Stopped, TrialCallback, TrialSearcher, know_losses
from srsgd_ray.backends.store import CheckpointStore, join, trial_folder

gcs_pb2: Any = generated  # without types
PULSE = {"silent": 0.0, "sought": None, "step": 5, "groups": 1, "trouble": None, "epoch": 2}


@pytest.fixture
def slot(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A slot whose channel gives the pulse that a test wants; its calls are kept in ``called``."""
    monkeypatch.setattr("srsgd_ray.backends.ray.slot.free_abandoned", lambda: 0)

    def make(**pulse: Any) -> Any:
        made = object.__new__(WarmTrainable)
        made._slot = Slot(Plan(1, 2, 1.0, 0.0), silence_limit=100.0)
        made._error, made._freed, made._waiting = None, -1e9, False
        made._thread = threading.current_thread()
        made._assignment, made._epoch = Assignment("search-sgd-000", {}, 2, 9, 0, False), 2
        made._channel = Mock(**{"heartbeat.return_value": {**PULSE, **pulse}})
        return made

    return make


def test_a_trial_that_lives_is_waited_for(slot: Callable[..., Any]) -> None:
    assert slot(silent=99.0)._watch("row", 10_000.0) is None
    assert slot(groups=0, silent=99.0)._watch("row", 10_000.0) is None


@pytest.mark.parametrize(
    ("pulse", "message"),
    [
        ({"silent": 101.0}, "waited 100 s for row of epoch 3 (step 5) and saw no sign of life"),
        ({"silent": 101.0, "groups": 0}, "waited 100 s for 2 workers with 1 CPU each"),
    ],
)
def test_every_wait_ends_and_says_what_was_awaited(
    slot: Callable[..., Any], pulse: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrialError) as error:
        slot(**pulse)._watch("row", 10_000.0)
    assert message in str(error.value)


@pytest.mark.parametrize(("sought", "freed"), [(FREE_AFTER + 1, 1), (FREE_AFTER - 1, 0), (None, 0)])
def test_workers_that_do_not_come_are_looked_for(
    slot: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    sought: float | None,
    freed: int,
) -> None:
    calls: list[None] = []
    monkeypatch.setattr("srsgd_ray.backends.ray.slot.free_abandoned", lambda: calls.append(None))
    made = slot(sought=sought, silent=10_000.0 if sought else 0.0)
    said = made._watch("row", 10_000.0)  # no silence, while there is no place for workers
    assert len(calls) == freed
    if not freed:
        assert said is None
        return
    assert said["kind"] == "sought" and time.time() - said["since"] == pytest.approx(sought, abs=5)
    assert made._watch("row", 10_000.0) is None  # said once
    made._channel.heartbeat.return_value = PULSE
    assert made._watch("row", 10_000.0) == {"kind": "sought", "since": 0}
    assert len(calls) == freed


def test_the_silence_before_a_wait_does_not_count(slot: Callable[..., Any]) -> None:
    assert slot(silent=10_000.0)._watch("row", 99.0) is None


def test_a_trial_that_kills_its_workers_fails_and_frees_the_slot(slot: Callable[..., Any]) -> None:
    made = slot(groups=5, trouble="CUDA out of memory")
    message = made._watch("row", 1.0)
    assert (message["kind"], message["state"]) == ("end", "failed")
    assert "lost its worker group 4 times (3 restarts are allowed)" in message["reason"]
    assert "CUDA out of memory" in message["reason"]
    made._channel.cancel.assert_called_once_with()
    assert made._result(None, message) == {
        "row": None,
        "artifacts": {},
        "epoch": 2,
        "waiting": 0,
        "done": True,
        "end": {"state": "failed", "reason": message["reason"], "workers": 2},
    }


def test_a_group_that_ended_is_told(slot: Callable[..., Any]) -> None:
    made = slot()
    made._error = RuntimeError("no such GPU")
    with pytest.raises(TrialError, match=r"ended: no such GPU"):
        made._watch("row", 1.0)


def test_tune_keys_are_the_configs_names() -> None:
    config = trial_config(Assignment("t", {"lr": 0.1}, 3, 9, 7, True))
    assert config == {
        "lr": 0.1, "_trial": "t", "_known_epochs": 3, "_epochs": 9, "_seed": 7, "_final": True,
        "_runs_ahead": False,
    }  # fmt: skip


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_tune_run_in_order(number: signal.Signals) -> None:
    act = Mock()
    with gentle_stop(act):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        act.assert_called_once_with()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_ray_is_started_by_a_thread_that_stays() -> None:
    """The kernel ends Ray's processes with the thread that started them, not with the process."""
    found: list[threading.Thread] = []
    study = threading.Thread(target=lambda: found.append(_staying(threading.current_thread)))
    study.start()
    study.join()
    assert found[0].is_alive()
    assert _staying(threading.current_thread) is threading.main_thread()


def test_a_study_that_is_asked_to_stop_ends_its_tune_run() -> None:
    """In any thread, where no signal comes: Tune hands on what a callback raises."""
    asked = threading.Event()
    callback = TrialCallback(Mock(), Mock(), [], asked=asked.is_set)
    callback.on_step_begin(0, [])
    asked.set()
    with pytest.raises(Stopped):
        callback.on_step_begin(0, [])
    assert pickle.loads(pickle.dumps(callback)) == {}  # as Tune does, for a snapshot


def test_reservations_whose_makers_are_dead_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, lives, nobody = b"1" * 4, b"2" * 4, b"\xff" * 16
    dead, alive, forgotten = b"d" * 16, b"a" * 16, b"f" * 16
    states = {dead: gcs_pb2.ActorTableData.DEAD, alive: gcs_pb2.ActorTableData.ALIVE}

    def group(identity: str, job: bytes, maker: bytes, **more: Any) -> bytes:
        found = gcs_pb2.PlacementGroupTableData(
            placement_group_id=identity.encode() * 18, creator_job_id=job, creator_actor_id=maker,
            state=more.pop("state", gcs_pb2.PlacementGroupTableData.CREATED), **more,
        )  # fmt: skip
        return bytes(found.SerializeToString())

    def actor(identity: Any) -> bytes | None:
        state = states.get(identity.binary())
        return None if state is None else gcs_pb2.ActorTableData(state=state).SerializeToString()

    gcs = Mock()
    gcs.get_actor_info.side_effect = actor
    gcs.get_job_table.return_value = [
        gcs_pb2.JobTableData(job_id=job, is_dead=job == ended).SerializeToString()
        for job in (ended, lives)
    ]
    gcs.get_placement_group_table.return_value = [
        group("a", ended, nobody), group("b", lives, nobody), group("c", lives, dead),
        group("d", ended, alive), group("e", lives, forgotten),
        group("f", ended, nobody, is_detached=True),
        group("g", lives, dead, state=gcs_pb2.PlacementGroupTableData.REMOVED),
    ]  # fmt: skip
    removed: list[str] = []
    monkeypatch.setattr(abandoned.state, "_connect_and_get_accessor", lambda: gcs)
    monkeypatch.setattr(
        abandoned, "remove_placement_group", lambda found: removed.append(found.id.binary()[:1])
    )
    assert abandoned.free_abandoned() == 3
    assert removed == [b"a", b"c", b"e"]


def test_names_become_folders_and_uris() -> None:
    assert trial_folder("search-srsgd-000") == "search-srsgd-000"
    odd = trial_folder("search-cost $2 {low$-000")
    assert odd != trial_folder("search-cost _2 _low_-000")
    assert all(c.isalnum() or c in "-_." for c in odd)
    assert join("/a/b/", "c") == "/a/b/c"
    assert join("s3://b/x?region=us", "c d") == "s3://b/x/c%20d?region=us"


def test_a_storage_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    check_storage(str(tmp_path / "new" / "er"))
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--storage must be a folder or URI that can be written"):
        check_storage(str(tmp_path / "file" / "x"))
    with pytest.raises(ValueError, match="but nosuch://bucket/x is not"):
        check_storage("nosuch://bucket/x")


def test_a_trial_whose_slot_died_as_it_began_begins_again_and_not_for_ever(tmp_path: Path) -> None:
    """Tune hears of such a death twice, and gives the trial up though it may fail more often."""
    trials, again = Mock(), []
    searcher = TrialSearcher(trials, again)
    callback = TrialCallback(trials, Mock(), again)
    config = {"x": 0.5, "_trial": "search-sgd-000", "_known_epochs": 0}
    file = tmp_path / "error.txt"
    file.write_text("Failure # 2\nActorDiedError: it died.\n\n")
    for epoch in range(1, RESTARTS + 1):
        trial = SimpleNamespace(
            config={**config, "_slot": Slot()},
            last_result={"epoch": epoch},
            error_file=str(file),
            should_recover=lambda: True,
        )
        callback.on_trial_error(1, [], trial)
        config = searcher.suggest("id")
        assert (config["_trial"], config["_known_epochs"]) == ("search-sgd-000", epoch)
        assert "_slot" not in config, "Tune puts it in, and fails at one that is there"
        trials.next.assert_not_called()
    callback.on_trial_error(1, [], SimpleNamespace(**{**vars(trial), "config": config}))
    trials.ended.assert_called_once_with("search-sgd-000", "failed", "ActorDiedError: it died.")
    assert again == []


def test_a_slot_that_rays_memory_monitor_killed_is_a_slot_that_was_lost() -> None:
    manager: Any = RayActorManager(resource_manager=Mock())
    know_losses(manager)
    told, task = Mock(), Mock()
    actor = manager.add_actor(object, {}, Mock(), on_error=told)
    manager._live_actors_to_ray_actors_resources[actor] = (Mock(), Mock())  # as if Ray ran
    task._tracked_actor = actor
    manager._actor_task_failed(
        tracked_actor_task=task, exception=OutOfMemoryError("1 worker was killed.\nLong advice.")
    )
    (lost, error), _ = told.call_args
    assert lost is actor
    assert isinstance(error, RayActorError)
    assert str(error) == "1 worker was killed."
    with pytest.raises(RuntimeError, match="of ours"):  # what is not Ray's stays as it was
        manager._actor_task_failed(tracked_actor_task=task, exception=KeyError("of ours"))
