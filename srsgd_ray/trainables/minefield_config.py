"""The configuration of the minefield: which problem, which network, and how it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from srsgd_ray.knobs import knob, one_of

__all__ = ["OPTIMIZERS", "MinefieldConfig"]

OPTIMIZERS = ("srsgd", "sgd")
LEAST = {"data_seed": 0, "points": 4, "width": 1, "steps": 4, "batch_size": 1, "every": 1,
         "restart_f1": 1, "runs": 1}  # fmt: skip


@dataclass(frozen=True)
class MinefieldConfig:
    """One optimizer and learning rate, which falls after 1/2 and 3/4 of the steps."""

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

    @property
    def milestones(self) -> tuple[int, int]:
        """Steps before which the learning rate falls."""
        return self.steps // 2, self.steps * 3 // 4

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of weights and biases of each layer."""
        w = self.width
        return 2 * w, w, w * w, w, w, 1

    def check(self) -> MinefieldConfig:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"0 < lr < inf must hold, but got lr={self.lr}.")
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise ValueError(f"{name} >= {least} must hold, but got {name}={value}.")
        for name in ("noise", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                value = getattr(self, name)
                raise ValueError(f"0 <= {name} < inf must hold, but got {name}={value}.")
        if self.batch_size > self.points:
            raise ValueError(
                f"batch_size <= points must hold, but got batch_size={self.batch_size} for "
                f"points={self.points}."
            )
        if self.steps % self.every:
            raise ValueError(
                f"every must divide steps, but got every={self.every} for steps={self.steps}."
            )
        return self
