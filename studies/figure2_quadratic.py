"""Figure 2 of the paper again: the quadratic, 15 curves, in a minute on two cores."""

import sys

from srsgd_ray.study.quadratic import launch_quadratic

if __name__ == "__main__":
    sys.exit(launch_quadratic())
