"""What several tests share: rows and records made by hand, and the one Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from srsgd_ray.config import TrainConfig

# Tests run in as many processes as there are cores: threads of one would wait for another's.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what takes long beside other tests: Ray, and what waits for the registry."""
    long = ("test_ray.py", "test_every_install_resolves")
    items.sort(key=lambda item: not any(name in item.nodeid for name in long))


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


@pytest.fixture
def config() -> TrainConfig:
    """A run of a few seconds on one core."""
    return TrainConfig(epochs=3, lr_milestones=(2,), width=4, batch_size=128, threads=1)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """The one Ray instance of the whole test session: two CPUs on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=True, log_to_driver=False)
    yield
    ray.shutdown()
