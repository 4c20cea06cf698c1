"""The confirmation: the runs of each arm by seed, and their differences to the baseline."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srsgd_ray import analysis
from srsgd_ray.analysis import ArmResult, Comparison, Confirmation, Estimate
from srsgd_ray.figures.parts import name_columns, points, row
from srsgd_ray.figures.style import (
    WIDTH,
    ArmStyle,
    NotYet,
    arm_name,
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
FAINT = 0.35  # the seeds behind the mean of their search
SPREAD = 0.24  # over which points stand side by side: test errors of two seeds are often equal

Unit = tuple[int, int]


@settings()
def confirmation(
    trials: pd.DataFrame, baseline: str | None = None, metric: str | None = None
) -> Figure:
    """Error of each arm over the seeds, and the paired differences to the baseline.

    Left: one point a run, joined between arms of the same seed; next to them the mean and its 95 %
    interval. Right: one point a pair, arm minus baseline, with mean and interval (those of all
    comparisons hold together) against zero. With replicated searches a point is the mean of a
    search, its seeds faint behind it. The verdicts stand above.

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
    unit = "search" if found.searches > 1 else "seed"
    name = f"{what.capitalize()} of each arm's best configuration, {unit} by {unit}"
    said = [compared.verdict for compared in found.comparisons]
    notes = [*(said if len(said) <= MOST_VERDICTS else []), *([found.scope] if found.scope else [])]
    title(figure, name, notes)
    return figure


def _runs(axes: Axes, found: Confirmation, styles: dict[str, ArmStyle]) -> None:
    many, offsets = found.searches > 1, _offsets(found)
    runs = pd.DataFrame(
        [
            (place + offsets[unit], arm.arm, str(unit), value)
            for place, arm in enumerate(found.arms)
            for unit, value in zip(_units(arm, many), arm.values, strict=True)
        ],
        columns=["place", "arm", "unit", "value"],
    )
    means = runs.groupby(["place", "arm", "unit"], as_index=False, sort=False).mean()
    sns.lineplot(
        data=means, x="place", y="value", units="unit", estimator=None, color="0.6", linewidth=0.8,
        legend=False, zorder=1, ax=axes,
    )  # fmt: skip
    if many:
        points(axes, runs, "place", "value", styles, s=12, alpha=FAINT, zorder=1)
    points(axes, means, "place", "value", styles, s=36, zorder=2)
    for place, arm in enumerate(found.arms):
        _estimate(axes, place + ASIDE, arm.estimate, styles[arm.arm])
    level = f"{100 * found.level:g} % interval"
    what = "searches (faint: seeds)" if many else "each seed"
    axes.set_title(f"{what}; mean, {level}", fontsize="medium")
    name_columns(axes, [f"{short_label(arm.arm)}\n{_runs_text(arm, many)}" for arm in found.arms])


def _runs_text(arm: ArmResult, many: bool) -> str:
    """How many runs an arm has, and which share of them it lost."""
    lost = f"\nlost {analysis.share_text(arm.lost_share)}" if arm.lost_share.count else ""
    return f"n = {arm.estimate.n}{' searches' * many}{lost}"


def _differences(
    axes: Axes,
    comparisons: list[Comparison],
    offsets: dict[Unit, float],
    styles: dict[str, ArmStyle],
) -> None:
    axes.axhline(0, color="black", linewidth=1.0, zorder=1)
    names, many = [], comparisons[0].replicated > 1
    for place, compared in enumerate(comparisons):
        style, each = styles[compared.arm], _units(compared, many)
        drawn = [([*dict.fromkeys(each)], compared.units, 30, 1.0)]
        if many:
            drawn.append((each, compared.differences, 12, FAINT))
        for units, values, size, alpha in drawn:
            axes.scatter(
                [place + offsets[unit] for unit in units], values,
                color=style.colour, marker=style.marker, s=size, alpha=alpha, zorder=2,
            )  # fmt: skip
        _estimate(axes, place + ASIDE, compared.estimate, style)
        n = compared.estimate.n
        word = f"search{'es' * (n > 1)}" if many else f"pair{'s' * (n > 1)}"
        names.append(f"{short_label(compared.arm)}\nn = {n} {word}")
    rivals = {arm_name(compared.baseline) for compared in comparisons}
    rival = rivals.pop() if len(rivals) == 1 else "the arm it is compared with"
    together = f"\n{len(comparisons)} at once (Bonferroni)"
    axes.set_title(
        f"minus {rival}, each {'search' if many else 'pair'}{together * (len(comparisons) > 1)}",
        fontsize="medium",
    )
    name_columns(axes, names)


def _units(given: ArmResult | Comparison, many: bool) -> list[Unit]:
    """What each value belongs to: its search where searches are replicated, or else its seed."""
    return [(s, 0 if many else seed) for s, seed in zip(given.searches, given.seeds, strict=True)]


def _offsets(found: Confirmation) -> dict[Unit, float]:
    """How far from its column the point of each seed or search stands: the same in all columns."""
    units = sorted({unit for arm in found.arms for unit in _units(arm, found.searches > 1)})
    gap = SPREAD / max(1, len(units) - 1)
    return {unit: gap * (place - (len(units) - 1) / 2) for place, unit in enumerate(units)}


def _estimate(axes: Axes, x: float, estimate: Estimate, style: ArmStyle) -> None:
    """A mean with its interval, if there is one."""
    if estimate.n < 2:
        return
    below, above = estimate.mean - estimate.low, estimate.high - estimate.mean
    axes.errorbar(
        [x], [estimate.mean], yerr=[[below], [above]], fmt=style.marker, color="black",
        markerfacecolor=style.colour, markersize=7, capsize=4, zorder=3,
    )  # fmt: skip
