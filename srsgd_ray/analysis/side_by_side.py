"""Several studies side by side: what each found and spent, and whether their runs are pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from srsgd_ray.analysis.confirm import confirmation
from srsgd_ray.analysis.rows import (
    better_of,
    confirm_metric,
    rows,
    search_goal,
    several_points,
)
from srsgd_ray.analysis.summary import summary
from srsgd_ray.results import schema_of

SAME_RUN = ("study", "trial", "number", "look", "seed")  # knobs and names that differ in any case


def side_by_side(studies: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What the arms of several studies found, and what that took.

    Args:
        studies: the trials of each study, by its name.

    Returns:
        One row for each study and arm: ``study``, ``arm``; ``search_trials``, ``search_epochs``,
        ``search_metric`` and the ``best`` of it (of a complete trial); ``runs`` of the confirmation
        that are complete, their ``mean`` and its interval ``low`` to ``high`` (95 %, of this arm
        alone; over searches if there are several); ``seconds`` that all trials trained.

    Raises:
        ValueError: if the studies are not compared by the same metric, or it has another unit or
            direction.
    """
    check_metrics(studies)
    table = []
    for study, trials in studies.items():
        metric, found = search_goal(trials)[0], confirmation(trials, None)
        for row in summary(trials).to_dict("records"):
            own = found.arm(str(row["arm"])).estimate
            spent = trials.loc[trials["arm"] == row["arm"], "train_seconds"]
            table.append(
                {
                    "study": study,
                    "arm": row["arm"],
                    "search_trials": row["trials"],
                    "search_epochs": row["epochs"],
                    "search_metric": metric,
                    "best": row[f"best_{metric}"],
                    "runs": row["confirmed"],
                    "mean": own.mean,
                    "low": own.low,
                    "high": own.high,
                    "seconds": float(spent.fillna(0).sum()),
                }
            )
    return pd.DataFrame(table)


def check_metrics(studies: Mapping[str, pd.DataFrame]) -> None:
    """Raise ValueError unless all studies compare one configuration an arm by one metric."""
    said: dict[str, str] = {}
    for study, trials in studies.items():
        if several_points(trials):
            raise ValueError(
                f"studies that are set side by side must have one configuration an arm, but "
                f"{study} has several (points of a front, or lengths). See its own table."
            )
        metric = confirm_metric(trials)
        unit = schema_of(trials).number(metric).unit
        said[study] = (
            f"{metric}{f' in {unit}' * bool(unit)} ({better_of(trials, metric)} is better)"
        )
    if len({*said.values()}) > 1:
        listed = "; ".join(f"{study}: {what}" for study, what in said.items())
        raise ValueError(
            f"studies that are set side by side must compare their arms by one metric, but got "
            f"{listed}. Compare those that share one."
        )


def pairing(studies: Mapping[str, pd.DataFrame]) -> str:
    """Whether runs of different studies are pairs, in words: by their seeds and their knobs."""
    seeds = [{*rows(trials, "confirm")["seed"].dropna()} for trials in studies.values()]
    shared = set.intersection(*seeds) if seeds else set()
    alone = "no interval here is of a difference between studies: each is of its own study."
    some = f"{len(shared)} seed{'s' * (len(shared) > 1)}"
    if not shared:
        return f"Runs of different studies are not paired: they share no seed. So {alone}"
    differ = _different_knobs(studies)
    if differ:
        return (
            f"Runs of different studies share {some}, but the studies differ in "
            f"{', '.join(differ)}: those runs are pairs only if none of that changes the data, "
            f"their order or the initialisation. Not known to be paired, so {alone}"
        )
    return (
        f"Runs of different studies share {some} and all knobs that are the same in "
        f"each study: those runs are pairs. Still, {alone}"
    )


def _different_knobs(studies: Mapping[str, pd.DataFrame]) -> list[str]:
    """Knobs that have one value in each study, and not the same in all."""
    values: dict[str, list[Any]] = {}
    for trials in studies.values():
        for name in schema_of(trials).named("knob"):
            if name not in SAME_RUN and name in trials:
                said = {str(value) for value in trials[name]}
                values.setdefault(name, []).append(said.pop() if len(said) == 1 else None)
    return [name for name, said in values.items() if None not in said and len({*said}) > 1]
