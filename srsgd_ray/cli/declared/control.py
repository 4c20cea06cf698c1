"""Verbs that act on the trials of a study that is there."""

from __future__ import annotations

import argparse

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add

FOLDER = "of the study, such as results/NAME"


def _rerun(add: Add) -> None:
    add("folder", metavar="FOLDER", help=FOLDER)
    add("trial", metavar="TRIAL", help="such as search-srsgd-003")
    add("--backend", default="local", help="local: this process; ray: Ray on this machine [local]")
    add("--threads", type=int, metavar="N", help="CPU threads of a worker [as recorded]")


def _enqueue(add: Add) -> None:
    add("folder", metavar="FOLDER", help=FOLDER)
    add("arm", metavar="ARM", help="whose search is to try the point")
    add("point", nargs="*", metavar="KNOB=VALUE", help="searched knobs; others are sampled")
    _waits(add)


def _retry(add: Add) -> None:
    add("folder", metavar="FOLDER", help=FOLDER)
    more = "trials to run again [all that failed], and options as for resume"
    add("words", nargs=argparse.REMAINDER, metavar="TRIAL ...", help=more)


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
    "enqueue": Verb(
        "have a study that runs or waits try a known point next",
        "control",
        _enqueue,
        "It uses up one of the planned trials of the arm.",
    ),
    "retry": Verb(
        "run the failed trials of a study again, and resume it",
        "control",
        _retry,
        "With the code as it is now. A search trial that is run again after the confirmation began"
        "\nmakes the study's next look at the test data.",
        rest=True,
    ),
}
