"""SRSGD and the optimizers that it is compared with. Needs torch only.

In come parameters and numbers, or parameters and a :class:`~srsgd_ray.config.TrainConfig`; out
comes a ``torch.optim.Optimizer``, with what sets its learning rate. ``srsgd`` is the optimizer's
face: its options, groups, state and counters. ``_update`` has the formulas: the numbers of a step
as a pure function, and one function that applies them to tensors. ``_buckets`` sorts parameters
by what one call can update, ``_plans`` keeps that while nothing changes from outside, and
``_options`` checks a group's options. ``capturable`` is its step for a CUDA graph. ``baselines``
makes the optimizer that a configuration names, built in or the user's own, ``together`` joins two
that share a network, and ``learning_rate`` makes the schedule.
"""

from srsgd_ray.optim.baselines import build_optimizer
from srsgd_ray.optim.capturable import CapturableStep
from srsgd_ray.optim.learning_rate import build_lr_schedule
from srsgd_ray.optim.srsgd import SRSGD

__all__ = ["SRSGD", "CapturableStep", "build_lr_schedule", "build_optimizer"]
