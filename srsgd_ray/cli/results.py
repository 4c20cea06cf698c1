"""``srsgd-ray table | columns | figures``: what results folders hold, and what the paper states."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from srsgd_ray.knobs import UnknownNameError, did_you_mean, one_of, unknown
from srsgd_ray.results import columns, read_epochs, read_predictions, read_trials, schema_of

if TYPE_CHECKING:
    from srsgd_ray.analysis import Profile

ALL = "paper"  # stands for all figures of the paper
BASELINE = "baseline"  # as a target: the mean final value of the baseline's runs
RULES = ("modded-nanogpt",)


def table_verb(given: argparse.Namespace) -> None:
    """Print a study's own table, or a published table with our numbers in comparison."""
    from srsgd_ray.analysis import render
    from srsgd_ray.paper.cells import TABLES
    from srsgd_ray.paper.compare import PROTOCOLS
    from srsgd_ray.paper.render import render_comparison
    from srsgd_ray.table import FORMATS

    one_of("format", given.format, FORMATS)
    one_of("protocol", given.protocol, PROTOCOLS)
    targets = asked_target(given)
    if given.what in TABLES:
        if targets:
            raise ValueError("a published table has no target: name a study's folder.")
        none = pd.DataFrame(columns=[column.name for column in columns("trials")])
        trials = read_trials(*given.folders) if given.folders else none
        print(
            render_comparison(
                given.what, trials, given.format, given.protocol, any_epochs=given.any_epochs
            )
        )
        return
    if not Path(given.what).exists() and os.sep not in given.what:
        raise unknown("table", given.what, TABLES, ", and no folder of that name")
    if targets:
        print(_target_table([given.what, *given.folders], targets, given.rule, given.std))
        return
    if given.folders or given.any_epochs or (given.format, given.protocol) != ("text", "last"):
        raise ValueError(
            f"the table of one study takes one folder and no option, but got {given.what!r} with "
            f"more. Name a published table first: {', '.join(TABLES)}."
        )
    print(render(read_trials(given.what), predictions=read_predictions(given.what)))


def asked_target(given: argparse.Namespace) -> dict[str, Any]:
    """What was asked about a target, as keywords of the analysis; empty for nothing.

    Raises:
        ValueError: for options of a target without one, or a target that is no number.
    """
    if given.to_target is None:
        more = [n for n in ("metric", "cost", "rule", "std") if getattr(given, n, None) is not None]
        if more:
            raise ValueError(
                f"--{more[0]} belongs to a target. Add --to-target baseline or a number."
            )
        return {}
    try:
        target = given.to_target if given.to_target == BASELINE else float(given.to_target)
    except ValueError:
        raise unknown("target", given.to_target, (BASELINE,), ", or a number") from None
    return {"target": target, "metric": given.metric, "cost": given.cost or "epochs"}


def _target_table(
    folders: Sequence[str], asked: dict[str, Any], rule: str | None, std: float | None
) -> str:
    """The table of a target: of one study, by a rule if one is named, or of several."""
    from srsgd_ray.analysis import profile_text, target_text, track_text

    if rule is not None:
        one_of("rule", rule, RULES)
        if len(folders) > 1 or asked.pop("cost") != "epochs" or asked["target"] == BASELINE:
            raise ValueError(
                f"--rule {rule} counts the steps of one study to a given loss. Name one folder, "
                f"--to-target with a number, and no --cost."
            )
        return track_text(*_tables(folders[0]), **asked, std=std)
    if len(folders) == 1:
        return target_text(*_tables(folders[0]), **asked)
    return profile_text(profile_of(folders, asked))


