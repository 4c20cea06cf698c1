"""Two optimizers on a small network for two spirals, a "minefield" of bad minima, as a trainable.

A search trial trains several networks with one learning rate, each with a seed of its own, and is
judged by their mean; a confirmation run trains one. The trajectory picture is drawn from there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srsgd_ray.knobs import affecting, knob, one_of
from srsgd_ray.trainable import Diverged, Metric, Run, Trainable

__all__ = ["APART", "MINEFIELD", "Minefield", "MinefieldConfig"]

APART = 1_000_000  # between the seeds of a search and those of the confirmation
OPTIMIZERS = ("srsgd", "sgd")


@dataclass(frozen=True)
class MinefieldConfig:
    """One optimizer and learning rate; see :class:`srsgd_ray.trainables.spirals.Settings`."""

    optimizer: str = knob("srsgd", "optimizer: " + ", ".join(OPTIMIZERS))
    lr: float = knob(0.1, "learning rate of the first stage")
    restart_f1: int = knob(30, "SRSGD's restart frequency in its first stage", "steps")
    weight_decay: float = knob(5e-4, "L2 penalty added to the gradient")
    data_seed: int = knob(0, "seed of the points", affects="data outcome")
    points: int = knob(200, "training points of the two spirals together", affects="data outcome")
    noise: float = knob(0.06, "deviation added to each coordinate", affects="data outcome")
    width: int = knob(16, "units of each of the two hidden layers", affects="cost outcome")
    steps: int = knob(2000, "optimizer steps", "steps", affects="cost outcome")
    batch_size: int = knob(20, "points a step", affects="cost outcome")
    every: int = knob(10, "steps between two recorded points of a path", "steps")
    runs: int = knob(20, "networks that a search trial trains", affects="cost outcome")

    def settings(self) -> Any:
        """What the problem is called by its own module."""
        from srsgd_ray.trainables.spirals import Settings

        names = ("restart_f1", "weight_decay", "points", "noise", "width", "steps", "batch_size",
                 "every")  # fmt: skip
        return Settings(seed=self.data_seed, **{name: getattr(self, name) for name in names})

    def check(self) -> MinefieldConfig:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"0 < lr < inf must hold, but got lr={self.lr}.")
        if self.runs < 1:
            raise ValueError(f"runs >= 1 must hold, but got runs={self.runs}.")
        self.settings().check()
        return self


class Minefield(Trainable):
    """Train small networks on two spirals with one optimizer and learning rate."""

    name = "minefield"
    path = "minefield"
    Config = MinefieldConfig
    budget = None
    place = "actor"
    search_metric = "val_error"
    confirm_metric = "test_error"
    tie_break = "val_loss"
    metrics = (
        Metric("train_loss", "cross entropy on the training points", "nats", "lower", "train"),
        Metric("val_loss", "cross entropy on the validation points", "nats", "lower", "validation"),
        Metric("val_error", "error on the validation points", "%", "lower", "validation"),
        Metric("test_loss", "cross entropy on the test points", "nats", "lower", "test"),
        Metric("test_error", "error on the test points", "%", "lower", "test"),
    )

    def confirmed(self, config: MinefieldConfig, seed: int, on: str) -> MinefieldConfig:
        """One network, and what it leads to."""
        same: MinefieldConfig = super().confirmed(config, seed, on)
        return dataclasses.replace(same, runs=1)

    def smoke(self, config: MinefieldConfig) -> dict[str, Any]:
        """A few steps of two networks."""
        return {"steps": 60, "every": 5, "runs": 2}

    def train(self, config: MinefieldConfig, run: Run) -> Mapping[str, Any] | None:
        """Train ``runs`` networks at once; the metrics are their means."""
        import torch

        from srsgd_ray.trainables.spirals import Spirals, scores, train

        settings = config.settings()
        names = affecting(MinefieldConfig, "data")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # so that a seed gives the same numbers everywhere
        try:
            data: Any = run.cached(_spirals, *(getattr(config, name) for name in names))
            first = run.seed if run.final else run.seed + APART
            seeds = range(first, first + config.runs)
            ends = train(config.optimizer, config.lr, seeds, data.train, settings)[-1]
            means: dict[str, float | None] = {}
            parts = {"train": data.train, "val": data.validation}
            if run.final:
                parts["test"] = data.test
            for part, points in parts.items():
                loss, error = scores(ends, points, settings)
                if not bool(loss.isfinite().all()):
                    raise Diverged(f"the {part} loss of a network is not finite at the end")
                means |= {f"{part}_loss": loss.mean().item(), f"{part}_error": error.mean().item()}
        finally:
            torch.set_num_threads(threads)
        del means["train_error"]
        if not run.final:
            means |= {"test_loss": None, "test_error": None}
        run.report(**means)
        assert isinstance(data, Spirals)
        return {"parameters": sum(settings.sizes)}


def _spirals(seed: int, points: int, noise: float) -> Any:
    from srsgd_ray.trainables.spirals import Settings, Spirals

    return Spirals.of(Settings(seed=seed, points=points, noise=noise))


MINEFIELD = Minefield()
