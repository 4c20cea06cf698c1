"""A trainable that only waits, and its study: what is left is what the engine itself costs.

With ``actor`` as its first word the Tune actors themselves wait, without a process each.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace

from optuna.distributions import FloatDistribution

from srsgd_ray.knobs import knob
from srsgd_ray.study import Arm, Study, launch
from srsgd_ray.trainable import Metric, Run, as_trainable


@dataclass(frozen=True)
class Config:
    """What decides nothing but how long it takes."""

    x: float = knob(0.5, "the value comes from it")
    y: float = knob(0.5, "so does it from this")
    seconds: float = knob(0.0, "an epoch takes", "s", affects="")
    epochs: int = knob(1, "reports", "epochs")


def _wait(config: Config, run: Run) -> None:
    for epoch in range(run.resume(), config.epochs):
        time.sleep(config.seconds)
        run.report(value=(config.x - 0.3) ** 2 + config.y / (epoch + 1))


METRICS = (Metric("value", better="lower", split="validation"),)


@as_trainable(metrics=METRICS)
def sleep(config: Config, run: Run) -> None:
    """Wait, and report a value that is as good as any."""
    _wait(config, run)


@as_trainable(metrics=METRICS, place="actor")
def rest(config: Config, run: Run) -> None:
    """The same in the Tune actor."""
    _wait(config, run)


RANGE = FloatDistribution(0.0, 1.0)
STUDY = Study(
    name="sleep", question="What does a trial cost that does nothing?", trainable=sleep,
    arms=(Arm("a", {"x": RANGE, "y": RANGE}),), baseline="a", trials=20, searcher="random",
    confirm_seeds=0,
)  # fmt: skip

if __name__ == "__main__":
    if sys.argv[1:2] == ["actor"]:
        in_actor = replace(STUDY, trainable=rest)
        command = ["python", *sys.argv[:2]]
        sys.exit(launch(in_actor, sys.argv[2:], command=command))
    sys.exit(launch(STUDY))
