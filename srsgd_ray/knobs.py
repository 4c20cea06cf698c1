"""Configurations as frozen dataclasses whose fields are knobs, and the errors for wrong names.

A knob's name is also its Tune key, Optuna parameter and Parquet column. Knows no torch and no Ray.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Collection, Mapping
from typing import Any, TypeVar, get_type_hints

__all__ = [
    "UnknownNameError",
    "affecting",
    "check_knobs",
    "did_you_mean",
    "knob",
    "knob_types",
    "machine_knobs",
    "make",
    "needed",
    "one_of",
    "plain",
    "unknown",
    "value_in",
]

C = TypeVar("C")
MOST_NAMES = 100  # of valid ones that a message lists
KINDS = (
    str, int, float, bool, tuple[int, ...], tuple[float, ...], tuple[str, ...], dict[str, Any],
)  # fmt: skip


class UnknownNameError(ValueError):
    """A name that is not among the valid ones; the message lists them."""


def did_you_mean(name: object, valid: Collection[str]) -> str:
    """``" Did you mean 'lr'?"`` if a valid name is close, else ""."""
    close = difflib.get_close_matches(str(name), [str(v) for v in valid], n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown(
    what: str, value: object, valid: Collection[str], where: str = "", also: str = ""
) -> UnknownNameError:
    """The error for a name that is not among the valid ones; ``also``: what else is valid."""
    listed = [*map(str, valid)]
    if len(listed) > MOST_NAMES:
        listed = [*listed[:MOST_NAMES], f"... ({len(valid)} in all)"]
    return UnknownNameError(
        f"unknown {what} {value!r}{where}. Valid: {', '.join(listed)}{also}."
        f"{did_you_mean(value, valid)}"
    )


def one_of(what: str, value: object, valid: Collection[str], where: str = "") -> None:
    """Raise :class:`UnknownNameError` unless ``value`` is one of ``valid``."""
    if not isinstance(value, str) or value not in valid:
        raise unknown(what, value, valid, where)


def knob(
    default: Any = dataclasses.MISSING,
    doc: str = "",
    unit: str = "",
    *,
    affects: str | None = None,
    flag: str = "",
    within: str = "",
    valid: Collection[str] = (),
    cure: str = "",
    before: Any = None,
) -> Any:
    """A field of a configuration.

    Args:
        default: its value where nobody says else; without one the field must be given.
        doc: what it means, in a line.
        unit: of its values; "" for none.
        affects: words of ``data`` (which data are read), ``cost`` (seconds of an epoch) and
            ``outcome`` (the numbers that come out); "" for a knob of the machine only, which may
            differ between a run and its resume. Without this word it affects the outcome.
        flag: if not "", study scripts take the knob as an option (``data_dir`` as ``--data-dir``);
            ``path`` makes a relative path absolute, ``value`` takes it as it is.
        within: interval of a number, such as ``[1, inf)``; see :func:`check_knobs`.
        valid: of a text, the values that there are.
        cure: sentence that ends the message about a number outside of its interval.
        before: the default of earlier versions, which studies that began with it keep.
    """
    metadata: dict[str, Any] = {
        "doc": doc, "unit": unit, "flag": flag, "within": within, "valid": valid, "cure": cure,
        "before": before,
    }  # fmt: skip
    if affects is not None:
        metadata["affects"] = frozenset(affects.split())
    if isinstance(default, dict):
        made = dict(default)
        return dataclasses.field(default_factory=lambda: dict(made), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_knobs(config: Any) -> None:
    """Raise ValueError for the first knob outside of its interval or values; None is in each."""
    for field in dataclasses.fields(config):
        value, within = getattr(config, field.name), field.metadata.get("within")
        if field.metadata.get("valid"):
            one_of(field.name, value, field.metadata["valid"])
        if within and value is not None:
            low, high = (float(end) for end in within[1:-1].split(","))
            above = low < value if within[0] == "(" else low <= value
            below = value < high if within[-1] == ")" else value <= high
            if not (above and below):
                raise ValueError(
                    f"{low:g} {'<' if within[0] == '(' else '<='} {field.name} "
                    f"{'<' if within[-1] == ')' else '<='} {high:g} must hold, but got "
                    f"{field.name}={value}. {field.metadata.get('cure', '')}".rstrip()
                )


def machine_knobs(config: type) -> frozenset[str]:
    """Names of the knobs that change no outcome: they may differ between a run and its resume."""
    fields = {field.name for field in dataclasses.fields(config)}
    return frozenset(fields.difference(affecting(config, "outcome")))


@functools.cache
def knob_types(config: type) -> dict[str, Any]:
    """Type of each field of a configuration class, one of the keys of ``KINDS``.

    Raises:
        ValueError: if ``config`` is no frozen dataclass, or a field has another type.
    """
    params = getattr(config, "__dataclass_params__", None)
    if not isinstance(config, type) or params is None or not params.frozen:
        raise ValueError(
            f"a configuration must be a frozen dataclass, but got {config!r}. "
            f"Write @dataclass(frozen=True) above the class."
        )
    hints = get_type_hints(config)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        if hint not in KINDS:
            raise ValueError(
                f"field {field.name!r} of {config.__name__} must be of type str, int, float, bool, "
                f"tuple[int, ...], tuple[float, ...], tuple[str, ...] or dict[str, Any], but is "
                f"{hint!r}."
            )
        found[field.name] = hint
    return found


def affecting(config: type, what: str) -> tuple[str, ...]:
    """Names of the fields whose metadata say that they affect ``what`` (data, cost, outcome)."""
    return tuple(
        field.name
        for field in dataclasses.fields(config)
        if what in field.metadata.get("affects", ("outcome",))
    )


def make(config: type[C], values: Mapping[str, Any]) -> C:
    """A configuration from flat values as JSON, Tune or Optuna give them back.

    Lists become tuples, whole floats become ints. A key ``options.name`` sets ``name`` in the dict
    of the field ``options``, a key ``sizes.0`` the first item of the tuple ``sizes``.

    Raises:
        UnknownNameError: for a key that is not a field.
        ValueError: for a value of another type, or a field without default that is not given.
    """
    types = knob_types(config)  # type: ignore[arg-type]
    known: dict[str, Any] = {}
    dotted: dict[str, Any] = {}
    for key, value in values.items():
        field, dot, option = key.partition(".")
        if field not in types or (dot and types[field] in (str, int, float, bool)):
            raise unknown("configuration key", key, types)
        if dot:
            dotted.setdefault(field, {})[option] = value
        else:
            known[key] = _convert(key, types[key], value)
    for field, options in dotted.items():
        if types[field] == dict[str, Any]:
            known[field] = {**known.get(field, {}), **options}
        else:
            held = known.get(field, getattr(config, field, ()))  # a default is an attribute
            known[field] = _convert(field, types[field], _placed(field, held, options))
    missing = [name for name in needed(config) if name not in known]
    if missing:
        raise ValueError(
            f"{config.__name__} needs a value of {', '.join(missing)}: give it in base, in the arm "
            f"or in its space, or give the field a default."
        )
    return config(**known)


def needed(config: type) -> tuple[str, ...]:
    """Names of the fields that have no default."""
    return tuple(
        field.name
        for field in dataclasses.fields(config)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )


def plain(config: Any) -> dict[str, Any]:
    """Flat plain values of a configuration, for JSON, Tune and Parquet.

    Tuples become lists, and dicts of options become JSON texts.
    """
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        value = json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
        found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def value_in(recorded: Mapping[str, Any], name: str) -> Any:
    """The value of a knob, or of a part of one (``options.name``, ``sizes.0``), in plain values."""
    if name in recorded:
        return recorded[name]
    field, dot, part = name.partition(".")
    value = recorded.get(field)
    if not dot or value is None:
        return value
    if isinstance(value, list):
        return value[int(part)] if int(part) < len(value) else None
    options = json.loads(value) if isinstance(value, str) else value
    return options.get(part)


def _convert(key: str, kind: Any, value: Any) -> Any:
    """Turn a value read from JSON, Tune or Optuna into the field's type, or raise ValueError."""
    try:
        if kind == tuple[int, ...]:
            return tuple(_whole(item) for item in _items(value))
        if kind == tuple[float, ...]:
            return tuple(float(item) for item in _items(value))
        if kind == tuple[str, ...]:
            return tuple(str(item) for item in _items(value))
        if kind == dict[str, Any]:
            held = json.loads(value) if isinstance(value, str) else value
            return {str(name): item for name, item in dict(held).items()}
        if kind is bool:
            if value not in (True, False):
                raise ValueError(value)
            return bool(value)
        if kind is int:
            return _whole(value)
        if kind is float:
            if isinstance(value, str):
                raise ValueError(value)
            return float(value)
        if not isinstance(value, str):
            raise TypeError(value)
        return value
    except (TypeError, ValueError) as error:
        named = str(kind) if "[" in str(kind) else kind.__name__
        raise ValueError(f"{key} must be of type {named}, but got {key}={value!r}.") from error


def _placed(field: str, held: Any, options: Mapping[str, Any]) -> list[Any]:
    """The items of a tuple with some of them set."""
    items = dict(enumerate(held))
    items.update({int(place): value for place, value in options.items() if place.isdecimal()})
    if sorted(items) != list(range(len(items))) or not all(map(str.isdecimal, options)):
        raise ValueError(
            f"the items of {field} must be numbered from 0 without a gap, but got "
            f"{', '.join(f'{field}.{place}' for place in options)}."
        )
    return [items[place] for place in range(len(items))]


def _items(value: Any) -> Any:
    if isinstance(value, (str, Mapping)):
        raise TypeError(value)
    return value


def _whole(value: Any) -> int:
    if isinstance(value, (bool, str)) or int(value) != float(value):
        raise ValueError(value)
    return int(value)
