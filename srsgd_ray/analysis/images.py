"""The interval of a difference that covers the test images besides the runs: both are a sample."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from srsgd_ray.analysis.compare import Comparison
from srsgd_ray.analysis.interval import Estimate, estimate
from srsgd_ray.analysis.rows import (
    better_of,
    confirm_metric,
    outcomes,
    rows,
    search_numbers,
)

Matrix = npt.NDArray[np.float64]
SCALES = ((100.0, 0.0), (1.0, 0.0), (-100.0, 100.0), (-1.0, 1.0))  # errors and accuracies
CLOSE = 1e-4  # as a share of all images: errors that are reported with two digits of a percent


def over_images(
    trials: pd.DataFrame,
    predictions: pd.DataFrame,
    arm: str,
    baseline: str,
    metric: str | None = None,
    level: float = 0.95,
    over_runs: Estimate | None = None,
) -> Estimate | None:
    """The difference of two arms, with an interval over other runs and other test images.

    Args:
        trials: the trials table.
        predictions: :func:`srsgd_ray.results.read_predictions` of the same study.
        arm, baseline: the arm and what it is compared with.
        metric: an error or an accuracy, as a share or in %; None: what the study compares arms by.
        level: of the interval.
        over_runs: the difference with an interval over runs alone, if it is known.

    Returns:
        Arm minus baseline, by :func:`two_way`; None where there is none: fewer than two pairs (or
        searches), a pair without predictions, arms with different test sets, or a metric that is
        no share of the images.

    Raises:
        ValueError: if ``level`` is not between 0 and 1, or the metric has no direction.
    """
    metric = metric or confirm_metric(trials)
    runs = rows(trials, "confirm")
    runs = runs.assign(value=outcomes(runs, metric), search=search_numbers(runs))
    runs = runs.dropna(subset="value")[["arm", "search", "seed", "trial", "value"]]
    sides = [runs[runs["arm"] == name] for name in (arm, baseline)]
    pairs = sides[0].merge(sides[1], on=["search", "seed"], suffixes=("", "_base"))
    by_run = dict(list(predictions.groupby("trial", observed=True)))
    names = [*pairs["trial"], *pairs["trial_base"]]
    replicated = search_numbers(trials).nunique() > 1
    units = pairs["search"].nunique() if replicated else len(pairs)
    if units < 2 or not set(names) <= set(by_run):
        return None
    labels = by_run[names[0]]["label"].to_numpy()
    if any(not np.array_equal(labels, by_run[name]["label"].to_numpy()) for name in names):
        return None
    wrong = np.stack([(by_run[n]["predicted"] != by_run[n]["label"]).to_numpy() for n in names])
    values = np.concatenate([pairs["value"], pairs["value_base"]])
    factor = _factor(values, wrong, better_of(trials, metric))
    if factor is None:
        return None
    differences = factor * (wrong[: len(pairs)].astype(float) - wrong[len(pairs) :])
    if replicated:  # the runs of a search share its luck: searches alone are independent
        searches = pairs.groupby("search").indices.values()
        differences = np.stack([differences[own].mean(0) for own in searches])
    return two_way(differences, level, over_runs)


def with_images(
    comparison: Comparison, trials: pd.DataFrame, predictions: pd.DataFrame
) -> Comparison:
    """A comparison with its ``over_images``, at the level of its last look."""
    c = comparison
    level = c.own_level(max(0, c.look))
    found = over_images(trials, predictions, c.arm, c.baseline, c.metric, level, c.estimate)
    return dataclasses.replace(c, over_images=found)


def _factor(values: Matrix, wrong: npt.NDArray[np.bool_], better: str) -> float | None:
    """What a wrong image adds to the metric, times the images; None if that is no such metric."""
    share = wrong.mean(1)
    room = max(0.5 / wrong.shape[1], CLOSE)
    for factor, base in SCALES:
        fits = np.allclose(values, base + factor * share, rtol=0, atol=room * abs(factor))
        if fits and (factor > 0) == (better == "lower"):
            return factor
    return None


def two_way(
    differences: Matrix, level: float = 0.95, over_runs: Estimate | None = None
) -> Estimate:
    """The mean of differences of runs on images, as if both were drawn at random.

    The model is that of crossed random effects: a difference is the mean, plus an effect of its
    run, plus one of its image, plus the rest. With n runs and N images, the squared half width is
    that of the t interval over runs plus ``t^2 max(0, s^2 / N - r^2 / (n N))``, where t has N - 1
    degrees of freedom, s is the standard deviation of the images' means, and r that of the rest.
    So it is never narrower than the interval over runs alone.

    Sources: the variance of a mean with crossed effects, Cornfield and Tukey (Annals of
    Mathematical Statistics 27, 1956); squares of half widths added up, Zou and Donner (Statistics
    in Medicine 27, 2008). It was chosen among eight by simulation; the pigeonhole bootstrap (Owen,
    Annals of Applied Statistics 1, 2007) was up to 36 % wider, and missed up to 17 % with 3 runs.

    Args:
        differences: (n, N), both at least 2.
        level: of the interval.
        over_runs: their mean with an interval over runs alone, which is widened; None: the t
            interval.
    """
    n, images = differences.shape
    found = over_runs or estimate(differences.mean(1).tolist(), level)
    of_image = differences.mean(0)
    rest = differences - differences.mean(1, keepdims=True) - of_image + differences.mean()
    noise = float((rest**2).sum()) / ((n - 1) * (images - 1)) / (n * images)
    part = max(0.0, float(of_image.var(ddof=1)) / images - noise)
    more = float(stdtrit(images - 1, (1 + level) / 2)) ** 2 * part
    low, high = (math.sqrt((end - found.mean) ** 2 + more) for end in (found.low, found.high))
    return Estimate(found.n, found.mean, found.std, found.mean - low, found.mean + high)
