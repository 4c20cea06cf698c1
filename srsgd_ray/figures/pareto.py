"""Error against epochs: the fronts that the search found, and what the confirmation says."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srsgd_ray import analysis
from srsgd_ray.figures.parts import legend_below, name_axis, points, row
from srsgd_ray.figures.style import (
    ArmStyle,
    NotMeant,
    arm_name,
    arm_styles,
    axis_name,
    settings,
    title,
)


@settings()
def error_by_epochs(trials: pd.DataFrame, metric: str | None = None) -> Figure:
    """Error against the length of the training, where a study has trainings of several lengths.

    Left, if there was a search: each complete trial, and the Pareto front of each arm. Where a
    study searched for two metrics, the second one stands in place of the length. Right: mean over
    the seeds of each confirmed point, with its 95 % t interval.

    Raises:
        NotMeant: if the arms have one length each, or nothing is complete.
    """
    second = analysis.design(trials, "pareto_metric")
    metric = metric or analysis.confirm_metric(trials)
    table = analysis.error_by_epochs(trials, metric)
    search = analysis.rows(trials, "search").query("state == 'complete'")
    several = analysis.several_lengths(trials) or second is not None
    if not several or (table.empty and search.empty):
        raise NotMeant("the arms have trainings of one length each")
    if second is not None:
        table = table.iloc[:0]
    styles = arm_styles(analysis.arms(trials))
    figure, panels = row(3.9, [1] * ((not search.empty) + (not table.empty)))
    if not search.empty:
        _search(panels[0], search, trials, styles)
    if not table.empty:
        _confirmed(panels[-1], table, styles)
        panels[-1].set_ylabel(axis_name(trials, metric))
    for axes in panels:
        axes.set_xlabel(analysis.in_words(second) if second else "epochs of the training")
    legend_below(figure, [style.handle(arm_name(arm)) for arm, style in styles.items()])
    name, said = "Error against the length of the training", []
    if second:
        name = f"{analysis.in_words(metric)} against {analysis.in_words(second)}".capitalize()
    else:
        said = analysis.epochs_saved_verdicts(trials, analysis.baselines(trials), metric)
    title(figure, name, said[:2])
    return figure


def _search(
    axes: Axes, search: pd.DataFrame, trials: pd.DataFrame, styles: dict[str, ArmStyle]
) -> None:
    metric = analysis.search_goal(trials)[0]
    second = analysis.design(trials, "pareto_metric")
    x = second or analysis.length_column(trials)
    points(axes, search, x, metric, styles, s=18, alpha=0.5)
    for arm in dict.fromkeys(search["arm"]):
        front = analysis.pareto_front(trials, str(arm), second=second)
        style = styles[str(arm)]
        axes.step(
            front[x], front[metric], where="post", color=style.colour,
            linestyle=style.line, label=f"front of {arm}",
        )  # fmt: skip
    name_axis(axes, "y", axis_name(trials, metric), search[metric])
    axes.set_title("search: each trial, and the fronts", fontsize="medium")


def _confirmed(axes: Axes, table: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    for arm, own in table.groupby("arm", sort=False):
        style = styles[str(arm)]
        half = [own["mean"] - own["low"], own["high"] - own["mean"]]
        axes.errorbar(
            own["epochs"], own["mean"], yerr=half, color=style.colour, linestyle=style.line,
            marker=style.marker, markersize=5, capsize=3, label=str(arm),
        )  # fmt: skip
    n = "-".join(map(str, sorted(set(table["n"]))))
    axes.set_title(f"confirmed: mean, 95 % interval, n = {n}", fontsize="medium")
