"""Epoch reduction on CIFAR (Figure 5 left, Appendix Figure 1)."""

import sys

from srsgd_ray.paper.studies import epoch_reduction
from srsgd_ray.study import launch

STUDY = epoch_reduction(("cifar10", "cifar100"), "epochs_cifar")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
