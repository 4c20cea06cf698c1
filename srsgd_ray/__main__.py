"""``python -m srsgd_ray`` is ``srsgd-ray``."""

import sys

from srsgd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
