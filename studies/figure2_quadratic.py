"""Figure 2 of the paper: five methods on a quadratic, three kinds of gradient; some 100 s."""

import sys

from srsgd_ray.problems.quadratic_report import show_agreement
from srsgd_ray.study import launch
from srsgd_ray.study.quadratic import figure2

STUDY = figure2("figure2_quadratic")

if __name__ == "__main__":
    sys.exit(launch(STUDY, finish=show_agreement))
