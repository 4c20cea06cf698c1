"""A study as one frozen value: arms, budget, search, seeds."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srsgd_ray.knobs import knob, knob_types, make, needed, one_of, plain
from srsgd_ray.results import Column, columns_of
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study.arm import Arm, called_from, check_name
from srsgd_ray.study.schedulers import SCHEDULERS, ArmScheduler
from srsgd_ray.study.search import Goal
from srsgd_ray.study.seeds import hashed_seed
from srsgd_ray.trainable import Trainable, find, path_of


@dataclass(frozen=True)
class Study:
    """What is compared, and how fairly: every arm gets the same trials, epochs and seeds.

    A search tries ``trials`` configurations an arm, judged on held-out data. Then each arm's best
    one is run again over ``confirm_seeds`` seeds, the same in all arms, and judged once on the test
    data. An arm without trials is one configuration, run over the seeds at once. All that is done
    ``searches`` times, each time with other seeds: the differences between the arms then show the
    chance of the search, too.

    Attributes:
        name: name of the study, and by default of its results folder.
        question: what it asks, in one sentence.
        arms: the sides of the comparison.
        baseline: name of the arm that the others are compared with; "" for none.
        base: knobs that all arms share.
        epochs: reports of each trial, where its arm does not say else; None: the configuration's.
        lr_drops: passed on to that knob: where the learning rate falls, as fractions of the epochs.
        trials: search trials of each arm in one search; 0: no search.
        searches: independent searches of each arm, each with its own confirmation.
        searcher: one of ``study.samplers.SEARCHERS``, or the import path of an Optuna sampler.
        scheduler: one of ``study.schedulers.SCHEDULERS``; it compares within an arm only.
        asha_grace, asha_reduction: epochs that no trial is stopped before; one in so many trials
            continues past a rung.
        prior: folders of other studies, from which the samplers know something at the start.
        metric: what the search judges by, at the last epoch; "": the trainable's own.
        mode: min or max; "": as the metric is better.
        confirm_seeds: runs of each arm's best configuration of a search; 0: no confirmation.
        until_decided: when all is run and a comparison is undecided, the searches (the seeds, if
            there is one search) are doubled, up to so many; None: they are not.
        confirm_on: ``train`` or ``train+validation``: what those runs are trained on.
        seed: seed of the first search, and of its trials; all other seeds are hashes of the
            study's name, of this and of what they are for.
        pareto: search for the front of two metrics, and confirm ``confirm_points`` of its points
            instead of the best configuration.
        confirm_points: points of an arm's front that are confirmed, at most.
        protocols: named sets of knobs that ``--protocol`` selects from.
        protocol: the selected one; "" if there are none.
        trainable: what trials run: a Trainable, its class, a decorated function, a name or a path.
        confirm_metric: what the confirmation compares; "": the trainable's own.
        pareto_metric: the second metric of ``pareto``; "": the epochs, which are then searched.
        confirm_seed: first seed of the first search's confirmation, on which the others follow;
            None: they are hashes. Records from before ``searches`` have ``seed + 1``.
        place: ``FILE:LINE`` where it was made, for messages.
        folder: of the script that made it, where workers look for what it names; "" if none.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    baseline: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = knob(None, within="[1, inf)")
    lr_drops: tuple[float, ...] | None = None
    trials: int = knob(12, within="[0, inf)")
    searches: int = knob(1, within="[1, inf)")
    searcher: str = "tpe"
    scheduler: str = knob("none", valid=SCHEDULERS)
    asha_grace: int = knob(1, within="[1, inf)")
    asha_reduction: float = knob(3.0, within="(1, inf)")
    metric: str = ""
    mode: str = ""
    confirm_seeds: int = knob(5, within="[0, inf)")
    until_decided: int | None = knob(None, within="[2, inf)")
    confirm_on: str = knob("train", valid=("train", "train+validation"))
    seed: int = knob(0, within="[0, inf)")
    pareto: bool = False
    confirm_points: int = knob(4, within="[1, inf)")
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocol: str = ""
    trainable: Any = "image"
    confirm_metric: str = ""
    pareto_metric: str = ""
    confirm_seed: int | None = knob(None, within="[0, inf)")
    prior: tuple[str, ...] = ()
    place: str = field(default="", repr=False, compare=False)
    folder: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.place:
            object.__setattr__(self, "place", called_from())
        file = Path(self.place.rpartition(":")[0])
        if not self.folder and file.is_file():
            object.__setattr__(self, "folder", str(file.parent))
        given: Any = self.arms
        if isinstance(given, list):
            object.__setattr__(self, "arms", tuple(given))
        # A path may name what stands below in the very file that is being imported.
        if not isinstance(self.trainable, str) or ":" not in self.trainable:
            with contextlib.suppress(ValueError):  # `check` says what is wrong with it
                _ = self.work

    @functools.cached_property
    def work(self) -> Trainable:
        """The trainable; what it says of metrics becomes the study's where it says nothing."""
        work = find(self.trainable, self.folder)
        better = {metric.name: metric.better for metric in work.metrics}
        metric = self.metric or work.search_metric
        mode = {"lower": "min", "higher": "max"}.get(better.get(metric, ""), "")
        for name, value in (
            ("metric", metric),
            ("mode", self.mode or mode),
            ("confirm_metric", self.confirm_metric or work.confirm_metric or metric),
        ):
            object.__setattr__(self, name, value)
        return work

    def arm(self, name: str) -> Arm:
        """The arm of that name; raises with the valid names otherwise."""
        one_of("arm", name, [arm.name for arm in self.arms])
        return next(arm for arm in self.arms if arm.name == name)

    # Configurations.

    def config(self, arm: str, params: Mapping[str, Any], search: int = 0) -> Any:
        """The full configuration of a trial of ``arm`` with searched values ``params``.

        A searched knob that has no value there and no default has one of its range.
        """
        work = self.work
        known = {**self.fixed_of(arm), **params}
        for name, spread in self.arm(arm).searched.ranges.items():
            if name in needed(work.Config):
                ends = getattr(spread, "choices", None) or (getattr(spread, "low", None),)
                known.setdefault(name, ends[0])
        if self.epochs is not None and work.budget is not None:
            known.setdefault(work.budget.field, self.epochs)
        if self.lr_drops is not None:
            known.setdefault("lr_drops", self.lr_drops)
        if "seed" in knob_types(work.Config):
            known.setdefault("seed", self.search_seed(search))
        return work.configure(known)

    def plain(self, arm: str, params: Mapping[str, Any], search: int = 0) -> dict[str, Any]:
        """The same as plain values, with its seed, as a record holds it."""
        return {"seed": self.search_seed(search), **plain(self.config(arm, params, search))}

    def confirmed(self, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """The plain values of a confirmation run of a recorded configuration."""
        selected: Any = make(self.work.Config, self.work.knobs_in(config))
        return {"seed": seed, **plain(self.work.confirmed(selected, seed, self.confirm_on))}

    # What an arm has of its own, or of the study.

    def fixed_of(self, arm: str) -> dict[str, Any]:
        """The knobs that the arm does not search."""
        return {**self.base, **self.protocols.get(self.protocol, {}), **self.arm(arm).fixed}

    def epochs_of(self, arm: str) -> int:
        """Epochs of a trial of the arm."""
        return self.work.epochs(self.config(arm, {}))

    def trials_of(self, arm: str) -> int:
        """Search trials of the arm."""
        own = self.arm(arm).trials
        return self.trials if own is None else own

    def seeds_of(self, arm: str) -> int:
        """Confirmation runs of each selected configuration of the arm."""
        own = self.arm(arm).confirm_seeds
        return self.confirm_seeds if own is None else own

    @property
    def pairs(self) -> int:
        """Pairs of a comparison: of searches if there are several, else of seeds."""
        return self.searches if self.searches > 1 else self.confirm_seeds

    def search_seed(self, search: int) -> int:
        """Seed of a search of every arm, and of its trials."""
        return hashed_seed(self.name, self.seed, "search", search) if search else self.seed

    def confirmation_seed(self, search: int, index: int) -> int:
        """Seed of a search's confirmation run ``index`` (from 0) of every arm."""
        if self.confirm_seed is not None and search == 0:
            return self.confirm_seed + index
        return hashed_seed(self.name, self.seed, "confirm", search, index)

    def baseline_of(self, arm: str) -> str | None:
        """Name of the arm that ``arm`` is compared with, or None."""
        against = self.arm(arm).against
        said = self.baseline if against is None else against
        return said if said and said != arm else None

    def goals(self) -> tuple[Goal, ...]:
        """What the search judges by."""
        first = Goal(self.metric, self.mode)
        if not self.pareto:
            return (first,)
        better = self.work.metric(self.pareto_metric).better if self.pareto_metric else "lower"
        return first, Goal(self.pareto_metric, "max" if better == "higher" else "min")

    def scheduler_of(self, arm: str) -> ArmScheduler:
        """A scheduler for the search trials of the arm."""
        return ArmScheduler(
            self.scheduler,
            self.metric,
            self.mode,
            self.epochs_of(arm) if self.scheduler != "none" else 1,
            self.asha_grace,
            self.asha_reduction,
        )

    def columns(self) -> dict[str, tuple[Column, ...]]:
        """Every column of the study's tables."""
        # Parts of a knob, such as optimizer_options.momentum, have columns of their own.
        parts: dict[str, type] = {}
        for arm in self.arms:
            for name, value in {**self.base, **arm.fixed, **arm.searched.ranges}.items():
                if "." in name:
                    ends = getattr(value, "choices", None) or (getattr(value, "low", value),)
                    known = isinstance(ends[0], (bool, int, float, str))
                    parts[name] = type(ends[0]) if known else str
        return dict(columns_of(self.work, parts))

    def check(self) -> Study:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        from srsgd_ray.study.check import check_study

        check_study(self)
        check_name(self.name)
        for name in self.protocols:
            check_name(name, "a protocol")
        return self

    # The record.

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del found["place"], found["folder"]
        arms = []
        for arm in self.arms:
            own = {f.name: getattr(arm, f.name) for f in dataclasses.fields(arm)}
            del own["place"]
            own |= {
                "space": arm.searched.to_dict(),
                "fixed": _listed(arm.fixed),
                "labels": dict(arm.labels),
                "enqueue": [dict(point) for point in arm.enqueue],
            }
            arms.append(own)
        path, folder = path_of(self.work)
        return {
            **found,
            "arms": arms,
            "base": _listed(self.base),
            "prior": list(map(str, self.prior)),
            "lr_drops": list(self.lr_drops) if isinstance(self.lr_drops, tuple) else self.lr_drops,
            "protocols": {name: _listed(fields) for name, fields in self.protocols.items()},
            "trainable": path,
            "trainable_folder": folder or self.folder,
            "tie_break": self.work.tie_break,
        }

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> Study:
        """Inverse of :meth:`to_dict`."""
        known = dict(recorded)
        known.pop("tie_break", None)
        if "searches" not in known and known.get("confirm_seed") is None:
            known["confirm_seed"] = known.get("seed", 0) + 1  # as it was then
        folder = known.pop("trainable_folder", "")
        arms = tuple(
            Arm(**{**arm, "space": SearchSpace.from_dict(arm["space"]),
                   "enqueue": tuple(arm.get("enqueue", ()))})
            for arm in known["arms"]
        )  # fmt: skip
        drops = known.get("lr_drops")
        known["lr_drops"] = None if drops is None else tuple(drops)
        path = known.get("trainable", "image")
        work = find(path, folder)
        known["trainable"] = work if ":" in path else path
        return cls(**{**known, "arms": arms, "prior": tuple(known.get("prior", ()))}, folder=folder)


def _listed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs as JSON gives them back: tuples become lists."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}
