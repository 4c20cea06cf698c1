"""Training curves of the confirmation runs, with learning-rate drops and restarts."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from srsgd_ray import analysis
from srsgd_ray.figures.style import (
    NOTE,
    WIDTH,
    ArmStyle,
    NotYet,
    arm_styles,
    check_arms,
    legend_below,
    log_axis,
    look,
    short_label,
    title,
    wide_range,
)

__all__ = ["training_curves"]

MOST_TICKS = 60  # more restarts than this cannot be told apart: blocks stand for them
FEWEST_FOR_INTERVAL = 3  # seeds; the t interval of two is so wide that it would hide the curves
MOST_MARKERS = 30  # epochs; more would hide the lines
NAMED_STAGE = 0.13  # share of the axis that a stage needs for its label


def training_curves(epochs: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Loss and error of the confirmation runs against the epoch, and when they restart.

    Above: training loss, below: validation error, or training error where the runs had no
    validation split; of each arm the mean over seeds and its 95 % t interval. At the bottom a
    strip for each arm that restarts: a tick for each restart or, if they are more than
    ``MOST_TICKS``, a block for each stage of the schedule, named by its F.

    Raises:
        NotYet: if no confirmation run has finished an epoch, or an arm's runs differ in length.
    """
    if (trials[trials["phase"] == "confirm"].groupby("arm")["epochs"].nunique() > 1).any():
        raise NotYet("an arm's runs differ in their epochs: see error_by_epochs")
    check_arms(analysis.arms(trials))
    validated = analysis.seed_curves(epochs, trials, "val_error")
    error = "train_error" if validated.empty else "val_error"
    losses = analysis.seed_curves(epochs, trials, "train_loss")
    curves = {"train_loss": losses, error: analysis.seed_curves(epochs, trials, error)}
    if losses.empty:
        raise NotYet("no confirmation run has finished an epoch")
    confirm = epochs[epochs["phase"] == "confirm"]
    arms = [arm for arm in analysis.arms(trials) if arm in set(losses["arm"])]
    strips = [arm for arm in arms if arm in analysis.restarting(trials)]
    styles = arm_styles(analysis.arms(trials))
    last = int(losses["epoch"].max())
    with look():
        figure = Figure(figsize=(WIDTH, 5.6 + 0.55 * len(strips)), layout="constrained")
        heights = [10.0, 8.0] + ([1.7 * len(strips)] if strips else [])
        made = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        panels: list[Axes] = list(made)
        for axes, (metric, table) in zip(panels, curves.items(), strict=False):
            _curves(axes, table, styles)
            _vertical(axes, table, metric)
        for axes in panels[:2]:
            for epoch in _milestones(confirm, arms, last):
                axes.axvline(epoch, color=NOTE, linestyle=":", linewidth=1.0, zorder=1)
        if strips:
            _strips(panels[-1], confirm, strips, styles, last)
        panels[-1].set_xlabel("epochs finished")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_xlim(0, last * 1.01)
        drops = bool(_milestones(confirm, arms, last))
        legend_below(figure, _handles(losses, arms, styles, drops))
        title(figure, "Training of each arm's best configuration", _notes(trials, losses))
    return figure


