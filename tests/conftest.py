"""What several tests share: rows and records made by hand, and the one Ray cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from srsgd_ray.config import TrainConfig
from srsgd_ray.study.database import Database

# Tests run in as many processes as there are cores: threads of one would wait for another's.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# Files that take long begin, Ray's first, so that two processes have done at the same time.
LONG = (
    "ray", "training", "chaos", "quadratic", "environment", "ec2", "local", "faults", "folder",
    "searches", "contract", "image_lmdb_fuzz",
    "image_studies", "image_lmdb_build", "image_lmdb_stores", "models", "trajectory", "face",
    "own_metrics", "optim_checkpoints", "resume", "quadratic_studies", "imagenet", "parts",
    "cli_lmdb",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    place = {f"test_{name}": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


def make_row(epoch: int, val_error: float | None = 10.0, **more: Any) -> dict[str, Any]:
    """One epoch's row, as the training loop reports it."""
    row: dict[str, Any] = {
        "epoch": epoch,
        "step": 18 * epoch,
        "epoch_lr": 0.1,
        "restart_period": 30.0,
        "restarts": 0,
        "train_loss": 1.0 / epoch,
        "train_error": 20.0,
        "val_loss": 0.5,
        "val_error": val_error,
        "test_loss": None,
        "test_error": None,
        "train_seconds": 0.25,
        "eval_seconds": 0.05,
        "images_per_second": 4000.0,
        "time": 1_700_000_000.0 + epoch,
    }
    return {**row, **more}


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    return make_row


def small() -> TrainConfig:
    """A run of a second on one core."""
    return TrainConfig(epochs=3, lr_milestones=(2,), width=4, batch_size=128, threads=1)


@pytest.fixture
def config() -> TrainConfig:
    return small()


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Optuna logs each study and trial that is made."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No ``optuna.db``, but in a test marked ``on_disk``: it is most of a toy study's time."""
    if request.node.get_closest_marker("on_disk") is None:
        monkeypatch.setattr(Database, "bring_up", lambda self, contents: None)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """The one Ray instance of the tests, of test_ray.py: two CPUs on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    # One process less in each group of workers: no node of this cluster is ever reclaimed.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=True, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Host and port of AWS as moto plays it, with keys for it, and the file with its requests."""
    log = tmp_path_factory.mktemp("moto") / "log.txt"
    command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "any")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            deadline = time.monotonic() + 60
            while (found := re.search(r"127\.0\.0\.1:\d+", log.read_text())) is None:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield found[0], log
    finally:
        server.kill()
        server.wait()
