"""``python -m srsgd_ray.figures`` is ``srsgd-ray figures``."""

import sys

from srsgd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["figures", *sys.argv[1:]]))
