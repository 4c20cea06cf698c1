"""Error against epochs, as two aims: the Pareto fronts, and the epochs that SRSGD saves."""

import sys

from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray.search_spaces import LEARNING_RATE, RESTART_AND_LR
from srsgd_ray.study import Arm, Study, launch

BOTH = {"lr": FloatDistribution(0.003, 1.0, log=True), "epochs": IntDistribution(2, 16)}

STUDY = Study(
    name="error_against_epochs",
    question="How many epochs does SRSGD save at the error that SGD reaches?",
    base={"dataset": "digits", "depth": 8, "batch_size": 64},
    arms=(
        Arm(
            "srsgd",
            RESTART_AND_LR.replace(restart_f1=IntDistribution(3, 100, log=True), **BOTH),
            {"optimizer": "srsgd"},
        ),
        Arm("sgd", LEARNING_RATE.replace(**BOTH), {"optimizer": "sgd"}),
    ),
    baseline="sgd",
    epochs=16,
    trials=32,
    confirm_seeds=12,
    pareto=True,
    confirm_points=4,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
