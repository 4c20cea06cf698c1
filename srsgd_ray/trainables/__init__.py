"""What Ray Tune calls: trials that run on warm groups of Ray Train workers."""

from srsgd_ray.trainables.capacity import CapacityError, Plan, check_counts, plan_slots
from srsgd_ray.trainables.warm import (
    ACTOR_SHARE,
    SlotOptions,
    TrialError,
    WarmTrainable,
    trial_config,
)

__all__ = [
    "ACTOR_SHARE",
    "CapacityError",
    "Plan",
    "SlotOptions",
    "TrialError",
    "WarmTrainable",
    "check_counts",
    "plan_slots",
    "trial_config",
]
