"""What the confirmation says: each arm over its runs, and against the baseline pair by pair."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from srsgd_ray.analysis.compare import ArmResult, Comparison, arm_result, compare, decide
from srsgd_ray.analysis.images import with_images
from srsgd_ray.analysis.interval import check_level
from srsgd_ray.analysis.pairs import Key, Run
from srsgd_ray.analysis.rows import (
    arms,
    better_of,
    confirm_metric,
    design,
    numbers,
    outcomes,
    rows,
    search_numbers,
)
from srsgd_ray.analysis.search import best_trial
from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of

BOUNDS = {"%": (0.0, 100.0)}  # of a metric's values, by its unit


@dataclass(frozen=True)
class Confirmation:
    """The whole confirmation: see :func:`confirmation`.

    ``searches`` is how many an arm had: 0 if there was none, so that arms are configurations.
    """

    metric: str
    unit: str
    level: float
    baseline: str | Mapping[str, str] | None
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    direction: str = "lower"
    searches: int = 0

    @property
    def scope(self) -> str:
        """What the intervals cover, in a sentence; empty if nothing was searched."""
        if self.searches > 1:
            return (
                f"{self.searches} searches an arm were used: the intervals of differences cover "
                f"the luck of the search and of the seeds together."
            )
        said = "One search was used: the intervals cover the seeds of training, not the luck of "
        return f"{said}the search." if self.searches else ""

    def arm(self, name: str) -> ArmResult:
        """The result of one arm."""
        one_of("arm", name, [result.arm for result in self.arms])
        return next(result for result in self.arms if result.arm == name)


def confirmation(
    trials: pd.DataFrame,
    baseline: str | Mapping[str, str] | None = "sgd",
    metric: str | None = None,
    level: float = 0.95,
    extendable: bool = True,
    predictions: pd.DataFrame | None = None,
) -> Confirmation:
    """Compare the arms on their confirmation runs.

    Runs of one search and seed make a pair. With one search the differences are over pairs; with
    several, over searches, each by the mean of its own pairs, so that the luck of the search is in
    the interval. The interval of an arm stands for itself, at ``level``; of a metric in % it
    stays between 0 and 100. The intervals of the m differences hold together (each has an m-th of
    the error: Bonferroni) and at all looks together (see :mod:`srsgd_ray.analysis.looks`).
    Verdicts are Holm's: he finds all that the intervals show, and sometimes more. How lost runs
    count, :func:`srsgd_ray.analysis.compare.compare` says; docs/verdicts.md explains all of it.

    Args:
        baseline: the arm that the others are compared with, or the rival of each arm that has one
            (see :func:`srsgd_ray.analysis.baselines`); None: no comparison.
        metric: column of the trials table; None: what the study compares arms by.
        extendable: whether runs may be added until there is a verdict. False, for a design whose
            runs were all fixed beforehand, spends the whole error at once.
        predictions: :func:`srsgd_ray.results.read_predictions`; comparisons then also have an
            interval over the test images.

    Raises:
        UnknownNameError: for an unknown baseline or metric.
        ValueError: if the metric holds no numbers, ``level`` is not between 0 and 1, an arm has two
            confirmation runs of one seed, or a fixed design was extended.
    """
    metric = metric or confirm_metric(trials)
    unit = schema_of(trials).number(metric).unit
    check_level(level)
    names = arms(trials)
    rivals = baseline if isinstance(baseline, Mapping) else {}
    if isinstance(baseline, str):
        one_of("baseline", baseline, names)
        rivals = {name: baseline for name in names if name != baseline}
    for name, rival in rivals.items():
        one_of("arm", name, names)
        one_of("baseline", rival, names)
    try:
        direction = better_of(trials, metric)
    except ValueError:
        if rivals:
            raise
        direction = ""  # it is shown, and not compared
    if not extendable and _looks(trials).any():
        raise ValueError(
            "a fixed design has one look, but runs were added to this study. Use extendable=True."
        )
    replicated = max(1, search_numbers(trials).nunique())
    searched = set(trials.loc[trials["phase"] == "search", "arm"])
    runs = _runs(trials, metric)
    results = tuple(
        arm_result(
            name,
            tuple(runs[name]),
            level,
            replicated > 1,
            BOUNDS.get(unit),
            name in searched or not searched,
        )
        for name in names
    )
    count = replicated if searched or replicated > 1 else 0
    found = Confirmation(metric, unit, level, baseline, results, (), direction, count)
    together = [
        compare(
            found.arm(name),
            found.arm(rival),
            metric,
            unit,
            level,
            direction,
            len(rivals),
            replicated,
            extendable,
            _unconfirmed(trials),
        )
        for name, rival in rivals.items()
    ]
    compared = decide(together)
    if predictions is not None:
        compared = tuple(with_images(c, trials, predictions) for c in compared)
    return dataclasses.replace(found, comparisons=compared)


def _looks(trials: pd.DataFrame) -> pd.Series[int]:
    """The look at which each trial was added; folders of older versions have one, number 0."""
    said = numbers(trials, "look") if "look" in trials else pd.Series(0.0, trials.index)
    return said.fillna(0).astype("int64")


def _tested(trials: pd.DataFrame, confirm: pd.DataFrame) -> pd.Series[int]:
    """The look at which each confirmation run is first part of what is compared now.

    Where arms are compared by several searches and these were continued, no run is of an earlier
    look than that: else those searches alone would be judged before it whose winners have stayed.
    """
    looks, search = _looks(confirm), trials[trials["phase"] == "search"]
    if search_numbers(confirm).nunique() < 2:
        return looks
    groups = _looks(search).groupby(_searches(search))
    continued = groups.max()[groups.max() > groups.min()]
    return looks.clip(lower=int(max(continued, default=0)))


def _searches(table: pd.DataFrame) -> pd.Series[Any]:
    """The arm and the number of the search of each trial."""
    pairs = list(zip(map(str, table["arm"]), search_numbers(table), strict=True))
    return pd.Series(pairs, table.index, dtype=object)


def _runs(trials: pd.DataFrame, metric: str) -> dict[str, list[Run]]:
    """The confirmation runs of each arm, by search and seed, with those that it has not begun."""
    table = rows(trials, "confirm")
    found: dict[str, dict[Key, Run]] = {arm: {} for arm in arms(trials)}
    planned: dict[Key, int] = {}
    columns = [search_numbers(table), table["seed"], _tested(trials, table)]
    values, states = outcomes(table, metric), table["state"]
    for arm, search, seed, look, value, state in zip(
        table["arm"], *columns, values, states, strict=True
    ):
        why = "" if value == value else state if state != "complete" else f"without {metric}"
        run = Run(int(search), int(seed), int(look), float(value), str(why))
        if run.key in found[arm]:
            raise ValueError(
                f"an arm must have one confirmation run a seed, but {arm!r} has more of "
                f"seed {run.seed}. Remove the doubles."
            )
        found[arm][run.key] = run
        planned[run.key] = max(run.look, planned.get(run.key, 0))
    barren = _barren(trials)
    for arm, own in found.items():
        for key, look in planned.items():
            why = "without a winner" if (arm, key[0]) in barren else "not begun"
            own.setdefault(key, Run(*key, look, why=why))
    return {arm: [own[key] for key in sorted(own)] for arm, own in found.items()}


def _unconfirmed(trials: pd.DataFrame) -> float:
    """The first look of which a search is to be confirmed, or a planned run to begin; or infinity.

    Folders of older versions do not say how many runs were planned.
    """
    search, confirm = rows(trials, "search"), rows(trials, "confirm")
    search = search[search["state"].isin(["complete", "running"])]
    confirmed = set(search_numbers(confirm))
    open_looks = _looks(search)[~search_numbers(search).isin(confirmed)]
    first = min([*open_looks, *_unselected(trials)], default=math.inf)
    if "confirm_seeds" not in trials or confirm["confirm_seeds"].isna().all():
        return first
    barren, tested = _barren(trials), _tested(trials, confirm)
    # A search that was continued may have another winner since: its runs are of later looks alone.
    since = tested.groupby(_searches(confirm)).min().to_dict()
    for look in sorted(set(tested)):
        here = confirm[tested <= look]
        begun = here.groupby(["arm", search_numbers(here)], observed=True).size().to_dict()
        for arm, own in trials[_looks(trials) <= look].groupby("arm", observed=True):
            seeds, searches = numbers(own, "confirm_seeds").max(), numbers(here, "searches").max()
            wanted = ((str(arm), number) for number in range(int(searches)))
            due = [key for key in wanted if key not in barren and since.get(key, 0) <= look]
            if any(begun.get(key, 0) < seeds for key in due):
                return min(first, look)
    return first


def _unselected(trials: pd.DataFrame) -> Iterator[int]:
    """The looks of searches that were continued, and whose new winner has no run yet."""
    if "search_trials" not in trials or design(trials, "pareto"):
        return
    search, confirm = rows(trials, "search"), rows(trials, "confirm")
    confirm, barren = confirm[confirm["confirms"].notna()], _barren(trials)
    for key, runs in confirm.groupby(_searches(confirm)):
        own = search[[known == key for known in _searches(search)]]
        if own.empty:
            continue
        ended = len(own) >= numbers(own, "search_trials").max() and "running" not in set(
            own["state"]
        )
        best = best_trial(own, key[0])["trial"] if ended and key not in barren else None
        if best not in set(runs["confirms"]):
            yield int(_looks(own).max())


def _barren(trials: pd.DataFrame) -> set[tuple[str, int]]:
    """The searches that have ended without a complete trial: nothing of theirs can be confirmed."""
    table = rows(trials, "search")
    alive = table["state"].isin(["complete", "running"])
    return set(_searches(table)) - set(_searches(table[alive]))
