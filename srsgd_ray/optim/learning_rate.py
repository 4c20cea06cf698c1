"""What sets the learning rate of an optimizer while a network is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from srsgd_ray.config import TrainConfig


class EpochRate(MultiStepLR):
    """The learning rate times ``lr_gamma`` at each milestone; ``step()`` it once an epoch."""

    def before(self, step: int) -> None:
        """Nothing: it changes between epochs only."""


class StepRate:
    """A learning rate that is a function of the step alone; ``before`` each step it is set.

    Each group has the learning rate that it began with, times the factor. Nothing is remembered, so
    that a run that resumes at any step has the same.

    Args:
        optimizer: whose groups' ``lr`` is set.
        factor: of the learning rate at a 0-based step.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
        self._optimizer, self._factor = optimizer, factor
        self._full = [float(group["lr"]) for group in optimizer.param_groups]
        self.before(0)

    def before(self, step: int) -> None:
        """Set the learning rate that step ``step`` is to have."""
        factor = self._factor(step)
        for group, full in zip(self._optimizer.param_groups, self._full, strict=True):
            group["lr"] = full * factor

    def step(self) -> None:
        """Nothing: an epoch's end is no event."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to load."""


def build_lr_schedule(
    optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int
) -> EpochRate | StepRate:
    """The learning-rate schedule of ``config``: call ``before`` each step, ``step`` each epoch."""
    if config.lr_schedule == "steps" and config.warmup_steps(steps_per_epoch) == 0:
        return EpochRate(optimizer, list(config.lr_milestones), gamma=config.lr_gamma)
    return StepRate(optimizer, config.lr_factor(steps_per_epoch))
