"""Table 4 of the paper: SRSGD on CIFAR in 100 epochs."""

import sys

from srsgd_ray.paper.studies import short_cifar
from srsgd_ray.study import launch

STUDY = short_cifar("table4_short_cifar")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
