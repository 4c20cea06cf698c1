"""Table 5 of the paper: SRSGD on ImageNet in 60 to 80 epochs."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("table5_short_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
