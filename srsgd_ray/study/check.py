"""The rules of a study: each broken one is a message with the rule, the value and the cure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from srsgd_ray.knobs import one_of
from srsgd_ray.study.schedulers import SCHEDULERS
from srsgd_ray.study.search import check_searcher
from srsgd_ray.study.spec import Arm, Study, check_name

__all__ = ["check_study", "check_types"]

LEAST = {"epochs": 1, "asha_grace": 1, "confirm_points": 1, "workers": 1}  # of others 0


@contextmanager
def _about(arm: Arm) -> Iterator[None]:
    """Messages from within are about this arm, and have its ``FILE:LINE`` as ``place``."""
    try:
        yield
    except ValueError as error:
        named = type(error)(f"arm {arm.name!r}: {error}")
        named.place = arm.place  # type: ignore[attr-defined]
        raise named from error


def check_study(study: Study) -> None:
    """Raise ValueError unless every rule holds."""
    check_types(study)
    _ = study.work
    check_name(study.name)
    check_searcher(study.searcher, 1 + study.pareto)
    one_of("scheduler", study.scheduler, SCHEDULERS)
    one_of("confirm_on", study.confirm_on, ("train", "train+validation"))
    _check_metrics(study)
    _check_arms(study)
    if not (1 < study.asha_reduction < math.inf):
        raise ValueError(
            f"asha_reduction > 1 must hold, but got asha_reduction={study.asha_reduction}."
        )
    for arm in study.arms:
        with _about(arm):
            _check_arm(study, arm)
    _check_budgets(study)


def check_types(study: Study) -> None:
    """Raise ValueError unless every field of a study and its arms has the type it must have."""
    _check_fields(study)
    if study.lr_drops is not None and not isinstance(study.lr_drops, (tuple, list)):
        raise ValueError(
            f"lr_drops must lie between 0 and 1, but got {study.lr_drops!r}. Give the fractions of "
            f"the training at which the learning rate falls, such as (0.5, 0.75), or () for none."
        )
    if isinstance(study.arms, Arm):
        raise ValueError(
            "arms must be a tuple of Arm, but got one Arm. A tuple of one needs a comma: "
            "arms=(Arm(...),)."
        )
    if not isinstance(study.arms, tuple) or not all(isinstance(arm, Arm) for arm in study.arms):
        raise ValueError(
            f"arms must be a tuple of Arm, but got {study.arms!r}. Write arms=(Arm(...), Arm(...))."
        )
    for arm in study.arms:
        with _about(arm):
            _check_arm_name(arm.name)
            _check_fields(arm)
            arm.searched.ordered()


def _check_arm_name(name: object) -> None:
    # It becomes a part of file names; what cannot be in them, or be read there, is refused.
    sound = isinstance(name, str) and name.strip() == name and name.strip(".")
    if not sound or not str(name).isprintable() or any(c in "/\\" for c in str(name)):
        raise ValueError(
            f"an arm's name must be a line of printable characters without slashes, but got "
            f"{name!r}. Letters, digits, '-', '_' and '.' are best, such as 'srsgd_late'."
        )


def _check_fields(owner: Study | Arm) -> None:
    """Raise ValueError unless each field that is a text, number or dict is one."""
    for name, hint in get_type_hints(type(owner)).items():
        value = getattr(owner, name)
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if value is None and NoneType in kinds:
            continue
        if str in kinds and not isinstance(value, str):
            raise ValueError(f"{name} must be a text, but got {name}={value!r}. Put it in quotes.")
        if int in kinds:
            _check_whole(name, value)
        if hint is float and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"{name} must be a number, but got {name}={value!r}.")
        if get_origin(hint) is Mapping and not isinstance(value, Mapping):
            raise ValueError(
                f"{name} must be a dict, but got {name}={value!r}. "
                f"Write {name}={{'batch_size': 64}}."
            )


def _check_whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        cure = f" Write {name}={value}, without quotes." if str(value).isdecimal() else ""
        raise ValueError(f"{name} must be a whole number, but got {name}={value!r}.{cure}")
    if value < LEAST.get(name, 0):
        raise ValueError(f"{name} >= {LEAST.get(name, 0)} must hold, but got {name}={value}.")


def _check_metrics(study: Study) -> None:
    work = study.work
    judged = [m for m in work.metrics if m.kind is not str and m.split != "test"]
    one_of("metric", study.metric, [m.name for m in judged if m.better])
    one_of("mode", study.mode, ("min", "max"))
    better = work.metric(study.metric).better
    if study.mode != {"lower": "min", "higher": "max"}[better]:
        raise ValueError(
            f"mode={study.mode!r} would choose the worst configuration: of {study.metric} the "
            f"{better} value is better. Leave mode out."
        )
    one_of("confirm_metric", study.confirm_metric, [m.name for m in work.metrics if m.better])
    if not study.pareto:
        if study.pareto_metric:
            raise ValueError("pareto_metric needs pareto=True.")
        return
    if study.pareto_metric:
        second = [m.name for m in judged if m.better and m.name != study.metric]
        one_of("pareto_metric", study.pareto_metric, second)
    elif work.budget is None or not all(
        work.budget.field in arm.searched.ranges for arm in study.arms if study.trials_of(arm.name)
    ):
        field = work.budget.field if work.budget is not None else "its budget"
        raise ValueError(
            f"pareto=True needs {field} in the space of every arm, or a second metric: "
            f"pareto_metric."
        )


def _check_arms(study: Study) -> None:
    names = [arm.name for arm in study.arms]
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"arms must have names of their own, but got {names}.")
    for name in (study.baseline, *(arm.against for arm in study.arms)):
        if name:
            study.arm(name)
    if study.protocol or study.protocols:
        one_of("protocol", study.protocol, study.protocols)
    if not any(study.trials_of(name) or study.seeds_of(name) for name in names):
        raise ValueError("a study needs something to run, but got trials=0 and confirm_seeds=0.")
    for arm in study.arms:
        if not study.trials_of(arm.name) and arm.searched.ranges:
            raise ValueError(
                "trials >= 1 must hold, but got trials=0 for arms that have something to search."
            )


def _check_arm(study: Study, arm: Arm) -> None:
    work = study.work

    def checked(params: Mapping[str, Any]) -> Any:
        config = study.config(arm.name, params)
        work.check(config)
        return config

    space = arm.searched
    config = checked({})
    if study.seeds_of(arm.name):
        work.confirmed(config, study.first_confirm_seed, study.confirm_on)
    trials = study.trials_of(arm.name)
    if not trials:
        return
    work.check_metric(config, study.metric)
    space.check(checked)
    for point in arm.enqueue:
        _check_point(point, arm)
        checked(point)
    if study.searcher == "grid":
        points = len(space.points(study.seed))
        if points < trials:
            raise ValueError(
                f"trials <= {points}, the grid points of the arm, must hold for "
                f"searcher='grid', but got trials={trials}."
            )


def _check_point(point: object, arm: Arm) -> None:
    if not isinstance(point, Mapping):
        raise ValueError(
            f"a point of enqueue must be a dict of searched knobs, but got {point!r}. "
            f"Write enqueue=({{'lr': 0.1}},)."
        )
    for name, value in point.items():
        one_of("searched knob", name, arm.searched.ranges)
        spread = arm.searched.ranges[name]
        if not spread._contains(spread.to_internal_repr(value)):
            raise ValueError(
                f"a point of enqueue must lie in the space, but got {name}={value!r} for {spread}."
            )


def _check_budgets(study: Study) -> None:
    """A scheduler that stops trials compares them epoch by epoch."""
    if study.scheduler == "none":
        return
    field = study.work.budget.field if study.work.budget is not None else ""
    arms = [arm for arm in study.arms if study.trials_of(arm.name)]
    lengths = {study.epochs_of(arm.name) for arm in arms}
    searched = any(field in arm.searched.ranges for arm in arms)
    if study.pareto or searched or len(lengths) > 1 or (
        study.epochs is not None and lengths != {study.epochs}
    ):  # fmt: skip
        raise ValueError(
            f"scheduler={study.scheduler!r} needs arms of equal epochs, but theirs differ. "
            f"Use none."
        )
    if study.work.budget is None:
        raise ValueError(
            f"scheduler={study.scheduler!r} needs trials that report more than once, but "
            f"{study.work.name} reports once. Use none."
        )
