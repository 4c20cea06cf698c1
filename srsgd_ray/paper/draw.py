"""Draws a figure of the paper from its table of numbers, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from srsgd_ray.figures.parts import log_axis
from srsgd_ray.figures.style import LETTERS, NOTE, STYLES, WIDTH, ArmStyle, settings, title
from srsgd_ray.paper.notes import notes, optimizer, variants
from srsgd_ray.paper.panels import DEPTH, GAP, LOSS, PAPER

# Vertical limits of the published figures, by figure and panel.
LIMITS = {
    ("fig2", "left"): (1e-10, 1.0),
    ("fig2", "middle"): (1e-4, 1.0),
    ("fig2", "right"): (1e-5, 10.0),
    ("fig3", ""): (0.1, 100.0),
}
OURS = {"SRSGD": 0, "SGD": 1, "SRNAG": 0, "GD": 1, "GD + Momentum": 2, "NAG": 3, "ARNAG": 4}
MARKERS = ("D", "P", "X", "*")  # of our second and further variants
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
THIN, STRONG = 0.9, 2.0  # lines: published and ours


def draw_numbers(table: pd.DataFrame) -> Figure:
    """A figure of the paper from its numbers.

    Args:
        table: what :func:`srsgd_ray.paper.numbers.figure_numbers` returned, or was read back from
            the Parquet file of a picture.
    """
    table = table.rename(columns={"way": "variant"})  # as files from before call it
    name = str(table["figure"].iloc[0])
    panels = [own for _, own in table.groupby("panel", sort=False)]
    styles = [_styles(list(dict.fromkeys(own["series"]))) for own in panels]
    head = PAPER[name].title + (", as plotted" if table["as_plotted"].iloc[0] else "")
    handles = _handles(table, styles)
    with settings():
        figure = Figure(figsize=(WIDTH, 1.0), layout="constrained")
        made: list[Axes] = list(figure.subplots(1, len(panels), squeeze=False)[0])
        for axes, own, style in zip(made, panels, styles, strict=True):
            _panel(axes, own, style, variants(table))
            _vertical(axes, own, LIMITS.get((name, str(own["panel"].iloc[0]))))
            _horizontal(axes, own)
            axes.set_title(str(own["title"].iloc[0]), fontsize="medium")
            axes.set_xlabel(str(own["x_label"].iloc[0]))
            label = str(own["y_label"].iloc[0])
            axes.set_ylabel(label if axes is made[0] or label != made[0].get_ylabel() else "")
        columns = _columns(handles)
        figure.legend(handles=handles, loc="outside lower left", ncols=columns)
        said = notes(table)
        lines = sum(1 + len(note) // 110 for note in said) + -(-len(handles) // columns)
        figure.set_figheight((3.4 if len(panels) > 1 else 3.9) + 0.18 * lines)
        title(figure, head, said)
    return figure


def _columns(handles: Sequence[Line2D]) -> int:
    widest = max(len(str(handle.get_label())) for handle in handles)
    most = max(1, int(WIDTH * LETTERS / (widest + 7)))
    rows = -(-len(handles) // most)
    return -(-len(handles) // rows)


def _styles(names: Sequence[str]) -> dict[str, ArmStyle]:
    """A style for each line of a panel: F1 on a scale of colours, since it is ordered."""
    known = {name: STYLES[OURS[name]] for name in names if name in OURS}
    scaled = [name for name in names if name.startswith("F1=")]
    colours = [to_hex(c) for c in sns.color_palette("viridis", len(scaled) + 1)[:-1]]
    by_f1 = {name: ArmStyle(c, "", "o") for name, c in zip(scaled, colours, strict=True)}
    others = [name for name in names if name not in known and name not in by_f1]
    turns = {name: STYLES[index % len(STYLES)] for index, name in enumerate(others)}
    return {**known, **by_f1, **turns}


def _panel(
    axes: Axes, table: pd.DataFrame, styles: dict[str, ArmStyle], numbers: Mapping[Any, int]
) -> None:
    """All lines of a panel. Each is labelled by its source, series and variant."""
    for key, own in table.groupby(["role", "source", "series", "variant"], sort=False):
        role, source, series, variant = map(str, key)
        ours = source == "ours"
        number = numbers[optimizer(role, series), variant] if ours else 0
        label = f"{source} {series}" + (f" ({number + 1})" if number else "")
        style = styles[series]
        if role == "reference":
            axes.axhline(
                float(own["y"].iloc[0]), color=style.colour, linestyle="--", alpha=0.8, zorder=1,
                linewidth=STRONG if ours else THIN, label=f"level of {label}",
            )  # fmt: skip
        elif role == "point" and ours:
            axes.errorbar(
                own["position"], own["y"], yerr=[own["y"] - own["low"], own["high"] - own["y"]],
                color=style.colour, linestyle=style.line, linewidth=STRONG, capsize=3, zorder=3,
                marker=_marker(style.marker, number), markersize=6.5, label=label,
            )  # fmt: skip
        else:
            _line(axes, own, style, label, number if ours else None, role == "point")


def _line(
    axes: Axes, own: pd.DataFrame, style: ArmStyle, label: str, ours: int | None, marked: bool
) -> None:
    """A line with a band: a published one, or a curve of our variant number ``ours``."""
    if own["low"].notna().any():
        axes.fill_between(
            own["position"], own["low"], own["high"], color=style.colour, linewidth=0,
            alpha=0.12 if marked else 0.2 if ours is None else 0.15, label=f"band of {label}",
        )  # fmt: skip
    drawn: dict[str, Any] = {"linestyle": "-", "linewidth": THIN, "zorder": 3}
    if marked:
        drawn |= {
            "linestyle": style.line, "marker": style.marker, "markersize": 4.5, "zorder": 2,
            "markerfacecolor": "white", "markeredgecolor": style.colour,
        }  # fmt: skip
    elif ours is not None:
        dashes = DASHES[ours % len(DASHES)]
        drawn |= {"linestyle": dashes, "linewidth": STRONG, "alpha": 0.55, "zorder": 2}
    sns.lineplot(
        data=own, x="position", y="y", estimator=None, errorbar=None, legend=False, ax=axes,
        color=style.colour, label=label, **drawn,
    )  # fmt: skip


def _vertical(axes: Axes, table: pd.DataFrame, limits: tuple[float, float] | None) -> None:
    if table["y_label"].iloc[0] not in (LOSS, GAP):
        return
    if limits is None:
        log_axis(axes, "y", table["y"])
    else:
        axes.set_yscale("log")
        axes.set_ylim(*limits)


def _horizontal(axes: Axes, table: pd.DataFrame) -> None:
    places = table[table["role"] == "point"].drop_duplicates("position").sort_values("position")
    if len(places):
        axes.set_xticks(list(places["position"]), [f"{x:g}" for x in places["x"]])
    if table["x_label"].iloc[0] == DEPTH:
        axes.tick_params(axis="x", labelsize="small")


def _handles(table: pd.DataFrame, styles: Sequence[dict[str, ArmStyle]]) -> list[Line2D]:
    """Each style once with the names of the lines that have it, then the styles of the sources."""
    roles, ours = set(table["role"]), "ours" in set(table["source"])
    named: dict[ArmStyle, list[str]] = {}
    for panel in styles:
        for name, style in panel.items():
            names = named.setdefault(style, [])
            names += [name] * (name not in names)
    marked = {str(name) for name in table.loc[table["role"] == "point", "series"]}
    handles = []
    for style, names in named.items():
        handle = style.handle(" / ".join(names), marked=names[0] in marked)
        handle.set_linestyle(style.line if names[0] in marked else "-")
        if not ours:
            handle.set_markerfacecolor("white")
        handles.append(handle)
    points = "point" in roles
    handles.append(_source("published", points, False))
    numbers = sorted(set(variants(table).values()))
    for number in numbers:
        label = f"ours ({number + 1})" if len(numbers) > 1 else "ours"
        handles.append(_source(label, points, True, number))
    if "reference" in roles:
        handles.append(Line2D([], [], color=NOTE, linestyle="--", label="SGD at full length"))
    return handles


def _source(label: str, marked: bool, strong: bool, variant: int = 0) -> Line2D:
    return Line2D(
        [], [], color=NOTE, linewidth=STRONG if strong else THIN, label=label,
        linestyle="-" if marked else DASHES[variant % len(DASHES)],
        marker=_marker("o", variant) if marked else "", markersize=6.5 if strong else 4.5,
        markerfacecolor=NOTE if strong else "white",
    )  # fmt: skip


def _marker(first: str, variant: int) -> str:
    return MARKERS[(variant - 1) % len(MARKERS)] if variant else first
