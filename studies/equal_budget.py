"""SRSGD against tuned SGD, Nesterov and AdamW, each with the same number of random trials."""

import sys

from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray.search_spaces import LEARNING_RATE, RESTART_LR_AND_DECAY
from srsgd_ray.study import Arm, Study, launch

DECAY = {"weight_decay": FloatDistribution(1e-5, 1e-2, log=True)}
LR = {"lr": FloatDistribution(0.003, 1.0, log=True), **DECAY}
MOMENTUM = {"momentum": FloatDistribution(0.5, 0.99)}
ADAM_LR = {"lr": FloatDistribution(1e-4, 0.1, log=True)}
ADAM = {**ADAM_LR, "weight_decay": FloatDistribution(1e-4, 1.0, log=True)}

STUDY = Study(
    name="equal_budget",
    question="What does the best of k random trials give, optimizer by optimizer?",
    base={"dataset": "digits", "depth": 8, "batch_size": 64},
    arms=(
        Arm(
            "srsgd",
            RESTART_LR_AND_DECAY.replace(restart_f1=IntDistribution(3, 100, log=True), **LR),
            {"optimizer": "srsgd"},
        ),
        Arm("sgd", LEARNING_RATE.replace(**LR, **MOMENTUM), {"optimizer": "sgd"}),
        Arm("sgd_nesterov", LEARNING_RATE.replace(**LR, **MOMENTUM), {"optimizer": "sgd_nesterov"}),
        Arm("adamw", LEARNING_RATE.replace(**ADAM), {"optimizer": "adamw"}),
    ),
    baseline="srsgd",
    epochs=12,
    trials=24,
    searcher="random",  # so that any k of the trials are as good as any other k
    confirm_seeds=12,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
