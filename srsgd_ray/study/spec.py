"""A study as one frozen value: arms, budget, search, seeds."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from srsgd_ray.config import TrainConfig, one_of
from srsgd_ray.results import check_column
from srsgd_ray.search_spaces import FIXED, SearchSpace
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
    """One side of a comparison: a space to search, and the config fields that are fixed in it.

    Attributes:
        name: name of the arm.
        space: what is searched; nothing by default.
        fixed: config fields of this arm; ``epochs`` among them if it differs from the study's.
        against: name of the arm it is compared with; None: the study's baseline; "": none.
        labels: what the command line can select it by, such as ``{"depth": "110"}``.
        workers: GPUs of a trial in the published run, for which batch statistics were taken.
    """

    name: str
    space: SearchSpace = FIXED
    fixed: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1


@dataclass(frozen=True)
class Study:
    """What is compared, and how fairly: every arm gets the same trials, epochs and seeds.

    A search tries ``trials`` configurations an arm, judged on the validation split. Then each
    arm's best one is run again over ``confirm_seeds`` seeds, the same in all arms, and judged once
    on the test set. Without trials, each arm's fixed configuration is run over the seeds at once.

    Attributes:
        name: name of the study, and by default of its results folder.
        question: what it asks, in one sentence.
        arms: the sides of the comparison.
        baseline: name of the arm that the others are compared with; "" for none.
        base: config fields that all arms share.
        epochs: epochs of each trial, where its arm does not say else.
        lr_drops: where the learning rate falls, as fractions of the epochs.
        trials: search trials of each arm; 0: no search.
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
        pareto: search for the front of metric and epochs, ``epochs`` being in every space, and
            confirm ``confirm_points`` of its points instead of the best configuration.
        confirm_points: points of an arm's front that are confirmed, at most.
        protocols: named sets of config fields that ``--protocol`` chooses from.
        protocol: the one chosen; "" if there are none.
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
    pareto: bool = False
    confirm_points: int = 4
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocol: str = ""

    def arm(self, name: str) -> Arm:
        """The arm of that name; raises with the valid names otherwise."""
        one_of("arm", name, [arm.name for arm in self.arms])
        return next(arm for arm in self.arms if arm.name == name)

    def config(self, arm: str, params: Mapping[str, Any], **more: Any) -> TrainConfig:
        """The full training config of a trial of ``arm`` with searched values ``params``."""
        known = {
            **self.base,
            **self.protocols.get(self.protocol, {}),
            **self.arm(arm).fixed,
            **params,
            **more,
        }
        epochs = int(known.setdefault("epochs", self.epochs))
        drops = sorted({round(part * epochs) for part in self.lr_drops} - {0, epochs})
        return TrainConfig.from_dict({"lr_milestones": drops, "seed": self.seed, **known})

    def baseline_of(self, arm: str) -> str | None:
        """Name of the arm that ``arm`` is compared with, or None."""
        against = self.arm(arm).against
        said = self.baseline if against is None else against
        return said if said and said != arm else None

    def check(self) -> Study:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        one_of("search", self.searcher, SEARCHERS)
        one_of("scheduler", self.scheduler, SCHEDULERS)
        one_of("mode", self.mode, ("min", "max"))
        one_of("confirm_on", self.confirm_on, ("train", "train+validation"))
        one_of("metric", check_column(self.metric, "epochs"), METRICS)
        self._check_arms()
        check_name(self.name)
        for what, value, least in (
            ("trials", self.trials, 0),
            ("epochs", self.epochs, 1),
            ("confirm_seeds", self.confirm_seeds, 0),
            ("seed", self.seed, 0),
            ("asha_grace", self.asha_grace, 1),
            ("confirm_points", self.confirm_points, 1),
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
            if not self.trials:
                continue
            held_out = config.train_on == "train" and config.validation_fraction > 0
            if self.metric.startswith("val_") and not held_out:
                raise ValueError(
                    f"metric={self.metric!r} needs a validation split, but got "
                    f"train_on={config.train_on!r} with "
                    f"validation_fraction={config.validation_fraction}."
                )
            arm.space.check(functools.partial(self.config, arm.name))
            if self.searcher == "grid":
                points = len(arm.space.points(self.seed))
                if points < self.trials:
                    raise ValueError(
                        f"trials <= {points}, the grid points of arm {arm.name!r}, must hold for "
                        f"searcher='grid', but got trials={self.trials}."
                    )
        return self

    def _check_arms(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"arms must have names of their own, but got {names}.")
        for name in (self.baseline, *(arm.against for arm in self.arms)):
            if name:
                self.arm(name)
        if self.protocol or self.protocols:
            one_of("protocol", self.protocol, self.protocols)
        if not self.trials and not self.confirm_seeds:
            raise ValueError(
                "a study needs something to run, but got trials=0 and confirm_seeds=0."
            )
        if not self.trials and any(arm.space.ranges for arm in self.arms):
            raise ValueError(
                "trials >= 1 must hold, but got trials=0 for arms that have something to search."
            )
        lengths = {self.config(arm.name, {}).epochs for arm in self.arms}
        searched = any("epochs" in arm.space.ranges for arm in self.arms)
        if self.scheduler == "asha" and (self.pareto or searched or lengths != {self.epochs}):
            raise ValueError(
                "scheduler='asha' needs arms of equal epochs, but theirs differ. Use none."
            )
        if self.pareto and not all("epochs" in arm.space.ranges for arm in self.arms):
            raise ValueError("pareto=True needs epochs in the space of every arm.")
        if self.pareto and self.searcher == "cmaes":
            raise ValueError("pareto=True needs searcher tpe, random or grid, but got 'cmaes'.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        arms = [
            {
                **{f.name: getattr(arm, f.name) for f in dataclasses.fields(arm)},
                "space": arm.space.to_dict(),
                "fixed": _listed(arm.fixed),
                "labels": dict(arm.labels),
            }
            for arm in self.arms
        ]
        return {
            **plain,
            "arms": arms,
            "base": _listed(self.base),
            "lr_drops": list(self.lr_drops),
            "protocols": {name: _listed(fields) for name, fields in self.protocols.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Study:
        """Inverse of :meth:`to_dict`."""
        arms = tuple(
            Arm(**{**arm, "space": SearchSpace.from_dict(arm["space"])}) for arm in plain["arms"]
        )
        return cls(**{**plain, "arms": arms, "lr_drops": tuple(plain["lr_drops"])})


def _listed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Config fields as JSON gives them back: tuples become lists."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}
