"""The configuration of the minefield: which problem, which network, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass

from srsgd_ray.knobs import check_knobs, knob

OPTIMIZERS = ("srsgd", "sgd")


@dataclass(frozen=True)
class MinefieldConfig:
    """One optimizer and learning rate, which falls after 1/2 and 3/4 of the steps."""

    optimizer: str = knob("srsgd", "optimizer: " + ", ".join(OPTIMIZERS), valid=OPTIMIZERS)
    lr: float = knob(0.1, "learning rate of the first stage", within="(0, inf)")
    restart_f1: int = knob(
        30, "SRSGD's restart frequency in its first stage", "steps", within="[1, inf)"
    )
    weight_decay: float = knob(5e-4, "L2 penalty added to the gradient", within="[0, inf)")
    data_seed: int = knob(0, "seed of the points", affects="data outcome", within="[0, inf)")
    points: int = knob(
        200, "training points of the two spirals together", affects="data outcome",
        within="[4, inf)",
    )  # fmt: skip
    noise: float = knob(
        0.06, "deviation added to each coordinate", affects="data outcome", within="[0, inf)"
    )
    width: int = knob(
        16, "units of each of the two hidden layers", affects="cost outcome", within="[1, inf)"
    )
    steps: int = knob(2000, "optimizer steps", "steps", affects="cost outcome", within="[4, inf)")
    batch_size: int = knob(20, "points a step", affects="cost outcome", within="[1, inf)")
    every: int = knob(10, "steps between two recorded points of a path", "steps", within="[1, inf)")
    runs: int = knob(
        20, "networks that a search trial trains", affects="cost outcome", within="[1, inf)"
    )

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
        check_knobs(self)
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
