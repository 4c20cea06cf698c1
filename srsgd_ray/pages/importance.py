"""How much each searched knob mattered, by Optuna's fANOVA."""

from __future__ import annotations

import functools
import json
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.search_spaces import SearchSpace

Params = tuple[tuple[str, Any], ...]

FEWEST = 8  # complete trials; from fewer nothing can be said
MOST = 300  # trials that the forest is grown from: its time goes with their number squared
ABOUT = (
    "The share of each knob in the variance of the search metric over complete trials (fANOVA); "
    f"nothing is said from fewer than {FEWEST} of an arm, and of more than {MOST} every nth counts."
)


def importance(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """The share of each knob in the variance of the search metric, arm by arm.

    Only complete trials count. Source: Hutter, Hoos, Leyton-Brown, An Efficient Approach for
    Assessing Hyperparameter Importance (2014), as Optuna computes it.

    Returns:
        A dict for each arm and knob: ``arm``, ``knob``, ``share`` (of 1). Arms with fewer than
        ``FEWEST`` complete trials, or fewer than two knobs that were searched, have none.
    """
    metric, mode = analysis.search_goal(trials)
    search = analysis.rows(trials, "search").query("state == 'complete'")
    found = []
    for arm in analysis.arms(trials):
        own = search[(search["arm"] == arm) & np.isfinite(search[metric].astype(float))]
        space = analysis.design(own, "search_space") or "{}"
        names = [name for name in json.loads(space) if name in own]
        if len(own) < FEWEST or len(names) < 2:
            continue
        own = own.iloc[:: math.ceil(len(own) / MOST)]
        values = own[names].astype(object).itertuples(index=False, name=None)
        params = (tuple(zip(names, row, strict=True)) for row in values)
        tried = tuple(zip(params, own[metric].astype(float), strict=True))
        shares = _shares(space, mode == "min", tried)
        found += [{"arm": arm, "knob": name, "share": float(v)} for name, v in shares.items()]
    return found


@functools.lru_cache(maxsize=64)  # a live page asks at each epoch; only a complete trial changes it
def _shares(space: str, lower: bool, tried: tuple[tuple[Params, float], ...]) -> dict[str, float]:
    """The shares of the knobs: from the space as JSON, and each trial's knobs with its value."""
    import optuna

    distributions = SearchSpace.from_column(space).ranges
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs each study made
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="minimize" if lower else "maximize")
            for pairs, value in tried:
                params = {name: v for name, v in pairs if pd.notna(v)}
                known = {name: distributions[name] for name in params}
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=known, value=value)
                )
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return optuna.importance.get_param_importances(study, evaluator=evaluator)
    finally:
        optuna.logging.set_verbosity(verbosity)
