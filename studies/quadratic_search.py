"""Beyond the paper: which restart schedule is best on the quadratic, and was the published one?"""

import sys

from srsgd_ray.study.quadratic import launch_quadratic_search

if __name__ == "__main__":
    sys.exit(launch_quadratic_search())
