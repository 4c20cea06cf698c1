"""The confirmation: the runs of each arm by seed, and their differences to the baseline."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srsgd_ray import analysis
from srsgd_ray.analysis import Comparison, Confirmation, Estimate
from srsgd_ray.figures.parts import name_columns, points, row
from srsgd_ray.figures.style import (
    WIDTH,
    ArmStyle,
    NotYet,
    arm_styles,
    axis_name,
    better_words,
    check_arms,
    settings,
    short_label,
    title,
)

ASIDE = 0.3  # where a mean stands next to its points
MOST_VERDICTS = 4  # more would leave no room for the figure; `srsgd-ray table` prints them all
SPREAD = 0.24  # over which points stand side by side: test errors of two seeds are often equal


@settings()
def confirmation(
    trials: pd.DataFrame, baseline: str | None = None, metric: str | None = None
) -> Figure:
    """Error of each arm over the seeds, and the paired differences to the baseline.

    Left: one point a run, joined between arms of the same seed; next to them the mean and its 95 %
    t interval. Right: one point a pair, arm minus baseline, with mean and interval (those of all
    comparisons hold together) against zero. The verdicts stand above.

    Args:
        baseline: the arm to compare with; by default as :func:`srsgd_ray.analysis.render` has it.
        metric: column of the trials table; by default what the study compares arms by.

    Raises:
        NotYet: if no confirmation run is complete, or an arm's runs differ in their epochs.
    """
    check_arms(trials)
    found = analysis.confirmation(trials, baseline or analysis.baselines(trials), metric)
    if not any(arm.seeds for arm in found.arms):
        raise NotYet("no confirmation run is complete")
    styles = arm_styles(analysis.arms(trials))
    what, step = analysis.in_words(found.metric), "points" if found.unit == "%" else found.unit
    compared = [c for c in found.comparisons if c.differences]
    width = max(WIDTH, 1.5 + 1.1 * (len(found.arms) + len(compared)))
    ratios = [1.0 + 0.5 * len(found.arms)] + ([0.9 + 0.5 * len(compared)] if compared else [])
    figure, panels = row(4.0 + 0.2 * len(found.arms), ratios, width=width)
    _runs(panels[0], found, styles)
    better = better_words(found.direction, found.metric)
    panels[0].set_ylabel(f"{axis_name(trials, found.metric)}{better}")
    if compared:
        _differences(panels[1], compared, _offsets(found), styles)
        panels[1].set_ylabel(f"difference in {what}{f' ({step})' if step else ''}")
    name = f"{what.capitalize()} of each arm's best configuration, seed by seed"
    said = [compared.verdict for compared in found.comparisons]
    title(figure, name, said if len(said) <= MOST_VERDICTS else [])
    return figure


def _runs(axes: Axes, found: Confirmation, styles: dict[str, ArmStyle]) -> None:
    offsets = _offsets(found)
    runs = pd.DataFrame(
        [
            (place + offsets[seed], arm.arm, seed, value)
            for place, arm in enumerate(found.arms)
            for seed, value in zip(arm.seeds, arm.values, strict=True)
        ],
        columns=["place", "arm", "seed", "value"],
    )
    sns.lineplot(
        data=runs, x="place", y="value", units="seed", estimator=None, color="0.6", linewidth=0.8,
        legend=False, zorder=1, ax=axes,
    )  # fmt: skip
    points(axes, runs, "place", "value", styles, s=36, zorder=2)
    for place, arm in enumerate(found.arms):
        _estimate(axes, place + ASIDE, arm.estimate, styles[arm.arm])
    axes.set_title("each seed; mean, 95 % interval", fontsize="medium")
    name_columns(axes, [f"{short_label(arm.arm)}\nn = {arm.estimate.n}" for arm in found.arms])


def _differences(
    axes: Axes,
    comparisons: list[Comparison],
    offsets: dict[int, float],
    styles: dict[str, ArmStyle],
) -> None:
    axes.axhline(0, color="black", linewidth=1.0, zorder=1)
    names = []
    for place, compared in enumerate(comparisons):
        style = styles[compared.arm]
        axes.scatter(
            [place + offsets[seed] for seed in compared.seeds], compared.differences,
            color=style.colour, marker=style.marker, s=30, zorder=2,
        )  # fmt: skip
        _estimate(axes, place + ASIDE, compared.estimate, style)
        n = compared.estimate.n
        names.append(f"{short_label(compared.arm)}\nn = {n} pair{'s' * (n > 1)}")
    rivals = {analysis.arm_label(compared.baseline) for compared in comparisons}
    rival = rivals.pop() if len(rivals) == 1 else "the arm it is compared with"
    axes.set_title(f"minus {rival}, each pair", fontsize="medium")
    name_columns(axes, names)


def _offsets(found: Confirmation) -> dict[int, float]:
    """How far from its column the point of each seed stands: the same in all columns."""
    seeds = sorted({seed for arm in found.arms for seed in arm.seeds})
    gap = SPREAD / max(1, len(seeds) - 1)
    return {seed: gap * (place - (len(seeds) - 1) / 2) for place, seed in enumerate(seeds)}


def _estimate(axes: Axes, x: float, estimate: Estimate, style: ArmStyle) -> None:
    """A mean with its interval, if there is one."""
    if estimate.n < 2:
        return
    below, above = estimate.mean - estimate.low, estimate.high - estimate.mean
    axes.errorbar(
        [x], [estimate.mean], yerr=[[below], [above]], fmt=style.marker, color="black",
        markerfacecolor=style.colour, markersize=7, capsize=4, zorder=3,
    )  # fmt: skip
