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
from srsgd_ray.figures.style import (
    ENDED_BADLY,
    NOTE,
    WIDTH,
    NotMeant,
    NotYet,
    arm_name,
    arm_styles,
    bad_handles,
    legend_below,
    log_axis,
    log_ticks,
    look,
    mark_bad,
    point_handle,
    short_label,
    title,
    wide_range,
)
from srsgd_ray.results import schema_of

__all__ = ["best_so_far", "sensitivity_map"]

COLOURS = "viridis"  # its lightness grows evenly, so that it can be read in grey
TWO = 2
GOLDEN = 0.618  # steps of this fraction spread points evenly over a column


def sensitivity_map(trials: pd.DataFrame) -> Figure:
    """Search metric of the trials against two knobs: F1 and learning rate, where there are such.

    One panel for each arm with restarts; beside them, on the same learning-rate axis, a column
    for each arm without. Colour: the metric of a complete trial (a stopped one has none
    that could be compared); shape: how the trial ended; ring: the best trial of its arm.

    Raises:
        NotYet: if no search trial has ended.
    """
    knobs = analysis.main_knobs(trials)
    if len(knobs) < TWO:
        return _one_knob(trials, knobs)
    x, y = knobs
    metric = analysis.search_goal(trials)[0]
    table = analysis.sensitivity(trials, x, y, which="all")
    if table.empty:
        raise NotYet("no search trial has ended")
    there = set(table["arm"])
    split = x == "restart_f1"
    maps = [arm for arm in analysis.restarting(trials) if arm in there]
    if not split:
        maps = [arm for arm in analysis.arms(trials) if arm in there]
    columns = [arm for arm in analysis.arms(trials) if arm in there and arm not in maps]
    values = table[metric].dropna()
    norm = LogNorm() if wide_range(values) else Normalize()
    norm.autoscale([*values] or [0.0, 1.0])
    widths = [3.0] * len(maps) + ([0.9 * len(columns)] if columns else [])
    with look():
        figure = Figure(figsize=(max(WIDTH, 1.2 + 1.5 * sum(widths)), 4.6), layout="constrained")
        made = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)
        panels: list[Axes] = list(made[0])
        for axes, arm in zip(panels, maps, strict=False):
            _points(axes, table[table["arm"] == arm], (x, y, metric), norm)
            _scaled(axes, "x", table[x][table["arm"].isin(maps)], split)
            axes.set_xlabel(_axis_name(trials, x))
            _heading(axes, table, [arm], trials)
        if columns:
            _points(panels[-1], _spread(table, columns), ("column", y, metric), norm)
            panels[-1].set_xlim(-0.5, len(columns) - 0.5)
            panels[-1].set_xticks(range(len(columns)))
            panels[-1].set_xticklabels([short_label(arm) for arm in columns])
            panels[-1].set_xlabel("no restarts")
            panels[-1].grid(visible=False, axis="x")
            _heading(panels[-1], table, columns, trials)
        _scaled(panels[0], "y", table[y], split)
        panels[0].set_ylabel(_axis_name(trials, y))
        if len(values):
            bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=panels, pad=0.02)
            bar.set_label(_metric_name(trials))
            if isinstance(norm, LogNorm):
                log_ticks(bar.ax.yaxis, values)
        legend_below(figure, _state_handles(table))
        low = "low" if analysis.search_goal(trials)[1] == "min" else "high"
        title(figure, f"Where the search found a {low} {analysis.in_words(metric)}")
    return figure


def _scaled(axes: Axes, which: str, values: pd.Series[float], log: bool) -> None:
    """A logarithmic axis where that suits the values."""
    if log or wide_range(values):
        log_axis(axes, which, values)


def _axis_name(trials: pd.DataFrame, name: str) -> str:
    """A knob in words, with its unit."""
    if name == "restart_f1":
        return "restart frequency F1 (steps)"
    unit = schema_of(trials)[name].unit
    return f"{analysis.in_words(name)}{f' ({unit})' if unit else ''}"


def _metric_name(trials: pd.DataFrame) -> str:
    """The search metric in words, with its unit."""
    return _axis_name(trials, analysis.search_goal(trials)[0])


def _one_knob(trials: pd.DataFrame, knobs: tuple[str, ...]) -> Figure:
    """The metric against the only knob that was searched."""
    if not knobs:
        raise NotMeant("no knob that holds numbers was searched")
    (x,), metric = knobs, analysis.search_goal(trials)[0]
    search = trials[(trials["phase"] == "search") & (trials["state"] == "complete")]
    if search.empty:
        raise NotYet("no search trial is complete")
    styles = arm_styles(analysis.arms(trials))
    with look():
        figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
        axes = figure.subplots()
        for arm, style in styles.items():
            own = search[search["arm"] == arm]
            axes.plot(
                own[x], own[metric], linestyle="none", marker=style.marker, color=style.colour,
                label=arm_name(arm),
            )  # fmt: skip
        _scaled(axes, "x", search[x], False)
        if wide_range(search[metric]):
            log_axis(axes, "y", search[metric])
        axes.set_xlabel(_axis_name(trials, x))
        axes.set_ylabel(_metric_name(trials))
        legend_below(figure, [style.handle(arm_name(arm)) for arm, style in styles.items()])
        title(figure, f"{analysis.in_words(metric).capitalize()} against {_axis_name(trials, x)}")
    return figure


