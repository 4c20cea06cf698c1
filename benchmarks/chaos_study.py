"""The small study that `chaos.py` kills: a script as a user's is.

With ``CHAOS_TEAR=N`` in its environment it kills itself -9 when half of the N-th line that it adds
to the record is written: a kill from outside never falls into so short a moment. With
``CHAOS_EAT=FILE`` a trial takes 4 GB of memory in its second epoch, once: FILE is there then.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution

from srsgd_ray.knobs import knob
from srsgd_ray.results import Record
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study, launch
from srsgd_ray.trainable import Metric, Run, as_trainable

TEAR, EAT = "CHAOS_TEAR", "CHAOS_EAT"


@dataclass(frozen=True)
class Config:
    """A walk that goes where its random numbers lead."""

    x: float = knob(0.5, "size of a step")
    wait: float = knob(0.1, "seconds an epoch", affects="cost")
    load: int = knob(30_000, "numbers in a checkpoint", affects="cost")
    epochs: int = knob(4, "reports", "epochs")


class Walk:
    """A place that depends on every step so far, and a load, so that storing it takes a while."""

    def __init__(self, load: int) -> None:
        import torch

        self.at, self.load = 0.0, [torch.arange(load) for _ in range(10)]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        vars(self).update(state)


@as_trainable(metrics=(Metric("far", better="higher", split="validation"),
                       Metric("test_far", better="higher", split="test")))  # fmt: skip
def walk(config: Config, run: Run) -> None:
    """Walk on; the generator's state is in the checkpoint, as an image study's is."""
    place = Walk(config.load)
    for epoch in range(run.resume(place=place), config.epochs):
        if epoch:
            run.checkpoint()  # of epochs that are so short, only the first is offered one
        time.sleep(config.wait)
        if epoch and EAT in os.environ and not Path(os.environ[EAT]).exists():
            Path(os.environ[EAT]).touch()
            held = b"x" * 4_000_000_000
            time.sleep(60)
            del held
        place.at += config.x * random.random()
        final = place.at if run.final and epoch + 1 == config.epochs else None
        run.report(far=place.at, test_far=final)


STEPS = SearchSpace("x", "?", {"x": FloatDistribution(0.1, 1.0)}, {"x": (0.2, 0.5, 0.9)})
STUDY = Study(
    name="chaos", question="Does a study survive this?", trainable=walk, baseline="b", trials=2,
    arms=(Arm("a", STEPS), Arm("b", STEPS)), confirm_seeds=1,
)  # fmt: skip


class Torn:
    """The file of a record whose writer dies in the middle of a line."""

    def __init__(self, file: Any, lines: int) -> None:
        self._file, self._left = file, lines

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        """Write a line; of the last one the first half."""
        self._left -= 1
        if self._left:
            return int(self._file.write(data))
        self._file.write(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a dead process goes on")


def main(words: list[str]) -> int:
    """Run the study, or resume it; the exit status."""
    if lines := int(os.environ.get(TEAR, 0)):
        made: Any = Record.__init__

        def torn(self: Record, folder: Any, contents: Any, file: Any, more: Any) -> None:
            made(self, folder, contents, Torn(file, lines), more)

        setattr(Record, "__init__", torn)  # noqa: B010
    return int(launch(STUDY, words, command=["python", __file__]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
