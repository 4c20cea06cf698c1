"""Paths of SRSGD and SGD over the loss of a small network (Appendix Figure 7), in a minute."""

import sys

from srsgd_ray.problems.trajectory_run import launch_trajectory

if __name__ == "__main__":
    sys.exit(launch_trajectory())
