"""Warm start: what other studies have found, as prior of the samplers of this one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srsgd_ray.results import read_record
from srsgd_ray.results.contents import Contents, TrialRecord
from srsgd_ray.study.arm import params_in
from srsgd_ray.study.spec import Study

LEARN = ("tpe", "gp")  # samplers that learn from trials that they have not proposed


def check_prior(study: Study) -> None:
    """Raise ValueError if a study names priors that its sampler cannot learn from."""
    if study.prior and ":" not in study.searcher and study.searcher not in LEARN:
        raise ValueError(
            f"a prior needs a searcher that learns from other trials ({', '.join(LEARN)}), but got "
            f"searcher={study.searcher!r}. Leave the prior out, or choose one of them."
        )


def read_prior(study: Study) -> list[dict[str, Any]]:
    """The trials of the studies that ``study.prior`` names which fit it, as plain values.

    Those of an arm of the same name that are complete, were judged by the same metric and mode,
    and whose searched knobs lie in the space of the arm.

    Returns:
        By trial: ``study``, ``folder``, ``arm``, ``trial``, ``params`` and ``values`` (of each
        goal).

    Raises:
        ValueError: for a folder that has none such, or was judged otherwise.
    """
    found = []
    for folder in study.prior:
        contents = read_record(Path(folder))
        _check_alike(study, contents, folder)
        fitting = [f for t in contents.trials.values() if (f := _fitting(study, contents, t))]
        if not fitting:
            arms = ", ".join(arm.name for arm in study.arms if study.trials_of(arm.name))
            raise ValueError(
                f"no trial of {folder} fits this study: a prior has complete search trials of an "
                f"arm of the same name ({arms}), with all searched knobs within its space."
            )
        found += [{**one, "folder": str(folder)} for one in fitting]
    return found


def _check_alike(study: Study, contents: Contents, folder: str) -> None:
    spec = contents.header["spec"]
    second = (spec.get("pareto_metric", ""), bool(spec.get("pareto")))
    alike = (study.metric, study.mode) == (spec["metric"], spec["mode"])
    if not alike or (study.pareto and second != (study.pareto_metric, True)):
        raise ValueError(
            f"a prior must be judged by the same metric, {study.metric} ({study.mode}), but "
            f"{folder} was by {spec['metric']} ({spec['mode']})."
        )


def _fitting(study: Study, contents: Contents, trial: TrialRecord) -> dict[str, Any] | None:
    """What a prior says of a trial; None if it does not fit."""
    arms = [arm.name for arm in study.arms if study.trials_of(arm.name)]
    if trial.phase != "search" or trial.state != "complete" or trial.arm not in arms:
        return None
    params = params_in(study.arm(trial.arm).searched, study.fixed_of(trial.arm), trial.config)
    values = [goal.value(trial.rows) for goal in study.goals()]
    if params is None or any(v is None or not math.isfinite(v) for v in values):
        return None
    of = {"study": contents.header["study"], "arm": trial.arm, "trial": trial.trial}
    return {**of, "params": params, "values": values}


def prior_said(prior: Sequence[dict[str, Any]]) -> list[str]:
    """Where a prior comes from, a line for each study."""
    lines = []
    for folder in dict.fromkeys(one["folder"] for one in prior):
        mine = [one for one in prior if one["folder"] == folder]
        arms = dict.fromkeys(one["arm"] for one in mine)
        counts = ", ".join(f"{sum(o['arm'] == a for o in mine)} of {a}" for a in arms)
        lines.append(f"{folder} ({counts})")
    return lines


def in_header(prior: list[dict[str, Any]]) -> dict[str, Any]:
    """What the header of a record says of a prior: it is all that is read again later."""
    if not prior:
        return {}
    count = f"{len(prior)} trial{'s' * (len(prior) > 1)} of other studies"
    where = "; ".join(prior_said(prior))
    return {"prior": prior, "remarks": [f"The search knew {count} from its start: {where}."]}
