"""Targets, performance profiles and the steps to a loss, as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from statistics import median_high
from typing import Any

import pandas as pd

from srsgd_ray.analysis.profile import Profile
from srsgd_ray.analysis.rows import arm_label, arms
from srsgd_ray.analysis.targets import BASELINE, ToTarget, to_target
from srsgd_ray.analysis.track import P, steps_to_loss
from srsgd_ray.analysis.words import in_words
from srsgd_ray.table import table

WIDTH = 100
MISSED = "not reached"


def target_text(
    epochs: pd.DataFrame,
    trials: pd.DataFrame,
    target: float | str = BASELINE,
    metric: str | None = None,
    cost: str = "epochs",
) -> str:
    """What the arms of a study spend until a target is met, with a sentence for each comparison.

    Arguments and errors are those of :func:`srsgd_ray.analysis.to_target`.
    """
    found = to_target(epochs, trials, target, metric, cost)
    parts = []
    for rival, value in dict.fromkeys((one.baseline, one.target) for one in found):
        mine = [one for one in found if (one.baseline, one.target) == (rival, value)]
        times = {one.arm: one.times for one in mine} | {rival: mine[0].rival_times}
        shown = pd.DataFrame([_times_row(arm, own) for arm, own in times.items()])
        parts.append(table(shown, title=_target_title(mine[0]), numbers=_form(cost), width=WIDTH))
    return "\n\n".join([*parts, *(textwrap.fill(one.verdict, WIDTH) for one in found)])


def _target_title(one: ToTarget) -> str:
    what = f"{in_words(one.metric)} of {one.target:.4g} {one.unit}".rstrip()
    source = "" if one.given else f", the mean final value of {arm_label(one.baseline)}"
    return f"{one.cost.capitalize()} until a {what} is met{source}"


def _times_row(arm: str, times: tuple[float, ...]) -> dict[str, Any]:
    ends = (min(times), median_high(times), max(times)) if times else (math.nan,) * 3
    least, middle, most = (MISSED if math.isinf(value) else value for value in ends)
    reached = sum(map(math.isfinite, times))
    return {
        "arm": arm_label(arm), "runs": len(times), "reached": reached, "fastest": least,
        "median": middle, "slowest": most,
    }  # fmt: skip


def _form(cost: str) -> str:
    return ".1f" if cost == "seconds" else ".0f"


def profile_text(profile: Profile, form: str = "text") -> str:
    """Performance profiles: each study's times, then how often an arm is near the best.

    ``form`` is one of :data:`srsgd_ray.table.FORMATS`.
    """
    times = profile.times
    rows = []
    for study, own in times.groupby("study", sort=False):
        first = own.iloc[0]
        row = {"study": study, "target": f"{in_words(first['metric'])} {first['target']:.4g}"}
        for _, one in own.iterrows():
            time = format(one["time"], _form(profile.cost))
            near = f"{time} ({one['ratio']:.2f})" if one["time"] < math.inf else MISSED
            row[arm_label(one["arm"])] = near
        rows.append(row)
    shares = [
        {
            "arm": arm_label(str(arm)),
            **{f"within {r:g}": float((own["ratio"] <= r).mean()) for r in (1.0, 1.5, 2.0, 4.0)},
            "score": profile.scores[arm],
        }
        for arm, own in times.groupby("arm", sort=False)
    ]
    title = f"{profile.cost.capitalize()} until the target is met, median over runs (ratio to best)"
    profiles = "Performance profiles: share of studies within a ratio of the fastest arm"
    parts = [
        table(pd.DataFrame(rows), form, title=title, align="llr"),
        table(pd.DataFrame(shares), form, title=profiles, numbers=".2f", width=WIDTH),
        textwrap.fill(profile.unmet, WIDTH),
    ]
    return "\n\n".join(part for part in parts if part)


def track_text(
    epochs: pd.DataFrame,
    trials: pd.DataFrame,
    target: float,
    metric: str | None = None,
    std: float | None = None,
) -> str:
    """The steps to a loss of each arm, with all its runs; arguments as in :func:`steps_to_loss`."""
    parts = []
    for arm in arms(trials):
        found = steps_to_loss(epochs, trials, arm, target, metric, std)
        runs = ", ".join(
            f"{row['value']:.5g} (seed {row['seed']})"
            if pd.notna(row["value"])
            else f"{row['state']} (seed {row['seed']})"
            for _, row in found.runs.iterrows()
        )
        parts.append(textwrap.fill(f"{found.verdict} All runs: {runs}.", WIDTH))
        if found.differ:
            parts.append(f"Against the rule: arms differ in {', '.join(found.differ)}.")
    title = f"Steps to a loss, by the rule of modded-nanogpt's optimization track (p < {P:g})"
    return "\n\n".join([title, *dict.fromkeys(parts)])
