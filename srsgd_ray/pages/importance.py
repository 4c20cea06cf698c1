"""How much each searched knob mattered, by Optuna's fANOVA."""

from __future__ import annotations

import json
import warnings
from typing import Any, Literal

import numpy as np
import pandas as pd

from srsgd_ray import analysis

FEWEST = 8  # complete trials; from fewer nothing can be said


def importance(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """The share of each knob in the variance of the search metric, arm by arm.

    Only complete trials count. Source: Hutter, Hoos, Leyton-Brown, An Efficient Approach for
    Assessing Hyperparameter Importance (2014), as Optuna computes it.

    Returns:
        A dict for each arm and knob: ``arm``, ``knob``, ``share`` (of 1). Arms with fewer than
        ``FEWEST`` complete trials, or fewer than two knobs that were searched, have none.
    """
    import optuna

    metric, mode = analysis.search_goal(trials)
    search = trials[(trials["phase"] == "search") & (trials["state"] == "complete")]
    direction: Literal["minimize", "maximize"] = "minimize" if mode == "min" else "maximize"
    found = []
    for arm in analysis.arms(trials):
        own = search[(search["arm"] == arm) & np.isfinite(search[metric].astype(float))]
        space = analysis.design(own, "search_space")
        ranges = {n: s for n, s in json.loads(space or "{}").items() if n in own}
        if len(own) < FEWEST or len(ranges) < 2:
            continue
        distributions = {name: _distribution(said) for name, said in ranges.items()}
        said = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs each study made
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction=direction)
            for _, row in own.iterrows():
                params = {n: row[n] for n in ranges if pd.notna(row[n])}
                study.add_trial(
                    optuna.trial.create_trial(
                        params=params,
                        distributions={name: distributions[name] for name in params},
                        value=float(row[metric]),
                    )
                )
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        optuna.logging.set_verbosity(said)
        found += [{"arm": arm, "knob": name, "share": float(v)} for name, v in shares.items()]
    return found


def _distribution(said: dict[str, Any]) -> Any:
    from optuna import distributions as kinds

    if "choices" in said:
        return kinds.CategoricalDistribution(said["choices"])
    whole = isinstance(said["low"], int) and isinstance(said["high"], int)
    kind = kinds.IntDistribution if whole else kinds.FloatDistribution
    return kind(said["low"], said["high"], log=bool(said.get("log")))
