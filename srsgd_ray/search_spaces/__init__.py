"""Search spaces as data: one module a question. A parameter's name is a config field's name."""

from srsgd_ray.search_spaces.learning_rate import LEARNING_RATE
from srsgd_ray.search_spaces.restart_and_lr import RESTART_AND_LR, RESTART_LR_AND_DECAY
from srsgd_ray.search_spaces.space import SearchSpace

SPACES: dict[str, SearchSpace] = {
    space.name: space for space in (LEARNING_RATE, RESTART_AND_LR, RESTART_LR_AND_DECAY)
}

__all__ = [
    "LEARNING_RATE",
    "RESTART_AND_LR",
    "RESTART_LR_AND_DECAY",
    "SPACES",
    "SearchSpace",
]
