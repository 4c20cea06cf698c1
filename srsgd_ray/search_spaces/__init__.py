"""Search spaces as data: one module a question. A parameter's name is a config field's name.

In: Optuna distributions by knob, each perhaps under a condition (:class:`When`). Out: a
:class:`SearchSpace`, which checks its ends with the trainable, lists the points of its grid, and
survives JSON. An arm takes one, or the mapping alone. ``SPACES`` are those of SRSGD's questions and
of what it is compared with. Knows no trainable, no study and no sampler.
"""

from srsgd_ray.search_spaces.effective_lr import EFFECTIVE_LR_AND_PERIOD
from srsgd_ray.search_spaces.learning_rate import LEARNING_RATE
from srsgd_ray.search_spaces.optimizers import (
    MUON,
    SAM,
    SCHEDULE_FREE_ADAMW,
    SCHEDULE_FREE_SGD,
)
from srsgd_ray.search_spaces.restart_and_lr import RESTART_AND_LR, RESTART_LR_AND_DECAY
from srsgd_ray.search_spaces.space import FIXED, SearchSpace, When, as_space

SPACES: dict[str, SearchSpace] = {
    space.name: space
    for space in (
        *(LEARNING_RATE, RESTART_AND_LR, RESTART_LR_AND_DECAY, EFFECTIVE_LR_AND_PERIOD),
        *(SCHEDULE_FREE_SGD, SCHEDULE_FREE_ADAMW, MUON, SAM),
    )
}

__all__ = [
    "EFFECTIVE_LR_AND_PERIOD",
    "FIXED",
    "LEARNING_RATE",
    "MUON",
    "RESTART_AND_LR",
    "RESTART_LR_AND_DECAY",
    "SAM",
    "SCHEDULE_FREE_ADAMW",
    "SCHEDULE_FREE_SGD",
    "SPACES",
    "SearchSpace",
    "When",
    "as_space",
]
