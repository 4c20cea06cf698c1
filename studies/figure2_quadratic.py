"""Figure 2 of the paper: five methods on a quadratic, three kinds of gradient; some 100 s."""

import sys

from srsgd_ray.paper.quadratic_agreement import show_agreement
from srsgd_ray.paper.quadratic_studies import figure2
from srsgd_ray.study import launch

STUDY = figure2("figure2_quadratic")

if __name__ == "__main__":
    sys.exit(launch(STUDY, finish=show_agreement))
