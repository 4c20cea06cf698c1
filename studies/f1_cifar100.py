"""The F1 ablation on CIFAR-100 (Appendix Figure 2): PreResNet-290."""

import sys

from srsgd_ray.paper.studies import f1_ablation
from srsgd_ray.study import launch

STUDY = f1_ablation("cifar100", "f1_cifar100")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
