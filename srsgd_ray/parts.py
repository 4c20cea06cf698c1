"""Parts of a run that a configuration names: by a short name or an import path, with options.

Other packages add short names by entry points of the groups below. Knows no torch.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from srsgd_ray.knobs import did_you_mean, load, unknown

__all__ = ["call", "check_options", "find_part", "parameters", "path_of_part"]

# Of each knob: what messages call it, the group of entry points, and an import path as an example.
PARTS = {
    "dataset": ("data set", "srsgd_ray.datasets", "my_data:load"),
    "model": ("model", "srsgd_ray.models", "my_nets:Tiny"),
    "optimizer": ("optimizer", "srsgd_ray.optimizers", "torch.optim:Muon"),
    "lr_schedule": ("lr_schedule", "srsgd_ray.lr_schedules", "my_schedules:factor"),
}


@cache
def _registered(group: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}


def path_of_part(knob: str, name: object, built_in: Collection[str]) -> str:
    """The import path that ``name`` stands for; "" for one of ``built_in``. Imports nothing.

    Raises:
        UnknownNameError: for a name that is neither known nor an import path.
    """
    what, group, example = PARTS[knob]
    if isinstance(name, str):
        if name in built_in:
            return ""
        module, _, attribute = name.partition(":")
        if module and attribute:
            return name
        if name in _registered(group):
            return _registered(group)[name]
    valid = [*built_in, *_registered(group)]
    raise unknown(what, name, valid, also=f", or an import path such as {example}")


def find_part(knob: str, path: str) -> Callable[..., Any]:
    """What ``path`` names, which must be callable; ValueError otherwise."""
    found = load(path, knob)
    if not callable(found):
        raise ValueError(
            f"{knob} must name a function or class, but {path!r} is a {type(found).__name__}. "
            f"Name what makes it."
        )
    return found  # type: ignore[no-any-return]


def parameters(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Names of the keywords that ``function`` takes, and whether it takes any other besides."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # no signature can be told of some things written in C
        return [], True
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return (
        [p.name for p in found if p.kind in keyword],
        any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found),
    )


def call(
    knob: str,
    path: str,
    function: Callable[..., Any],
    *args: Any,
    options: Mapping[str, Any],
    offered: Mapping[str, Any],
) -> Any:
    """Call ``function`` with ``args``, its options, and those of ``offered`` that it asks for.

    Args:
        knob: which part it is, for messages.
        path: how the configuration names it.
        function: what is called.
        args: positional arguments.
        options: keywords that the user gave; they win over ``offered``.
        offered: keywords that are passed where the signature has a parameter of that name.

    Raises:
        ValueError: for an option that it does not take, or an argument that nobody gave.
    """
    names, takes_any = parameters(function)
    free = names[len(args) :]
    for option in options:
        if not takes_any and option not in free:
            valid = [name for name in free if name not in offered]
            raise ValueError(
                f"unknown option {option!r} of {knob}={path!r}. Valid: "
                f"{', '.join(valid) or 'none'}.{did_you_mean(option, valid)}"
            )
    given = {**{k: v for k, v in offered.items() if k in free}, **options}
    try:
        inspect.signature(function).bind(*args, **given)
    except TypeError as error:
        raise ValueError(
            f"{knob}={path!r} cannot be called: {error}. Give it in {knob}_options."
        ) from error
    except ValueError:
        pass  # without a signature the call itself must tell
    try:
        return function(*args, **given)
    except TypeError as error:
        # What takes any keyword hands them on, and only finds out then.
        if not takes_any or "unexpected keyword argument" not in str(error):
            raise
        raise ValueError(
            f"{knob}={path!r} does not take all of {', '.join(given)}: {error}. "
            f"Correct {knob}_options."
        ) from error


def check_options(knob: str, options: Mapping[str, Any], own: Collection[str] = ()) -> None:
    """Raise ValueError unless ``options`` survive JSON and name none of ``own``, knobs already."""
    try:
        json.dumps(dict(options), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{knob}_options must hold plain values (numbers, texts, lists, dicts), but got "
            f"{dict(options)!r}: {error}. Make anything else within a function of your own."
        ) from error
    for name in own:
        if name in options:
            raise ValueError(
                f"{name} is a knob of its own, but got {knob}_options with {name}="
                f"{options[name]!r}. Give {name}={options[name]!r} beside {knob}_options."
            )
