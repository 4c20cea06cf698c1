"""Which restart schedule and learning rate suit SRSGD?

The ranges cover the published ablation (F1 from 1 to 300) but for F1 = 1, which is SGD without
momentum, and both published schedules (growth 1.25 to 2).
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from srsgd_ray.search_spaces.learning_rate import LEARNING_RATE
from srsgd_ray.search_spaces.space import SearchSpace

RESTART_AND_LR = SearchSpace(
    name="restart_and_lr",
    question="Which restart frequency, growth and learning rate give the lowest validation error?",
    ranges={
        "restart_f1": IntDistribution(3, 300, log=True),
        "restart_growth": FloatDistribution(1.0, 3.0),
        "restart_kind": CategoricalDistribution(("linear", "exponential")),
        **LEARNING_RATE.ranges,
    },
    grid={
        "restart_f1": (5, 20, 40, 80),
        "restart_growth": (1.25, 2.0),
        "restart_kind": ("linear", "exponential"),
        "lr": (0.01, 0.03, 0.1, 0.3),
    },
)

RESTART_LR_AND_DECAY = SearchSpace(
    name="restart_lr_and_decay",
    question="Does the best weight decay change with the restart schedule?",
    ranges={**RESTART_AND_LR.ranges, "weight_decay": FloatDistribution(1e-5, 1e-2, log=True)},
    grid={**RESTART_AND_LR.grid, "weight_decay": (1e-4, 5e-4, 2e-3)},
)
