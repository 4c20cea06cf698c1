"""The search: where the good configurations lie, and how soon they were found."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from srsgd_ray import analysis
from srsgd_ray.figures.parts import (
    bad_handles,
    column,
    legend_below,
    lines,
    log_ticks,
    mark_bad,
    name_axis,
    name_columns,
    point_handle,
    points,
    row,
    wide_range,
)
from srsgd_ray.figures.style import (
    ENDED_BADLY,
    NOTE,
    WIDTH,
    ArmStyle,
    NotMeant,
    NotYet,
    arm_name,
    arm_styles,
    axis_name,
    settings,
    short_label,
    title,
)
from srsgd_ray.results import schema_of

COLOURS = "viridis"  # its lightness grows evenly, so that it can be read in grey
TWO = 2
GOLDEN = 0.618  # steps of this fraction spread points evenly over a column


@settings()
def sensitivity_map(trials: pd.DataFrame) -> Figure:
    """Search metric of the trials against two knobs: F1 and learning rate, where there are such.

    One panel for each arm with restarts; next to them, on the same learning-rate axis, a column
    for each arm without. Colour: the metric of a complete trial (a stopped one has none
    that could be compared); shape: how the trial ended; ring: the best trial of its arm, or of each
    of the arm's searches.

    Raises:
        NotYet: if no search trial has ended.
    """
    knobs = analysis.main_knobs(trials)
    if len(knobs) < TWO:
        return _one_knob(trials, knobs)
    x, y = knobs
    metric, mode = analysis.search_goal(trials)
    table = analysis.sensitivity(trials, x, y)
    if table.empty:
        raise NotYet("no search trial has ended")
    there = [arm for arm in analysis.arms(trials) if arm in set(table["arm"])]
    split = x == "restart_f1"
    maps = [arm for arm in there if arm in analysis.restarting(trials) or not split]
    columns = [arm for arm in there if arm not in maps]
    values = table[metric].dropna()
    norm = LogNorm() if wide_range(values) else Normalize()
    norm.autoscale([*values] or [0.0, 1.0])
    widths = [3.0] * len(maps) + ([0.9 * len(columns)] if columns else [])
    figure, panels = row(4.6, widths, width=max(WIDTH, 1.2 + 1.5 * sum(widths)), sharey=True)
    for axes, arm in zip(panels, maps, strict=False):
        _points(axes, table[table["arm"] == arm], (x, y, metric), norm)
        name_axis(axes, "x", axis_name(trials, x), table[x][table["arm"].isin(maps)], split)
        _heading(axes, table, [arm], trials)
    if columns:
        _points(panels[-1], _spread(table, columns), ("column", y, metric), norm)
        name_columns(panels[-1], [short_label(arm) for arm in columns], "no restarts")
        _heading(panels[-1], table, columns, trials)
    name_axis(panels[0], "y", axis_name(trials, y), table[y], split)
    if len(values):
        bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=panels, pad=0.02)
        bar.set_label(axis_name(trials, metric))
        if isinstance(norm, LogNorm):
            log_ticks(bar.ax.yaxis, values)
    legend_below(figure, _state_handles(table))
    low = "low" if mode == "min" else "high"
    title(figure, f"Where the search found a {low} {analysis.in_words(metric)}")
    return figure


def _one_knob(trials: pd.DataFrame, knobs: tuple[str, ...]) -> Figure:
    """The metric against the only knob that was searched."""
    if not knobs:
        raise NotMeant("no knob that holds numbers was searched")
    (x,), metric = knobs, analysis.search_goal(trials)[0]
    search = analysis.rows(trials, "search").query("state == 'complete'")
    if search.empty:
        raise NotYet("no search trial is complete")
    styles = arm_styles(analysis.arms(trials))
    figure, (axes,) = row(4.0)
    for arm, style in styles.items():
        own = search[search["arm"] == arm]
        axes.plot(
            own[x], own[metric], linestyle="none", marker=style.marker, color=style.colour,
            label=arm_name(arm),
        )  # fmt: skip
    for which, name in (("x", x), ("y", metric)):
        name_axis(axes, which, axis_name(trials, name), search[name])
    legend_below(figure, [style.handle(arm_name(arm)) for arm, style in styles.items()])
    title(figure, f"{analysis.in_words(metric).capitalize()} against {axis_name(trials, x)}")
    return figure


def _points(axes: Axes, table: pd.DataFrame, names: tuple[str, str, str], norm: Normalize) -> None:
    x, y, metric = names
    complete = table[table[metric].notna()]
    if len(complete):
        sns.scatterplot(
            data=complete, x=x, y=y, hue=metric, hue_norm=norm, palette=COLOURS, marker="o", s=48,
            edgecolor="0.3", linewidth=0.5, legend=False, zorder=3, ax=axes,
        )  # fmt: skip
    for state in ENDED_BADLY:
        own = table[table["state"] == state]
        if len(own):
            mark_bad(axes, [*own[x]], [*own[y]], state, NOTE)
    best = table[table["best"]]
    axes.scatter(
        best[x], best[y], marker="o", s=170, facecolors="none", edgecolors="black",
        linewidths=1.6, zorder=4, label="best",
    )  # fmt: skip


def _spread(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Place the trials of an arm side by side, since learning rates that worked lie close."""
    own = table[table["arm"].isin(columns)]
    turn = own.groupby("arm").cumcount()
    return own.assign(
        column=own["arm"].map({arm: place for place, arm in enumerate(columns)})
        + 0.6 * ((turn * GOLDEN) % 1 - 0.5)
    )


