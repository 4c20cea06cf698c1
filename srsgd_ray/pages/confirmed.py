"""What the confirmation says, as a page shows it: verdicts, what they cover, runs and tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.pages.plain import plain, plain_table
from srsgd_ray.results import schema_of

NONE_YET = "No verdict yet: the search comes first, and no run of a confirmation has begun."
NO_RUNS = (
    "No verdict: nothing was confirmed. The best value of a search is the luckiest of many, and no "
    "comparison."
)
NO_RIVAL = "No comparison: the study names no baseline."


def confirmed(trials: pd.DataFrame, predictions: pd.DataFrame | None) -> dict[str, Any]:
    """The verdicts, what they cover and what they do not, and the confirmation's numbers.

    Returns:
        ``verdicts`` and ``covers`` (sentences), ``winners`` (a table), and ``confirmation``: the
        ``runs``, ``arms`` (or, of a study with several points an arm, ``points``) and
        ``differences`` with their ``levels`` in words.
    """
    metric = analysis.confirm_metric(trials)
    schema, rivals = schema_of(trials), analysis.baselines(trials)
    shown: dict[str, Any] = {
        "metric": analysis.in_words(metric),
        "unit": schema[metric].unit if metric in schema else "",
        "runs": _runs(trials, metric),
        "arms": [],
        "points": [],
        "differences": [],
        "levels": "",
    }
    if analysis.several_points(trials):
        said, covers = _of_points(trials, rivals, metric, shown)
    else:
        found = analysis.confirmation(trials, rivals, predictions=predictions)
        said, covers = [c.verdict for c in found.comparisons], _covers(found)
        shown["level"] = f"{100 * found.level:g} %"
        shown["arms"] = [_arm(arm, found) for arm in found.arms]
        shown["differences"] = [_difference(c) for c in found.comparisons]
        shown["levels"] = analysis.levels_text(found)
    if analysis.rows(trials, "confirm").empty:
        going_on = (trials["state"] == "running").any()
        said, covers = [NONE_YET if going_on else NO_RUNS], []
    return {
        "verdicts": said or [NO_RIVAL],
        "covers": covers,
        "confirmation": shown,
        "winners": plain_table(_winners(trials)),
    }


def _covers(found: analysis.Confirmation) -> list[str]:
    """What the intervals hold for, and what they say nothing of."""
    said = [found.scope or "Each arm is one configuration: the intervals cover the seeds of runs."]
    if found.comparisons and all(c.over_images is None for c in found.comparisons):
        said.append("Other test data are not covered: all runs were judged on the same.")
    return said


def _of_points(
    trials: pd.DataFrame, rivals: dict[str, str], metric: str, shown: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Verdicts of a study whose arms have several points; ``shown`` gets them."""
    second = analysis.design(trials, "pareto_metric")
    along = second or analysis.length_column(trials)
    shown["along"] = analysis.in_words(along)
    at = trials.set_index("trial")[along]
    for run in shown["runs"]:
        run |= plain({"along": at[run["trial"]]})
    covers = ["The luck of the search is not covered: the points are those that it found."]
    if second is not None:
        return [f"No verdict: studies of two metrics are compared by eye ({along} is one)."], covers
    points = analysis.error_by_epochs(trials, metric)
    shown["points"] = [plain(row) for row in points.to_dict("records")]
    shown["level"] = "95 %"
    return analysis.epochs_saved_verdicts(trials, rivals, metric), covers


def _arm(arm: analysis.ArmResult, found: analysis.Confirmation) -> dict[str, Any]:
    several = {"searches": arm.estimate.n} if found.searches > 1 else {}
    values = {
        "arm": arm.arm,
        **several,
        "runs": len(arm.values),
        "lost runs": analysis.share_text(arm.lost_share),
        "mean": arm.estimate.mean,
        "std": arm.estimate.std,
        "low": arm.estimate.low,
        "high": arm.estimate.high,
        "not counted": analysis.lost_text(arm.arm, arm.not_counted) or "-",
    }
    return plain(values)


def _difference(found: analysis.Comparison) -> dict[str, Any]:
    over, images = found.estimate, found.over_images
    what = "searches and seeds" if found.replicated > 1 else "seeds"
    values = {
        "arm minus rival": f"{found.arm} - {found.baseline}",
        "pairs": len(found.seeds),
        "mean": over.mean,
        f"over {what}, from": over.low,
        "to": over.high,
        "and images, from": None if images is None else images.low,
        "to ": None if images is None else images.high,
        "p": found.p_holm,
        "p, lost runs": found.lost_p if any(found.lost.values()) else None,
    }
    return plain(values)


def _runs(trials: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    runs = analysis.rows(trials, "confirm").query("state == 'complete'")
    if metric not in runs:
        return []
    search = runs.get("search", 0)
    shown = runs[["arm", "trial", "seed"]].assign(search=search, value=runs[metric])
    rows: list[dict[str, Any]] = plain_table(shown)["rows"]
    return rows


def _winners(trials: pd.DataFrame) -> pd.DataFrame:
    """The configurations that were confirmed, or would be now, with every searched knob."""
    found = analysis.configurations(trials, most=None)
    runs = analysis.rows(trials, "confirm")
    if not analysis.several_points(trials) or runs.empty:
        return found
    knobs = [str(name) for name in found if name not in ("arm", "search")]
    points = runs.loc[~runs[["arm", *knobs]].map(str).duplicated(), ["arm", *knobs]].astype(object)
    without = ~points["arm"].isin(analysis.restarting(trials))
    points.loc[without, [name for name in knobs if name.startswith("restart_")]] = None
    order = {arm: place for place, arm in enumerate(analysis.arms(trials))}
    return points.sort_values("arm", key=lambda arms: arms.map(order), kind="stable")
