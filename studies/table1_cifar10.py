"""Table 1 of the paper: SRSGD and SGD on CIFAR-10, five depths, 200 epochs."""

import sys

from srsgd_ray.paper.studies import table_cifar
from srsgd_ray.study import launch

STUDY = table_cifar("cifar10", "table1_cifar10")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
