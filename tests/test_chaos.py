"""Ten kills -9 of a study's driver; `benchmarks/chaos.py` has more victims, and Ray's."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import chaos_campaign as chaos
import chaos_cases
import chaos_faults as faults
import chaos_study

FORKING = multiprocessing.get_context("forkserver")


class Driver(psutil.Process):
    """A driver that was forked and not started: it has imported all, which takes the most time."""

    def __init__(self, forked: BaseProcess) -> None:
        super().__init__(forked.pid)
        self._forked = forked

    def poll(self) -> int | None:
        """Its exit status; None while it lives."""
        return self._forked.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for it; its exit status."""
        self._forked.join(timeout)
        return self._forked.exitcode


def drive(words: list[str], tear: int, out: Path) -> None:
    with out.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ[chaos.TEAR] = str(tear)
    replace = Path.replace

    def slow(path: Path, target: Path) -> Path:
        """As on a slow disk: so that who watches for half-written files sees each."""
        time.sleep(0.02)
        return replace(path, target)

    Path.replace = slow  # type: ignore[method-assign, assignment]
    sys.exit(chaos_study.main(words))


class Forking(chaos.Campaign):
    """A campaign on drivers that are forked."""

    def start(self, name: str, setting: str, *more: str, tear: int = 0) -> Any:
        """A driver."""
        (self.folder / "tmp").mkdir(exist_ok=True)
        words = [*self.words(name, setting), "--set", "wait=0", "load=3000", *more]
        out = self.folder / f"{name}.out"
        forked = FORKING.Process(target=drive, args=(words, tear, out))
        forked.start()
        return Driver(forked)


@pytest.fixture(scope="module")
def campaign() -> Iterator[Forking]:
    FORKING.set_forkserver_preload(["test_chaos", "torch", "optuna.storages", "pyarrow.parquet"])
    places = os.pathsep.join(sys.path)  # Python 3.11 does not give them to what is preloaded
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # syncing takes no time there
    with faults.environment({"PYTHONPATH": places}), TemporaryDirectory(dir=memory) as folder:
        yield Forking(Path(folder), {"local": chaos_cases.SETTINGS["local"]})


@pytest.mark.parametrize(
    "kinds",
    [
        ("driver",),
        ("driver", "driver", "driver"),
        (chaos.CHECKPOINT, chaos.CHECKPOINT),
        (chaos.LINE, chaos.TABLE),
        (chaos.LINE, chaos.CHECKPOINT),
    ],
    ids=", then ".join,
)
def test_a_killed_driver_loses_nothing_and_leaves_nothing(
    campaign: Forking, kinds: tuple[str, ...]
) -> None:
    for again in range(4):
        name = f"{'-'.join(kinds)}-{again}".replace(" ", "-")
        done = campaign.attack(name, ("local", *kinds), random.Random(again))
        if "missed" not in done:
            break
    found = {key: done.get(key) for key in ("lost", "doubled", "wrong", "left", "stuck")}
    assert found == {"lost": 0, "doubled": 0, "wrong": [], "left": [], "stuck": None}
