"""``srsgd-ray table``: a study's own table, or a published table with our numbers beside it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from srsgd_ray.analysis import render
from srsgd_ray.config import UnknownNameError, one_of
from srsgd_ray.paper.compare import PROTOCOLS, TABLES
from srsgd_ray.paper.render import render_comparison
from srsgd_ray.results import TRIAL_COLUMNS, read_trials
from srsgd_ray.table import FORMATS

__all__ = ["table_command"]


def table_command(argv: Sequence[str]) -> int:
    """Print what the words after ``srsgd-ray table`` ask for.

    Returns:
        The exit status: 2 after one message for an unknown table, format or folder.
    """
    parser = _parser()
    given = parser.parse_intermixed_args(argv)
    try:
        print(_asked(given))
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="srsgd-ray table",
        description="The table and verdict of a study's folder (table results/NAME), or a published"
        " table with our runs beside it (table table1 results/NAME ...).",
        epilog=f"Published tables: {', '.join(TABLES)}. For a folder of such a name write ./NAME.",
    )
    parser.add_argument("what", help="results/NAME, or the name of a published table")
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="our results; none: published numbers only"
    )
    parser.add_argument("--format", default="text", help=f"{', '.join(FORMATS)} [text]")
    parser.add_argument(
        "--protocol",
        default="last",
        help="; ".join(f"{name}: {what}" for name, what in PROTOCOLS.items()) + " [last]",
    )
    parser.add_argument(
        "--any-epochs",
        action="store_true",
        help="also runs that differ from a cell only in epochs or milestones",
    )
    return parser


def _asked(given: argparse.Namespace) -> str:
    one_of("format", given.format, FORMATS)
    one_of("protocol", given.protocol, PROTOCOLS)
    if given.what in TABLES:
        trials = read_trials(*given.folders) if given.folders else _no_trials()
        return render_comparison(
            given.what, trials, given.format, given.protocol, any_epochs=given.any_epochs
        )
    if not Path(given.what).exists() and os.sep not in given.what:
        raise UnknownNameError(
            f"unknown table {given.what!r}, and no folder of that name. Valid: {', '.join(TABLES)}."
        )
    if given.folders or given.any_epochs or (given.format, given.protocol) != ("text", "last"):
        raise ValueError(
            f"the table of one study takes one folder and no option, but got {given.what!r} with "
            f"more. Name a published table first: {', '.join(TABLES)}."
        )
    return render(read_trials(given.what))


def _no_trials() -> pd.DataFrame:
    return pd.DataFrame(columns=[column.name for column in TRIAL_COLUMNS])
