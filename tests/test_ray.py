"""Studies on a real Ray cluster: whole, stopped early, cut down, and taken up again.

These share one Ray instance of two CPUs; each study brings up its own slots, some 15 s.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
import torch
from lmdb_images import make_tree
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from srsgd_ray.backends import NotMeasured
from srsgd_ray.backends.local import LocalBackend
from srsgd_ray.backends.probe import UnseenError
from srsgd_ray.backends.ray import backend, nodes, tuning
from srsgd_ray.config import TrainConfig
from srsgd_ray.data import hold_out
from srsgd_ray.image_lmdb import ImageLmdb, build
from srsgd_ray.image_lmdb import Options as ImageOptions
from srsgd_ray.results import read_epochs, read_record, read_trials
from srsgd_ray.results.record import Contents, TrialRecord
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.options import Options
from srsgd_ray.study.run import execute
from srsgd_ray.testing import play
from srsgd_ray.trainable import Trainable, find
from srsgd_ray.trainables.image import IMAGE

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("ray_cluster"),
    pytest.mark.timeout(600),
]

STUDIES = Path(__file__).parents[1] / "studies"
TIMES = {"train_seconds", "eval_seconds", "images_per_second", "time"}
LR = SearchSpace("lr", "?", {"lr": FloatDistribution(0.01, 0.3, log=True)})
STUDY = Study(
    name="t",
    question="?",
    arms=(Arm("srsgd", LR, {"optimizer": "srsgd"}), Arm("sgd", LR, {"optimizer": "sgd"})),
    baseline="sgd",
    base={"width": 4, "batch_size": 128},
    epochs=3,
    trials=2,
    confirm_seeds=2,
)


def conduct(study: Study, folder: Path, resume: bool = False, **options: Any) -> str:
    chosen = Options(results=folder, **{"plan": "no", **options})
    return execute(study, chosen, name=study.name, resume=resume, quiet=True)


def workers() -> set[int]:
    """Process ids of the workers of all slots on this machine, in a group of Ray Train or alone."""
    names = "^ray::RayTrainWorker|srsgd_ray.backends.ray.process"
    found = subprocess.run(["pgrep", "-f", names], capture_output=True, text=True)
    return {pid for pid in map(int, found.stdout.split()) if of_ray(pid)}


def of_ray(pid: int) -> bool:
    """Whether it is a process of Ray, or was started by one; another test may run some without."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        lines = [Path(f"/proc/{p}/cmdline").read_bytes() for p in (pid, parent)]
    except OSError:  # it has left
        return False
    return any(line.startswith(b"ray::") for line in lines)


def contents(folder: Path) -> Contents | None:
    try:
        return read_record(folder)
    except ValueError:
        return None


@contextmanager
def once(ready: Callable[[], bool], act: Callable[[], None]) -> Iterator[list[bool]]:
    """Do ``act`` from another thread as soon as ``ready`` says so."""
    done: list[bool] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if ready():
                act()
                done.append(True)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def own_model() -> Study:
    """The user's file, as a module that the workers import from its folder."""
    from srsgd_ray.cli.studies import load_study

    return load_study(str(STUDIES / "own_model.py"))


def long(epochs: int = 6) -> Study:
    """Two arms of the user's own model, with two trials and two seeds."""
    study = own_model()
    arms = tuple(Arm(arm.name, LR, arm.fixed) for arm in study.arms)
    return dataclasses.replace(study, arms=arms, epochs=epochs, trials=2, confirm_seeds=2)


def by_hand(work: Trainable, trial: TrialRecord, **place: Any) -> list[dict[str, Any]]:
    """The rows of the same trial without Ray."""
    config = work.configure(work.knobs_in(trial.config))
    final = trial.phase == "confirm"
    return numbers(play(work, config, seed=trial.config["seed"], final=final, **place).rows)


