"""Appendix Figure 7 in our manner: paths of two optimizers over the loss, in a plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from srsgd_ray import analysis
from srsgd_ray.figures.parts import legend_below, log_axis, log_ticks, point_handle, wide_range
from srsgd_ray.figures.style import STYLES, WIDTH, ArmStyle, NotYet, arm_styles, settings, title

# Greys, and none dark: the paths alone have colours.
COLOURS = LinearSegmentedColormap.from_list("loss", ["white", "0.35"])
LEVELS = 25  # of the contours
INSET = 0.34  # side of the inset, as a part of its panel's
TABLES = ("trajectory", "surface", "boundary", "points", "tuning")
CLASSES = (STYLES[2].colour, STYLES[4].colour)


def trajectory(folder: Path) -> Figure:
    """Paths of SRSGD and SGD over the log of the training loss, and what they led to.

    Above, a panel for each seed that has a surface (the one with the middle difference of training
    losses, and the one with the largest): the plane of the two principal directions of both paths,
    with the problem and both decision boundaries in the inset. Below, over all seeds: training loss
    against steps (median, middle half), and the test errors at the end in pairs.

    Args:
        folder: holds the tables that ``paper/trajectory.py`` wrote.

    Raises:
        NotYet: if one of them is missing, or no seed has a surface.
    """
    tables = _read(Path(folder))
    paths, surface = tables["trajectory"], tables["surface"]
    seeds = {int(seed): str(why) for seed, why in zip(surface["seed"], surface["why"], strict=True)}
    styles = arm_styles(list(paths["optimizer"].unique()))
    norm = LogNorm(surface["loss"].min(), surface["loss"].max())
    with settings():
        figure = Figure(figsize=(WIDTH, 6.9), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=[3.5, 2.6])
        upper, lower = parts
        panels: list[Axes] = list(upper.subplots(1, len(seeds), squeeze=False)[0])
        for panel, (seed, why) in zip(panels, seeds.items(), strict=True):
            own = paths[paths["seed"] == seed]
            _contours(panel, surface[surface["seed"] == seed], norm)
            _paths(panel, own, styles)
            _inset(panel, own, tables, styles)
            _label(panel, own, f"seed {seed}: the {why} difference")
        bar = upper.colorbar(
            ScalarMappable(norm, COLOURS), ax=panels, label="training loss (nats)", shrink=0.9
        )
        log_ticks(bar.ax.yaxis, surface["loss"])
        curves, ends = lower.subplots(1, 2, width_ratios=[1.5, 1])
        _curves(curves, paths, styles)
        _ends(ends, paths, styles)
        legend_below(figure, _handles(styles))
        title(
            figure, "SRSGD and SGD from one start, over the loss of a small network", _notes(tables)
        )
    return figure


def _read(folder: Path) -> dict[str, pd.DataFrame]:
    missing = [name for name in TABLES if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise NotYet(f"{folder} holds no {missing[0]}.parquet")
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    if tables["surface"].empty:
        raise NotYet("no seed has a surface")
    return tables


def _contours(axes: Axes, surface: pd.DataFrame, norm: LogNorm) -> None:
    table = surface.pivot(index="y", columns="x", values="loss")
    levels = np.geomspace(norm.vmin or 1.0, norm.vmax or 1.0, LEVELS)
    drawn = (table.columns.to_numpy(), table.index.to_numpy(), table.to_numpy())
    axes.contourf(*drawn, levels=levels, cmap=COLOURS, norm=norm)
    axes.contour(*drawn, levels=levels[::3], colors="0.35", linewidths=0.3)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_xlim(drawn[0][0], drawn[0][-1])
    axes.set_ylim(drawn[1][0], drawn[1][-1])


def _paths(axes: Axes, paths: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    around = [withStroke(linewidth=2.6, foreground="white")]
    for arm, style in styles.items():
        own = paths[paths["optimizer"] == arm]
        axes.plot(own["x"], own["y"], color=style.colour, linewidth=1.2, path_effects=around)
    for arm, style in styles.items():
        end = paths[paths["optimizer"] == arm].iloc[-1]
        axes.plot(
            [end["x"]], [end["y"]], linestyle="none", marker=style.marker, markersize=8,
            markerfacecolor=style.colour, markeredgecolor="white", zorder=5,
        )  # fmt: skip
    start = paths.iloc[0]
    axes.plot(
        [start["x"]], [start["y"]], linestyle="none", marker="*", markersize=11,
        markerfacecolor="black", markeredgecolor="white", zorder=5,
    )  # fmt: skip


def _label(axes: Axes, paths: pd.DataFrame, heading: str) -> None:
    one, two = (100 * paths[f"share_{axis}"].iloc[0] for axis in "xy")
    axes.set_title(heading, fontsize="medium")
    axes.set_xlabel(f"first direction ({one:.0f} %)")
    axes.set_ylabel(f"second direction ({two:.0f} %)")


def _inset(
    axes: Axes, paths: pd.DataFrame, tables: dict[str, pd.DataFrame], styles: dict[str, ArmStyle]
) -> None:
    """The points, and where the networks at both ends change their mind."""
    inset = axes.inset_axes(_free_corner(axes, paths))
    for label, own in tables["points"].groupby("label"):
        inset.scatter(own["u"], own["v"], s=3, color=CLASSES[int(str(label))], linewidths=0)
    for arm, style in styles.items():
        own = tables["boundary"][tables["boundary"]["seed"] == paths["seed"].iloc[0]]
        table = own[own["optimizer"] == arm].pivot(index="v", columns="u", values="probability")
        inset.contour(
            table.columns.to_numpy(), table.index.to_numpy(), table.to_numpy(), levels=[0.5],
            colors=style.colour, linewidths=1.0,
        )  # fmt: skip
    inset.set(xticks=[], yticks=[], aspect="equal")
    inset.grid(visible=False)


def _free_corner(axes: Axes, paths: pd.DataFrame) -> tuple[float, float, float, float]:
    """Place of the inset: in the corner that the paths keep farthest from."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x, y = (paths["x"] - left) / (right - left), (paths["y"] - low) / (high - low)
    best = max(
        ((a, b) for a in (0, 1) for b in (1, 0)), key=lambda c: np.hypot(x - c[0], y - c[1]).min()
    )
    across, up = (0.02 + place * (0.96 - INSET) for place in best)
    return across, up, INSET, INSET


