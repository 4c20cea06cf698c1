"""Table 2 of the paper: SRSGD and SGD on CIFAR-100, five depths, 200 epochs."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("table2_cifar100")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
