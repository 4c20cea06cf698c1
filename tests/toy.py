"""A trainable of a few microseconds that the tests' studies run, with every way to go wrong."""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srsgd_ray.knobs import knob
from srsgd_ray.trainable import Diverged, Metric, Run, Trainable, as_trainable

METRICS = (
    Metric("score", "how good it is", better="higher", split="validation"),
    Metric("cost", "what it takes", "s", "lower"),
    Metric("test_score", "how good it really is", better="higher", split="test"),
)


@dataclass(frozen=True)
class ToyConfig:
    """What the toy does."""

    x: float = knob(0.5, "its score is higher the nearer this is to 1")
    slope: float = knob(1.0, "how much better it gets an epoch", before=0.25)
    kind: str = knob("plain", "a name that conditions may ask for")
    sizes: tuple[int, ...] = knob((1, 2), "a tuple, searched item by item")
    options: dict[str, Any] = knob({}, "options, searched one by one")
    wrong: str = knob("", "what goes wrong")
    wait: float = knob(0.0, "seconds an epoch takes", affects="")
    epochs: int = knob(3, "reports", "epochs")


class Count:
    """Something with a state."""

    def __init__(self) -> None:
        self.value = 0

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.value = state["value"]


@as_trainable(metrics=METRICS, place="actor")
def toy(config: ToyConfig, run: Run) -> None:
    """Report a score that grows with the epochs."""
    if config.wrong == "value":
        raise ValueError("x must be small, but is not")
    if config.wrong == "type":
        len(3)  # type: ignore[arg-type]
    if config.wrong == "exit":
        sys.exit("no more")
    count = Count()
    for epoch in range(run.resume(count=count), config.epochs):
        time.sleep(config.wait)
        count.value += 1
        if config.wrong == "machine":
            raise RuntimeError("the machine gave up")
        if config.wrong.startswith("once:") and epoch == 1:
            marker = Path(config.wrong.removeprefix("once:"))
            if not marker.exists():
                marker.touch()
                raise RuntimeError("a moment's trouble")
        if config.wrong.startswith("kill:") and epoch == 1:
            marker = Path(config.wrong.removeprefix("kill:"))
            if not marker.exists():
                marker.touch()
                os._exit(0)  # as if all were well
        if config.wrong == "diverge" and epoch == 1:
            raise Diverged("it exploded", step=17)
        score = 10 - (config.x - 1) ** 2 + config.slope * count.value + 1e-3 * run.seed
        if config.wrong == "nan":
            score = float("nan")
        last = run.final and epoch + 1 == config.epochs
        run.report(score=score, cost=config.x, test_score=score if last else None)
    if config.wrong == "short":
        return


@as_trainable(metrics=(*METRICS, Metric("never", better="lower")), place="actor")
def silent(config: ToyConfig, run: Run) -> None:
    """Declare a metric that is never reported."""
    for _ in range(run.resume(), config.epochs):
        run.report(score=1.0, cost=1.0)


@as_trainable(metrics=METRICS, place="actor")
def undeclared(config: ToyConfig, run: Run) -> None:
    """Report a metric that was not declared."""
    run.report(score=1.0, scroe=2.0)


@as_trainable(metrics=METRICS, place="actor")
def short(config: ToyConfig, run: Run) -> None:
    """Report too few epochs."""
    run.report(score=1.0, cost=1.0)


@as_trainable(metrics=METRICS, place="actor")
def peeking(config: ToyConfig, run: Run) -> None:
    """Look at the test split in a search."""
    for _ in range(config.epochs):
        run.report(score=1.0, cost=1.0, test_score=1.0)


@as_trainable(metrics=METRICS, place="actor")
def gappy(config: ToyConfig, run: Run) -> None:
    """Report no cost, or a cost that is no number, at the end."""
    last = {"None": None, "nan": float("nan")}[config.wrong]
    for epoch in range(run.resume(), config.epochs):
        final = run.final and epoch + 1 == config.epochs
        cost = last if epoch + 1 == config.epochs else 1.0
        run.report(score=1.0, cost=cost, test_score=1.0 if final else None)


class Once(Trainable):
    """A class that reports once, and has a curve."""

    name = "once"
    Config = ToyConfig
    metrics = METRICS
    budget = None
    search_metric = "score"
    confirm_metric = "test_score"
    place = "actor"

    def train(self, config: Any, run: Run) -> dict[str, Any]:
        """One report."""
        if run.final:
            run.artifact("curve", step=[0, 1, 2], value=[0.0, config.x, 1.0])
        run.parameters = 3 if run.final else None  # else its return value says so
        value = 1 - config.x + 0.01 * run.seed
        run.report(score=value, cost=config.x, test_score=value if run.final else None)
        return {"parameters": 3}


@dataclass(frozen=True)
class LuckyConfig(ToyConfig):
    """What a seed's luck is worth besides."""

    luck: float = knob(0.0, "size of a luck that is equal for nobody")


@as_trainable(metrics=METRICS, place="actor")
def lucky(config: LuckyConfig, run: Run) -> None:
    """Report a score that has a luck of its own for each seed and each x."""
    luck = random.Random(f"{run.seed} {config.x}").gauss(0.0, config.luck)
    for epoch in range(run.resume(), config.epochs):
        score = luck - (config.x - 1) ** 2
        last = run.final and epoch + 1 == config.epochs
        run.report(score=score, cost=config.x, test_score=score if last else None)
