"""Table 3 of the paper: SRSGD and SGD on ImageNet, four depths, 90 epochs."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("table3_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
