"""Epochs, steps and seconds until a target is reached: a run that misses it takes for ever."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high, median_low

import numpy as np
import pandas as pd
from scipy.special import bdtr

from srsgd_ray.analysis.interval import check_level
from srsgd_ray.analysis.looks import look_share
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    baselines,
    better_of,
    confirm_metric,
    numbers,
    outcomes,
    rows,
    search_goal,
    search_numbers,
)
from srsgd_ray.analysis.words import in_words
from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of

COSTS = ("epochs", "steps", "seconds")
BASELINE = "baseline"  # the target: the mean final value of the baseline's runs
SAME = 1e-9


def target_metric(epochs: pd.DataFrame, trials: pd.DataFrame, metric: str | None = None) -> str:
    """The metric whose target is asked for: one that confirmation runs report as they go.

    By default what the study compares arms by, or else what its search judged by.

    Raises:
        UnknownNameError: for an unknown metric.
        ValueError: if the runs report it once at most.
    """
    known = schema_of(epochs)
    wanted = [metric] if metric else [confirm_metric(trials), search_goal(trials)[0]]
    runs = rows(epochs, "confirm")
    ended = rows(trials, "confirm").query("state == 'complete'")["trial"]

    def told(name: str) -> bool:
        seen = (
            runs[numbers(runs, name).notna()]["trial"].value_counts().reindex(ended, fill_value=0)
        )
        return bool(len(seen)) and bool((seen > 1).all())

    for name in wanted:
        known.number(name)
        if told(name):
            return name
    others = ", ".join(name for name in known.named("metric") if name in runs and told(name))
    raise ValueError(
        f"a target needs a metric that complete confirmation runs report more than once, but "
        f"{' and '.join(dict.fromkeys(wanted))} {'are' if len({*wanted}) > 1 else 'is'} not. "
        f"{f'Choose another: {others}.' if others else 'This study has none.'}"
    )


def times_to_target(
    epochs: pd.DataFrame, trials: pd.DataFrame, target: float, metric: str, cost: str = "epochs"
) -> pd.DataFrame:
    """What each confirmation run had spent when it first met a target.

    Args:
        epochs, trials: the tables of one study.
        target: a value of the metric; one that is as good or better meets it.
        metric: a column of the epochs table.
        cost: ``epochs``, optimizer ``steps``, or ``seconds`` of training; whole epochs in any case.

    Returns:
        One row a run: ``arm``, ``search``, ``seed``, ``trial``, ``state`` and ``time``: infinite if
        it ended without meeting the target, diverged and failed runs too, and NaN if it may still.

    Raises:
        UnknownNameError: for an unknown cost or metric.
        ValueError: if the metric has no direction, or the cost is not in the table.
    """
    one_of("cost", cost, COSTS)
    runs, told = rows(trials, "confirm"), rows(epochs, "confirm")
    if cost == "steps" and "step" not in told:
        raise ValueError(
            "steps need the column step, which these trials do not report. Use epochs, or declare "
            "Metric('step', kind=int)."
        )
    sign = 1 if better_of(trials, metric) == "lower" else -1
    spent = {
        "epochs": lambda: numbers(told, "epoch"),
        "steps": lambda: numbers(told, "step"),
        "seconds": lambda: numbers(told, "train_seconds").groupby(told["trial"]).cumsum(),
    }[cost]()
    met = sign * (numbers(told, metric) - target) <= SAME * max(1.0, abs(target))
    first = spent[met].groupby(told["trial"]).min()
    never = runs["state"].map(lambda state: math.nan if state == "running" else math.inf)
    found = runs.assign(search=search_numbers(runs), time=runs["trial"].map(first).fillna(never))
    twice = found[found.duplicated(["arm", "search", "seed"])]
    if len(twice):
        raise ValueError(
            f"an arm must have one confirmation run a seed, but {twice['arm'].iloc[0]!r} has more "
            f"of seed {twice['seed'].iloc[0]}. Studies of several lengths have no times to targets."
        )
    return found[["arm", "search", "seed", "trial", "state", "time"]].reset_index(drop=True)


@dataclass(frozen=True)
class ToTarget:
    """What one arm spent until a target was met, against its baseline.

    Attributes:
        target: value of the metric; ``given`` as a number, or the mean final value of the baseline.
        times, rival_times: of the runs of either arm that have ended or met it; inf for a miss.
        ratio: median over pairs of the arm's time divided by the baseline's.
        low, high: interval of that median at ``level``; 0 and inf where pairs are too few.
        n: pairs, or searches if the study has several.
    """

    arm: str
    baseline: str
    metric: str
    unit: str
    cost: str
    target: float
    given: bool
    times: tuple[float, ...]
    rival_times: tuple[float, ...]
    ratio: float
    low: float
    high: float
    n: int
    searches: int
    level: float

    @property
    def verdict(self) -> str:
        """What it says, in a sentence."""
        name, rival = arm_label(self.arm), arm_label(self.baseline)
        what = f"{in_words(self.metric)} of {self.target:.4g}{f' {self.unit}' * bool(self.unit)}"
        of = "" if self.given else f", the mean final value of {rival},"
        counts = " and ".join(
            f"{sum(map(math.isfinite, times))} of {len(times)} runs of {who}"
            for who, times in ((name, self.times), (rival, self.rival_times))
        )
        units = ("searches" if self.searches > 1 else "pairs") if self.n != 1 else "pair"
        interval = f"{100 * self.level:g} % interval {self.low:.2f} to {self.high:.2f}"
        shown = f"{interval}, n = {self.n} {units}"
        reached = f"{counts} reached it"
        if self.n == 0:
            return f"No pair of {name} and {rival} has ended: {reached} ({what})."
        if self.low <= 1 <= self.high:
            return (
                f"Not enough {units} to tell which of {name} and {rival} reaches a {what}{of} in "
                f"fewer {self.cost}: median ratio {self.ratio:.2f} ({shown}); {reached}."
            )
        return (
            f"{name} reaches a {what}{of} in {self.ratio:.2f} times the {self.cost} of {rival} "
            f"({shown}); {reached}."
        )


def targets_of(
    trials: pd.DataFrame,
    metric: str,
    target: float | str = BASELINE,
    rivals: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """The target of each arm that has a baseline; arguments and errors are :func:`to_target`'s."""
    rivals = baselines(trials) if rivals is None else rivals
    if isinstance(target, str):
        one_of("target", target, (BASELINE,), ", or a number")
    confirm = rows(trials, "confirm")
    final = outcomes(confirm, metric)
    found = {}
    for arm, rival in rivals.items():
        for name in (arm, rival):
            one_of("arm", name, arms(trials))
        of_rival = final[confirm["arm"] == rival].dropna()
        if isinstance(target, str) and of_rival.empty:
            raise ValueError(
                f"the final {in_words(metric)} of {rival} is no target yet: it has no complete "
                f"confirmation run. Give a number."
            )
        known = math.fsum(of_rival) / max(1, len(of_rival))
        found[arm] = known if isinstance(target, str) else float(target)
    return found


