"""Error against epochs: the fronts that the search found, and what the confirmation says."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srsgd_ray import analysis
from srsgd_ray.analysis import design
from srsgd_ray.figures.style import (
    WIDTH,
    ArmStyle,
    NotMeant,
    arm_name,
    arm_styles,
    legend_below,
    log_axis,
    look,
    plain_text,
    title,
    wide_range,
)
from srsgd_ray.results import schema_of

__all__ = ["error_by_epochs"]


def error_by_epochs(trials: pd.DataFrame, metric: str | None = None) -> Figure:
    """Error against the length of the training, where a study has trainings of several lengths.

    Left, if there was a search: each complete trial, and the Pareto front of each arm. Where a
    study searched for two metrics, the second one stands in place of the length. Right: mean over
    the seeds of each confirmed point, with its 95 % t interval.

    Raises:
        NotMeant: if the arms have one length each, or nothing is complete.
    """
    length = analysis.length_column(trials)
    ended = trials[trials["state"] == "complete"]
    lengths = (ended if length == "epochs_done" else trials).groupby(["arm", "phase"])
    second = design(trials, "pareto_metric")
    metric = metric or analysis.confirm_metric(trials)
    table = analysis.error_by_epochs(trials, metric)
    search = ended[ended["phase"] == "search"]
    several = bool((lengths[length].nunique() > 1).any()) or second is not None
    if not several or (table.empty and search.empty):
        raise NotMeant("the arms have trainings of one length each")
    if second is not None:
        table = table.iloc[:0]
    names = analysis.arms(trials)
    styles = arm_styles(names)
    panels = (not search.empty) + (not table.empty)
    with look():
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        made: list[Axes] = list(figure.subplots(1, panels, squeeze=False)[0])
        if not search.empty:
            _search(made[0], search, trials, styles)
        if not table.empty:
            _confirmed(made[-1], table, styles)
            unit = schema_of(trials)[metric].unit
            made[-1].set_ylabel(f"{analysis.in_words(metric)}{f' ({unit})' if unit else ''}")
        for axes in made:
            axes.set_xlabel(analysis.in_words(second) if second else "epochs of the training")
        handles = [styles[arm].handle(arm_name(arm)) for arm in names]
        legend_below(figure, handles)
        rivals = analysis.baselines(trials)
        there = set(table["arm"])
        said = [
            analysis.epochs_saved(trials, arm, rival, metric).verdict
            for arm, rival in rivals.items()
            if {arm, rival} <= there
        ]
        name = "Error against the length of the training"
        if second:
            name = f"{analysis.in_words(metric)} against {analysis.in_words(second)}".capitalize()
        title(figure, name, said[:2])
    return figure


def _search(
    axes: Axes, search: pd.DataFrame, trials: pd.DataFrame, styles: dict[str, ArmStyle]
) -> None:
    metric = analysis.search_goal(trials)[0]
    second = design(trials, "pareto_metric")
    x = second or analysis.length_column(trials)
    sns.scatterplot(
        data=search,
        x=x,
        y=metric,
        hue="arm",
        style="arm",
        palette={arm: style.colour for arm, style in styles.items()},
        markers={arm: style.marker for arm, style in styles.items()},
        s=18,
        alpha=0.5,
        legend=False,
        ax=axes,
    )
    for arm in dict.fromkeys(search["arm"]):
        front = analysis.pareto_front(trials, str(arm), second=second)
        style = styles[str(arm)]
        axes.step(
            front[x], front[metric], where="post", color=style.colour,
            linestyle=style.line, label=f"front of {plain_text(str(arm))}",
        )  # fmt: skip
    if wide_range(search[metric]):
        log_axis(axes, "y", search[metric])
    unit = schema_of(trials)[metric].unit
    axes.set_ylabel(f"{analysis.in_words(metric)}{f' ({unit})' if unit else ''}")
    axes.set_title("search: each trial, and the fronts", fontsize="medium")


def _confirmed(axes: Axes, table: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    for arm, own in table.groupby("arm", sort=False):
        style = styles[str(arm)]
        half = [own["mean"] - own["low"], own["high"] - own["mean"]]
        axes.errorbar(
            own["epochs"], own["mean"], yerr=half, color=style.colour, linestyle=style.line,
            marker=style.marker, markersize=5, capsize=3, label=str(arm),
        )  # fmt: skip
    n = sorted(set(table["n"]))
    axes.set_title(
        f"confirmed: mean, 95 % interval, n = {'-'.join(map(str, n))}", fontsize="medium"
    )
