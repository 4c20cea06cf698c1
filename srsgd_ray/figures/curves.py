"""Training curves of the confirmation runs, with learning-rate drops and restarts."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from srsgd_ray import analysis
from srsgd_ray.figures.parts import band, column, legend_below, lines, log_axis, markers, wide_range
from srsgd_ray.figures.style import (
    NOTE,
    ArmStyle,
    NotMeant,
    NotYet,
    arm_name,
    arm_styles,
    axis_name,
    check_arms,
    settings,
    short_label,
    title,
)
from srsgd_ray.results import schema_of

MOST_TICKS = 60  # more restarts than this are too close to see: blocks stand for them
FEWEST_FOR_INTERVAL = 3  # seeds; the t interval of two is so wide that it would hide the curves
MOST_MARKERS = 30  # epochs; more would hide the lines
PANELS = 2  # metrics that are drawn
NAMED_STAGE = 0.13  # share of the axis that a stage needs for its label


@settings()
def training_curves(epochs: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Loss and search metric of the confirmation runs against the epoch, and when they restart.

    Above: the first metric of the training split, such as its loss; below: what the search judged
    by, or the next metric where the runs had no validation split. Of each arm the mean over seeds
    (over searches, where an arm had several) and its 95 % t interval. At the bottom a strip for
    each arm that restarts: a tick for each restart or, if they are more than ``MOST_TICKS``, a
    block for each stage of the schedule, named by its F. Each of several searches has restarts of
    its own, and there is no strip.

    Raises:
        NotYet: if no confirmation run has finished an epoch, or an arm's runs differ in length.
        NotMeant: if runs report once.
    """
    check_arms(trials)
    curves = _drawn(epochs, trials)
    if not curves:
        raise NotYet("no confirmation run has finished an epoch")
    first = next(iter(curves.values()))
    last = int(first["epoch"].max())
    if last == 1:
        raise NotMeant("its trials report once")
    confirm = analysis.rows(epochs, "confirm")
    arms = [arm for arm in analysis.arms(trials) if arm in set(first["arm"])]
    unit = "search" if analysis.search_numbers(trials).nunique() > 1 else "seed"
    # A loop of one's own may name its knobs as ours does, and count no steps.
    restarting = analysis.restarting(trials) if unit == "seed" and "step" in epochs else []
    strips = [arm for arm in arms if arm in restarting]
    styles = arm_styles(analysis.arms(trials))
    drops = _milestones(confirm, arms, last)
    heights = [10.0, 8.0][: len(curves)] + ([1.7 * len(strips)] if strips else [])
    figure, panels = column(5.6 + 0.55 * len(strips), heights)
    for axes, (metric, table) in zip(panels, curves.items(), strict=False):
        _curves(axes, table, styles)
        _vertical(axes, table, metric, epochs)
        for epoch in drops:
            axes.axvline(epoch, color=NOTE, linestyle=":", linewidth=1.0, zorder=1)
    if strips:
        _strips(panels[-1], confirm, strips, styles, last)
    panels[-1].set_xlabel(f"{schema_of(epochs)['epoch'].unit or 'epochs'} finished")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_xlim(0, last * 1.01)
    plural = {"seed": "seeds", "search": "searches"}[unit]
    legend_below(figure, _handles(first, arms, styles, bool(drops), (unit, plural)))
    which = "each arm's" if unit == "seed" else "the searches'"
    best = f"best configuration{'s' * (unit == 'search')}"
    title(figure, f"Training of {which} {best}", _notes(trials, first, curves, plural))
    return figure


def _drawn(epochs: pd.DataFrame, trials: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The metrics that are drawn, at most two, with their curves."""
    known = schema_of(epochs)
    metrics = known.named("metric")
    of_train = [name for name in metrics if known[name].split == "train"]
    searched = analysis.search_goal(trials)[0]
    found: dict[str, pd.DataFrame] = {}
    for name in dict.fromkeys([*of_train[:1], searched, *of_train[1:], *metrics]):
        if name in epochs and len(found) < PANELS:
            curves = analysis.seed_curves(epochs, trials, name)
            if not curves.empty:
                found[name] = curves
    return found


def _curves(axes: Axes, table: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    few = table["epoch"].max() <= MOST_MARKERS
    shown = markers(styles) if few else False
    lines(axes, table, "epoch", "mean", styles, markers=shown, markersize=4)
    for arm, own in table.groupby("arm", sort=False):
        two = own["n"] < FEWEST_FOR_INTERVAL
        low, high = own["least"].where(two, own["low"]), own["most"].where(two, own["high"])
        band(axes, own["epoch"], low, high, styles[str(arm)].colour, str(arm))


def _vertical(axes: Axes, table: pd.DataFrame, metric: str, epochs: pd.DataFrame) -> None:
    """Limits from the runs, not from the intervals: those of two seeds may be huge."""
    known = schema_of(epochs)[metric]
    ends = [*table["least"], *table["most"]]
    loss = known.split == "train" and known.better == "lower" and known.unit != "%"
    if (loss and min(ends) > 0) or wide_range(ends):
        log_axis(axes, "y", ends)
    else:
        room = 0.05 * (max(ends) - min(ends)) or abs(max(ends)) * 0.05 or 1.0
        low = min(ends) - room
        axes.set_ylim(max(0.0, low) if min(ends) >= 0 else low, max(ends) + room)
    axes.set_ylabel(axis_name(epochs, metric))


def _milestones(confirm: pd.DataFrame, arms: list[str], last: int) -> list[int]:
    if "lr_milestones" not in confirm:
        return []
    rows = confirm[confirm["arm"].isin(arms)].drop_duplicates("arm")
    lists = rows["lr_milestones"].dropna()
    found = {int(epoch) for milestones in lists for epoch in milestones}
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
    table: pd.DataFrame,
    arms: list[str],
    styles: dict[str, ArmStyle],
    drops: bool,
    unit: tuple[str, str],
) -> list[Line2D]:
    few = table["epoch"].max() <= MOST_MARKERS
    handles = []
    for arm in arms:
        n = int(table.loc[table["arm"] == arm, "n"].max())
        seeds = f"{n} {unit[n > 1]}"
        handles.append(styles[arm].handle(f"{arm_name(arm)}, {seeds}", few))
    if drops:
        handles.append(Line2D([], [], color=NOTE, linestyle=":", label="learning rate drops"))
    return handles


def _notes(
    trials: pd.DataFrame, table: pd.DataFrame, curves: dict[str, pd.DataFrame], units: str
) -> list[str]:
    found = analysis.confirmation(trials, None, next(iter(curves)))
    lost = [text for arm in found.arms if (text := analysis.lost_text(arm.arm, arm.not_counted))]
    seeds = set(table["n"])
    bands = {
        "its 95 % interval": max(seeds) >= FEWEST_FOR_INTERVAL,
        f"the range of two {units}": 2 in seeds,
    }
    shown = ", or ".join(name for name, there in bands.items() if there)
    notes = [f"Lines: mean over {units}; bands: {shown}."] if shown else []
    return [*notes, f"Not complete: {'; '.join(lost)}."] if lost else notes