DRIVER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import ray
from test_ray import conduct, long
ray.init(address={address!r}, log_to_driver=False)
conduct(long(), Path({folder!r}), slots=1)
"""


def test_a_study_whose_driver_is_killed_and_that_is_resumed_on_two_slots(tmp_path: Path) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    code = DRIVER.format(tests=str(Path(__file__).parent), folder=str(tmp_path), address=address)
    driver = subprocess.Popen([sys.executable, "-c", code])
    folder, deadline = tmp_path / "own_model", time.monotonic() + 180

    def one_done_one_running() -> bool:
        found = contents(folder)
        if found is None:
            return False
        trials = list(found.trials.values())
        return any(t.end for t in trials) and any(not t.end and t.rows for t in trials)

    while not one_done_one_running():
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    told = {t.trial: numbers(t.rows) for t in read_record(folder).trials.values()}
    # Its actors go with the driver; their CPUs are needed again.
    while workers():
        assert time.monotonic() < deadline + 60
        time.sleep(0.2)
    with pytest.raises(ValueError, match="holds another study: epochs was 6 and is now 3"):
        conduct(long(epochs=3), tmp_path, resume=True)

    seen: Counter[int] = Counter()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            seen.update(workers())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert conduct(long(), tmp_path, resume=True, plan="yes") == "finished"
    over.set()
    watcher.join()
    # One that is seen for a moment only ran no trial: it may still have been the killed driver's.
    ran = [worker for worker, times in seen.items() if times >= 0.1 * max(seen.values())]
    assert len(ran) == 2, f"all trials flow through two warm workers, but sightings are {seen}"
    assert not workers()

    record = read_record(folder)
    names = [f"search-{arm}-{n:03d}" for n in (0, 1) for arm in ("srsgd", "adamw")]
    names += [f"confirm-{arm}-{n:03d}" for n in (0, 1) for arm in ("srsgd", "adamw")]
    assert list(record.trials) == names
    assert len(record.sessions) == 2
    work = find("own_model:cancer", str(STUDIES))
    for trial in record.trials.values():
        assert trial.state == "complete"
        assert len(trial.rows) == 6
        assert numbers(trial.rows)[: len(told.get(trial.trial, []))] == told.get(trial.trial, [])
        # Neither Ray, nor the cut, nor what ran before in the same worker changes a number.
        assert numbers(trial.rows) == by_hand(work, trial)
    trials = read_trials(folder)
    assert len(read_epochs(tmp_path)) == 8 * 6
    confirmed = trials[trials["phase"] == "confirm"]
    assert (confirmed["test_auc"] > 0.8).all()
    assert trials[trials["phase"] == "search"]["test_auc"].isna().all()
    seeds = confirmed.groupby("arm")["seed"].apply(list)
    assert seeds["adamw"] == seeds["srsgd"] and len(set(seeds["srsgd"])) == 2
    found = trials[(trials["phase"] == "search") & (trials["arm"] == "adamw")]
    best_lrs = found[found["val_auc"] == found["val_auc"].max()]["lr"]
    assert set(confirmed[confirmed["arm"] == "adamw"]["lr"]) == {best_lrs.iloc[0]}
    for arm in ("srsgd", "adamw"):
        url = f"sqlite:///{folder}/optuna.db"
        stored = optuna.load_study(study_name=f"own_model-{arm}", storage=url).trials
        assert [t.state for t in stored] == [TrialState.COMPLETE] * 2
    # Checkpoints of ended trials are gone.
    assert not list(folder.glob("checkpoints-*/*/checkpoint.pt"))
    # Nothing is left to do: resuming changes no row.
    assert conduct(long(), tmp_path, resume=True) == "finished"
    assert read_trials(folder)["trial"].tolist() == trials["trial"].tolist()


def as_rank(rank: int, folder: Path, trials: list[TrialRecord]) -> list[list[dict[str, Any]]]:
    """The rows of trials on one of two processes, without Ray."""
    import torch.distributed as dist

    address = f"file://{folder}/group"
    dist.init_process_group(
        "gloo", address, rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    found = [by_hand(IMAGE, trial, rank=rank, size=2) for trial in trials]
    dist.barrier()
    dist.destroy_process_group()
    return found


def test_two_workers_of_whom_one_meets_an_unreadable_image_and_one_is_killed(
    tmp_path: Path,
) -> None:
    """One arm stops at the image, with its name, though one worker met it; the other skips it.

    ASHA prunes the other arm's trials, whose numbers are those of two processes without Ray.
    """
    tree = make_tree(tmp_path / "tree", each=8)
    build(tree, tmp_path / "lmdb", ImageOptions(), workers=1)
    store = ImageLmdb(tmp_path / "lmdb" / "train.lmdb")
    kept, _ = hold_out(torch.from_numpy(store.labels), 0.25, TrainConfig().split_seed)
    bad = int(kept[5])
    with store.path.open("r+b") as file:
        file.seek(store.entry(bad).offset)
        file.write(b"no image")

    def arm(name: str, *lrs: float, trials: int | None = None) -> Arm:
        space = SearchSpace("lr", "?", {"lr": CategoricalDistribution(lrs)}, {"lr": lrs})
        return Arm(name, space, {"optimizer": "srsgd", "bad_images": name}, trials=trials)

    study = dataclasses.replace(
        STUDY,
        arms=(arm("stop", 1e-3, trials=1), arm("skip", 1e-3, 5e-4, 1e-9, 1e-8)),
        baseline="skip",
        base={
            "dataset": "imagenet", "data_dir": str(tmp_path / "lmdb"), "batch_size": 6,
            "model": "own_parts:Tiny", "model_options": {"size": 32}, "image_size": 32,
            "validation_fraction": 0.25, "restart_kind": "linear", "restart_decay": True,
            "checkpoint_steps": 2,
        },
        trials=4, searcher="grid", seed=2, metric="val_loss", mode="min", scheduler="asha",
        asha_reduction=2.0, epochs=8, lr_drops=(0.34,),
    )  # fmt: skip
    folder = tmp_path / "t"

    def three_rows() -> bool:
        found = contents(folder)
        return found is not None and any(
            len(t.rows) >= 3 and t.end is None for t in found.trials.values()
        )

    with once(three_rows, lambda: os.kill(max(workers()), signal.SIGKILL)) as killed:
        assert conduct(study, tmp_path, workers_per_trial=2, slots=1) == "finished"
    assert killed
    stopped, *trials = read_record(folder).trials.values()
    assert stopped.arm == "stop" and stopped.state == "failed" and stopped.rows == []
    assert stopped.end is not None
    assert f"{store.name(bad)} must have the checksum of its index" in stopped.end["reason"]
    assert {trial.arm for trial in trials} == {"skip"}
    assert {row["skipped_images"] for trial in trials for row in trial.rows} == {1}
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned, "a rung stops the worse half"
    for trial in pruned:
        assert len(trial.rows) in (1, 2, 4)
        assert trial.end is not None
        assert trial.end["reason"] == f"stopped by the scheduler at epoch {len(trial.rows)}"
    whole = [t for t in trials if t.state == "complete"]
    assert len(whole) + len(pruned) == len(trials) == 4 + 2
    assert {len(trial.rows) for trial in whole} == {8}
    table = read_trials(folder)
    assert set(table["workers"].dropna()) == {2}
    confirmed = table[table["phase"] == "confirm"]
    assert len(confirmed) == 2
    assert confirmed["test_error"].notna().all()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        second = pool.apply_async(as_rank, (1, tmp_path, trials))
        alone = as_rank(0, tmp_path, trials)
        assert second.get(120) == alone
    for trial, rows in zip(trials, alone, strict=True):
        assert [r["epoch"] for r in trial.rows] == list(range(1, len(trial.rows) + 1))
        assert numbers(trial.rows) == rows[: len(trial.rows)]
    url = f"sqlite:///{folder}/optuna.db"
    stored = optuna.load_study(study_name="t-skip", storage=url).trials
    assert [t.state is TrialState.PRUNED for t in stored] == [
        t.state == "pruned" for t in trials if t.phase == "search"
    ]


def test_more_than_there_is_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"do not fit 1 node with 2 CPUs, 0 GPUs"):
        conduct(STUDY, tmp_path, gpus_per_worker=1)
    assert not (tmp_path / "t").exists()


def test_a_plan_writes_nothing_and_says_if_it_cannot_be_made_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert conduct(STUDY, tmp_path, plan="only") == "planned"
    assert not (tmp_path / "t").exists()
    # As if this process could not: then it is done on a worker.
    monkeypatch.setattr(LocalBackend, "measure", Mock(side_effect=NotMeasured("not here")))
    monkeypatch.setattr(backend, "MEASURE_LIMIT", -1.0)
    monkeypatch.setattr(backend, "SHORTEST_WAIT", 0.01)
    with pytest.raises(ValueError, match="no plan can be made: a configuration could not be timed"):
        conduct(STUDY, tmp_path, plan="only")
    assert not (tmp_path / "t").exists()


def test_work_without_workers_runs_in_the_tune_actor_and_reports_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_local import STUDY as TOYS
    from test_local import X, ends, rows
    from test_local import conduct as local

    kept, let_go = [], tuning._let_go

    def counted(tune_controller: Any) -> None:
        let_go(tune_controller)
        kept.append(len(tune_controller.get_trials()))

    monkeypatch.setattr(tuning, "_let_go", counted)
    arms = (*TOYS.arms, Arm("broken", X, {"wrong": "type"}))
    study = dataclasses.replace(TOYS, arms=arms, base={"wrong": f"once:{tmp_path}/marker"})
    assert conduct(study, tmp_path / "ray", slots=1) == "finished"
    assert len(kept) > 10 and max(kept) <= 2, "Tune keeps no trial that has ended"
    assert not workers()
    local(dataclasses.replace(TOYS, arms=arms), tmp_path / "local")
    assert rows(tmp_path / "ray" / "t") == rows(tmp_path / "local" / "t")
    found = ends(tmp_path / "ray" / "t")
    assert found == ends(tmp_path / "local" / "t")
    broken = [found[name] for name in found if "broken" in name]
    assert len(broken) == TOYS.trials, "what failed is not confirmed"
    for state, reason in broken:
        assert state == "failed"
        assert "TypeError: object of type 'int' has no len() (toy.py:" in str(reason)


def test_a_node_without_the_drivers_place_stops_the_study_and_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_local import STUDY as TOYS

    nodes.check_shared(str(tmp_path / "new" / "er"))
    assert list(tmp_path.iterdir()) == [], "the probe leaves nothing"
    # As on a node that joined later and has its own disk there.
    monkeypatch.setattr(backend, "put", lambda *given: None)
    with pytest.raises(UnseenError, match=r"every node uses, but of .* does not find there"):
        conduct(TOYS, tmp_path, slots=1, address="auto")
    found = read_record(tmp_path / "t").trials
    assert len(found) == 1 and {trial.end for trial in found.values()} == {None}
    monkeypatch.undo()
    assert conduct(TOYS, tmp_path, slots=1, address="auto", resume=True) == "finished"
    assert not list((tmp_path / "t").glob("checkpoints-*"))
