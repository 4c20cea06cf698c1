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


def _waits(add: Add) -> None:
    add("--wait", type=float, default=60.0, metavar="S", help="seconds, for an answer [60]")


def _stop(add: Add) -> None:
    add("folder", metavar="FOLDER", help=FOLDER)
    add("trial", nargs="?", metavar="TRIAL", help="such as search-srsgd-003 [the whole study]")
    _waits(add)


def _skip(add: Add) -> None:
    add("folder", metavar="FOLDER", help=FOLDER)
    add("trial", metavar="TRIAL", help="that runs, or waits for the study to be resumed")
    add("--reason", default="", metavar="TEXT", help="why, for the record [none]")
    _waits(add)


VERBS = {
    "rerun": Verb(
        "repeat a trial of a study, and say whether it is the same bit for bit",
        "control",
        _rerun,
        "Nothing of the study is changed. Exit status 0: equal, 1: different.",
    ),
    "stop": Verb(
        "end a study in order, or one of its trials, from another terminal or machine",
        "control",
        _stop,
        "The study ends as by Ctrl-C: it can be resumed. A trial ends where it reports next, as if"
        "\na scheduler had stopped it (pruned): what it reported counts for the search.",
    ),
    "skip": Verb(
        "mark a trial as failed, with a reason: one that runs, or one that resume would run",
        "control",
        _skip,
        "It tells the search nothing. A trial that runs ends where it reports next.",
    ),
}
