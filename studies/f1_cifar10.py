"""The F1 ablation on CIFAR-10 (Figure 6): PreResNet-290."""

import sys

from srsgd_ray.study import launch, paper

STUDY = paper.f1_ablation("cifar10", "f1_cifar10")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
