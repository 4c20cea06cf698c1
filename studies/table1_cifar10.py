"""Table 1 of the paper: SRSGD and SGD on CIFAR-10, five depths, 200 epochs."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("table1_cifar10")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
