"""What figures are made of: panels, series of arms with bands, axes, and legends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from srsgd_ray.figures.style import ENDED_BADLY, LETTERS, NOTE, WIDTH, ArmStyle


def row(
    height: float, widths: Sequence[float] = (1,), *, width: float = WIDTH, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """An empty figure with panels of these relative widths side by side; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    made = figure.subplots(1, len(widths), sharey=sharey, width_ratios=widths, squeeze=False)
    return figure, list(made[0])


def column(height: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """An empty figure with panels of these relative heights, one above the other, of one x axis."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    made = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    return figure, list(made[:, 0])


def lines(
    axes: Axes, table: pd.DataFrame, x: str, y: str, styles: Mapping[str, ArmStyle], **more: Any
) -> None:
    """A line an arm, in its style, through the points of the table in their order."""
    dashes = {arm: style.dashes for arm, style in styles.items()}
    sns.lineplot(
        data=table, x=x, y=y, hue="arm", style="arm", palette=_palette(styles), dashes=dashes,
        estimator=None, errorbar=None, legend=False, ax=axes, **more,
    )  # fmt: skip


def points(
    axes: Axes, table: pd.DataFrame, x: str, y: str, styles: Mapping[str, ArmStyle], **more: Any
) -> None:
    """The points of the table, each in the style of its arm."""
    sns.scatterplot(
        data=table, x=x, y=y, hue="arm", style="arm", palette=_palette(styles),
        markers=markers(styles), legend=False, ax=axes, **more,
    )  # fmt: skip


def band(
    axes: Axes, x: pd.Series[Any], low: pd.Series[float], high: pd.Series[float], colour: str,
    label: str, alpha: float = 0.18,
) -> None:  # fmt: skip
    """The area between two curves, such as an interval about a line."""
    axes.fill_between(
        x, low, high, color=colour, alpha=alpha, linewidth=0, label=f"band of {label}"
    )


def _palette(styles: Mapping[str, ArmStyle]) -> dict[str, str]:
    return {arm: style.colour for arm, style in styles.items()}


def markers(styles: Mapping[str, ArmStyle]) -> dict[str, str]:
    """The marker of each arm."""
    return {arm: style.marker for arm, style in styles.items()}


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
    # As many columns as fit; all are as wide as the widest label.
    widest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(WIDTH * LETTERS) // (widest + 4)))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns)


def name_columns(axes: Axes, names: Sequence[str], label: str = "") -> None:
    """Make the x axis one of columns at 0, 1, 2, ..., each with its name below."""
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels(names)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="x")


def name_axis(
    axes: Axes, which: str, name: str, values: Iterable[float], log: bool = False
) -> None:
    """Name an axis, x or y, which is logarithmic if ``log`` or where that suits the values."""
    axes.set(**{f"{which}label": name})
    known = list(values)
    if log or wide_range(known):
        log_axis(axes, which, known)


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
