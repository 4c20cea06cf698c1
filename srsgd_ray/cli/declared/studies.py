"""Verbs that run studies, and test trainables."""

from __future__ import annotations

import argparse
import dataclasses
from typing import get_type_hints

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add, add_field

SCRIPT = "FILE (a study script) or package.module:STUDY"


def _study(add: Add, what: str, named: str = "FILE|FOLDER") -> None:
    add("what", metavar=named, help=what)
    options = "options of the study: srsgd-ray run FILE --help lists them"
    add("words", nargs=argparse.REMAINDER, metavar="...", help=options)


def _extend(add: Add) -> None:
    from srsgd_ray.study.options import Options

    add("folder", metavar="FOLDER", help="of a study, such as results/NAME")
    add("--trials", type=int, metavar="N", help="so many more search trials of each arm")
    add("--searches", type=int, metavar="N", help="so many more independent searches of each arm")
    seeds = "so many more runs of each configuration that is judged"
    add("--confirm-seeds", type=int, metavar="N", help=seeds)
    longer = "the best of each arm again at so many epochs, as a study of its own: FOLDER-N-epochs"
    add("--epochs", type=int, metavar="N", help=longer)
    kinds = get_type_hints(Options)
    for field in dataclasses.fields(Options):
        if field.metadata and field.name != "results":
            add_field(add, field, kinds[field.name])
    add("--plan", action="store_true", help="only say what it will cost, and end")


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
        lambda add: _study(add, "of the study, such as results/NAME", "FOLDER"),
        rest=True,
    ),
    "extend": Verb(
        "add trials, searches or seeds to the study in a folder, finished or not",
        "studies",
        _extend,
        "Numbers are of what is added: 20 trials of each arm besides those that it has. What was"
        "\ndone is kept and counted. Other arms stand in the study's script: edit it, and run it"
        "\nwith --extend, where numbers are of all there will be.",
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
