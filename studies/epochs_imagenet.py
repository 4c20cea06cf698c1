"""Epoch reduction on ImageNet (Figure 5 right)."""

import sys

from srsgd_ray.paper.studies import paper_study
from srsgd_ray.study import launch

STUDY = paper_study("epochs_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