def to_target(
    epochs: pd.DataFrame,
    trials: pd.DataFrame,
    target: float | str = BASELINE,
    metric: str | None = None,
    cost: str = "epochs",
    rivals: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> list[ToTarget]:
    """What each arm spends until a target is met, against its baseline, pair by pair.

    The interval is that of the median of the ratios by the sign test: two of the ordered ratios
    (Conover, Practical Nonparametric Statistics, 3.2), at ``1 - (1 - level) s / m`` for m arms
    and the share s of the last look (:mod:`srsgd_ray.analysis.looks`). It needs no law of the
    times, and infinite ones have their place in the order. A pair that misses on both sides could
    have any ratio: it counts as 0 for the lower end and as infinite for the upper one, and as 1
    for the median. Fewer than six pairs give 0 to inf at 95 %. With several searches, each counts
    once, by the median of its pairs.

    A target that is each baseline run's own final value would favour the baseline, which then
    never misses: the mean of its complete runs is one target for all.

    Args:
        epochs, trials: the tables of one study.
        target: a value of the metric, or ``baseline``: the mean, over the complete runs of the
            baseline, of their last value.
        metric: see :func:`target_metric`.
        cost: see :func:`times_to_target`.
        rivals: the baseline of each arm; None: as the study says.
        level: of all intervals at all looks together.

    Raises:
        UnknownNameError, ValueError: see these; also if the baseline has no complete run.
    """
    check_level(level)
    metric = target_metric(epochs, trials, metric)
    rivals = baselines(trials) if rivals is None else rivals
    unit = schema_of(epochs)[metric].unit
    look = 0 if "look" not in trials else int(numbers(trials, "look").fillna(0).max())
    spent = (1 - level) * look_share(look) / max(1, len(rivals))
    found = []
    for arm, value in targets_of(trials, metric, target, rivals).items():
        rival = rivals[arm]
        times = times_to_target(epochs, trials, value, metric, cost).dropna(subset="time")
        sides = [times[times["arm"] == name] for name in (arm, rival)]
        pairs = sides[0].merge(sides[1], on=["search", "seed"], suffixes=("", "_rival"))
        ratio, low, high, n = median_ratio(pairs, 1 - spent)
        ours, theirs = (tuple(map(float, side["time"])) for side in sides)
        one = ToTarget(
            arm=arm, baseline=rival, metric=metric, unit=unit, cost=cost, target=value,
            given=not isinstance(target, str), times=ours, rival_times=theirs, ratio=ratio, low=low,
            high=high, n=n, searches=pairs["search"].nunique(), level=level,
        )  # fmt: skip
        found.append(one)
    return found


def median_ratio(pairs: pd.DataFrame, level: float) -> tuple[float, float, float, int]:
    """Median of the ratios of the times, its interval, and over how many units it is."""
    missed = np.isinf(pairs["time"]) & np.isinf(pairs["time_rival"])
    ratio = (pairs["time"] / pairs["time_rival"]).mask(missed, 1.0)
    least, most = ratio.mask(missed, 0.0), ratio.mask(missed, math.inf)
    unit = pairs["search"] if pairs["search"].nunique() > 1 else pairs.index
    lows = sorted(least.groupby(unit).agg(median_low))
    highs = sorted(most.groupby(unit).agg(median_high))
    n = len(lows)
    k = next(k for k in range(n + 1) if 2 * float(bdtr(k, n, 0.5)) > 1 - level) if n else 0
    low, high = (lows[k - 1], highs[n - k]) if k else (0.0, math.inf)
    return _median([*ratio.groupby(unit).agg(_median)]), low, high, n


def _median(ratios: Sequence[float]) -> float:
    """The median; between two values their geometric mean, or the larger if one is 0 or inf."""
    if not len(ratios):
        return math.nan
    low, high = median_low(ratios), median_high(ratios)
    return math.sqrt(low * high) if low > 0 and math.isfinite(high) else high
