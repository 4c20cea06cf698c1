"""Results in words: numbers with fitting digits, runs that do not count, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from srsgd_ray.analysis.looks import look_level
from srsgd_ray.analysis.rows import arm_label

if TYPE_CHECKING:
    from srsgd_ray.analysis.compare import Comparison, WorstRank
    from srsgd_ray.analysis.interval import Share

SEEDS_NAMED = 5
MOST_PAIRS = 1000


def in_words(column: str) -> str:
    """A column's name as words: ``test error`` for ``test_error``."""
    spelt = {
        "val": "validation", "train": "training", "lr": "learning rate", "auc": "AUC", "f1": "F1"
    }  # fmt: skip
    return " ".join(spelt.get(word, word) for word in column.replace("_", " ").split())


def lost_text(arm: str, lost: Mapping[str, tuple[int, ...]]) -> str:
    """Which runs of an arm do not count: ``SRSGD 1 diverged (seed 3)``; empty if all count."""
    parts = []
    for why, seeds in lost.items():
        named = ", ".join(map(str, seeds[:SEEDS_NAMED])) + (", .." * (len(seeds) > SEEDS_NAMED))
        parts.append(f"{len(seeds)} {in_words(why)} (seed{'s' * (len(seeds) > 1)} {named})")
    return f"{arm_label(arm)} {', '.join(parts)}" if parts else ""


def share_text(share: Share) -> str:
    """A share of runs with its interval: ``3 of 8 (9 to 76 %)``; ``-`` of no runs."""
    if not share.n:
        return "-"
    return f"{share.count} of {share.n} ({100 * share.low:.0f} to {100 * share.high:.0f} %)"


def verdict(comparison: Comparison) -> str:
    """What a comparison shows, as one sentence with its interval, its n and what is left out."""
    c = comparison
    return f"{_few(c) or _decided(c) or _undecided(c)}{_lost(c)}."


def _few(c: Comparison) -> str:
    """What is said where there is no interval; empty where there is one."""
    found, (name, rival), what = c.estimate, _sides(c), in_words(c.metric)
    what = f"mean {what}" if c.replicated > 1 else what  # of a search: its pairs may differ
    if found.n == 0:
        return f"No verdict on {name} and {rival}: no seed is complete in both"
    if found.n == 1:
        return f"{_not_enough(c)}: {_difference(c)}, n = {_count(c)}; an interval needs 2 or more"
    if found.std > 0:
        return ""
    if found.mean == 0:
        return (
            f"No difference seen between {name} and {rival}: the same {what} in each of "
            f"{_count(c)}, so that no interval can be given"
        )
    return (
        f"{_not_enough(c)}: {name} has a {'lower' if found.mean < 0 else 'higher'} {what} by "
        f"{_amount(abs(found.mean), c)}{_these(c)} in each of {_count(c)}, and without spread no "
        f"interval can be given"
    )


def _decided(c: Comparison) -> str:
    """The verdict; empty if there is none."""
    if c.better is None:
        return ""
    found, sides = c.estimate, _sides(c)
    winner, loser = sides if c.better == c.arm else sides[::-1]
    ends = (found.low, found.high) if found.mean > 0 else (-found.high, -found.low)
    said = (
        f"{winner[:1].upper() + winner[1:] if c.replicated > 1 else winner} has a {c.direction} "
        f"{in_words(c.metric)} than {loser}: by "
        f"{_amount(abs(found.mean), c)}{_these(c)} ({_interval(*ends, c)})"
    )
    if found.low * found.high <= 0:
        said += (
            f"; Holm's p = {c.p_holm:.2g} decides, though the interval, wide enough for all "
            f"comparisons at once, holds 0"
        )
    if c.worst_rank:
        said += f"; {winner} lost more runs, and is better {_ranked(c.worst_rank)}"
    return said + _over_images(c)


def _over_images(c: Comparison) -> str:
    """Whether a verdict is also about other test images; empty where it is not known."""
    found = c.over_images
    if found is None:
        return ""
    low, high = (found.low, found.high) if found.mean > 0 else (-found.high, -found.low)
    over = "searches, seeds" if c.replicated > 1 else "seeds"
    turned = "" if low > 0 else ": with other test images it might not be seen"
    return f"; over {over} and images {_number(low, c)} to {_number(high, c)}{turned}"


