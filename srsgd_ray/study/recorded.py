"""The trials of a search as a table to search again: configurations, learning curves, seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution

from srsgd_ray import analysis
from srsgd_ray.backends.simulated import Recording
from srsgd_ray.search_spaces import SearchSpace

SECONDS = ("train_seconds", "eval_seconds")  # of an epoch's row


@dataclass(frozen=True)
class Recorded:
    """The search trials of an arm that ran to their end.

    Attributes:
        arm: its name.
        metric, mode: what its search judged by.
        space: what was searched.
        names, params, trials: of each trial its name, its searched knobs and its recording.
        ranked: those of them that are complete and have a value, the best first.
        searches: how many independent searches of the arm they are of.
        left_out: how many were left out, by state.
    """

    arm: str
    metric: str
    mode: str
    space: SearchSpace
    names: tuple[str, ...]
    params: tuple[dict[str, Any], ...]
    trials: tuple[Recording, ...]
    ranked: tuple[int, ...]
    searches: int
    left_out: Mapping[str, int]

    @property
    def epochs(self) -> int:
        """Epochs that they took together."""
        return sum(len(trial.rows) for trial in self.trials)

    @property
    def best(self) -> int:
        """Which of them ended best."""
        return self.ranked[0]

    def value(self, at: int) -> float:
        """What a trial ended with; NaN unless it is among the ranked."""
        return float(self.trials[at].rows[-1][self.metric]) if at in self.ranked else math.nan


def recorded(trials: pd.DataFrame, epochs: pd.DataFrame, arm: str) -> Recorded:
    """What a study's tables hold of an arm's search.

    Raises:
        UnknownNameError: for an unknown arm.
        ValueError: if its trials cannot be replayed: the arm was not searched, or trials were
            pruned, so that nobody knows how they would have gone on.
    """
    own = analysis.rows(trials, "search", arm)
    said = analysis.design(own, "search_space")
    if own.empty or said is None:
        raise ValueError(f"only a search can be simulated, but arm {arm!r} had none.")
    if analysis.design(own, "pareto"):
        raise ValueError("a search with two aims cannot be simulated: no single trial is its best.")
    states = Counter(own["state"])
    if states["pruned"]:
        raise ValueError(
            f"simulated trials need whole curves, but {states['pruned']} of {len(own)} of arm "
            f"{arm!r} were pruned: how they would have gone on is not known. Record a search with "
            f"--scheduler none."
        )
    metric, mode = analysis.search_goal(trials)
    space = SearchSpace.from_column(said)
    kept = own[own["state"].isin(["complete", "diverged"])]
    rows = {
        name: found.sort_values("epoch")
        for name, found in epochs[epochs["trial"].isin(kept["trial"])].groupby("trial")
    }
    kept = kept[kept["trial"].isin(rows)].reset_index(drop=True)
    found = [
        _recording(rows[name], metric, state)
        for name, state in zip(kept["trial"], kept["state"], strict=True)
    ]
    sign = 1 if mode == "min" else -1
    ranked = analysis.best_first(kept, sign * analysis.outcomes(kept, metric))
    if ranked.empty:
        raise ValueError(f"a simulation needs complete trials, but arm {arm!r} has none.")
    # Where a knob was not searched its column holds what it was fixed to.
    values = [{str(name): value for name, value in one.items()} for one in kept.to_dict("records")]
    params = [
        {name: _plain(one[name]) for name in space.ranges if space.active(name, one)}
        for one in values
    ]
    left_out = {state: count for state, count in states.items() if state in ("failed", "running")}
    searches = int(analysis.search_numbers(own).nunique())
    return Recorded(
        arm,
        metric,
        mode,
        space,
        tuple(kept["trial"]),
        tuple(params),
        tuple(found),
        tuple(ranked),
        searches,
        left_out,
    )


def _recording(rows: pd.DataFrame, metric: str, state: str) -> Recording:
    """A trial's rows, with what schedulers read of them."""
    spent = [pd.to_numeric(rows[name]) for name in SECONDS if name in rows]
    seconds = sum(found.fillna(0.0) for found in spent).astype(float)  # type: ignore[union-attr]
    values = rows[metric].astype(object).where(rows[metric].notna(), None)
    named = [{"epoch": int(e), metric: v} for e, v in zip(rows["epoch"], values, strict=True)]
    return Recording(named, tuple(seconds), state)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


class Places:
    """Where configurations lie in a space, each knob from 0 to 1, to find the nearest."""

    def __init__(self, space: SearchSpace, params: Sequence[Mapping[str, Any]]) -> None:
        self._spreads = space.ranges
        self._choice = np.array(
            [isinstance(d, CategoricalDistribution) for d in space.ranges.values()]
        )
        self._all = np.array([self._place(one) for one in params])

    def _place(self, params: Mapping[str, Any]) -> list[float]:
        return [_scaled(spread, params.get(name)) for name, spread in self._spreads.items()]

    def nearest(self, params: Mapping[str, Any], free: np.ndarray[Any, np.dtype[np.bool_]]) -> int:
        """Which free one is nearest; other choices, and knobs that one alone has, are 1 apart."""
        here = np.array(self._place(params))
        apart = np.abs(self._all - here)
        apart = np.where(self._choice, np.minimum(np.ceil(apart), 1), apart)
        lone = np.isnan(self._all) != np.isnan(here)
        apart = np.where(lone, 1.0, np.nan_to_num(apart))
        return int(np.argmin(np.where(free, (apart**2).sum(axis=1), np.inf)))


def _scaled(spread: BaseDistribution, value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(spread, CategoricalDistribution):
        return float(spread.to_internal_repr(value))
    low, high = spread.low, spread.high  # type: ignore[attr-defined]
    if low == high:
        return 0.0
    if spread.log:  # type: ignore[attr-defined]
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))
