"""The F1 ablation on CIFAR-10 (Figure 6): PreResNet-290."""

import sys

from srsgd_ray.paper.studies import f1_ablation
from srsgd_ray.study import launch

STUDY = f1_ablation("cifar10", "f1_cifar10")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
