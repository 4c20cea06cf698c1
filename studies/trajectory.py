"""Paths of SRSGD and SGD over the loss of a small network (Appendix Figure 7), in a minute."""

import sys

from optuna.distributions import FloatDistribution

from srsgd_ray.paper.trajectory import draw_picture
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study, launch

LRS = SearchSpace(
    name="lr",
    question="Which of seven learning rates gives the lowest validation error?",
    ranges={"lr": FloatDistribution(0.025, 1.6, log=True)},
    grid={"lr": (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)},
)

STUDY = Study(
    name="trajectory",
    question="Where do SRSGD and SGD go from one start, and what do they lead to?",
    trainable="minefield",
    arms=tuple(Arm(name, LRS, {"optimizer": name}) for name in ("srsgd", "sgd")),
    baseline="sgd",
    trials=7,
    searcher="grid",
    confirm_seeds=20,
    confirm_seed=0,
)

if __name__ == "__main__":
    sys.exit(launch(STUDY, finish=draw_picture))
