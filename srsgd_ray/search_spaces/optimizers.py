"""Ranges of the optimizers that SRSGD is compared with, beyond a learning rate alone.

The methods' authors advise where they lie: schedule-free SGD at 10 to 50 times the usual learning
rate, schedule-free AdamW at 1 to 10 times (documentation of their package schedulefree), Muon with
a second learning rate for what is no hidden matrix, SAM with a rho about 0.05 (Foret et al., arXiv
2010.01412).
"""

from optuna.distributions import FloatDistribution

from srsgd_ray.search_spaces.learning_rate import LEARNING_RATE
from srsgd_ray.search_spaces.space import SearchSpace

SCHEDULE_FREE_SGD = SearchSpace(
    name="schedule_free_sgd",
    question="Which learning rate, momentum and warm-up suit schedule-free SGD?",
    ranges={
        "lr": FloatDistribution(0.03, 10.0, log=True),
        "momentum": FloatDistribution(0.8, 0.98),
        "warmup_epochs": FloatDistribution(0.0, 1.0),
    },
    grid={
        "lr": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        "momentum": (0.9, 0.95, 0.98),
        "warmup_epochs": (0.0, 1.0),
    },
)

SCHEDULE_FREE_ADAMW = SearchSpace(
    name="schedule_free_adamw",
    question="Which learning rate, first moment decay and warm-up suit schedule-free AdamW?",
    ranges={
        "lr": FloatDistribution(3e-4, 0.1, log=True),
        "beta1": FloatDistribution(0.8, 0.98),
        "warmup_epochs": FloatDistribution(0.0, 1.0),
    },
    grid={
        "lr": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
        "beta1": (0.9, 0.95, 0.98),
        "warmup_epochs": (0.0, 1.0),
    },
)

MUON = SearchSpace(
    name="muon",
    question="Which two learning rates suit Muon and the optimizer of the rest?",
    ranges={
        "lr": FloatDistribution(1e-3, 0.3, log=True),
        "fallback_lr": FloatDistribution(1e-4, 0.03, log=True),
    },
    grid={
        "lr": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        "fallback_lr": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
    },
)

SAM = SearchSpace(
    name="sam",
    question="Which radius and learning rate suit SAM around an optimizer?",
    ranges={"sam_rho": FloatDistribution(0.01, 0.5, log=True), **LEARNING_RATE.ranges},
    grid={"sam_rho": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5), **LEARNING_RATE.grid},
)
