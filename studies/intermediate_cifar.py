"""Fewer epochs at intermediate learning rates, CIFAR (Appendix Figures 4, 5)."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("intermediate_cifar")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
