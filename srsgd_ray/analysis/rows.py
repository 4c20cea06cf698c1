"""Which rows of a trials table are meant, and by which of its columns: as the study itself says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of

LABELS = {
    "srsgd": "SRSGD",
    "nesterov_no_restart": "Nesterov, no restart",
    "adaptive_restart": "Nesterov, adaptive restart",
    "sgd": "SGD",
    "sgd_nesterov": "SGD, Nesterov",
    "sgd_plain": "SGD, no momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "radam": "RAdam",
    "schedule_free_sgd": "Schedule-free SGD",
    "schedule_free_adamw": "Schedule-free AdamW",
    "muon": "Muon",
    "sam": "SAM",
}


def arm_label(arm: str) -> str:
    """Name of an arm for people: ``SRSGD`` for ``srsgd``, ``SRSGD late`` for ``srsgd_late``."""
    return LABELS.get(arm) or " ".join(LABELS.get(word, word) for word in arm.split("_"))


def arms(trials: pd.DataFrame) -> list[str]:
    """The arms of a study, in the order in which they first appear.

    Raises:
        ValueError: if the table holds more than one study.
    """
    if trials.empty:
        return []
    studies = [str(study) for study in trials["study"].unique()]
    if len(studies) > 1:
        raise ValueError(
            f"one study at a time can be analysed, but got {len(studies)}: "
            f"{', '.join(sorted(studies))}. Select the rows of one."
        )
    return [str(arm) for arm in trials["arm"].unique()]


def current(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of either table that count: without those of superseded trials."""
    if "superseded" not in table:
        return table
    return table[~table["superseded"].map(lambda gone: gone is True or gone == 1).astype(bool)]


def rows(trials: pd.DataFrame, phase: str, arm: str | None = None) -> pd.DataFrame:
    """The trials of one phase (search or confirm) that count, of one arm or of all.

    Raises:
        UnknownNameError: for a phase or an arm that does not exist.
        ValueError: if the table holds more than one study.
    """
    one_of("phase", phase, ("search", "confirm"))
    valid = arms(trials)
    if arm is not None:
        one_of("arm", arm, valid)
    if not valid:
        return trials.reset_index(drop=True)
    trials = current(trials)
    of_arm = True if arm is None else trials["arm"] == arm
    return trials[(trials["phase"] == phase) & of_arm].reset_index(drop=True)


def numbers(table: pd.DataFrame, name: str) -> pd.Series[float]:
    """A column as floats; what is missing becomes NaN."""
    return pd.to_numeric(table[name]).astype("float64")


def outcomes(table: pd.DataFrame, metric: str) -> pd.Series[float]:
    """A metric of each trial; NaN unless the trial is complete and the metric finite."""
    values = numbers(table, metric)
    return values.where((table["state"] == "complete") & np.isfinite(values))


def search_numbers(table: pd.DataFrame) -> pd.Series[int]:
    """Which of a study's independent searches each trial belongs to; 0 where it is not said."""
    said = numbers(table, "search") if "search" in table else pd.Series(0.0, table.index)
    return said.fillna(0).astype("int64")


def design(trials: pd.DataFrame, name: str) -> Any:
    """What the study says under a column of its design; None if it says nothing."""
    said = list(trials[name].dropna()[:1]) if name in trials else []
    return said[0] if said and said[0] != "" else None


def search_goal(trials: pd.DataFrame) -> tuple[str, str]:
    """The metric that the search judges by, and its mode, min or max.

    A table that does not say so is of image classification, which lowers the validation error.
    """
    metric = design(trials, "metric") or "val_error"
    return str(metric), str(design(trials, "mode") or "min")


def goal_of(trials: pd.DataFrame, metric: str | None, mode: str | None) -> tuple[str, int]:
    """The metric that is asked for, or else the search's, and its sign: times it, less is better.

    Raises:
        UnknownNameError: for an unknown metric or mode.
        ValueError: if the metric holds no numbers.
    """
    own_metric, own_mode = search_goal(trials)
    metric, mode = metric or own_metric, mode or own_mode
    schema_of(trials).number(metric)
    one_of("mode", mode, ("min", "max"))
    return metric, 1 if mode == "min" else -1


def confirm_metric(trials: pd.DataFrame) -> str:
    """The metric that the confirmation compares arms by."""
    said = design(trials, "confirm_metric")
    if said is not None:
        return str(said)
    metric = search_goal(trials)[0]
    return "test_error" if "test_error" in trials or metric not in trials else metric


def better_of(table: pd.DataFrame, metric: str) -> str:
    """Which values of a metric are better, ``lower`` or ``higher``.

    Raises:
        ValueError: if neither its column nor the study says.
    """
    column = schema_of(table).number(metric)
    if column.better:
        return column.better
    if metric == design(table, "metric"):
        return "lower" if search_goal(table)[1] == "min" else "higher"
    raise ValueError(
        f"a metric needs a direction to be compared, but {metric!r} has none. Declare it: "
        f"Metric({metric!r}, better='lower' or 'higher')."
    )


def length_column(trials: pd.DataFrame) -> str:
    """The column that says how long a trial is: a knob, or what a complete one has done."""
    known = schema_of(trials)
    knob = "epochs" in known and known["epochs"].role in ("", "knob")
    return "epochs" if knob and "epochs" in trials else "epochs_done"


def several_lengths(trials: pd.DataFrame) -> bool:
    """Whether an arm has search trials, or confirmation runs, that differ in their length."""
    name, trials = length_column(trials), current(trials)
    if name == "epochs_done":
        trials = trials[trials["state"] == "complete"]
    return bool((trials.groupby(["arm", "phase"])[name].nunique() > 1).any())


def several_points(trials: pd.DataFrame) -> bool:
    """Whether an arm has several points of a front, or lengths, rather than a best configuration.

    A second aim that is no length has its points at one length.
    """
    return several_lengths(trials) or bool(design(trials, "pareto_metric"))


def searched_knobs(trials: pd.DataFrame) -> list[str]:
    """The knobs that have several values among the search trials of one arm, in order."""
    search = rows(trials, "search")
    found = []
    for name in schema_of(trials).named("knob"):
        if name == "seed" or name not in search or search.empty:
            continue
        values = search[name].map(lambda v: tuple(v) if hasattr(v, "__len__") else v)
        if (values.groupby(search["arm"]).nunique() > 1).any():
            found.append(name)
    parts = {name.partition(".")[0] for name in found if "." in name}
    return [name for name in found if name not in parts]


def restarting(trials: pd.DataFrame) -> list[str]:
    """The arms whose momentum is restarted."""
    if "optimizer" not in trials or "restart_kind" not in trials:
        return []
    found = set(trials.loc[trials["optimizer"] == "srsgd", "arm"])
    return [arm for arm in arms(trials) if arm in found]


def baselines(trials: pd.DataFrame) -> dict[str, str]:
    """The arm that each arm is compared with, as the study says; arms without one are left out.

    A table that says nothing of its study's design has one baseline for all: ``sgd``, or else the
    first arm without restarts, or else the first arm.
    """
    names = arms(trials)
    said = trials["baseline"] if "baseline" in trials else [None] * len(trials)
    found = dict(zip(trials["arm"], said, strict=True))
    if design(trials, "metric") is None and not any(rival in names for rival in found.values()):
        without = [arm for arm in names if arm not in restarting(trials)]
        preferred = ["sgd"] if "sgd" in names else [*without, *names]
        found = dict.fromkeys(names, next(iter(preferred), None))
    return {arm: found[arm] for arm in names if found[arm] in names and found[arm] != arm}
