"""A part of a study: some of its arms, other epochs, or just enough to try a cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from srsgd_ray.knobs import one_of
from srsgd_ray.study.arm import Arm
from srsgd_ray.study.spec import Study


def select(study: Study, wanted: Mapping[str, Sequence[str]]) -> Study:
    """The study with those arms only whose labels are among the ``wanted`` ones.

    An arm without a label of that kind stays. A comparison whose other side is gone is dropped.

    Raises:
        UnknownNameError: for a value that no arm has.
        ValueError: if no arm is left.
    """
    if not wanted:
        return study
    arms = study.arms
    for key, values in wanted.items():
        valid = dict.fromkeys(arm.labels[key] for arm in study.arms if key in arm.labels)
        for value in values:
            one_of(key, value, valid)
        arms = tuple(arm for arm in arms if arm.labels.get(key, values[0]) in values)
    if not arms:
        raise ValueError(
            f"no arm of {study.name!r} has {dict(wanted)}: leave one of these options out."
        )
    return _with_arms(study, arms)


def _with_arms(study: Study, arms: Sequence[Arm]) -> Study:
    names = {arm.name for arm in arms}
    kept = tuple(
        dataclasses.replace(arm, against="") if arm.against and arm.against not in names else arm
        for arm in arms
    )
    baseline = study.baseline if study.baseline in names else ""
    return dataclasses.replace(study, arms=kept, baseline=baseline)


def with_epochs(study: Study, epochs: int) -> Study:
    """The study with ``epochs`` as the length of its longest arm; the others scale."""
    if epochs < 1:
        raise ValueError(f"epochs >= 1 must hold, but got epochs={epochs}.")
    work = study.work
    longest = max(study.epochs_of(arm.name) for arm in study.arms)

    def scaled(arm: Arm) -> Arm:
        config = study.config(arm.name, {})
        changed = work.lengthened(config, max(1, round(work.epochs(config) * epochs / longest)))
        if not set(changed) & set(arm.fixed):
            return arm
        return dataclasses.replace(arm, fixed={**arm.fixed, **changed})

    arms = tuple(scaled(arm) for arm in study.arms)
    return dataclasses.replace(study, arms=arms, epochs=epochs)


def smoke(study: Study) -> Study:
    """The smallest sound version of a study: a few epochs of a few arms.

    Of arms of one family, as the trainable calls it, the first is kept.
    """
    work = study.work
    first: dict[str, Arm] = {}
    for arm in study.arms:
        family = work.family(study.config(arm.name, {}))
        first.setdefault(arm.name if family is None else family, arm)
    base: dict[str, Any] = dict(study.base)
    arms = []
    epochs = None
    for arm in first.values():
        config = study.config(arm.name, {})
        changed = work.smoke(config)
        length = work.lengthened(config, 2)
        fixed = dict(arm.fixed)
        if set(length) & set(arm.fixed):
            fixed |= {name: changed[name] for name in length if name in changed}
        elif work.budget is not None:
            epochs = 2
        base |= {name: value for name, value in changed.items() if name not in length}
        arms.append(dataclasses.replace(arm, fixed=fixed))
    searched = any(study.trials_of(arm.name) for arm in arms)
    return dataclasses.replace(
        _with_arms(study, arms),
        base=base,
        epochs=epochs or study.epochs,
        trials=min(study.trials, 2),
        searches=min(study.searches, 2),
        until_decided=None,
        confirm_seeds=min(study.confirm_seeds, 2) if searched else 1,
        confirm_points=2,
    )
