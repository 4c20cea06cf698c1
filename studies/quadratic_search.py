"""Was the published restart schedule a good one for the quadratic? Some ten minutes."""

import sys

from srsgd_ray.paper.quadratic_report import show_report
from srsgd_ray.paper.quadratic_studies import schedule_search
from srsgd_ray.study import launch

STUDY = schedule_search("quadratic_search")

if __name__ == "__main__":
    sys.exit(launch(STUDY, finish=show_report))
