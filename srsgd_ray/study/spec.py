"""A study as one frozen value: arms, budget, search, seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from srsgd_ray.config import TrainConfig, one_of
from srsgd_ray.results import check_column
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.search import SEARCHERS

__all__ = ["SCHEDULERS", "Arm", "Study", "check_name"]

SCHEDULERS = {"none": "every trial runs to its last epoch", "asha": "bad trials stop at a rung"}

METRICS = ("val_error", "val_loss", "train_error", "train_loss")  # what a search may judge by


def check_name(name: str) -> str:
    """Return ``name`` if a study and its folder can be called so, else raise ValueError."""
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise ValueError(
            f"a study's name must be of letters, digits, '-', '_' and '.', but got {name!r}."
        )
    return name


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a space to search, and the config fields that are fixed in it."""

    name: str
    space: SearchSpace
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """What is compared, and how fairly: every arm gets the same trials, epochs and seeds.

    A search tries ``trials`` configurations an arm, judged on the validation split. Then each
    arm's best one is run again over ``confirm_seeds`` seeds, the same in all arms, and judged once
    on the test set.

    Attributes:
        name: name of the study, and by default of its results folder.
        question: what it asks, in one sentence.
        arms: the sides of the comparison.
        baseline: name of the arm that the others are compared with.
        base: config fields that all arms share.
        epochs: epochs of each trial.
        lr_drops: where the learning rate falls, as fractions of the epochs.
        trials: search trials of each arm.
        searcher: one of ``study.search.SEARCHERS``.
        scheduler: one of ``SCHEDULERS``; ASHA compares a trial with its own arm only.
        asha_grace: epochs that no trial is stopped before.
        asha_reduction: one trial in so many goes on past a rung.
        metric: one of ``METRICS``, columns of the epochs table: what the search minimises or
            maximises, at the last epoch.
        mode: min or max.
        confirm_seeds: runs of each arm's best configuration; 0: no confirmation.
        confirm_on: ``train`` or ``train+validation``: what those runs are trained on.
        seed: seed of the search, and of its trials; the confirmation's seeds follow on it.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    baseline: str
    base: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 12
    lr_drops: tuple[float, ...] = (0.5, 0.75)
    trials: int = 12
    searcher: str = "tpe"
    scheduler: str = "none"
    asha_grace: int = 1
    asha_reduction: float = 3.0
    metric: str = "val_error"
    mode: str = "min"
    confirm_seeds: int = 5
    confirm_on: str = "train"
    seed: int = 0

    def arm(self, name: str) -> Arm:
        """The arm of that name; raises with the valid names otherwise."""
        one_of("arm", name, [arm.name for arm in self.arms])
        return next(arm for arm in self.arms if arm.name == name)

    def config(self, arm: str, params: Mapping[str, Any], **more: Any) -> TrainConfig:
        """The full training config of a trial of ``arm`` with searched values ``params``."""
        drops = sorted({round(part * self.epochs) for part in self.lr_drops} - {0, self.epochs})
        return TrainConfig.from_dict(
            {
                **self.base,
                "epochs": self.epochs,
                "lr_milestones": drops,
                "seed": self.seed,
                **self.arm(arm).fixed,
                **params,
                **more,
            }
        )

    def check(self) -> Study:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        one_of("search", self.searcher, SEARCHERS)
        one_of("scheduler", self.scheduler, SCHEDULERS)
        one_of("mode", self.mode, ("min", "max"))
        one_of("confirm_on", self.confirm_on, ("train", "train+validation"))
        one_of("metric", check_column(self.metric, "epochs"), METRICS)
        self.arm(self.baseline)
        check_name(self.name)
        for what, value, least in (
            ("trials", self.trials, 1),
            ("epochs", self.epochs, 1),
            ("confirm_seeds", self.confirm_seeds, 0),
            ("seed", self.seed, 0),
            ("asha_grace", self.asha_grace, 1),
        ):
            if value < least:
                raise ValueError(f"{what} >= {least} must hold, but got {what}={value}.")
        if not (1 < self.asha_reduction < math.inf):
            raise ValueError(
                f"asha_reduction > 1 must hold, but got asha_reduction={self.asha_reduction}."
            )
        if any(not 0 < part < 1 for part in self.lr_drops):
            raise ValueError(f"lr_drops must lie between 0 and 1, but got {self.lr_drops}.")
        for arm in self.arms:
            config = self.config(arm.name, {}).check()
            held_out = config.train_on == "train" and config.validation_fraction > 0
            if self.metric.startswith("val_") and not held_out:
                raise ValueError(
                    f"metric={self.metric!r} needs a validation split, but got "
                    f"train_on={config.train_on!r} with "
                    f"validation_fraction={config.validation_fraction}."
                )
            arm.space.check(config)
            if self.searcher == "grid":
                points = len(arm.space.points(self.seed))
                if points < self.trials:
                    raise ValueError(
                        f"trials <= {points}, the grid points of arm {arm.name!r}, must hold for "
                        f"searcher='grid', but got trials={self.trials}."
                    )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        arms = [
            {"name": a.name, "space": a.space.to_dict(), "fixed": dict(a.fixed)} for a in self.arms
        ]
        return {**plain, "arms": arms, "base": dict(self.base), "lr_drops": list(self.lr_drops)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Study:
        """Inverse of :meth:`to_dict`."""
        arms = tuple(
            Arm(a["name"], SearchSpace.from_dict(a["space"]), a["fixed"]) for a in plain["arms"]
        )
        return cls(**{**plain, "arms": arms, "lr_drops": tuple(plain["lr_drops"])})
