"""One side of a comparison, and the names that studies and arms may have."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from srsgd_ray.knobs import knob, value_in
from srsgd_ray.search_spaces import FIXED, SearchSpace, as_space

PACKAGE = str(Path(__file__).resolve().parents[1])


LONGEST = 100  # bytes of a name in UTF-8: with what is added to it, a file's name may have 255


def check_name(name: object, what: str = "a study") -> str:
    """The one rule for names: they become parts of files' names, of tables and of figures.

    A study's name is that of a folder besides, and is typed: nothing in it means anything to a
    shell. The trials' names are made of their arm's.

    Args:
        name: of a study, an arm or a protocol.
        what: which of these, as the message calls it.

    Raises:
        ValueError: if it cannot be called so.
    """
    text = name if isinstance(name, str) else ""
    sound = text.isprintable() and text == text.strip() and bool(text.strip("."))
    sound = sound and not set("/\\") & set(text) and len(text.encode()) <= LONGEST
    rule = "a line of printable characters without slashes, and not of dots alone"
    if what == "a study":
        sound = sound and all(c.isalnum() or c in "-_." for c in text)
        sound = sound and text[0] not in "-." and text[-1] != "."
        rule = "of letters, digits, '-', '_' and '.', without '-' or '.' in front or '.' at its end"
    if not sound:
        raise ValueError(
            f"{what}'s name must be {rule}, with {LONGEST} bytes at most, but got {name!r}. "
            f"Choose one such as 'srsgd_late'."
        )
    return text


def called_from() -> str:
    """``FILE:LINE`` of the user's code that makes a study or an arm; "" if there is none."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((PACKAGE, "<")) and "dataclasses" not in file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a space to search, and the knobs that are fixed in it.

    Attributes:
        name: name of the arm.
        space: what is searched: a SearchSpace, or a mapping of knobs to Optuna distributions
            (or :class:`~srsgd_ray.search_spaces.When`); nothing by default.
        fixed: knobs of this arm; the budget among them if it differs from the study's.
        against: name of the arm it is compared with; None: the study's baseline; "": none.
        labels: what the command line can select it by, such as ``{"depth": "110"}``.
        workers: workers of a trial in the published run; 1 if there is none.
        trials: search trials of this arm; None: the study's; 0: it is fixed.
        confirm_seeds: confirmation runs of this arm; None: the study's.
        enqueue: known points, which the first trials of the search take.
        place: ``FILE:LINE`` where it was made, for messages.
    """

    name: str
    space: SearchSpace | Mapping[str, Any] = FIXED
    fixed: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    workers: int = knob(1, within="[1, inf)")
    trials: int | None = knob(None, within="[0, inf)")
    confirm_seeds: int | None = knob(None, within="[0, inf)")
    enqueue: tuple[Mapping[str, Any], ...] = ()
    place: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.place:
            object.__setattr__(self, "place", called_from())

    @functools.cached_property
    def searched(self) -> SearchSpace:
        """The space, as a SearchSpace; raises ValueError if it is none."""
        return as_space(self.space, self.name)


def params_in(
    space: SearchSpace, fixed: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The searched values of a recorded configuration; None if the space does not hold them.

    ``fixed`` are values of knobs outside of the space, which conditions may name.
    """
    params: dict[str, Any] = {}
    for name in space.ordered():
        if not space.active(name, {**fixed, **params}):
            continue
        value, spread = value_in(config, name), space.ranges[name]
        try:
            if not spread._contains(spread.to_internal_repr(value)):
                return None
        except (TypeError, ValueError):
            return None
        params[name] = value
    return params
