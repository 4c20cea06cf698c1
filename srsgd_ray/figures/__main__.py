"""Draw figures: a study's, from its results folder, and those of the paper, by name.

``results/quickstart`` draws all figures of that study, ``results/quickstart confirmation`` one.
``fig1`` draws Figure 1 of the paper, ``fig1 results/table1`` the same with our runs over it, and
``paper`` all of its figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srsgd_ray.config import UnknownNameError, one_of
from srsgd_ray.figures.save import FIGURES, FORMATS, draw
from srsgd_ray.paper.compare import PROTOCOLS
from srsgd_ray.paper.figures import PAPER_FIGURES, PAPER_OUT, draw_paper

__all__ = ["main"]

ALL = "paper"  # stands for all figures of the paper


@dataclass(frozen=True)
class Asked:
    """What the words of a command line are."""

    study: list[str]
    paper: list[str]
    folders: list[str]


def main(argv: Sequence[str] | None = None, prog: str = "python -m srsgd_ray.figures") -> int:
    """Draw what the command line asks for; returns the exit status (2 for bad input)."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="FIGURE|FOLDER",
        help=f"of a study: {', '.join(FIGURES)} [all of them]; of the paper: "
        f"{', '.join(PAPER_FIGURES)}, or {ALL} for all; and results folders; in any order",
    )
    parser.add_argument(
        "--format", default="png,svg", help=f"any of {', '.join(FORMATS)} [png,svg]"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help=f"where the files go [FOLDER/figures, those of the paper {PAPER_OUT}]",
    )
    parser.add_argument(
        "--as-plotted",
        action="store_true",
        help="figures of the paper as it drew them, faults included",
    )
    parser.add_argument(
        "--protocol",
        default="last",
        help="which of our errors in figures of the paper: "
        + "; ".join(f"{name}: {what}" for name, what in PROTOCOLS.items())
        + " [last]",
    )
    given = parser.parse_intermixed_args(argv)
    formats = given.format.split(",")
    try:
        one_of("protocol", given.protocol, PROTOCOLS)
        asked = _sorted(given.words)
        studies = asked.folders if asked.study or not asked.paper else []
        if given.out and len(studies) > 1:
            raise ValueError(
                f"--out must be for one study, but got {len(studies)}: their files have the same "
                f"names. Draw one after the other."
            )
        written = []
        for folder in studies:
            written += draw(folder, asked.study or None, formats, given.out)
        if asked.paper:
            out = given.out or PAPER_OUT
            written += draw_paper(
                asked.paper, asked.folders, formats, out, given.as_plotted, given.protocol
            )
            if not written:
                return 2
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


def _sorted(words: Sequence[str]) -> Asked:
    """Tell figures of a study, figures of the paper and folders apart."""
    asked = Asked([], [], [])
    for word in dict.fromkeys(words):
        if word in FIGURES:
            asked.study.append(word)
        elif word == ALL or word in PAPER_FIGURES:
            asked.paper.extend(PAPER_FIGURES if word == ALL else [word])
        elif Path(word).is_dir():
            asked.folders.append(word)
        elif len(Path(word).parts) > 1:
            raise UnknownNameError(f"no results: expected a folder {word!r}, or one of: {_valid()}")
        else:
            raise UnknownNameError(f"unknown figure {word!r}. Valid: {_valid()}")
    if asked.study and not asked.folders:
        raise ValueError(
            f"figures of a study need its results folder, but got {' '.join(words)!r}. "
            f"Add one, such as results/quickstart."
        )
    asked.paper[:] = dict.fromkeys(asked.paper)
    return asked


def _valid() -> str:
    return (
        f"{', '.join(FIGURES)}; of the paper: {', '.join(PAPER_FIGURES)}; all of the paper: "
        f"{ALL}; or a folder with results."
    )


if __name__ == "__main__":
    sys.exit(main())