def _tables(folder: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return read_epochs(folder), read_trials(folder)


def profile_of(folders: Sequence[str], asked: dict[str, Any]) -> Profile:
    """The performance profiles of several folders; ``asked`` as :func:`asked_target` says."""
    from srsgd_ray.analysis import performance_profile

    return performance_profile({folder: _tables(folder) for folder in folders}, **asked)


def columns_verb(given: argparse.Namespace) -> None:
    """Print every column of a table, or of a study's own."""
    if Path(given.table).is_dir():
        found = list(schema_of(read_trials(given.table)).values())
    else:
        one_of("table", given.table, ("trials", "epochs"))
        found = list(columns("epochs" if given.table == "epochs" else "trials"))
    for c in found:
        print(f"{c.name:20} {c.type!s:12} {c.unit:9} {c.doc}".rstrip())


def figures_verb(given: argparse.Namespace) -> int:
    """Draw figures of studies and of the paper; prints the files written."""
    from srsgd_ray.figures.profile import PROFILE
    from srsgd_ray.figures.save import draw
    from srsgd_ray.paper.compare import PROTOCOLS
    from srsgd_ray.paper.figures import PAPER_OUT, draw_paper

    one_of("protocol", given.protocol, PROTOCOLS)
    formats, targets = given.format.split(","), asked_target(given)
    if PROFILE in given.words:
        folders = [word for word in given.words if word != PROFILE]
        print(*drawn_profile(folders, targets, formats, given.out), sep="\n")
        return 0
    if targets:
        raise ValueError(f"--to-target belongs to the figure {PROFILE}. Name it.")
    study, paper, folders = _sorted(given.words)
    studies = folders if study or not paper else []
    if given.out and len(studies) > 1:
        raise ValueError(
            f"--out takes the figures of one study, but got {len(studies)} studies, whose files "
            f"have the same names. Draw one after the other."
        )
    written = []
    for folder in studies:
        written += draw(folder, study or None, formats, given.out)
    if paper:
        out = given.out or PAPER_OUT
        written += draw_paper(paper, folders, formats, out, given.as_plotted, given.protocol)
        if not written:
            return 2
    for path in written:
        print(path)
    return 0


def drawn_profile(
    folders: Sequence[str], asked: dict[str, Any], formats: Sequence[str], out: str | None
) -> list[Path]:
    """Draw the performance profiles of several studies; returns the files."""
    from srsgd_ray.figures.profile import PROFILE, draw_profile

    others = [word for word in folders if not Path(word).is_dir()]
    if others or not folders:
        raise ValueError(
            f"{PROFILE} is drawn of results folders, with no other figure, but got "
            f"{', '.join(others) or 'none'}. Name the studies' folders."
        )
    profile = profile_of(folders, asked or {"target": BASELINE})
    return draw_profile(profile, formats, out or Path(folders[0]).parent / "figures")


def _sorted(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Figures of a study, figures of the paper and folders apart."""
    from srsgd_ray.figures.profile import PROFILE
    from srsgd_ray.figures.save import FIGURES
    from srsgd_ray.paper.figures import PAPER_FIGURES

    valid = (
        f"{', '.join(FIGURES)}; of several studies: {PROFILE}; of the paper: "
        f"{', '.join(PAPER_FIGURES)}; all of the paper: {ALL}; or a folder with results."
    )
    study: list[str] = []
    paper: list[str] = []
    folders: list[str] = []
    for word in dict.fromkeys(words):
        if word in FIGURES:
            study.append(word)
        elif word == ALL or word in PAPER_FIGURES:
            paper.extend(PAPER_FIGURES if word == ALL else [word])
        elif Path(word).is_dir():
            folders.append(word)
        elif len(Path(word).parts) > 1:
            raise UnknownNameError(f"no results: expected a folder {word!r}, or one of: {valid}")
        else:
            near = did_you_mean(word, (*FIGURES, PROFILE, *PAPER_FIGURES, ALL))
            raise UnknownNameError(f"unknown figure {word!r}. Valid: {valid}{near}")
    if study and not folders:
        raise ValueError(
            f"figures of a study need its results folder, but got {' '.join(words)!r}. "
            f"Add one, such as results/quickstart."
        )
    return study, list(dict.fromkeys(paper)), folders
