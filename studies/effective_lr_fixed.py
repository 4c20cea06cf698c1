"""Does the restart period P matter, once the effective learning rate is held fixed?"""

import sys

from srsgd_ray.study import Arm, Study, launch

PERIODS = (1, 3, 10, 30, 100)
EFFECTIVE = 0.9  # SGD with momentum 0.9 at lr = 0.09, near the best of studies/quickstart.py
SRSGD = {"optimizer": "srsgd", "restart_kind": "constant"}

STUDY = Study(
    name="effective_lr_fixed",
    question="At a fixed effective learning rate, and at a fixed learning rate, does P matter?",
    base={"dataset": "digits", "depth": 8, "batch_size": 64},
    arms=(
        Arm("sgd", fixed={"optimizer": "sgd", "effective_lr": EFFECTIVE}),
        *(
            Arm(
                f"effective_p{period}",
                fixed={**SRSGD, "restart_f1": period, "effective_lr": EFFECTIVE},
            )
            for period in PERIODS
        ),
        *(
            Arm(f"plain_p{period}", fixed={**SRSGD, "restart_f1": period, "lr": 0.09})
            for period in PERIODS
        ),
    ),
    baseline="sgd",
    epochs=12,
    trials=0,
    confirm_seeds=16,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY))
