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
    NotYet,
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

__all__ = ["best_so_far", "sensitivity_map"]

COLOURS = "viridis"  # its lightness grows evenly, so that it can be read in grey
GOLDEN = 0.618  # steps of this fraction spread points evenly over a column


def sensitivity_map(trials: pd.DataFrame) -> Figure:
    """Validation error of the search trials against restart frequency F1 and learning rate.

    One panel for each arm with restarts; beside them, on the same learning-rate axis, a column
    for each arm without. Colour: validation error of a complete trial (a stopped one has none
    that could be compared); shape: how the trial ended; ring: the best trial of its arm.

    Raises:
        NotYet: if no search trial has ended.
    """
    table = analysis.sensitivity(trials, which="all")
    if table.empty:
        raise NotYet("no search trial has ended")
    there = set(table["arm"])
    maps = [arm for arm in analysis.restarting(trials) if arm in there]
    columns = [arm for arm in analysis.arms(trials) if arm in there and arm not in maps]
    values = table["val_error"].dropna()
    norm = LogNorm() if wide_range(values) else Normalize()
    norm.autoscale([*values] or [0.0, 1.0])
    widths = [3.0] * len(maps) + ([0.9 * len(columns)] if columns else [])
    with look():
        figure = Figure(figsize=(max(WIDTH, 1.2 + 1.5 * sum(widths)), 4.6), layout="constrained")
        made = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)
        panels: list[Axes] = list(made[0])
        for axes, arm in zip(panels, maps, strict=False):
            _points(axes, table[table["arm"] == arm], "restart_f1", norm)
            log_axis(axes, "x", table["restart_f1"][table["arm"].isin(maps)])
            axes.set_xlabel("restart frequency F1 (steps)")
            _heading(axes, table, [arm])
        if columns:
            _points(panels[-1], _spread(table, columns), "column", norm)
            panels[-1].set_xlim(-0.5, len(columns) - 0.5)
            panels[-1].set_xticks(range(len(columns)))
            panels[-1].set_xticklabels([short_label(arm) for arm in columns])
            panels[-1].set_xlabel("no restarts")
            panels[-1].grid(visible=False, axis="x")
            _heading(panels[-1], table, columns)
        log_axis(panels[0], "y", table["lr"])
        panels[0].set_ylabel("learning rate")
        if len(values):
            bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=panels, pad=0.02)
            bar.set_label("validation error (%)")
            if isinstance(norm, LogNorm):
                log_ticks(bar.ax.yaxis, values)
        legend_below(figure, _state_handles(table))
        title(figure, "Where the search found a low validation error")
    return figure


def _points(axes: Axes, table: pd.DataFrame, x: str, norm: Normalize) -> None:
    complete = table[table["val_error"].notna()]
    if len(complete):
        sns.scatterplot(
            data=complete,
            x=x,
            y="lr",
            hue="val_error",
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
            mark_bad(axes, [*own[x]], [*own["lr"]], state, NOTE)
    best = table[table["best"]]
    axes.scatter(
        best[x], best["lr"], marker="o", s=170, facecolors="none", edgecolors="black",
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


def _heading(axes: Axes, table: pd.DataFrame, arms: list[str]) -> None:
    found = table[table["arm"].isin(arms) & table["best"]].set_index("arm")["val_error"]
    lines = [
        f"{analysis.arm_label(arm)}: "
        + (f"best {found[arm]:.2f} %" if arm in found else "no result")
        for arm in arms
    ]
    axes.set_title("\n".join(lines), fontsize="medium")


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
    """Best validation error of each arm against the epochs that its search had spent.

    Steps: the best so far; points: each complete trial, at the end of its epochs. In the strip
    below, the trials that spent epochs without a result.

    Raises:
        NotYet: if no search trial is complete.
    """
    table = analysis.best_so_far(trials)
    if table["val_error"].notna().sum() == 0:
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
        known = table[table["best_val_error"].notna()]
        sns.lineplot(
            data=known,
            x="epochs",
            y="best_val_error",
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
            data=table[table["val_error"].notna()],
            x="epochs",
            y="val_error",
            hue="arm",
            style="arm",
            palette=palette,
            markers={arm: style.marker for arm, style in styles.items()},
            s=24,
            alpha=0.75,
            legend=False,
            ax=panels[0],
        )
        values = table["val_error"].dropna()
        if wide_range(values):
            log_axis(panels[0], "y", values)
        panels[0].set_ylabel("validation error (%)")
        handles = []
        for arm, style in styles.items():
            best = known.loc[known["arm"] == arm, "best_val_error"].min()
            said = "no complete trial" if pd.isna(best) else f"best {best:.2f} %"
            handles.append(style.handle(f"{analysis.arm_label(arm)}, {said}"))
        if len(bad):
            _bad_strip(panels[-1], bad, arms, palette)
        panels[-1].set_xlabel("epochs spent by the search of an arm")
        spent = table["epochs"].max()
        panels[-1].set_xlim(-0.015 * spent, 1.015 * spent)
        legend_below(figure, [*handles, *bad_handles(bad["state"])])
        title(figure, "Best validation error found so far")
    return figure


def _bad_strip(axes: Axes, bad: pd.DataFrame, arms: list[str], palette: dict[str, str]) -> None:
    for place, arm in enumerate(arms):
        for state in ENDED_BADLY:
            own = bad[(bad["state"] == state) & (bad["arm"] == arm)]
            if len(own):
                mark_bad(axes, [*own["epochs"]], [place] * len(own), state, palette[arm])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_yticks(range(len(arms)))
    axes.set_yticklabels([analysis.arm_label(arm) for arm in arms])
    axes.set_title("trials without a result", fontsize="medium")
    axes.grid(visible=False, axis="y")
