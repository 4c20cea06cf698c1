"""Verbs that act on the trials of a study that is there."""

from __future__ import annotations

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add

FOLDER = "of the study, such as results/NAME"


def _rerun(add: Add) -> None:
    add("folder", metavar="FOLDER", help=FOLDER)
    add("trial", metavar="TRIAL", help="such as search-srsgd-003")
    add("--backend", default="local", help="local: this process; ray: Ray on this machine [local]")
    add("--threads", type=int, metavar="N", help="CPU threads of a worker [as recorded]")


VERBS = {
    "rerun": Verb(
        "repeat a trial of a study, and say whether it is the same bit for bit",
        "control",
        _rerun,
        "Nothing of the study is changed. Exit status 0: equal, 1: different.",
    ),
}
