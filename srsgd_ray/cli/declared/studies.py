"""Verbs that run studies, and test trainables."""

from __future__ import annotations

import argparse

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add

SCRIPT = "FILE (a study script) or package.module:STUDY"


def _study(add: Add, what: str) -> None:
    add("what", metavar="WHAT", help=what)
    options = "options of the study: srsgd-ray run FILE --help lists them"
    add("words", nargs=argparse.REMAINDER, metavar="...", help=options)


def _check(add: Add) -> None:
    add("what", metavar="FILE|MODULE:NAME", help="a file with studies or trainables")
    add("--workers", type=int, default=2, metavar="N", help="that must agree [2]")
    add("--set", nargs="+", default=[], metavar="KNOB=VALUE", help="knobs to try")


VERBS = {
    "run": Verb(
        "run the study of a file or an import path, or that of a folder again",
        "studies",
        lambda add: _study(add, f"{SCRIPT}, or FOLDER of a study, with --name NEW"),
        rest=True,
    ),
    "resume": Verb(
        "resume the study in a folder",
        "studies",
        lambda add: _study(add, "FOLDER, such as results/NAME"),
        rest=True,
    ),
    "plan": Verb(
        "say what a study will cost",
        "studies",
        lambda add: _study(add, f"{SCRIPT}, or FOLDER of a study that has begun"),
        rest=True,
    ),
    "check": Verb(
        "test a trainable, for some seconds, against the contract that the engine relies on",
        "studies",
        _check,
    ),
}
