"""Every verb of ``srsgd-ray`` as data: what it is for, what it takes, and what does its work."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from srsgd_ray.cli.guard import guarded
from srsgd_ray.cli.parser import Add, add_field, new_parser, parse, plainly
from srsgd_ray.knobs import one_of

SCRIPT = "FILE (a study script) or package.module:STUDY"


@dataclass(frozen=True)
class Verb:
    """One command.

    Attributes:
        help: what it does, in a line.
        module: of ``srsgd_ray.cli``, whose function ``VERB_verb`` does it: it takes the parsed
            words and returns the exit status, or None for 0.
        arguments: adds what it takes; called when the verb is, for it may import much.
        more: what ``--help`` says besides.
        rest: whether the words after the first are a study's own.
        resumed: makes the words that resume it after an interruption from those that it was given;
            None: nothing resumes it.
    """

    help: str
    module: str
    arguments: Callable[[Add], object]
    more: str = ""
    rest: bool = False
    resumed: Callable[[Sequence[str]], list[str]] | None = None


def _study(add: Add, what: str) -> None:
    add("what", metavar="WHAT", help=what)
    options = "options of the study: srsgd-ray run FILE --help lists them"
    add("words", nargs=argparse.REMAINDER, metavar="...", help=options)


def _check(add: Add) -> None:
    add("what", metavar="FILE|MODULE:NAME", help="a file with studies or trainables")
    add("--workers", type=int, default=2, metavar="N", help="that must agree [2]")
    add("--set", nargs="+", default=[], metavar="KNOB=VALUE", help="knobs to try")


def _protocol(add: Add) -> None:
    from srsgd_ray.paper.compare import PROTOCOLS

    errors = "; ".join(f"{name}: {what}" for name, what in PROTOCOLS.items())
    add("--protocol", default="last", help=f"which of our errors. {errors} [last]")


def _table(add: Add) -> None:
    from srsgd_ray.paper.cells import TABLES
    from srsgd_ray.table import FORMATS

    what = (
        f"results/NAME, or a published table: {', '.join(TABLES)}. A folder of such a name: ./NAME"
    )
    any_epochs = "also runs that differ from a cell only in epochs or milestones"
    rule = (
        "steps to the target by the rule of modded-nanogpt's optimization track, all runs shown: "
        "modded-nanogpt"
    )
    add("what", help=what)
    add("folders", nargs="*", metavar="FOLDER", help="our results [published ones only]")
    add("--format", default="text", help=f"{', '.join(FORMATS)} [text]")
    _protocol(add)
    add("--any-epochs", action="store_true", help=any_epochs)
    _target(add)
    add("--rule", metavar="NAME", help=rule)
    add("--std", type=float, metavar="X", help="of a run, for --rule, if known [from the runs]")


def _target(add: Add) -> None:
    from srsgd_ray.analysis import COSTS

    target = (
        "what the runs spend until they meet a target: a number, or baseline for the mean final "
        "value of the baseline's runs; performance profiles, if several folders are named"
    )
    metric = "of the target [what arms are compared by, or else the search's]"
    add("--to-target", metavar="X", help=target)
    add("--metric", metavar="NAME", help=metric)
    add("--cost", help=f"what is counted to the target: {', '.join(COSTS)} [epochs]")


def _figures(add: Add) -> None:
    from srsgd_ray.figures.profile import PROFILE
    from srsgd_ray.figures.save import FIGURES, FORMATS
    from srsgd_ray.paper.figures import PAPER_FIGURES, PAPER_OUT

    words = (
        f"of a study: {', '.join(FIGURES)} [all of them]; of several studies: {PROFILE}; of the "
        f"paper: {', '.join(PAPER_FIGURES)}, or paper for all; and results folders; in any order"
    )
    out = f"where the files go [FOLDER/figures, those of the paper {PAPER_OUT}]"
    plotted = "figures of the paper as it drew them, faults included"
    add("words", nargs="+", metavar="FIGURE|FOLDER", help=words)
    add("--format", default="png,svg", help=f"any of {', '.join(FORMATS)} [png,svg]")
    add("--out", metavar="DIR", help=out)
    add("--as-plotted", action="store_true", help=plotted)
    _target(add)
    _protocol(add)


def _report(add: Add) -> None:
    add("folders", nargs="+", metavar="FOLDER", help="of studies, such as results/NAME")
    add("--out", metavar="FILE", help="where the page of one study goes [FOLDER/report.html]")


def _watch(add: Add) -> None:
    add("folder", nargs="?", default="results", help="a study's, or one with studies [results]")
    add("--host", default="127.0.0.1", help="to listen on; others need a token [127.0.0.1]")
    add("--port", type=int, default=8080, metavar="N", help="0: any that is free [8080]")
    add("--of-process", type=int, metavar="PID", help=argparse.SUPPRESS)  # ends with it


def _make(add: Add, source: str) -> None:
    corrupt = "unreadable images: stop, skip (and list), or keep where they decode [stop]"
    force = "replace a database, or a half-built one of other options"
    add("source", type=Path, help=source)
    add("destination", type=Path, help="NAME.lmdb; for train and val a folder")
    add("--store", default="encoded", help="encoded (files) or decoded (pixels) [encoded]")
    add("--largest-side", type=int, metavar="N", help="scale larger images down")
    add("--quality", type=int, metavar="Q", help="encode every image anew, 1-100")
    add("--on-corrupt", default="stop", help=corrupt)
    add("--force", action="store_true", help=force)
    _workers(add)


def _verify(add: Add) -> None:
    _path(add)
    add("--against", type=Path, metavar="SOURCE", help="what it must equal")
    add("--all", action="store_true", help="all problems, not the first of a kind")
    _workers(add)


def _path(add: Add) -> None:
    add("path", type=Path, help="a database, or a folder tree of images")


def _workers(add: Add) -> None:
    add("--workers", type=int, default=0, help="processes [one for each CPU]")


def _train(add: Add) -> None:
    from srsgd_ray.config import TrainConfig
    from srsgd_ray.knobs import knob_types

    types = knob_types(TrainConfig)
    add("--out", default="results/run", metavar="DIR", help="folder of the results")
    add("--resume", action="store_true", help="resume the run in that folder")
    for field in dataclasses.fields(TrainConfig):
        add_field(add, field, types[field.name])


def _with_resume(words: Sequence[str]) -> list[str]:
    return [*(word for word in words if word != "--resume"), "--resume"]


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
    "table": Verb(
        "a study's table and verdict, or a published table with our runs in comparison",
        "results",
        _table,
    ),
    "columns": Verb(
        "every column of the results, with its meaning",
        "results",
        lambda add: add(
            "table", nargs="?", default="trials", help="trials, epochs, or a study's FOLDER"
        ),
    ),
    "figures": Verb(
        "draw a study's figures, or the paper's by name",
        "results",
        _figures,
        "results/quickstart draws all figures of that study, results/quickstart confirmation one."
        "\nfig1 draws Figure 1 of the paper, fig1 results/table1 the same with our runs over it,"
        "\nand paper all of its figures.",
    ),
    "report": Verb("write a study's page: one HTML file that needs no network", "pages", _report),
    "watch": Verb(
        "serve the live page of a study that runs, or of all in a folder",
        "pages",
        _watch,
        "On another machine, such as a cluster's head: ssh -L 8080:localhost:8080 HEAD, and open"
        "\nhttp://localhost:8080 here. It reads the record alone: the study does not wait for it.",
    ),
    "lmdb build": Verb(
        "make an LMDB database of image files",
        "lmdb",
        lambda add: _make(add, "a folder tree, its train and val, or a tar"),
        "example: srsgd-ray lmdb build /data/imagenet /data/lmdb",
        resumed=list,
    ),
    "lmdb convert": Verb(
        "make an LMDB database of another one",
        "lmdb",
        lambda add: _make(add, "the original's, Caffe's or ours, or a pair"),
        "example: srsgd-ray lmdb convert /data/train_faster_imagefolder.lmdb /data/train.lmdb",
        resumed=list,
    ),
    "lmdb verify": Verb("read every image of a database, say what is wrong", "lmdb", _verify),
    "lmdb info": Verb("what a database holds", "lmdb", _path),
    "train": Verb(
        "one training run, without Ray",
        "train",
        _train,
        "Under torchrun: torchrun --nproc-per-node 2 -m srsgd_ray.training ...\nOptions of a part, "
        "such as --model-options, are NAME=VALUE pairs (values as JSON, or as text)\nor one JSON "
        "object.",
        resumed=_with_resume,
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status (2 after a message for bad input).

    Args:
        argv: the words after ``srsgd-ray``; None: of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    length = 2 if words[:1] == ["lmdb"] and len(words) > 1 else 1
    name, rest = " ".join(words[:length]), words[length:]
    if not words or words[length - 1] in ("-h", "--help"):
        lines = ["usage: srsgd-ray COMMAND ...\n\nRuns studies, and reports their results.\n"]
        lines += [f"  {name:14}{verb.help}" for name, verb in VERBS.items()]
        return guarded("srsgd-ray", lambda: print("\n".join(lines))) or (0 if words else 2)
    if name not in VERBS:
        return guarded("srsgd-ray", lambda: one_of("command", name, VERBS))
    prog, verb = f"srsgd-ray {name}", VERBS[name]

    def work() -> int | None:
        parser = new_parser(prog, verb.help, verb.more)
        verb.arguments(plainly(parser.add_argument))
        given = parse(parser, rest, rest=verb.rest)
        module = importlib.import_module(f"srsgd_ray.cli.{verb.module}")
        status: int | None = getattr(module, f"{name.split()[-1]}_verb")(given)
        return status

    def resume() -> None:
        if verb.resumed is not None:
            command = f"{prog} {shlex.join(verb.resumed(rest))}"
            print(f"What was written stays. Resume with: {command}", file=sys.stderr)

    return guarded(prog, work, resume)
