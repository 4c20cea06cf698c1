"""Fewer epochs at intermediate learning rates, CIFAR (Appendix Figures 4, 5)."""

import sys

from srsgd_ray.paper.studies import intermediate_reduction
from srsgd_ray.study import launch

STUDY = intermediate_reduction(("cifar10", "cifar100"), "intermediate_cifar")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
