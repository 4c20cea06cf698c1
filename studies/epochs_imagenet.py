"""Epoch reduction on ImageNet (Figure 5 right)."""

import sys

from srsgd_ray.study import launch, paper

STUDY = paper.epoch_reduction(("imagenet",), "epochs_imagenet")

if __name__ == "__main__":
    sys.exit(launch(STUDY))