def _points(axes: Axes, table: pd.DataFrame, names: tuple[str, str, str], norm: Normalize) -> None:
    x, y, metric = names
    complete = table[table[metric].notna()]
    if len(complete):
        sns.scatterplot(
            data=complete,
            x=x,
            y=y,
            hue=metric,
            hue_norm=norm,
            palette=COLOURS,
            marker="o",
            s=48,
            edgecolor="0.3",
            linewidth=0.5,
            legend=False,
            zorder=3,
            ax=axes,
        )
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
    metric = analysis.search_goal(trials)[0]
    found = table[table["arm"].isin(arms) & table["best"]].set_index("arm")[metric]
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
        handles = [
            point_handle("complete", "o", "0.6", "0.3"),
            *handles,
            point_handle("best of its arm", "o", "none", "black", 11),
        ]
    return handles


def best_so_far(trials: pd.DataFrame) -> Figure:
    """Best value of the search metric of each arm against the epochs that its search had spent.

    Steps: the best so far; points: each complete trial, at the end of its epochs. In the strip
    below, the trials that spent epochs without a result.

    Raises:
        NotYet: if no search trial is complete.
    """
    table = analysis.best_so_far(trials)
    metric, mode = analysis.search_goal(trials)
    so_far = f"best_{metric}"
    if table[metric].notna().sum() == 0:
        raise NotYet("no search trial is complete")
    arms = analysis.arms(trials)
    styles = arm_styles(arms)
    palette = {arm: style.colour for arm, style in styles.items()}
    bad = table[table["state"].isin(list(ENDED_BADLY))]
    with look():
        heights = [10.0] + ([0.5 + 0.8 * len(arms)] if len(bad) else [])
        figure = Figure(figsize=(WIDTH, 3.5 + 0.5 * len(arms)), layout="constrained")
        made = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
        panels: list[Axes] = list(made[:, 0])
        known = table[table[so_far].notna()]
        sns.lineplot(
            data=known,
            x="epochs",
            y=so_far,
            hue="arm",
            style="arm",
            palette=palette,
            dashes={arm: style.dashes for arm, style in styles.items()},
            drawstyle="steps-post",
            estimator=None,
            errorbar=None,
            linewidth=1.8,
            legend=False,
            ax=panels[0],
        )
        sns.scatterplot(
            data=table[table[metric].notna()],
            x="epochs",
            y=metric,
            hue="arm",
            style="arm",
            palette=palette,
            markers={arm: style.marker for arm, style in styles.items()},
            s=24,
            alpha=0.75,
            legend=False,
            ax=panels[0],
        )
        values = table[metric].dropna()
        if wide_range(values):
            log_axis(panels[0], "y", values)
        panels[0].set_ylabel(_metric_name(trials))
        handles = []
        for arm, style in styles.items():
            own = known.loc[known["arm"] == arm, so_far]
            best = own.min() if mode == "min" else own.max()
            said = "no complete trial" if pd.isna(best) else f"best {_short(best, trials)}"
            handles.append(style.handle(f"{arm_name(arm)}, {said}"))
        if len(bad):
            _bad_strip(panels[-1], bad, arms, palette)
        spent_on = schema_of(trials)["epochs_done"].unit or "epochs"
        panels[-1].set_xlabel(f"{spent_on} spent by the search of an arm")
        spent = table["epochs"].max()
        panels[-1].set_xlim(-0.015 * spent, 1.015 * spent)
        legend_below(figure, [*handles, *bad_handles(bad["state"])])
        title(figure, f"Best {analysis.in_words(metric)} found so far")
    return figure


def _bad_strip(axes: Axes, bad: pd.DataFrame, arms: list[str], palette: dict[str, str]) -> None:
    for place, arm in enumerate(arms):
        for state in ENDED_BADLY:
            own = bad[(bad["state"] == state) & (bad["arm"] == arm)]
            if len(own):
                mark_bad(axes, [*own["epochs"]], [place] * len(own), state, palette[arm])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_yticks(range(len(arms)))
    axes.set_yticklabels([arm_name(arm) for arm in arms])
    axes.set_title("trials without a result", fontsize="medium")
    axes.grid(visible=False, axis="y")