def _undecided(c: Comparison) -> str:
    found, sides = c.estimate, _sides(c)
    shown = f"{_difference(c)} ({_interval(found.low, found.high, c)})"
    if c.look < 0:
        return f"No verdict before all runs have ended: so far, {shown}"
    if found.low * found.high > 0 and c.worst_rank:
        leader = sides[(found.mean < 0) != (c.direction == "lower")]
        return (
            f"No verdict in favour of {leader}, which lost more runs than its rival: {shown} where "
            f"both are complete, but better only {_ranked(c.worst_rank)}"
        )
    if c.pairs_needed is None:
        return f"{_not_enough(c)}: {shown}"
    return f"{_not_enough(c)}: {shown}; {_needed(*c.pairs_needed, c)}"


def _needed(few: int, many: int, c: Comparison) -> str:
    """What it would take to resolve a difference; numbers that nobody runs are not told."""
    what = "searches" if c.replicated > 1 else "pairs"
    if few > MOST_PAIRS:
        return f"a difference this small would take over {MOST_PAIRS:,} {what} in all to resolve"
    most = f"{many:,}" if many <= MOST_PAIRS else f"over {MOST_PAIRS:,}"
    return f"to resolve a difference this large, {few:,} to {most} {what} in all would be needed"


def _sides(c: Comparison) -> tuple[str, str]:
    """Both arms: ``tuned SRSGD`` where the searches of the arm are what was sampled."""
    tuned = c.tuned if c.replicated > 1 else ()
    name, rival = ("tuned " * (a in tuned) + arm_label(a) for a in (c.arm, c.baseline))
    return name, rival


def _these(c: Comparison) -> str:
    """What one search, or none, can be about."""
    return "" if c.replicated > 1 else " between these two configurations"


def _not_enough(c: Comparison) -> str:
    name, rival = _sides(c)
    which = "searches" if c.replicated > 1 else "seeds"
    return f"Not enough {which} to tell {name} from {rival}"


def _difference(c: Comparison) -> str:
    return f"difference in {in_words(c.metric)} {_amount(c.estimate.mean, c)}{_these(c)}"


def _count(c: Comparison) -> str:
    n, pairs = c.estimate.n, len(c.seeds)
    of_pairs = f"{pairs} pair{'s' * (pairs != 1)}"
    return of_pairs if c.replicated < 2 else f"{n} search{'es' * (n != 1)}, {of_pairs}"


def _ranked(found: WorstRank) -> str:
    return (
        f"in {found.won} of {found.won + found.lost} pairs if a lost run is worse than any other "
        f"(p = {found.p:.2g})"
    )


def _lost(c: Comparison) -> str:
    """The runs that do not count, of both arms."""
    every = {arm: {**runs, **(c.absent or {}).get(arm, {})} for arm, runs in c.lost.items()}
    texts = [text for arm, runs in every.items() if (text := lost_text(arm, runs))]
    counts = {share.count for share in c.lost_shares}
    equal = " (as many were lost by both)" if len(counts) == 1 and counts != {0} else ""
    return f"; not counted: {'; '.join(texts)}{equal}" if texts else ""


def _amount(value: float, c: Comparison) -> str:
    unit = {"%": " points", "": ""}.get(c.unit, f" {c.unit}")
    return f"{_number(value, c)}{unit}"


def _interval(low: float, high: float, c: Comparison) -> str:
    widened = f"widened for {c.widened_for} comparisons, " if c.widened_for > 1 else ""
    look = ""
    if c.look >= 0 and c.extendable:
        look = f", look {c.look + 1} at {100 * look_level(c.level, c.look):.4g} %"
    return (
        f"{100 * c.level:g} % interval {_number(low, c)} to {_number(high, c)}, "
        f"{widened}n = {_count(c)}{look}"
    )


def _number(value: float, c: Comparison) -> str:
    """Two digits after the point, or as many as show two digits of the largest number around.

    Numbers that are very large or small get an exponent.
    """
    sizes = [abs(v) for v in (c.estimate.mean, c.estimate.low, c.estimate.high)]
    largest = max((size for size in sizes if size > 0), default=1.0)
    digits = max(2, 1 - math.floor(math.log10(largest)))
    return f"{value:z.{digits}f}" if 1e-5 < largest < 1e7 else f"{value:.2e}"
