"""Was the published restart schedule a good one for the quadratic? Some ten minutes."""

import sys

from srsgd_ray.problems.quadratic_report import show_report
from srsgd_ray.study import launch
from srsgd_ray.study.quadratic import schedule_search

STUDY = schedule_search("quadratic_search")

if __name__ == "__main__":
    sys.exit(launch(STUDY, finish=show_report))