def _curves(axes: Axes, paths: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    sns.lineplot(
        data=paths,
        x="step",
        y="loss",
        hue="optimizer",
        style="optimizer",
        palette={arm: style.colour for arm, style in styles.items()},
        dashes={arm: style.dashes for arm, style in styles.items()},
        estimator="median",
        errorbar=("pi", 50),
        legend=False,
        ax=axes,
    )
    axes.set_yscale("log")
    axes.set(xlabel="step", ylabel="training loss (nats)")
    axes.set_title(f"median and middle half of {paths['seed'].nunique()} seeds", fontsize="medium")


def _ends(axes: Axes, paths: pd.DataFrame, styles: dict[str, ArmStyle]) -> None:
    ends = paths[paths["step"] == paths["step"].max()]
    table = ends.pivot(index="seed", columns="optimizer", values="test_error")[list(styles)]
    for _, row in table.iterrows():
        axes.plot(range(len(row)), row, color="0.75", linewidth=0.7, zorder=1)
    for place, (arm, style) in enumerate(styles.items()):
        axes.plot(
            [place] * len(table), table[arm], linestyle="none", marker=style.marker, markersize=4,
            color=style.colour, alpha=0.8,
        )  # fmt: skip
    axes.set_xticks(range(len(styles)), [analysis.arm_label(arm) for arm in styles])
    axes.set_xlim(-0.4, len(styles) - 0.6)
    if wide_range(ends["test_error"]):
        log_axis(axes, "y", ends["test_error"])
    axes.set_ylabel("test error (%)")
    axes.set_title("at the end, pairs of a seed", fontsize="medium")


def _handles(styles: dict[str, ArmStyle]) -> list[Line2D]:
    ends = [style.handle(f"{analysis.arm_label(arm)}, its end") for arm, style in styles.items()]
    return [
        point_handle("common start", "*", "black", "black", 9),
        *ends,
        *(point_handle(f"class {n}", ".", c, c) for n, c in enumerate(CLASSES)),
    ]


def _notes(tables: dict[str, pd.DataFrame]) -> list[str]:
    paths, tuning = tables["trajectory"], tables["tuning"]
    ends = paths[paths["step"] == paths["step"].max()]
    table = ends.pivot(index="seed", columns="optimizer", values="test_error")
    found = analysis.estimate(list(table["srsgd"] - table["sgd"]))
    rates = ", ".join(
        f"{analysis.arm_label(row['optimizer'])} {row['lr']:g}"
        for _, row in tuning[tuning["chosen"]].iterrows()
    )
    said = f"Test error SRSGD - SGD: {found.mean:+.2f} points"
    if found.n > 1:
        said += f" (95 % interval {found.low:.2f} to {found.high:.2f}, n = {found.n} pairs)"
    return [
        "Planes: the two principal directions of both paths about the midpoint of their ends, with "
        "their shares of the squared distances; the colour is the loss on the plane, above which "
        "the paths run. Seeds: those with the middle and the largest difference of training losses "
        "at the end. Each learning rate is the best of the same "
        f"{tuning['lr'].nunique()} by validation error ({rates}). {said}."
    ]
