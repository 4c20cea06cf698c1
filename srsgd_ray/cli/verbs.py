"""Every verb of ``srsgd-ray`` as data: what it is for, what it takes, and what does its work."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from srsgd_ray.cli.guard import guarded
from srsgd_ray.cli.parser import Argument, Verb, argument, field_argument, parse

__all__ = ["VERBS", "main"]

GROUPS = {"lmdb": "ImageNet in LMDB: build, check, describe"}


def _study(what: str) -> Callable[[], list[Argument]]:
    def arguments() -> list[Argument]:
        return [
            argument("what", metavar="WHAT", help=what),
            argument(
                "words", nargs=argparse.REMAINDER, metavar="...",
                help="options of the study, which srsgd-ray run FILE --help lists",
            ),
        ]  # fmt: skip

    return arguments


def _check() -> list[Argument]:
    return [
        argument("what", metavar="FILE|MODULE:NAME", help="a file with studies or trainables"),
        argument("--workers", type=int, default=2, metavar="N", help="that must agree [2]"),
        argument("--set", nargs="+", default=[], metavar="KNOB=VALUE", help="knobs to try"),
    ]


def _protocol() -> Argument:
    from srsgd_ray.paper.compare import PROTOCOLS

    errors = "; ".join(f"{name}: {what}" for name, what in PROTOCOLS.items())
    return argument(
        "--protocol", default="last", help=f"which of our errors stand for a run. {errors} [last]"
    )


def _table() -> list[Argument]:
    from srsgd_ray.paper.compare import TABLES
    from srsgd_ray.paper.render import FORMATS

    return [
        argument(
            "what", help=f"results/NAME, or a published table: {', '.join(TABLES)}. For a folder "
            "of such a name write ./NAME",
        ),
        argument(
            "folders", nargs="*", metavar="FOLDER", help="our results; none: published numbers only"
        ),
        argument("--format", default="text", help=f"{', '.join(FORMATS)} [text]"),
        _protocol(),
        argument(
            "--any-epochs", action="store_true",
            help="also runs that differ from a cell only in epochs or milestones",
        ),
    ]  # fmt: skip


def _columns() -> list[Argument]:
    return [
        argument(
            "table", nargs="?", default="trials", help="trials, epochs, or FOLDER for a study's own"
        )
    ]


def _figures() -> list[Argument]:
    from srsgd_ray.figures.save import FIGURES, FORMATS
    from srsgd_ray.paper.figures import PAPER_FIGURES, PAPER_OUT

    return [
        argument(
            "words", nargs="+", metavar="FIGURE|FOLDER",
            help=f"of a study: {', '.join(FIGURES)} [all of them]; of the paper: "
            f"{', '.join(PAPER_FIGURES)}, or paper for all; and results folders; in any order",
        ),
        argument("--format", default="png,svg", help=f"any of {', '.join(FORMATS)} [png,svg]"),
        argument(
            "--out", metavar="DIR",
            help=f"where the files go [FOLDER/figures, those of the paper {PAPER_OUT}]",
        ),
        argument(
            "--as-plotted", action="store_true",
            help="figures of the paper as it drew them, faults included",
        ),
        _protocol(),
    ]  # fmt: skip


def _workers() -> Argument:
    return argument("--workers", type=int, default=0, help="processes [one for each CPU]")


def _make(source: str) -> Callable[[], list[Argument]]:
    def arguments() -> list[Argument]:
        return [
            argument("source", type=Path, help=source),
            argument("destination", type=Path, help="NAME.lmdb; for train and val a folder"),
            argument(
                "--store", default="encoded", help="encoded (files) or decoded (pixels) [encoded]"
            ),
            argument("--largest-side", type=int, metavar="N", help="scale larger images down"),
            argument("--quality", type=int, metavar="Q", help="encode every image anew, 1-100"),
            argument(
                "--repack", action="store_true", help="restart markers in JPEG files, without loss"
            ),
            argument(
                "--on-corrupt", default="stop",
                help="unreadable images: stop, skip (and list), or keep where they decode [stop]",
            ),
            argument(
                "--force", action="store_true",
                help="replace a database, begin a half-built one anew",
            ),
            _workers(),
        ]  # fmt: skip

    return arguments


def _verify() -> list[Argument]:
    return [
        _path(),
        argument("--against", type=Path, metavar="SOURCE", help="what it must be the same as"),
        argument("--all", action="store_true", help="all problems, not only the first of a kind"),
        _workers(),
    ]


def _path() -> Argument:
    return argument("path", type=Path, help="a database, or a folder tree of images")


def _train() -> list[Argument]:
    from srsgd_ray.config import TrainConfig
    from srsgd_ray.knobs import knob_types

    types = knob_types(TrainConfig)
    return [
        argument("--out", default="results/run", metavar="DIR", help="folder of the results"),
        argument("--resume", action="store_true", help="resume the run in that folder"),
        *(field_argument(field, types[field.name]) for field in dataclasses.fields(TrainConfig)),
    ]


def _without_force(words: Sequence[str]) -> list[str]:
    return [word for word in words if word != "--force"]


def _with_resume(words: Sequence[str]) -> list[str]:
    return [*(word for word in words if word != "--resume"), "--resume"]


LMDB = (ValueError, OSError)
MAKE = "for example srsgd-ray lmdb {} /data/imagenet /data/lmdb"
SCRIPT = "FILE (a study script) or package.module:STUDY"
VERBS = {
    "run": Verb(
        "run the study of a file or an import path",
        "srsgd_ray.cli.studies:run_verb",
        _study(SCRIPT),
    ),
    "resume": Verb(
        "resume the study in a folder",
        "srsgd_ray.cli.studies:resume_verb",
        _study("FOLDER, such as results/NAME"),
    ),
    "plan": Verb(
        "say what a study will cost",
        "srsgd_ray.cli.studies:plan_verb",
        _study(f"{SCRIPT}, or FOLDER of a study that has begun"),
    ),
    "check": Verb(
        "test a trainable against the contract that the engine relies on",
        "srsgd_ray.cli.studies:check_verb",
        _check,
        more="Runs each trainable for some seconds, in its smallest version.",
    ),
    "table": Verb(
        "a study's table and verdict, or a published table with our runs in comparison",
        "srsgd_ray.cli.results:table_verb",
        _table,
    ),
    "columns": Verb(
        "every column of the results, with its meaning",
        "srsgd_ray.cli.results:columns_verb",
        _columns,
    ),
    "figures": Verb(
        "draw a study's figures, or the paper's by name",
        "srsgd_ray.cli.results:figures_verb",
        _figures,
        more="results/quickstart draws all figures of that study, results/quickstart confirmation "
        "one.\nfig1 draws Figure 1 of the paper, fig1 results/table1 the same with our runs over "
        "it,\nand paper all of its figures.",
    ),
    "lmdb build": Verb(
        "make a database of image files",
        "srsgd_ray.cli.lmdb:build_verb",
        _make("a folder tree, its train and val, or a tar"),
        MAKE.format("build"),
        _without_force,
        LMDB,
    ),
    "lmdb convert": Verb(
        "make a database of another one",
        "srsgd_ray.cli.lmdb:convert_verb",
        _make("the original's, Caffe's or ours, or a pair"),
        MAKE.format("convert"),
        _without_force,
        LMDB,
    ),
    "lmdb verify": Verb(
        "read every image, say what is wrong",
        "srsgd_ray.cli.lmdb:verify_verb",
        _verify,
        refused=LMDB,
    ),
    "lmdb info": Verb(
        "what a database holds", "srsgd_ray.cli.lmdb:info_verb", lambda: [_path()], refused=LMDB
    ),
    "train": Verb(
        "one training run, without Ray",
        "srsgd_ray.cli.train:train_verb",
        _train,
        more="Under torchrun: torchrun --nproc-per-node 2 -m srsgd_ray.training ...\nOptions of a "
        "part, such as --model-options, are NAME=VALUE pairs (values as JSON, or as text)\nor one "
        "JSON object.",
        resumed=_with_resume,
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status (2 after a message for bad input).

    Args:
        argv: the words after ``srsgd-ray``; None: of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    length = 2 if words[:1] and words[0] in GROUPS else 1
    name = " ".join(words[:length])
    if name in VERBS:
        return _run(f"srsgd-ray {name}", VERBS[name], words[length:])
    group = words[: length - 1]
    parser = argparse.ArgumentParser(
        prog=" ".join(["srsgd-ray", *group]),
        description=GROUPS[group[0]] if group else "Runs studies, and reports their results.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, verb in VERBS.items():
        first, *rest = name.split()
        if group == [first]:
            commands.add_parser(rest[0], help=verb.help)
        elif not group and first not in commands.choices:
            commands.add_parser(first, help=GROUPS.get(first, verb.help))
    parser.parse_args(words[length - 1 :])
    return 2


def _run(prog: str, verb: Verb, words: Sequence[str]) -> int:
    """Parse the words and do the verb's work."""

    def work() -> int | None:
        given = parse(prog, verb.help, verb.arguments(), words, epilog=verb.more)
        module, _, function = verb.work.partition(":")
        status: int | None = getattr(importlib.import_module(module), function)(given)
        return status

    def resume() -> None:
        if verb.resumed is not None:
            command = f"{prog} {shlex.join(verb.resumed(words))}"
            print(f"What was written stays. Resume with: {command}", file=sys.stderr)

    return guarded(prog, work, resume, verb.refused)
