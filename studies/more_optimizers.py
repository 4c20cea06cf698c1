"""SRSGD and what else is around, against SGD on the digits; pip install 'srsgd-ray[optimizers]'."""

import sys

from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray.search_spaces import (
    LEARNING_RATE,
    MUON,
    RESTART_AND_LR,
    SAM,
    SCHEDULE_FREE_ADAMW,
    SCHEDULE_FREE_SGD,
)
from srsgd_ray.study import Arm, Study, launch

LR = {"lr": FloatDistribution(0.003, 1.0, log=True)}
ADAM_LR = LEARNING_RATE.replace(lr=FloatDistribution(3e-4, 0.1, log=True))

STUDY = Study(
    name="more_optimizers",
    question="Which of the newer optimizers beats SGD with momentum on the digits, all tuned?",
    base={"dataset": "digits", "model": "preresnet", "depth": 8, "batch_size": 64},
    arms=(
        Arm("sgd", LEARNING_RATE.replace(**LR), {"optimizer": "sgd"}),
        Arm("adamw", ADAM_LR, {"optimizer": "adamw"}),
        # 18 steps an epoch and 12 epochs: restarts after more than 100 steps hardly ever happen.
        Arm(
            "srsgd",
            RESTART_AND_LR.replace(restart_f1=IntDistribution(3, 100, log=True), **LR),
            {"optimizer": "srsgd"},
        ),
        Arm("adaptive_restart", LEARNING_RATE.replace(**LR), {"optimizer": "adaptive_restart"}),
        Arm("schedule_free_sgd", SCHEDULE_FREE_SGD, {"optimizer": "schedule_free_sgd"}),
        Arm("schedule_free_adamw", SCHEDULE_FREE_ADAMW, {"optimizer": "schedule_free_adamw"}),
        Arm("muon", MUON, {"optimizer": "muon"}),
        Arm("sam_sgd", SAM.replace(**LR), {"optimizer": "sgd"}),  # each epoch costs two
    ),
    baseline="sgd",
    epochs=12,
    trials=12,
    confirm_seeds=8,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
