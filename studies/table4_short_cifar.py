"""Table 4 of the paper: SRSGD on CIFAR in 100 epochs."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("table4_short_cifar")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
