"""Verbs that show a study as a page."""

from __future__ import annotations

import argparse

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add


def _report(add: Add) -> None:
    add("folders", nargs="+", metavar="FOLDER", help="of studies, such as results/NAME")
    add("--out", metavar="FILE", help="where the page of one study goes [FOLDER/report.html]")


def _watch(add: Add) -> None:
    add("folder", nargs="?", default="results", help="a study's, or one with studies [results]")
    add("--host", default="127.0.0.1", help="to listen on; others need a token [127.0.0.1]")
    add("--port", type=int, default=8080, metavar="N", help="0: any that is free [8080]")
    add("--of-process", type=int, metavar="PID", help=argparse.SUPPRESS)  # ends with it


VERBS = {
    "report": Verb("write a study's page: one HTML file that needs no network", "pages", _report),
    "watch": Verb(
        "serve the live page of a study that runs, or of all in a folder",
        "pages",
        _watch,
        "On another machine, such as a cluster's head: ssh -L 8080:localhost:8080 HEAD, and open"
        "\nhttp://localhost:8080 here. It reads the record alone: the study does not wait for it.",
    ),
}
