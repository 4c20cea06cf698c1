"""Performance profiles of several studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from srsgd_ray import analysis
from srsgd_ray.analysis.profile import MOST
from srsgd_ray.figures.parts import legend_below, lines, log_axis, row
from srsgd_ray.figures.save import checked, save
from srsgd_ray.figures.style import arm_name, arm_styles, settings, title

PROFILE = "performance_profile"


@settings()
def performance_profile(profile: analysis.Profile) -> Figure:
    """Share of studies in which an arm meets the target within a ratio of the fastest arm's cost.

    A curve that ends below 100 % is of an arm that misses the target in the other studies.
    """
    curves = {str(arm): profile.curve(str(arm)) for arm in profile.times["arm"].unique()}
    right = 1.1 * max(float(own["ratio"].max()) for own in curves.values())
    last = max(right, MOST)
    ends = {
        arm: pd.DataFrame({"ratio": [last], "share": own["share"].iloc[-1:]})
        for arm, own in curves.items()
    }
    table = pd.concat([pd.concat([own, ends[arm]]).assign(arm=arm) for arm, own in curves.items()])
    styles = arm_styles([*curves])
    figure, (axes,) = row(3.6)
    lines(axes, table, "ratio", "share", styles, drawstyle="steps-post")
    log_axis(axes, "x", [1.0, last])
    axes.set_xlim(1.0, last)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"{profile.cost} to the target, as a multiple of the fastest arm's")
    count = profile.times["study"].nunique()
    axes.set_ylabel(f"share of the {count} studies")
    legend_below(figure, [styles[arm].handle(arm_name(arm), marked=False) for arm in curves])
    scores = "; ".join(f"{arm_name(str(arm))} {score:.2f}" for arm, score in profile.scores.items())
    note = f"Mean height between 1 and 4: {scores}. Misses are infinite."
    title(figure, "Performance profiles", [*filter(None, [profile.unmet]), note])
    return figure


def draw_profile(profile: analysis.Profile, formats: Sequence[str], out: Path | str) -> list[Path]:
    """Write the figure into the folder ``out``; returns the files.

    Raises:
        UnknownNameError: for an unknown format.
    """
    checked("figure", [PROFILE], [PROFILE], formats)
    return save(performance_profile(profile), PROFILE, formats, Path(out))
