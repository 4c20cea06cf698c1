"""Which period P is best, if the effective learning rate is searched apart from it?"""

import sys

from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray.search_spaces import EFFECTIVE_LR_AND_PERIOD, LEARNING_RATE
from srsgd_ray.study import Arm, Study, launch

STUDY = Study(
    name="effective_lr_search",
    question="Which effective learning rate and period P suit SRSGD, against SGD's best?",
    base={"dataset": "digits", "depth": 8, "batch_size": 64},
    arms=(
        # 18 steps an epoch: a longer period than 100 hardly ever ends.
        Arm(
            "srsgd",
            EFFECTIVE_LR_AND_PERIOD.replace(restart_f1=IntDistribution(1, 100, log=True)),
            {"optimizer": "srsgd"},
        ),
        Arm(
            "sgd",
            LEARNING_RATE.replace(lr=FloatDistribution(0.001, 1.0, log=True)),
            {"optimizer": "sgd"},
        ),
    ),
    baseline="sgd",
    epochs=12,
    trials=32,
    confirm_seeds=16,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
