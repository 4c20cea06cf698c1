"""Fewer epochs at the intermediate learning rate, ImageNet (Appendix Figure 6)."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("intermediate_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
