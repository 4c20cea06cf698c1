"""A study with more of something: what an extension by the command line asks for."""

from __future__ import annotations

import dataclasses
from typing import Any

from srsgd_ray.knobs import value_in
from srsgd_ray.results.contents import Contents
from srsgd_ray.search_spaces import FIXED
from srsgd_ray.study.shorten import with_epochs
from srsgd_ray.study.spec import Study


def with_more(study: Study, **more: int | None) -> Study:
    """The study with so many more of ``trials``, ``searches`` or ``confirm_seeds``.

    An arm that has a number of its own gets as many more; a fixed one stays without trials.

    Raises:
        ValueError: if there is nothing to search, or a number is below 1.
    """
    asked = {name: number for name, number in more.items() if number is not None}
    for name, number in asked.items():
        if number < 1:
            raise ValueError(f"an extension adds 1 or more, but got {name}={number}.")
        if name != "confirm_seeds" and not any(study.trials_of(arm.name) for arm in study.arms):
            raise ValueError(
                f"an extension by {name} needs an arm that is searched, but no arm of "
                f"{study.name!r} is. Add seeds (confirm_seeds), or arms to its script."
            )
    arms = []
    for arm in study.arms:
        own = {n: getattr(arm, n) for n in ("trials", "confirm_seeds")}
        larger = {n: was + asked[n] for n, was in own.items() if was and n in asked}
        arms.append(dataclasses.replace(arm, **larger))
    # What no arm is searched by stays 0.
    added = {n: getattr(study, n) + number for n, number in asked.items() if getattr(study, n)}
    return dataclasses.replace(study, **added, arms=tuple(arms))


def lengthened(study: Study, contents: Contents, epochs: int) -> Study:
    """The best configuration of each arm at another length, as a study of its own: see its name.

    Raises:
        ValueError: if an arm has several, or none yet, or if the length was searched or is its own.
    """
    selected = contents.selected.get(0, {})
    searched = [arm.name for arm in study.arms if study.trials_of(arm.name)]
    budget = study.work.budget
    if budget is None or any(budget.field in arm.searched.ranges for arm in study.arms):
        raise ValueError(f"the trials of {study.name!r} have no length that all of an arm share.")
    if study.searches > 1 or study.pareto:
        raise ValueError(
            f"only one configuration of each arm can be confirmed at another length, but "
            f"{study.name!r} has several: it has {study.searches} searches, or a Pareto front."
        )
    if epochs == max(study.epochs_of(arm.name) for arm in study.arms):
        raise ValueError(
            f"another length must differ from the study's own, but {study.name!r} has {epochs} "
            f"{budget.unit} already. For more seeds at that length: --confirm-seeds."
        )
    if left := [name for name in searched if name not in selected]:
        raise ValueError(f"no search has ended yet of {', '.join(left)}: resume the study first.")
    arms = []
    for arm in study.arms:
        best: dict[str, Any] = {}
        for name in arm.searched.ordered() if arm.name in searched else ():
            config = contents.trials[selected[arm.name][0]].config
            if arm.searched.active(name, {**study.fixed_of(arm.name), **best}):
                best[name] = value_in(config, name)
        fixed = {**arm.fixed, **best}
        arms.append(dataclasses.replace(arm, space=FIXED, trials=0, enqueue=(), fixed=fixed))
    return with_epochs(
        dataclasses.replace(
            study,
            name=f"{study.name}-{epochs}-epochs",
            question=f"{study.question} The best of {study.name} at {epochs} {budget.unit}.",
            arms=tuple(arms),
            trials=0,
            until_decided=None,
            scheduler="none",
        ),
        epochs,
    )
