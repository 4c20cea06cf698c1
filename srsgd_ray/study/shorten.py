"""A part of a study: some of its arms, other epochs, or just enough to try a cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from srsgd_ray.config import GENERATED, one_of
from srsgd_ray.study.spec import Arm, Study

__all__ = ["select", "smoke", "with_epochs"]

SMOKE_BATCH = 25
SMOKE_PIXELS = 32


def select(study: Study, wanted: Mapping[str, Sequence[str]]) -> Study:
    """The study with those arms only whose labels are among the ``wanted`` ones.

    An arm without a label of that kind stays. A comparison whose other side is gone is dropped.

    Raises:
        UnknownNameError: for a value that no arm has.
        ValueError: if no arm is left.
    """
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
    """The study with ``epochs`` as the length of its longest arm; others and milestones scale."""
    longest = max(study.config(arm.name, {}).epochs for arm in study.arms)

    def scaled(arm: Arm) -> Arm:
        config = study.config(arm.name, {})
        if not {"epochs", "lr_milestones"} & set(arm.fixed):
            return arm
        length = max(1, round(config.epochs * epochs / longest))
        drops = tuple(round(m * length / config.epochs) for m in config.lr_milestones)
        return dataclasses.replace(
            arm, fixed={**arm.fixed, "epochs": length, "lr_milestones": drops}
        )

    arms = tuple(scaled(arm) for arm in study.arms)
    return dataclasses.replace(study, arms=arms, epochs=epochs)


def smoke(study: Study) -> Study:
    """A few epochs of a few arms on generated data of the real layout.

    One arm for each optimizer is kept, the first, and every stage is one epoch long.
    """
    first: dict[str, Arm] = {}
    for arm in study.arms:
        first.setdefault(study.config(arm.name, {}).optimizer, arm)
    arms = tuple(_short(study, arm) for arm in first.values())
    base: dict[str, Any] = dict(study.base)
    if any(study.config(arm.name, {}).dataset != "digits" for arm in arms):
        base |= {"data_dir": GENERATED, "batch_size": SMOKE_BATCH, "image_size": SMOKE_PIXELS}
    fixed = study.trials == 0
    return dataclasses.replace(
        _with_arms(study, arms),
        base=base,
        epochs=2,
        trials=min(study.trials, 2),
        confirm_seeds=1 if fixed else min(study.confirm_seeds, 2),
        confirm_points=2,
    )


def _short(study: Study, arm: Arm) -> Arm:
    """The arm with stages of one epoch, where it says how long they are."""
    if not {"epochs", "lr_milestones"} & set(arm.fixed):
        return arm
    stages = len(study.config(arm.name, {}).lr_milestones)
    epochs = stages + 1 + bool(arm.fixed.get("restart_decay"))  # a decay needs two epochs
    fixed = {**arm.fixed, "epochs": epochs, "lr_milestones": tuple(range(1, stages + 1))}
    return dataclasses.replace(arm, fixed=fixed)
