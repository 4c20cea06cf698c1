"""Epoch reduction on CIFAR (Figure 5 left, Appendix Figure 1)."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("epochs_cifar")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
