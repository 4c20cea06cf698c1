"""The numbers of every figure of the paper, as published and as our runs have them. No drawing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from srsgd_ray import paper as published
from srsgd_ray.config import one_of
from srsgd_ray.paper import ours as paper_ours
from srsgd_ray.paper.panels import CASES, EPOCH, ERROR, F1, PAPER, PaperPanel, Point, label

__all__ = ["COLUMNS", "figure_numbers"]

OF_POINT = tuple(field.name for field in dataclasses.fields(Point))
COLUMNS = ("figure", "as_plotted", "panel", "title", "x_label", "y_label", *OF_POINT, "position")


def figure_numbers(
    name: str,
    trials: pd.DataFrame | None = None,
    epochs: pd.DataFrame | None = None,
    curves: pd.DataFrame | None = None,
    as_plotted: bool = False,
    protocol: str = "last",
) -> pd.DataFrame:
    """All numbers that a figure of the paper shows, and those of our runs that belong there.

    Published deviations and labels are the corrected ones. Ours are complete confirmation runs
    whose data set, network, optimizer, restarts, epochs and milestones are the published ones
    (:func:`srsgd_ray.paper.compare.published_beside_ours` has the rule; generated data are left
    out). Runs that differ in more than the seed are separate
    lines, told apart by ``way``. A published training loss is that of epoch x counted from 0; ours,
    recorded after x + 1 epochs, stands at the same x. An iteration x counts from 1.

    Args:
        name: key of ``PAPER``.
        trials, epochs: tables of any number of studies.
        curves: curves of the quadratic (``study``, ``case``, ``method``, ``seed``, ``step`` from 0,
            ``value``).
        as_plotted: the deviations and labels as the paper drew them.
        protocol: ``last``: our errors are those of the last epoch; ``as_published``: of the best
            test epoch, where every epoch was tested.

    Returns:
        One row a point: ``figure``, ``as_plotted``, ``panel``, its ``title``, ``x_label`` and
        ``y_label``, the fields of ``Point``, and ``position``: where it stands on the x axis, the
        index of an F1 and else x.

    Raises:
        UnknownNameError: for an unknown figure.
    """
    one_of("figure of the paper with numbers", name, PAPER)
    rows: list[tuple[Any, ...]] = []
    for panel in PAPER[name].panels:
        made = [*_published(panel, as_plotted)]
        if panel.figure.startswith("Figure 2 ") and curves is not None:
            made += paper_ours.gaps(curves, CASES[panel.place])
        elif panel.y_label == ERROR and trials is not None:
            made += paper_ours.errors(trials, panel, protocol)
        elif panel.table and trials is not None and epochs is not None:
            made += paper_ours.losses(trials, epochs, panel)
        common = (name, as_plotted, panel.place, panel.title, panel.x_label, panel.y_label)
        places = sorted({point.x for point in made}) if panel.x_label == F1 else []
        for point in made:
            at = float(places.index(point.x)) if places else point.x
            rows.append((*common, *(getattr(point, field) for field in OF_POINT), at))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n": "Int64"})


def _published(panel: PaperPanel, as_plotted: bool) -> Iterator[Point]:
    if panel.y_label == ERROR:
        yield from _errors(panel, as_plotted)
        return
    table = published.curves(panel.figure)
    table = table[table["plotted"]]
    names = table["series_as_filed" if as_plotted else "series"]
    first = 0 if panel.x_label == EPOCH else 1
    for name in sorted(dict.fromkeys(names), key=_order):
        runs = table[names == name].groupby("step")["value"].agg(list)
        for step, values in zip(runs.index, runs, strict=True):
            yield paper_ours.over_runs(Point(name, float(step + first), math.nan), values)


def _order(series: str) -> float:
    """F1 by number; all else as it comes."""
    return float(series.removeprefix("F1=")) if series.startswith("F1=") else 0.0


def _errors(panel: PaperPanel, as_plotted: bool) -> Iterator[Point]:
    for error in published.errors():
        full = error.figure.startswith("Figure 1 ") and error.optimizer == "sgd"
        level = full and error.dataset == panel.levels
        if error.figure != panel.figure and not level:
            continue
        std = error.std_as_plotted if as_plotted else error.std
        spread = math.nan if std is None else std
        x = 0.0 if level else float(error.depth) if error.x is None else error.x
        yield Point(
            series=label(panel.x_label, error.dataset, error.depth, error.optimizer, error.x),
            x=x,
            y=error.mean,
            role="reference" if level else "point",
            std=spread,
            low=error.mean - spread,
            high=error.mean + spread,
            n=error.n,
        )
