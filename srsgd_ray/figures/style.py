"""The style of every figure: arms differ in colour, line and marker, on plain axes.

Nothing here changes a global setting: :func:`settings` gives it back.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from srsgd_ray import analysis
from srsgd_ray.results import schema_of

WIDTH = 7.2  # inches, of every figure
LETTERS = 15.5  # letters of a note that fit into an inch
NOTE = "0.35"  # grey of notes on the data
# Marker of a search trial that has no result to compare, by its state. None is filled, so that
# those that lie close can be distinguished.
ENDED_BADLY = {"pruned": "v", "diverged": "x", "failed": "+"}
LONGEST = 40  # letters of an arm's label
MOST_ARMS = 14  # two turns of the styles: more could not be distinguished


class NotYet(ValueError):
    """The data that a figure draws do not exist yet; the message says which."""


class NotMeant(NotYet):
    """A figure that a study of this kind never has; nothing is said of it unless asked for."""


@dataclass(frozen=True)
class ArmStyle:
    """Colour, line (seaborn's dashes) and marker of one arm."""

    colour: str
    dashes: tuple[float, ...] | str
    marker: str

    @property
    def line(self) -> Literal["-"] | tuple[float, Sequence[float]]:
        """The line as matplotlib wants it."""
        return "-" if isinstance(self.dashes, str) else (0.0, self.dashes)

    def handle(self, label: str, marked: bool = True) -> Line2D:
        """An entry for a legend, with or without the marker."""
        return Line2D(
            [], [], color=self.colour, linestyle=self.line, marker=self.marker if marked else "",
            markersize=4, label=label,
        )  # fmt: skip


# Colours of Okabe and Ito, which colour-blind readers can tell apart, ordered by how far apart
# they are in grey.
STYLES = (
    ArmStyle("#0072b2", "", "o"),
    ArmStyle("#e69f00", (4, 1.5), "s"),
    ArmStyle("#009e73", (1, 1), "^"),
    ArmStyle("#000000", (6, 1.5, 1, 1.5), "D"),
    ArmStyle("#cc79a7", (8, 2), "v"),
    ArmStyle("#56b4e9", (2, 2), "P"),
    ArmStyle("#d55e00", (3, 1, 1, 1, 1, 1), "X"),
)
RESERVED = {"srsgd": 0, "sgd": 1}


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """A style for each arm: srsgd and sgd look the same in all studies, the others take turns."""
    taken = {RESERVED[arm] for arm in arms if arm in RESERVED}
    free = [index for index in range(len(STYLES)) if index not in taken]
    others = [arm for arm in arms if arm not in RESERVED]
    turns = {arm: free[index % len(free)] for index, arm in enumerate(others)}
    return {arm: STYLES[{**turns, **RESERVED}[arm]] for arm in arms}


def check_arms(trials: pd.DataFrame) -> None:
    """Raise NotYet if the arms cannot be drawn in one panel: their runs differ, or are too many."""
    if analysis.several_lengths(analysis.rows(trials, "confirm")):
        raise NotYet("an arm's runs differ in their epochs: see error_by_epochs")
    count = len(analysis.arms(trials))
    if count > MOST_ARMS:
        raise NotYet(
            f"{count} arms cannot be distinguished, {MOST_ARMS} can: see the figures of the paper"
        )


def better_words(direction: str, metric: str) -> str:
    """Which values are better, for an axis whose name does not say so already."""
    said = metric.endswith(("_error", "_loss"))
    return "" if said or not direction else f", {direction} is better"


def axis_name(table: pd.DataFrame, name: str) -> str:
    """A column of the results as an axis names it, from its schema: ``test error (%)``."""
    if name == "restart_f1":
        return "restart frequency F1 (steps)"
    unit = schema_of(table)[name].unit
    return f"{analysis.in_words(name)}{f' ({unit})' if unit else ''}"


@contextmanager
def settings() -> Iterator[None]:
    """The settings in which figures are made and saved; those from before return afterwards.

    They begin from matplotlib's own, whatever a matplotlibrc says, and no text is a formula: names
    are drawn as they are. Also a decorator of functions that draw.
    """
    wanted = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        "axes.grid": True,
        "axes.titlelocation": "left",
        "grid.color": "0.9",
        "grid.linewidth": 0.6,
        "legend.frameon": True,
        "legend.framealpha": 0.9,
        "legend.edgecolor": "0.8",
        "savefig.dpi": 200,
        "svg.fonttype": "none",
        "svg.hashsalt": "srsgd_ray",
        "text.parse_math": False,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(wanted)
        yield


def title(figure: Figure, text: str, notes: Iterable[str] = ()) -> None:
    """Head a figure with a title and, below it and smaller, notes of any length."""
    width, height = figure.get_size_inches()
    lines = [line for note in notes for line in _wrap(note, int(width * LETTERS))]
    used = 0.32 + 0.16 * len(lines)
    figure.text(0.01, 1 - 0.08 / height, text, va="top", fontsize=10.5, fontweight="bold")
    if lines:
        figure.text(
            0.01, 1 - 0.32 / height, "\n".join(lines), va="top", fontsize=8.5, linespacing=1.25
        )
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, 1 - used / height))


def _wrap(note: str, width: int) -> list[str]:
    """Lines of a note; none ends within ``n = 5 pairs``."""
    glue = "\N{NO-BREAK SPACE}"  # textwrap breaks at plain spaces only
    glued = note.replace(" = ", f"{glue}={glue}").replace(" pair", f"{glue}pair")
    return [line.replace(glue, " ") for line in textwrap.wrap(glued, width)]


def short_label(arm: str) -> str:
    """An arm's label in lines that are narrow enough to stand under a column."""
    return textwrap.fill(arm_name(arm), 12)


def arm_name(arm: str) -> str:
    """An arm's label, whose middle is left out if it would take the room of the axes."""
    label = analysis.arm_label(arm)
    return label if len(label) <= LONGEST else f"{label[: LONGEST // 2]} … {label[-LONGEST // 2 :]}"