def _heading(axes: Axes, table: pd.DataFrame, arms: list[str], trials: pd.DataFrame) -> None:
    metric, mode = analysis.search_goal(trials)
    found = table[table["arm"].isin(arms) & table["best"]].groupby("arm")[metric].agg(mode)
    lines = [
        f"{arm_name(arm)}: "
        + (f"best {_short(found[arm], trials)}" if arm in found else "no result")
        for arm in arms
    ]
    axes.set_title("\n".join(lines), fontsize="medium")


def _short(value: float, trials: pd.DataFrame) -> str:
    """A value of the search metric, with its unit."""
    unit = schema_of(trials)[analysis.search_goal(trials)[0]].unit
    return f"{value:.2f} %" if unit == "%" else f"{value:.4g} {unit}".rstrip()


def _state_handles(table: pd.DataFrame) -> list[Line2D]:
    handles = bad_handles(table["state"])
    if table["best"].any():
        several = table["best"].sum() > table["arm"].nunique()
        best = f"best of its {'search' if several else 'arm'}"
        handles = [
            point_handle("complete", "o", "0.6", "0.3"),
            *handles,
            point_handle(best, "o", "none", "black", 11),
        ]
    return handles


@settings()
def best_so_far(trials: pd.DataFrame) -> Figure:
    """Best value of the search metric of each arm against the epochs that its search had spent.

    Steps: the best so far, of each of several searches; points: each complete trial, at the end of
    its epochs. In the strip below, the trials that spent epochs without a result.

    Raises:
        NotYet: if no search trial is complete.
    """
    table = analysis.best_so_far(trials)
    metric, mode = analysis.search_goal(trials)
    so_far = f"best_{metric}"
    values = table[metric].dropna()
    if values.empty:
        raise NotYet("no search trial is complete")
    arms = analysis.arms(trials)
    styles = arm_styles(arms)
    bad = table[table["state"].isin(list(ENDED_BADLY))]
    heights = [10.0] + ([0.5 + 0.8 * len(arms)] if len(bad) else [])
    figure, panels = column(3.5 + 0.5 * len(arms), heights)
    known = table[table[so_far].notna()]
    steps = {"drawstyle": "steps-post", "linewidth": 1.8, "units": "search"}
    lines(panels[0], known, "epochs", so_far, styles, **steps)
    complete = table[table[metric].notna()]
    points(panels[0], complete, "epochs", metric, styles, s=24, alpha=0.75)
    name_axis(panels[0], "y", axis_name(trials, metric), values)
    handles = []
    for arm, style in styles.items():
        own = known.loc[known["arm"] == arm, so_far]
        best = own.min() if mode == "min" else own.max()
        said = "no complete trial" if pd.isna(best) else f"best {_short(best, trials)}"
        handles.append(style.handle(f"{arm_name(arm)}, {said}"))
    if len(bad):
        _bad_strip(panels[-1], bad, styles)
    spent_on = schema_of(trials)["epochs_done"].unit or "epochs"
    panels[-1].set_xlabel(f"{spent_on} spent by a search of an arm")
    spent = table["epochs"].max()
    panels[-1].set_xlim(-0.015 * spent, 1.015 * spent)
    legend_below(figure, [*handles, *bad_handles(bad["state"])])
    title(figure, f"Best {analysis.in_words(metric)} found so far")
    return figure


def _bad_strip(axes: Axes, bad: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    for place, (arm, style) in enumerate(styles.items()):
        for state in ENDED_BADLY:
            own = bad[(bad["state"] == state) & (bad["arm"] == arm)]
            if len(own):
                mark_bad(axes, [*own["epochs"]], [place] * len(own), state, style.colour)
    axes.set_ylim(len(styles) - 0.4, -0.6)
    axes.set_yticks(range(len(styles)))
    axes.set_yticklabels([arm_name(arm) for arm in styles])
    axes.set_title("trials without a result", fontsize="medium")
    axes.grid(visible=False, axis="y")
