"""The F1 ablation on CIFAR-10 (Figure 6): PreResNet-290."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("f1_cifar10")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
