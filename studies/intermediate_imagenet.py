"""Fewer epochs at the intermediate learning rate, ImageNet (Appendix Figure 6)."""

import sys

from srsgd_ray.paper.studies import intermediate_reduction
from srsgd_ray.study import launch

STUDY = intermediate_reduction(("imagenet",), "intermediate_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
