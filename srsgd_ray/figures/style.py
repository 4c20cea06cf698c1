"""How every figure looks: arms told apart by colour, line and marker, on plain axes.

Nothing here changes a global setting: :func:`look` gives it back.
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
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from srsgd_ray import analysis
from srsgd_ray.analysis import length_column

__all__ = [
    "ENDED_BADLY",
    "ArmStyle",
    "NotMeant",
    "NotYet",
    "arm_name",
    "arm_styles",
    "bad_handles",
    "better_words",
    "check_arms",
    "legend_below",
    "log_axis",
    "log_ticks",
    "look",
    "mark_bad",
    "point_handle",
    "several_lengths",
    "short_label",
    "title",
    "wide_range",
]

WIDTH = 7.2  # inches, of every figure
LETTERS = 15.5  # letters of a note that fit into an inch
NOTE = "0.35"  # grey of what is said beside the data
# Marker of a search trial that has no result to compare, by its state. None is filled, so that
# those that lie close can be told apart.
ENDED_BADLY = {"pruned": "v", "diverged": "x", "failed": "+"}


MOST_ARMS = 14  # two turns of the styles: more could not be told apart


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


def check_arms(arms: Sequence[str]) -> None:
    """Raise NotYet if there are more arms than a figure can tell apart."""
    if len(arms) > MOST_ARMS:
        raise NotYet(
            f"{len(arms)} arms cannot be told apart, {MOST_ARMS} can: see the figures of the paper"
        )


def several_lengths(trials: pd.DataFrame) -> bool:
    """Whether the confirmation runs of an arm differ in their length."""
    name = length_column(trials)
    runs = trials[trials["phase"] == "confirm"]
    if name == "epochs_done":
        runs = runs[runs["state"] == "complete"]
    return bool((runs.groupby("arm")[name].nunique() > 1).any())


def better_words(direction: str, metric: str) -> str:
    """Which values are better, for an axis whose name does not say so already."""
    said = metric.endswith(("_error", "_loss"))
    return "" if said or not direction else f", {direction} is better"


@contextmanager
def look() -> Iterator[None]:
    """The settings in which figures are made and saved; those from before return afterwards."""
    settings = {
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
    }
    with mpl.rc_context(settings):
        yield


def title(figure: Figure, text: str, notes: Iterable[str] = ()) -> None:
    """Head a figure with a title and, below it and smaller, notes of any length."""
    width, height = figure.get_size_inches()
    lines = [plain_text(line) for note in notes for line in _wrap(note, int(width * LETTERS))]
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
    """An arm's label as matplotlib draws it: a dollar sign begins no formula."""
    return plain_text(analysis.arm_label(arm))


def plain_text(text: str) -> str:
    """A text that is drawn as it is, though a name in it may hold a dollar sign."""
    return text.replace("$", r"\$")


def mark_bad(axes: Axes, x: Sequence[float], y: Sequence[float], state: str, colour: str) -> None:
    """Draw trials that ended in ``state``, one of ``ENDED_BADLY``."""
    axes.plot(
        x, y, linestyle="none", marker=ENDED_BADLY[state], markersize=6, markerfacecolor="none",
        markeredgecolor=colour, markeredgewidth=1.3, zorder=2, label=state,
    )  # fmt: skip


def point_handle(label: str, marker: str, face: str, edge: str, size: float = 6) -> Line2D:
    """An entry for a legend that is one point."""
    return Line2D(
        [], [], linestyle="none", marker=marker, markerfacecolor=face, markeredgecolor=edge,
        markersize=size, markeredgewidth=1.3, label=label,
    )  # fmt: skip


def bad_handles(states: Iterable[str]) -> list[Line2D]:
    """Entries for those of ``states`` that have no result to compare."""
    there = set(states)
    return [
        point_handle(state, marker, "none", NOTE)
        for state, marker in ENDED_BADLY.items()
        if state in there
    ]


def legend_below(figure: Figure, handles: list[Line2D]) -> None:
    """A legend under the axes, where it can hide nothing."""
    figure.legend(handles=handles, loc="outside lower left", ncols=_columns(handles))


def _columns(handles: list[Line2D]) -> int:
    """As many columns as fit into the width of a figure; all are as wide as the widest label."""
    widest = max(len(str(handle.get_label())) for handle in handles)
    return max(1, min(len(handles), int(WIDTH * LETTERS) // (widest + 4)))


def log_axis(axes: Axes, which: str, values: Iterable[float]) -> None:
    """Make ``which`` axis (x or y) logarithmic, with room around the values and plain labels."""
    known = [value for value in values if value > 0]
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    if which == "x":
        axes.set_xscale("log")
    else:
        axes.set_yscale("log")
    if known:
        # At least a factor of 2.5 wide, so that one of 1, 2 and 5 lies within.
        room = max(1.15, (max(known) / min(known)) ** 0.06)
        room = max(room, (2.5 * min(known) / max(known)) ** 0.5)
        set_limits(min(known) / room, max(known) * room)
    log_ticks(axis, known)


def log_ticks(axis: Axis, values: Iterable[float]) -> None:
    """Ticks with plain labels: 1, 2 and 5, and 3 and 7 too if the values lie close."""
    known = list(values)
    close = bool(known) and max(known) / min(known) < 12
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if close else (1, 2, 5), numticks=30))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def wide_range(values: Iterable[float]) -> bool:
    """Whether values are positive and so spread that a logarithmic axis shows them better."""
    known = list(values)
    return bool(known) and min(known) > 0 and max(known) / min(known) >= 6
