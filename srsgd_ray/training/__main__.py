"""``python -m srsgd_ray.training``, also under torchrun, is ``srsgd-ray train``."""

import sys

from srsgd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
