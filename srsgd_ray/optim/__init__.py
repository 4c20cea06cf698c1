"""SRSGD and the optimizers that it is compared with. Needs torch only."""

from srsgd_ray.optim.baselines import build_optimizer
from srsgd_ray.optim.learning_rate import build_lr_schedule
from srsgd_ray.optim.srsgd import SRSGD

__all__ = ["SRSGD", "build_lr_schedule", "build_optimizer"]
