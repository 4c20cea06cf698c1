"""SRSGD against SGD on scikit-learn's digits: a whole study in a few minutes on two cores.

One search an arm, so that its verdict is about two configurations. ``--searches 10`` asks whether
tuned SRSGD beats tuned SGD.
"""

import sys

from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray.search_spaces import LEARNING_RATE, RESTART_AND_LR
from srsgd_ray.study import Arm, Study, launch

LR = {"lr": FloatDistribution(0.003, 1.0, log=True)}

STUDY = Study(
    name="quickstart",
    question="Does scheduled restart (SRSGD) beat SGD with momentum on the digits, both tuned?",
    base={"dataset": "digits", "model": "preresnet", "depth": 8, "batch_size": 64},
    arms=(
        # 18 steps an epoch and 12 epochs: restarts after more than 100 steps hardly ever happen.
        Arm(
            "srsgd",
            RESTART_AND_LR.replace(restart_f1=IntDistribution(3, 100, log=True), **LR),
            {"optimizer": "srsgd"},
        ),
        Arm("sgd", LEARNING_RATE.replace(**LR), {"optimizer": "sgd"}),
    ),
    baseline="sgd",
    epochs=12,
    lr_drops=(0.5, 0.75),
    trials=12,
    confirm_seeds=8,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
