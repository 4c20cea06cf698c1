"""Table 5 of the paper: SRSGD on ImageNet in 60 to 80 epochs."""

import sys

from srsgd_ray.paper.studies import short_imagenet
from srsgd_ray.study import launch

STUDY = short_imagenet("table5_short_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
