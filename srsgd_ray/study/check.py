"""The rules of a study: each broken one is a message with the rule, the value and the cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints
from unicodedata import normalize

from srsgd_ray.analysis import arm_label
from srsgd_ray.knobs import check_knobs, one_of
from srsgd_ray.study.arm import Arm, check_name
from srsgd_ray.study.prior import check_prior
from srsgd_ray.study.samplers import check_searcher
from srsgd_ray.study.spec import Study


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
    check_searcher(study.searcher, 1 + study.pareto, study.scheduler)
    check_prior(study)
    _check_metrics(study)
    _check_arms(study)
    _check_searches(study)
    for arm in study.arms:
        with _about(arm):
            _check_arm(study, arm)
    _check_budgets(study)


def check_types(study: Study) -> None:
    """Raise ValueError unless every field of a study and its arms has a value that it may have."""
    check_fields(study)
    if not all(isinstance(arm, Arm) for arm in study.arms):
        raise ValueError(
            f"arms must be a tuple of Arm, but got {study.arms!r}. Write arms=(Arm(...), Arm(...))."
        )
    for arm in study.arms:
        with _about(arm):
            check_name(arm.name, "an arm")
            check_fields(arm)
            _check_labels(arm.labels)
            arm.searched.ordered()


def _check_labels(labels: Mapping[str, str]) -> None:
    # They become options of the command line.
    for name, value in labels.items():
        named = isinstance(name, str) and name.replace("-", "_").isidentifier()
        if not named or not isinstance(value, str):
            raise ValueError(
                f"a label must be a name and a text, such as {{'depth': '110'}}, but got "
                f"{{{name!r}: {value!r}}}."
            )


def check_fields(owner: Any) -> None:
    """Raise ValueError unless the fields of a study, an arm or options are of their types.

    A number must lie within the interval that its field states.
    """
    for name, hint in get_type_hints(type(owner)).items():
        value = getattr(owner, name)
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if value is None and NoneType in kinds:
            continue
        if str in kinds and not isinstance(value, str):
            raise ValueError(f"{name} must be a text, but got {name}={value!r}. Put it in quotes.")
        if int in kinds:
            _check_whole(name, value)
        if bool in kinds and not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, but got {name}={value!r}.")
        if float in kinds and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"{name} must be a number, but got {name}={value!r}.")
        if get_origin(hint) is Mapping and not isinstance(value, Mapping):
            raise ValueError(
                f"{name} must be a dict, but got {name}={value!r}. "
                f"Write {name}={{'batch_size': 64}}."
            )
        if any(get_origin(k) is tuple for k in kinds) and not isinstance(value, (tuple, list)):
            raise ValueError(
                f"{name} must be a tuple, but got {name}={value!r}. A tuple of one needs a comma: "
                f"{name}=({value!r},)."
            )
    check_knobs(owner)


def _check_whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        cure = f" Write {name}={value}, without quotes." if str(value).isdecimal() else ""
        raise ValueError(f"{name} must be a whole number, but got {name}={value!r}.{cure}")


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
    if len({normalize("NFC", arm_label(name)) for name in names}) != len(names) or not names:
        raise ValueError(
            f"arms must have names that a table can tell apart, where 'a_b' and 'a b' look the "
            f"same, but got {names}. Choose others."
        )
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


def _check_searches(study: Study) -> None:
    """Several searches need something to search; going on until decided, a verdict."""
    if study.searches > 1 and not any(study.trials_of(arm.name) for arm in study.arms):
        raise ValueError(
            f"searches=1 must hold for a study without search trials, but got "
            f"searches={study.searches}. Give it more confirm_seeds instead."
        )
    if study.pareto and (study.searches > 1 or study.until_decided is not None):
        raise ValueError(
            f"searches=1 and until_decided=None must hold for pareto=True, whose verdicts are of "
            f"one search, but got searches={study.searches}, until_decided={study.until_decided}. "
            f"Run studies of other seeds, each with a name of its own."
        )
    if study.until_decided is None:
        return
    if not any(study.baseline_of(arm.name) for arm in study.arms):
        raise ValueError("until_decided needs a comparison, but no arm has a baseline. Name one.")
    if study.pairs < 2 or any(arm.confirm_seeds is not None for arm in study.arms):
        raise ValueError(
            f"until_decided needs 2 or more pairs to begin with, and arms without confirm_seeds "
            f"of their own, but got confirm_seeds={study.confirm_seeds}. Leave it out of the arms, "
            f"and give confirm_seeds=8."
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
        work.confirmed(config, study.confirmation_seed(0, 0), study.confirm_on)
    trials = study.trials_of(arm.name)
    if not trials:
        return
    work.check_metric(config, study.metric)
    space.check(checked)
    for point in arm.enqueue:
        check_point(study, point, arm)
    if study.searcher == "grid":
        points = len(space.points(study.seed))
        if points < trials:
            raise ValueError(
                f"trials <= {points}, the grid points of the arm, must hold for "
                f"searcher='grid', but got trials={trials}."
            )


def check_point(study: Study, point: object, arm: Arm) -> None:
    """Raise ValueError unless a point lies in an arm's space and makes a sound configuration."""
    if not isinstance(point, Mapping):
        raise ValueError(
            f"a point of enqueue must be a dict of searched knobs, but got {point!r}. "
            f"Write enqueue=({{'lr': 0.1}},)."
        )
    for name, value in point.items():
        one_of("searched knob", name, arm.searched.ranges)
        spread = arm.searched.ranges[name]
        try:
            inside = spread._contains(spread.to_internal_repr(value))
        except ValueError:  # of another type: Optuna's message names neither knob nor range
            inside = False
        if not inside:
            raise ValueError(
                f"a point of enqueue must lie in the space, but got {name}={value!r} for {spread}."
            )
    study.work.check(study.config(arm.name, point))


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
