"""Verbs that print or draw results."""

from __future__ import annotations

from srsgd_ray.cli.declared.verb import Verb
from srsgd_ray.cli.parser import Add


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
    ours = "our results [published ones only]"
    add("what", metavar="FOLDER|TABLE", help=what)
    add("folders", nargs="*", default=[], metavar="FOLDER", help=ours)
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


def _status(add: Add) -> None:
    what = "of a study, or RESULTS: the study of it that was at work last [results]"
    add("folder", nargs="?", default="results", metavar="FOLDER", help=what)
    add("--format", default="text", help="text, json [text]")


def _list(add: Add) -> None:
    from srsgd_ray.table import FORMATS

    add("folder", nargs="?", default="results", metavar="RESULTS", help="with studies [results]")
    add("--format", default="text", help=f"{', '.join(FORMATS)} [text]")


def _best(add: Add) -> None:
    add("folder", metavar="FOLDER", help="of a study, such as results/NAME")
    add("--arm", metavar="A", help="only this one [all]")
    add("--format", default="text", help="text (Python to paste), or json [text]")
    add("--script", metavar="FILE", help="write a script that trains it")
    add("--force", action="store_true", help="overwrite FILE")


def _compare(add: Add) -> None:
    from srsgd_ray.table import FORMATS

    add("folders", nargs="+", metavar="FOLDER", help="of studies, two or more")
    add("--format", default="text", help=f"{', '.join(FORMATS)}; csv: the values only [text]")
    add("--out", metavar="DIR", help="draw the performance profiles there")
    _target(add)


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


def _simulate(add: Add) -> None:
    from srsgd_ray.study.samplers import SEARCHERS
    from srsgd_ray.study.schedulers import SCHEDULERS
    from srsgd_ray.study.simulate import NOT_SIMULATED
    from srsgd_ray.table import FORMATS

    searchers = ", ".join(name for name in SEARCHERS if name not in NOT_SIMULATED)
    add("folder", metavar="FOLDER", help="of a study whose search pruned no trial")
    add("--arm", metavar="A", help="only this one [all]")
    add("--searcher", default="random", help=f"{searchers} [random]")
    add("--scheduler", default="none", help=f"{', '.join(SCHEDULERS)} [none]")
    add("--trials", type=int, metavar="N", help="a search has at most [as many as recorded]")
    add("--epochs", type=int, metavar="N", help="a search may spend [what its trials take]")
    add("--slots", type=int, default=1, metavar="N", help="trials at a time [1]")
    add("--grace", type=int, default=1, metavar="N", help="epochs before any trial is pruned [1]")
    add("--reduction", type=float, default=3.0, metavar="X", help="of ASHA: one in X goes on [3]")
    add("--searches", type=int, default=200, metavar="N", help="how many are simulated [200]")
    add("--format", default="text", help=f"{', '.join(FORMATS)}; csv: every search [text]")


VERBS = {
    "status": Verb("what a study does just now: trials, failures, time left", "status", _status),
    "list": Verb("all studies of a results folder, a line each", "listing", _list),
    "table": Verb(
        "a study's table and verdict, or a published table with our runs in comparison",
        "results",
        _table,
    ),
    "best": Verb(
        "each arm's best configuration, to be pasted into code, or a script that trains it",
        "best",
        _best,
    ),
    "compare": Verb(
        "studies side by side: verdicts, values, budgets, time to a target",
        "compare",
        _compare,
        "Times are until the baseline's mean final value is met; --to-target names another target.",
    ),
    "simulate": Verb(
        "what another searcher, scheduler or budget would have found among the recorded trials",
        "simulate",
        _simulate,
        "A plain random search with as many epochs stands beside it, for comparison.",
    ),
    "columns": Verb(
        "every column of the results, with its meaning",
        "results",
        lambda add: add(
            "table",
            nargs="?",
            default="trials",
            metavar="FOLDER|TABLE",
            help="a study's, or trials or epochs [trials]",
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
}
