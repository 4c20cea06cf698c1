"""Parts of a run that a configuration names: by a short name or an import path, with options.

A built-in network or data set is declared by its own module of ``srsgd_ray.models`` or
``srsgd_ray.datasets``, which is found by itself; other packages add short names by entry points of
the groups below. Knows no torch.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from srsgd_ray.import_path import load
from srsgd_ray.knobs import did_you_mean, unknown

__all__ = [
    "GENERATED",
    "Images",
    "Network",
    "Part",
    "call",
    "check_built_in",
    "check_options",
    "check_sizes",
    "data_set",
    "data_sets",
    "find_part",
    "network",
    "networks",
    "parameters",
    "path_of_part",
]

F = TypeVar("F", bound=Callable[..., Any] | str)
P = TypeVar("P", bound="Part")
GENERATED = "generated"  # a data_dir: small made-up data of the real layout, to try a machine with

# Of each knob: what messages call it, the group of entry points, and an import path as an example.
PARTS = {
    "dataset": ("data set", "srsgd_ray.datasets", "my_data:load"),
    "model": ("model", "srsgd_ray.models", "my_nets:Tiny"),
    "optimizer": ("optimizer", "srsgd_ray.optimizers", "torch.optim:Muon"),
    "lr_schedule": ("lr_schedule", "srsgd_ray.lr_schedules", "my_schedules:factor"),
}


@dataclass(frozen=True)
class Part:
    """A built-in part, and what can be said of it without making it.

    Attributes:
        make: function that makes it, whose parameters are the knobs and options that it has; or an
            import path.
        rule: function of some knobs, by their names, which raises ValueError for what ``make``
            would not take.
    """

    doc: str
    make: Callable[..., Any] | str
    rule: Callable[..., None] | None = None


@dataclass(frozen=True)
class Network(Part):
    """A network.

    Attributes:
        small: whether it is for small images, and not for ImageNet.
        pixels: a side, that an image must have at least; 0: any.
    """

    small: bool = True
    pixels: int = 0


@dataclass(frozen=True)
class Images(Part):
    """A data set of images.

    Attributes:
        channels: of an image.
        pixels: a side; 0: as ``image_size`` says.
        train: images to train on, those that are held out for validation among them.
        test: images to test on.
        files: whether it is read from ``data_dir``.
    """

    channels: int = 3
    pixels: int = 0
    classes: int = 0
    train: int = 0
    test: int = 0
    files: bool = True


_NETWORKS: dict[str, Network] = {}
_DATA_SETS: dict[str, Images] = {}


def network(name: str, doc: str, **facts: Any) -> Callable[[F], F]:
    """Declare what is decorated as a built-in network; ``facts`` are those of :class:`Network`."""
    return _declared(_NETWORKS, name, lambda make: Network(doc, make, **facts))


def data_set(name: str, doc: str, **facts: Any) -> Callable[[F], F]:
    """Declare what is decorated as a built-in data set; ``facts`` are those of :class:`Images`."""
    return _declared(_DATA_SETS, name, lambda make: Images(doc, make, **facts))


def networks() -> Mapping[str, Network]:
    """The built-in networks by name, from every module of ``srsgd_ray.models``."""
    _import_all("srsgd_ray.models")
    return _NETWORKS


def data_sets() -> Mapping[str, Images]:
    """The built-in data sets by name, from every module of ``srsgd_ray.datasets``; small first."""
    _import_all("srsgd_ray.datasets")
    return dict(sorted(_DATA_SETS.items(), key=lambda item: item[1].train))


def _declared(known: dict[str, P], name: str, part: Callable[[Any], P]) -> Callable[[F], F]:
    if name in known:
        raise ValueError(f"a part needs a name of its own, but {name!r} is taken. Choose another.")

    def declare(make: F) -> F:
        known[name] = part(make)
        return make

    return declare


@cache
def _import_all(package: str) -> None:
    """Import the modules of a package whose names do not begin with an underscore."""
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not found.name.startswith("_"):
            importlib.import_module(f"{package}.{found.name}")


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


def find_part(knob: str, path: Callable[..., Any] | str) -> Callable[..., Any]:
    """What ``path`` names, which must be callable; ValueError otherwise. A function is itself."""
    found = load(path, knob) if isinstance(path, str) else path
    if not callable(found):
        raise ValueError(
            f"{knob} must name a function or class, but {path!r} is a {type(found).__name__}. "
            f"Name what makes it."
        )
    return found


def parameters(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Names of the keywords that ``function`` takes, and whether it takes any other too."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some things written in C have no signature
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
        options: keywords that the user gave; they win over ``offered``.
        offered: keywords that are passed where the signature has a parameter of that name.

    Raises:
        ValueError: for an option that it does not take, or an argument that nobody gave.
    """
    names, takes_any = parameters(function)
    free = names[len(args) :]
    if not takes_any:
        _check_known(knob, path, options, free, offered)
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


def _check_known(
    knob: str, path: str, options: Iterable[str], free: Sequence[str], offered: Collection[str] = ()
) -> None:
    for option in options:
        if option not in free:
            valid = [name for name in free if name not in offered]
            raise ValueError(
                f"unknown option {option!r} of {knob}={path!r}. Valid: "
                f"{', '.join(valid) or 'none'}.{did_you_mean(option, valid)}"
            )


def check_built_in(
    knob: str, name: str, part: Part, options: Mapping[str, Any], knobs: Mapping[str, Any]
) -> None:
    """Raise ValueError for options that a built-in part has not, or knobs that break its rule."""
    if part.rule is not None:
        part.rule(**{name: knobs[name] for name in parameters(part.rule)[0]})
    if isinstance(part.make, str):
        return  # what it takes is known where it is imported
    taken, _ = parameters(part.make)
    given = {*knobs, "channels", "classes"} if knob == "model" else knobs
    own = [option for option in taken if option not in given]
    if options and not own:
        raise ValueError(
            f"{knob}={name!r} takes no {knob}_options, but got {dict(options)}. Its knobs are "
            f"{', '.join(name for name in taken if name in knobs) or 'none'}."
        )
    _check_known(knob, name, options, own)


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
                f"{options[name]!r}. Give {name}={options[name]!r} next to {knob}_options."
            )


def check_sizes(**sizes: float) -> None:
    """Raise ValueError unless every size is 1 or more."""
    for name, size in sizes.items():
        if not size >= 1:
            raise ValueError(f"{name} >= 1 must hold, but got {name}={size}.")