def _curves(axes: Axes, table: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    few = table["epoch"].max() <= MOST_MARKERS
    sns.lineplot(
        data=table,
        x="epoch",
        y="mean",
        hue="arm",
        style="arm",
        palette={arm: style.colour for arm, style in styles.items()},
        dashes={arm: style.dashes for arm, style in styles.items()},
        markers={arm: style.marker for arm, style in styles.items()} if few else False,
        markersize=4,
        estimator=None,
        errorbar=None,
        legend=False,
        ax=axes,
    )
    for arm, own in table.groupby("arm", sort=False):
        two = own["n"] < FEWEST_FOR_INTERVAL
        axes.fill_between(
            own["epoch"],
            own["least"].where(two, own["low"]),
            own["most"].where(two, own["high"]),
            color=styles[str(arm)].colour,
            alpha=0.18,
            linewidth=0,
            label=f"band of {arm}",
        )


def _vertical(axes: Axes, table: pd.DataFrame, metric: str) -> None:
    """Limits from the runs, not from the intervals: those of two seeds may be huge."""
    ends = [*table["least"], *table["most"]]
    if (metric == "train_loss" and min(ends) > 0) or wide_range(ends):
        log_axis(axes, "y", ends)
    else:
        room = 0.05 * (max(ends) - min(ends)) or 1.0
        axes.set_ylim(max(0.0, min(ends) - room), max(ends) + room)
    unit = {"train_loss": "nats", "val_error": "%", "train_error": "%"}[metric]
    axes.set_ylabel(f"{analysis.in_words(metric)} ({unit})")


def _milestones(confirm: pd.DataFrame, arms: list[str], last: int) -> list[int]:
    rows = confirm[confirm["arm"].isin(arms)].drop_duplicates("arm")
    found = {int(epoch) for milestones in rows["lr_milestones"] for epoch in milestones}
    return sorted(epoch for epoch in found if epoch <= last)


def _strips(
    axes: Axes, confirm: pd.DataFrame, arms: list[str], styles: dict[str, ArmStyle], last: int
) -> None:
    for place, arm in enumerate(reversed(arms)):
        own = confirm[confirm["arm"] == arm]
        row = own.iloc[0]
        each = analysis.steps_per_epoch(epochs=own, trial=str(row["trial"]))
        done = int(own["epoch"].max())
        at = [step / each for step in analysis.restart_steps(row, done * each, each)]
        stages = analysis.restart_stages(row, done, each)
        colour = styles[arm].colour
        if len(at) <= MOST_TICKS:
            axes.vlines(at, place, place + 0.45, color=colour, linewidth=1.0, label=arm)
        if len(at) > MOST_TICKS:
            for shade, some in ((0.4, stages[::2]), (0.75, stages[1::2])):
                spans = list(zip(some["begin"], some["end"] - some["begin"], strict=True))
                axes.broken_barh(spans, (place, 0.45), color=colour, alpha=shade, linewidth=0)
        for middle, name in _stage_names(stages, NAMED_STAGE * last):
            axes.text(middle, place + 0.5, name, ha="center", va="bottom", fontsize="small")
    axes.set_ylim(-0.1, len(arms) + 0.1)
    axes.set_yticks([place + 0.25 for place in range(len(arms))])
    axes.set_yticklabels([short_label(arm) for arm in reversed(arms)], fontsize="small")
    axes.set_title("restarts of the momentum", fontsize="medium")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)


def _stage_names(stages: pd.DataFrame, room: float) -> list[tuple[float, str]]:
    """Where to write which F: stages too narrow for a name of their own share one."""
    narrow = stages["end"] - stages["begin"] < room
    group = (~narrow | (narrow != narrow.shift())).cumsum()
    named = []
    for _, own in stages.groupby(group):
        begin, end = own["begin"].iloc[0], own["end"].iloc[-1]
        first, last = own["frequency"].iloc[0], own["frequency"].iloc[-1]
        if end - begin >= room:
            span = f"{first:.3g}" if len(own) == 1 else f"{first:.3g} to {last:.3g}"
            named.append(((begin + end) / 2, f"F = {span} steps"))
    return named


def _handles(
    table: pd.DataFrame, arms: list[str], styles: dict[str, ArmStyle], drops: bool
) -> list[Line2D]:
    few = table["epoch"].max() <= MOST_MARKERS
    handles = []
    for arm in arms:
        n = int(table.loc[table["arm"] == arm, "n"].max())
        seeds = f"{n} seed{'s' * (n > 1)}"
        handles.append(styles[arm].handle(f"{analysis.arm_label(arm)}, {seeds}", few))
    if drops:
        handles.append(Line2D([], [], color=NOTE, linestyle=":", label="learning rate drops"))
    return handles


def _notes(trials: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    found = analysis.confirmation(trials, None, "train_loss")
    lost = [text for arm in found.arms if (text := analysis.lost_text(arm.arm, arm.lost))]
    seeds = set(table["n"])
    bands = {
        "its 95 % interval": max(seeds) >= FEWEST_FOR_INTERVAL,
        "the range of two seeds": 2 in seeds,
    }
    shown = ", or ".join(name for name, there in bands.items() if there)
    notes = [f"Lines: mean over seeds; bands: {shown}."] if shown else []
    return [*notes, f"Not complete: {'; '.join(lost)}."] if lost else notes
