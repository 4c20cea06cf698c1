"""The console command ``srsgd-ray``: runs studies, and looks at results."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

VERBS = {
    "run": "run the study of a file or an import path",
    "resume": "go on with the study in a folder",
    "plan": "say what a study will cost",
    "check": "put a trainable to the contract that the engine relies on",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status (2 after a message for bad input)."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="srsgd-ray", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for verb, what in VERBS.items():
        commands.add_parser(verb, help=what, add_help=False)
    commands.add_parser(
        "table", help="a study's table, or a published one beside our runs", add_help=False
    )
    columns = commands.add_parser("columns", help="every column of the results, with its meaning")
    columns.add_argument(
        "table", nargs="?", default="trials", help="trials, epochs, or FOLDER for a study's own"
    )
    commands.add_parser("figures", help="a study's figures, or the paper's by name", add_help=False)
    commands.add_parser("lmdb", help="ImageNet in LMDB: build, check, measure", add_help=False)
    commands.add_parser("train", help="one training run, without Ray", add_help=False)
    given, rest = parser.parse_known_args(words)
    try:
        if given.command in VERBS:
            from srsgd_ray.study import commands as verbs

            return int(getattr(verbs, f"{given.command}_command")(rest))
        if given.command == "figures":
            from srsgd_ray.figures.__main__ import main as figures

            return figures(rest, prog="srsgd-ray figures")
        if given.command == "table":
            from srsgd_ray.cli_table import table_command

            return table_command(rest)
        if given.command == "lmdb":
            from srsgd_ray.cli_lmdb import lmdb_command

            return lmdb_command(rest)
        if given.command == "train":
            from srsgd_ray.training.__main__ import main as train

            return train(rest)
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        print(_columns(given.table))
    except ValueError as error:
        print(f"srsgd-ray {given.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _columns(table: str) -> str:
    from srsgd_ray.knobs import one_of
    from srsgd_ray.results import columns, read_trials, schema_of

    if Path(table).is_dir():
        found = list(schema_of(read_trials(table)).values())
    else:
        one_of("table", table, ("trials", "epochs"))
        found = list(columns("epochs" if table == "epochs" else "trials"))
    return "\n".join(f"{c.name:20} {c.type!s:12} {c.unit:9} {c.doc}".rstrip() for c in found)
