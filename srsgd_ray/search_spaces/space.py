"""What a search space is: named ranges, and the points of its grid."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)

from srsgd_ray.config import TrainConfig

__all__ = ["FIXED", "SearchSpace"]


@dataclass(frozen=True)
class SearchSpace:
    """The question, the ranges that Optuna draws from, and the values of a grid search.

    Attributes:
        name: name of the space.
        question: what a search in it answers, in one sentence.
        ranges: Optuna distribution of each config field that is searched.
        grid: values of each field for ``searcher="grid"``.
    """

    name: str
    question: str
    ranges: Mapping[str, BaseDistribution]
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def replace(self, **ranges: BaseDistribution) -> SearchSpace:
        """A copy with some ranges changed or added; their grid values, if any, are dropped."""
        grid = {name: values for name, values in self.grid.items() if name not in ranges}
        return dataclasses.replace(self, ranges={**self.ranges, **ranges}, grid=grid)

    def points(self, seed: int) -> list[dict[str, Any]]:
        """All points of the grid, in an order drawn from ``seed``.

        Raises:
            ValueError: if a range has no grid values.
        """
        missing = [name for name in self.ranges if name not in self.grid]
        if missing:
            raise ValueError(
                f"searcher='grid' needs grid values for every range of {self.name!r}, but "
                f"{', '.join(missing)} has none. Add them to its grid."
            )
        values = [self.grid[name] for name in self.ranges]
        points = [
            dict(zip(self.ranges, point, strict=True)) for point in itertools.product(*values)
        ]
        random.Random(seed).shuffle(points)
        return points

    def check(self, make: Callable[[dict[str, Any]], TrainConfig]) -> None:
        """Raise ValueError unless the ends of every range make a sound config.

        Args:
            make: the config of given values of searched fields.
        """
        for name, spread in self.ranges.items():
            ends = (
                spread.choices
                if isinstance(spread, CategoricalDistribution)
                else (getattr(spread, "low", None), getattr(spread, "high", None))
            )
            for end in (*ends, *self.grid.get(name, ())):
                make({name: end}).check()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record of a study."""
        return {
            "name": self.name,
            "question": self.question,
            "ranges": {name: distribution_to_json(d) for name, d in self.ranges.items()},
            "grid": {name: list(values) for name, values in self.grid.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SearchSpace:
        """Inverse of :meth:`to_dict`."""
        return cls(
            name=plain["name"],
            question=plain["question"],
            ranges={name: json_to_distribution(text) for name, text in plain["ranges"].items()},
            grid={name: tuple(values) for name, values in plain["grid"].items()},
        )


FIXED = SearchSpace(name="fixed", question="Nothing is searched.", ranges={})
