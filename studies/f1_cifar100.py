"""The F1 ablation on CIFAR-100 (Appendix Figure 2): PreResNet-290."""

import sys

from srsgd_ray.study import launch, paper

STUDY = paper.f1_ablation("cifar100", "f1_cifar100")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
