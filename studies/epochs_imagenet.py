"""Epoch reduction on ImageNet (Figure 5 right)."""

import sys

from srsgd_ray.paper.studies import epoch_reduction
from srsgd_ray.study import launch

STUDY = epoch_reduction(("imagenet",), "epochs_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
