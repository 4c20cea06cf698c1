"""The F1 ablation on ImageNet (Appendix Figure 3): ResNet-101."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("f1_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
