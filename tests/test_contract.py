"""The contract of trainables: kept by those of this package, and caught where it is broken."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import toy

from srsgd_ray.testing import TrainableContract, check_trainable
from srsgd_ray.trainable import Metric, Run, as_trainable

SCORE = Metric("score", "how good it is", better="higher", split="validation")
TEST = Metric("test_score", "how good it really is", better="higher", split="test")


class TestToy(TrainableContract):
    trainable = toy.toy


class TestQuadraticOfASchedule(TrainableContract):
    trainable = "quadratic"
    knobs: ClassVar[dict[str, Any]] = {"case": "decaying", "method": "SRNAG", "keep_curve": True}


class TestQuadraticOfAnExpectation(TrainableContract):
    trainable = "quadratic"
    knobs: ClassVar[dict[str, Any]] = {
        "case": "constant",
        "method": "GD + Momentum",
        "expected": True,
    }


class TestMinefield(TrainableContract):
    trainable = "minefield"
    knobs: ClassVar[dict[str, Any]] = {"points": 40, "width": 5, "batch_size": 8}


class TestImage(TrainableContract):
    trainable = "image"
    knobs: ClassVar[dict[str, Any]] = {
        "dataset": "digits",
        "width": 4,
        "batch_size": 128,
        "threads": 1,
    }


# What is broken must be caught, each by its own test.


class Unlike(toy.ToyConfig):
    """A configuration that equals nothing, so that no JSON gives it back."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]


@as_trainable(metrics=SCORE, place="actor", config=Unlike)
def forgetful(config: Any, run: Run) -> None:
    """Sound but for its configuration."""
    for _ in range(run.resume(), config.epochs):
        run.report(score=1.0)


@as_trainable(metrics=(SCORE, Metric("loss", better="lower")), place="actor")
def infinite(config: toy.ToyConfig, run: Run) -> None:
    """A metric that nobody judges by is not a number."""
    for _ in range(run.resume(), config.epochs):
        run.report(score=1.0, loss=float("inf"))


@as_trainable(metrics=(SCORE, TEST), place="actor")
def untested(config: toy.ToyConfig, run: Run) -> None:
    """A confirmation run does not tell what arms are compared by."""
    for _ in range(run.resume(), config.epochs):
        run.report(score=1.0, test_score=None)


@as_trainable(metrics=SCORE, place="actor")
def unseeded(config: toy.ToyConfig, run: Run) -> None:
    """Its random numbers do not come from the seed."""
    draw = random.SystemRandom()
    for _ in range(run.resume(), config.epochs):
        run.report(score=draw.random())


@as_trainable(metrics=SCORE, place="actor")
def stateless(config: toy.ToyConfig, run: Run) -> None:
    """Its state is not in its checkpoint."""
    for count, _ in enumerate(range(run.resume(), config.epochs)):
        run.report(score=count + 1)


@as_trainable(metrics=SCORE, place="actor")
def leaving(config: toy.ToyConfig, run: Run) -> None:
    """A thread outlives the trial."""
    threading.Thread(target=time.sleep, args=(3.0,), name="straggler", daemon=True).start()
    for _ in range(run.resume(), config.epochs):
        run.report(score=1.0)


@as_trainable(metrics=SCORE)
def quarrelling(config: toy.ToyConfig, run: Run) -> None:
    """Each worker has a result of its own."""
    for _ in range(run.resume(), config.epochs):
        run.report(score=float(run.rank))


BROKEN: dict[str, tuple[Any, str]] = {
    "the configuration survives json": (forgetful, "came back as"),
    "reported metrics are declared and finite": (infinite, "loss is inf in epoch 1"),
    "a confirmation run reports the confirm metric": (
        untested,
        "test_score is missing in the last",
    ),
    "equal seeds give equal reports": (unseeded, "but in epoch 1 score is"),
    "a cut run resumes to equal rows": (stateless, "but in epoch 2 score is 1.0 and 2.0"),
    "a stop leaves no work behind": (leaving, "the thread straggler outlives the trial"),
    "workers agree": (quarrelling, "workers must agree, but in epoch 1 score is 0.0 and 1.0"),
}
MORE = {"unseeded": {"a cut run resumes to equal rows"}}  # what such a fault breaks besides


def test_every_test_of_the_contract_has_a_fault_here() -> None:
    tests = [name for name in dir(TrainableContract) if name.startswith("test_")]
    assert set(BROKEN) == {name.removeprefix("test_").replace("_", " ") for name in tests}


@pytest.mark.parametrize("test", BROKEN)
def test_a_fault_is_caught(test: str) -> None:
    work, message = BROKEN[test]
    said: list[str] = []
    failures = check_trainable(work, {}, said.append)
    broken = {line.removeprefix("BROKEN  ").partition(": ")[0]: line for line in said
              if line.startswith("BROKEN")}  # fmt: skip
    assert set(broken) == {test} | MORE.get(work.name, set())
    assert failures == len(broken)
    assert message in broken[test]
    assert len(said) == len(BROKEN)


def test_a_trainable_that_goes_on_after_a_stop_is_caught() -> None:
    """Whoever swallows the stop is found, too."""
    said: list[str] = []
    check_trainable(deaf, {}, said.append)
    (line,) = [line for line in said if line.startswith("BROKEN")]
    assert line.startswith("BROKEN  a stop leaves no work behind: it was stopped, but ended as")


@as_trainable(metrics=SCORE, place="actor")
def deaf(config: toy.ToyConfig, run: Run) -> None:
    """It takes the stop for an error, and goes on."""
    for _ in range(run.resume(), config.epochs):
        try:
            run.report(score=1.0)
        except BaseException as error:
            if type(error).__name__ != "StopTraining":
                raise


def test_what_is_kept_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    assert check_trainable(toy.toy, {"x": 0.25}, said.append) == 0
    assert [line.partition(" ")[0] for line in said] == ["kept"] * len(BROKEN)
