"""Results in words: numbers with fitting digits, runs that do not count, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from srsgd_ray.analysis.rows import arm_label

if TYPE_CHECKING:
    from srsgd_ray.analysis.confirm import Comparison

SEEDS_NAMED = 5


def in_words(column: str) -> str:
    """A column's name as words: ``test error`` for ``test_error``."""
    spelt = {"val": "validation", "train": "training", "lr": "learning rate", "auc": "AUC"}
    return " ".join(spelt.get(word, word) for word in column.replace("_", " ").split())


def lost_text(arm: str, lost: Mapping[str, tuple[int, ...]]) -> str:
    """Which runs of an arm do not count: ``SRSGD 1 diverged (seed 3)``; empty if all count."""
    parts = []
    for why, seeds in lost.items():
        named = ", ".join(map(str, seeds[:SEEDS_NAMED])) + (", .." * (len(seeds) > SEEDS_NAMED))
        parts.append(f"{len(seeds)} {in_words(why)} (seed{'s' * (len(seeds) > 1)} {named})")
    return f"{arm_label(arm)} {', '.join(parts)}" if parts else ""


def verdict(comparison: Comparison) -> str:
    """What a comparison shows, as one sentence with its interval, its n and what is left out."""
    c = comparison
    name, rival, what = arm_label(c.arm), arm_label(c.baseline), in_words(c.metric)
    found, undecided = c.estimate, f"Not enough seeds to tell {name} from {rival}: "
    difference = f"difference in {what} {_amount(found.mean, c)}"
    if found.n == 0:
        said = f"No verdict on {name} and {rival}: no seed is complete in both"
    elif found.n == 1:
        said = f"{undecided}{difference}, n = 1 pair; an interval needs 2 or more"
    elif found.std == 0 and math.isclose(found.mean, 0.0, abs_tol=1e-9):
        said = (
            f"No difference seen between {name} and {rival}: the same {what} in each of "
            f"{found.n} pairs, so that no interval can be given"
        )
    elif found.std == 0:
        said = (
            f"{undecided}{name} has a {'lower' if found.mean < 0 else 'higher'} {what} by "
            f"{_amount(abs(found.mean), c)} in each of {found.n} pairs, and without spread no "
            f"interval can be given"
        )
    elif c.lower is not None:
        winner = c.better or c.lower
        loser = rival if winner == c.arm else name
        low, high = sorted((abs(found.low), abs(found.high)))
        said = (
            f"{arm_label(winner)} has a {c.direction} {what} than {loser}: by "
            f"{_amount(abs(found.mean), c)} ({_interval(low, high, c)})"
        )
    else:
        said = f"{undecided}{difference} ({_interval(found.low, found.high, c)})"
        if c.pairs_needed is not None:
            said += (
                f"; about {c.pairs_needed:,} pairs would be needed to resolve a difference this "
                f"large"
            )
    lost = [text for arm, runs in c.lost.items() if (text := lost_text(arm, runs))]
    return said + (f"; not counted: {'; '.join(lost)}" if lost else "") + "."


def _amount(value: float, c: Comparison) -> str:
    unit = {"%": " points", "": ""}.get(c.unit, f" {c.unit}")
    return f"{_number(value, c)}{unit}"


def _interval(low: float, high: float, c: Comparison) -> str:
    widened = f"widened for {c.widened_for} comparisons, " if c.widened_for > 1 else ""
    return (
        f"{100 * c.level:g} % interval {_number(low, c)} to {_number(high, c)}, "
        f"{widened}n = {c.estimate.n} pairs"
    )


def _number(value: float, c: Comparison) -> str:
    """Two digits after the point, or as many as show two digits of the largest number around."""
    sizes = [abs(v) for v in (c.estimate.mean, c.estimate.low, c.estimate.high)]
    largest = max((size for size in sizes if size > 0), default=1.0)
    digits = max(2, 1 - math.floor(math.log10(largest)))
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text
