"""The rule of modded-nanogpt's optimization track: steps to a loss, with every run shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy.special import ndtr, stdtr

from srsgd_ray.analysis.rows import arm_label, arms, better_of, numbers, rows
from srsgd_ray.analysis.targets import target_metric
from srsgd_ray.analysis.words import in_words
from srsgd_ray.knobs import one_of

P = 0.001
# What must be the same in all arms: the data, the network and the batch of image classification.
FIXED = (
    "dataset", "dataset_options", "data_dir", "validation_fraction", "split_seed", "train_on",
    "augment", "normalisation", "image_size", "model", "model_options", "depth", "block", "width",
    "widen_factor", "cardinality", "growth_rate", "compression", "dropout", "batch_size",
)  # fmt: skip


@dataclass(frozen=True)
class StepsToLoss:
    """The steps after which an arm's runs have reached a loss, by the track's test.

    Attributes:
        step: the first that passes; inf if none does.
        mean, p: of the runs at that step, or at their last; NaN if a run was lost.
        runs: every run: ``seed``, ``state`` and ``value`` at that step (NaN for a lost run).
        differ: knobs of ``FIXED`` in which the study's arms differ, against the rule.
    """

    arm: str
    metric: str
    target: float
    step: float
    mean: float
    p: float
    runs: pd.DataFrame
    differ: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What it says, in a sentence."""
        name, what = arm_label(self.arm), f"a {in_words(self.metric)} of {self.target:.5g}"
        mean = "some were lost" if math.isnan(self.mean) else f"their mean is {self.mean:.5g}"
        shown = f"{mean}, p = {self.p:.2g}, n = {len(self.runs)} runs"
        if math.isinf(self.step):
            return f"{name} does not reach {what}: at the last step {shown}."
        return f"{name} reaches {what} in {self.step:g} steps: {shown}."


def steps_to_loss(
    epochs: pd.DataFrame,
    trials: pd.DataFrame,
    arm: str,
    target: float,
    metric: str | None = None,
    std: float | None = None,
    p: float = P,
) -> StepsToLoss:
    """The first step at which the mean of an arm's runs is better than a target, at p < 0.001.

    The rule (README of records/track_3_optimization in KellerJordan/modded-nanogpt): network,
    data and batch are fixed, and a step is one gradient; all runs are judged at one step, none is
    stopped or left out for what it shows; a one-sided test says that the mean loss is below the
    target at p < 0.001. The track takes a standard deviation of 0.0013 as known; where ``std`` is
    None it is that of the runs, and the test is the t test. A run that was lost fails every step.
    As in the track the first step that passes counts, though several are looked at.

    Args:
        epochs, trials: the tables of one study.
        arm: whose confirmation runs are judged.
        target: the loss.
        metric: see :func:`srsgd_ray.analysis.targets.target_metric`.
        std: standard deviation over runs, if it is known.
        p: bound of the test.

    Raises:
        UnknownNameError: for an unknown arm or metric.
        ValueError: if the metric is reported once, or the arm has fewer than two runs and no std.
    """
    one_of("arm", arm, arms(trials))
    metric = target_metric(epochs, trials, metric)
    sign = 1 if better_of(trials, metric) == "lower" else -1
    runs = rows(trials, "confirm", arm).query("state != 'running'")
    told = rows(epochs, "confirm", arm)
    at = "step" if "step" in told else "epoch"
    table = told.assign(value=numbers(told, metric)).pivot(
        index="trial", columns=at, values="value"
    )
    table = table.reindex(runs["trial"]).dropna(axis=1, how="all")
    table.loc[(runs["state"] != "complete").to_numpy()] = math.nan
    n = len(table)
    if n < (2 if std is None else 1):
        raise ValueError(f"the test needs two runs that have ended, but {arm} has {n}.")
    mean = table.mean(skipna=False)
    spread = table.std(skipna=False) if std is None else std
    score = sign * (mean - target) / (spread / math.sqrt(n))
    chance = pd.Series(ndtr(score) if std is not None else stdtr(n - 1, score), index=mean.index)
    passed = chance.index[chance < p]
    step = passed[0] if len(passed) else table.columns[-1]
    shown = pd.DataFrame(
        {"seed": [*runs["seed"]], "state": [*runs["state"]], "value": [*table[step]]}
    )
    every = rows(trials, "confirm")
    differ = tuple(n for n in FIXED if n in every and every[n].map(str).nunique() > 1)
    first = float(step) if len(passed) else math.inf
    return StepsToLoss(arm, metric, target, first, mean[step], chance[step], shown, differ)
