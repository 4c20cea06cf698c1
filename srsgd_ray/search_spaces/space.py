"""What a search space is: named ranges, conditions on them, and the points of a grid."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)


class When:
    """A range that is searched only where other knobs have certain values.

    ``When(FloatDistribution(1, 3), restart_kind=("linear", "exponential"))`` is not searched with
    other kinds; the knob then has the value that it has outside of the space.
    """

    def __init__(self, spread: BaseDistribution, **values: Any) -> None:
        self.spread = spread
        self.values = {k: tuple(v) if isinstance(v, (list, tuple, set)) else (v,)
                       for k, v in values.items()}  # fmt: skip


@dataclass(frozen=True)
class SearchSpace:
    """The question, the ranges that Optuna draws from, and the values of a grid search.

    Attributes:
        name: name of the space.
        question: what a search in it answers, in one sentence.
        ranges: Optuna distribution of each knob that is searched.
        grid: values of each knob for ``searcher="grid"``.
        conditions: of a knob that is not always searched, the values that others must have.
    """

    name: str
    question: str
    ranges: Mapping[str, BaseDistribution]
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)

    def replace(self, **ranges: BaseDistribution | When) -> SearchSpace:
        """A copy with some ranges changed or added; their grid values, if any, are dropped."""
        grid = {name: values for name, values in self.grid.items() if name not in ranges}
        kept = {name: values for name, values in self.conditions.items() if name not in ranges}
        added = _parts(ranges)
        return dataclasses.replace(
            self, ranges={**self.ranges, **added[0]}, grid=grid, conditions={**kept, **added[1]}
        )

    def active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether the knob ``name`` is searched where the others have these values."""
        return all(
            values.get(other) in allowed for other, allowed in self.conditions.get(name, {}).items()
        )

    def ordered(self) -> list[str]:
        """The knobs, each after those that its condition names.

        Raises:
            ValueError: if conditions name each other in a circle.
        """
        found: list[str] = []
        left = list(self.ranges)
        while left:
            ready = [n for n in left if not set(self.conditions.get(n, ())) & (set(left) - {n})]
            if not ready:
                raise ValueError(
                    f"conditions must not go in a circle, but those of {', '.join(left)} do."
                )
            found += ready
            left = [name for name in left if name not in ready]
        return found

    def points(self, seed: int) -> list[dict[str, Any]]:
        """All points of the grid, in an order drawn from ``seed``.

        A categorical range without grid values has all of its choices.

        Raises:
            ValueError: if a range has no grid values.
        """
        values: dict[str, tuple[Any, ...]] = {
            name: tuple(self.grid.get(name) or getattr(spread, "choices", None) or ())
            for name, spread in self.ranges.items()
        }
        missing = [name for name, found in values.items() if not found]
        if missing:
            raise ValueError(
                f"searcher='grid' needs grid values for every range of {self.name!r}, but "
                f"{', '.join(missing)} has none. Add them to its grid."
            )
        points = [
            dict(zip(self.ranges, point, strict=True))
            for point in itertools.product(*values.values())
        ]
        random.Random(seed).shuffle(points)
        return points

    def check(self, make: Callable[[dict[str, Any]], Any]) -> None:
        """Raise ValueError unless the ends of every range make a sound configuration.

        Args:
            make: makes and checks the configuration of given values of searched knobs.
        """
        self.ordered()
        for name, spread in _parts(self.ranges)[0].items():
            ends = (
                spread.choices
                if isinstance(spread, CategoricalDistribution)
                else (getattr(spread, "low", None), getattr(spread, "high", None))
            )
            # A knob that is searched under a condition is tried where that holds.
            given = {k: v[0] for k, v in self.conditions.get(name, {}).items()}
            for end in (*ends, *self.grid.get(name, ())):
                make({**given, name: end})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record of a study."""
        made: dict[str, Any] = {
            "name": self.name,
            "question": self.question,
            "ranges": {name: distribution_to_json(d) for name, d in self.ranges.items()},
            "grid": {name: list(values) for name, values in self.grid.items()},
        }
        if self.conditions:
            made["conditions"] = {
                name: {other: list(allowed) for other, allowed in of.items()}
                for name, of in self.conditions.items()
            }
        return made

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SearchSpace:
        """Inverse of :meth:`to_dict`."""
        return cls(
            name=plain["name"],
            question=plain["question"],
            ranges={name: json_to_distribution(text) for name, text in plain["ranges"].items()},
            grid={name: tuple(values) for name, values in plain["grid"].items()},
            conditions={
                name: {other: tuple(allowed) for other, allowed in of.items()}
                for name, of in plain.get("conditions", {}).items()
            },
        )

    @classmethod
    def from_column(cls, said: str) -> SearchSpace:
        """The space of an arm as the column ``search_space`` of a trials table has it, as JSON."""
        ranges: dict[str, BaseDistribution] = {}
        conditions = {}
        for name, spread in json.loads(said).items():
            if "choices" in spread:
                ranges[name] = CategoricalDistribution(spread["choices"])
            else:
                whole = isinstance(spread["low"], int) and isinstance(spread["high"], int)
                kind = IntDistribution if whole else FloatDistribution
                ranges[name] = kind(spread["low"], spread["high"], log=bool(spread.get("log")))
            if "when" in spread:
                conditions[name] = {k: tuple(v) for k, v in spread["when"].items()}
        return cls("recorded", "", ranges, {}, conditions)


FIXED = SearchSpace(name="fixed", question="Nothing is searched.", ranges={})


def as_space(given: object, name: str) -> SearchSpace:
    """The space that an arm was given: a SearchSpace, or a mapping of Optuna distributions.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(given, SearchSpace):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(
            f"space must be a mapping of knobs to Optuna distributions, or a SearchSpace, but got "
            f"{given!r}. Write {{'lr': FloatDistribution(0.01, 1.0, log=True)}}."
        )
    if not given:
        return FIXED
    ranges, conditions = _parts(given)
    return SearchSpace(name, f"Which {', '.join(ranges)}?", ranges, {}, conditions)


def _parts(
    given: Mapping[str, Any],
) -> tuple[dict[str, BaseDistribution], dict[str, dict[str, tuple[Any, ...]]]]:
    """Ranges and conditions apart."""
    ranges: dict[str, BaseDistribution] = {}
    conditions: dict[str, dict[str, tuple[Any, ...]]] = {}
    for name, spread in given.items():
        if isinstance(spread, When):
            conditions[name] = spread.values
            spread = spread.spread
        if not isinstance(spread, BaseDistribution):
            raise ValueError(_no_range(name, spread))
        ranges[name] = spread
    return ranges, conditions


def _no_range(name: str, spread: object) -> str:
    cure = "FloatDistribution(0.01, 1.0), IntDistribution or CategoricalDistribution"
    if isinstance(spread, (tuple, list)) and len(spread) == 2:
        numbers = all(isinstance(end, (int, float)) for end in spread)
        kind = "IntDistribution" if all(isinstance(e, int) for e in spread) else "FloatDistribution"
        if numbers:
            cure = f"{kind}({spread[0]}, {spread[1]}), or CategoricalDistribution(({spread[0]}, "
            cure += f"{spread[1]})) for these two values alone"
    elif isinstance(spread, Mapping):
        cure = f"FloatDistribution({', '.join(f'{k}={v!r}' for k, v in spread.items())})"
    elif isinstance(spread, (int, float, str, bool)):
        cure = f"{{{name!r}: {json.dumps(spread)}}} into the arm's fixed knobs instead of its space"
    return f"the range of {name} must be an Optuna distribution, but got {spread!r}. Write {cure}."
