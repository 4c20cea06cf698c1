"""Trainables made of functions, and found by their names, import paths and files."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

from srsgd_ray.import_path import load
from srsgd_ray.knobs import knob_types, unknown
from srsgd_ray.trainable.protocol import Budget, Metric, Run, Trainable

GROUP = "srsgd_ray.trainables"  # entry points of other packages add names
BUILT_IN = {
    "image": "srsgd_ray.trainables.image:IMAGE",
    "quadratic": "srsgd_ray.trainables.quadratic:QUADRATIC",
    "minefield": "srsgd_ray.trainables.minefield:MINEFIELD",
}


class FunctionTrainable(Trainable):
    """A trainable made of one function; see :func:`as_trainable`."""

    def __init__(self, function: Callable[[Any, Run], Any], **declared: Any) -> None:
        self.function = function
        for name, value in declared.items():
            setattr(self, name, value)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    def train(self, config: Any, run: Run) -> Mapping[str, Any] | None:
        """Call the function."""
        found: Mapping[str, Any] | None = self.function(config, run)
        return found

    def __call__(self, config: Any, run: Run) -> Any:
        """The function itself, for a test of one's own."""
        return self.function(config, run)


def as_trainable(
    *,
    metrics: Sequence[Metric] | Metric,
    search: str = "",
    confirm: str = "",
    budget: str | Budget | None = "",
    place: str = "workers",
    config: type | None = None,
) -> Callable[[Callable[[Any, Run], Any]], FunctionTrainable]:
    """Make a trainable of a function ``train(config, run)``.

    Args:
        metrics: what it reports.
        search: name of the metric that a search judges by; the first with a direction by default.
        confirm: name of the metric that confirmation runs are compared by; by default the first
            of the test split, else as ``search``.
        budget: the knob that says how many reports a trial makes; by default ``epochs``, if the
            configuration has it, else one report.
        place: see :class:`Trainable`.
        config: the configuration's class; by default the annotation of the first parameter.

    Raises:
        ValueError: for a function that workers could not import, or a declaration that is unsound.
    """
    declared = (metrics,) if isinstance(metrics, Metric) else tuple(metrics)

    def decorate(function: Callable[[Any, Run], Any]) -> FunctionTrainable:
        made = config or _annotated(function)
        judged = search or next((m.name for m in declared if m.better and m.split != "test"), "")
        tested = next((m.name for m in declared if m.better and m.split == "test"), "")
        counted = budget
        if counted == "":
            counted = "epochs" if "epochs" in knob_types(made) else None
        if isinstance(counted, str):
            counted = Budget(counted, counted)
        if not judged:
            raise ValueError(
                f"{function.__name__} needs a metric with a direction that a search may judge by, "
                f"but none has one. Write Metric(..., better='lower' or 'higher')."
            )
        found = FunctionTrainable(
            function, name=function.__name__, Config=made, metrics=declared, budget=counted,
            search_metric=judged, confirm_metric=confirm or tested or judged, place=place,
        )  # fmt: skip
        found.check_itself()
        return found

    return decorate


def _annotated(function: Callable[..., Any]) -> type:
    names = list(inspect.signature(function).parameters)
    hint = get_type_hints(function).get(names[0]) if len(names) == 2 else None
    if not isinstance(hint, type):
        raise ValueError(
            f"{function.__name__} must be a function of (config, run) whose first parameter is "
            f"annotated with the configuration's class. Write def {function.__name__}(config: "
            f"MyConfig, run)."
        )
    return hint


def names() -> dict[str, str]:
    """Import path of each trainable that has a short name, other packages' among them."""
    return {**{point.name: point.value for point in entry_points(group=GROUP)}, **BUILT_IN}


def find(what: object, folder: str = "") -> Trainable:
    """The trainable that is meant: itself, its class, its short name or its import path.

    Args:
        what: a :class:`Trainable` or its class, a decorated function, or a text.
        folder: where to look for its module, and for others that its configuration names, besides
            where Python looks.

    Raises:
        ValueError: if there is none such, or it is unsound.
    """
    if folder and Path(folder).is_dir() and folder not in sys.path:
        sys.path.append(folder)
    found = _loaded(what) if isinstance(what, str) else what
    if isinstance(found, type) and issubclass(found, Trainable):
        if inspect.isabstract(found):
            raise ValueError(
                f"a trainable needs its method train, but {found.__name__} has none. Write "
                f"def train(self, config, run)."
            )
        found = found()
    if not isinstance(found, Trainable):
        raise ValueError(
            f"a trainable must be a Trainable or a function decorated with @as_trainable, but got "
            f"{what!r}. Decorate it: @as_trainable(metrics=[Metric(...)])."
        )
    if isinstance(what, str):
        found.path = what
    found.name = found.name or type(found).__name__
    return found.check_itself()


def _loaded(name: str) -> Any:
    """What a short name or an import path names."""
    # Other packages are asked last: that looks into every one that is installed.
    known = BUILT_IN if ":" in name or name in BUILT_IN else names()
    if ":" not in name and name not in known:
        raise unknown(
            "trainable", name, known, also=", or an import path such as my_module:my_function"
        )
    return load(known.get(name, name), "trainable")


def path_of(what: Trainable) -> tuple[str, str]:
    """Import path of a trainable, and the folder where its module lies; "" if it is installed.

    Raises:
        ValueError: for one that no other process could import: a lambda, a function within
            another, or something typed at a prompt.
    """
    if what.path and ":" not in what.path:
        return what.path, ""
    if isinstance(what, FunctionTrainable):
        module, name = what.function.__module__, what.function.__qualname__
    else:
        module, name = type(what).__module__, type(what).__qualname__
    if "<" in name:
        raise ValueError(
            f"a trainable must be importable by the workers, but {name!r} is a lambda or stands "
            f"within another function. Define it at the top level of a file."
        )
    held = sys.modules.get(module)
    file = getattr(held, "__file__", None)
    if module == "__main__":
        spec = getattr(held, "__spec__", None)
        if spec is not None and spec.name != "__main__":
            module = str(spec.name)
        elif file is not None and Path(file).is_file():
            module = Path(file).stem
    if file is None or "site-packages" in Path(file).parts:
        return f"{module}:{name}", ""
    depth = module.count(".") + (Path(file).name == "__init__.py")
    return f"{module}:{name}", str(Path(file).resolve().parents[depth])
