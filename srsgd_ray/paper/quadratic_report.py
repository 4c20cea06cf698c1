"""What the search of a schedule for the quadratic found, in words: each arm and the published."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from srsgd_ray.analysis import Estimate, estimate
from srsgd_ray.knobs import knob_types, make
from srsgd_ray.results import read_trials
from srsgd_ray.table import table as text_table
from srsgd_ray.trainables.quadratic_problem import CASES, QuadraticConfig

__all__ = ["PUBLISHED", "Contest", "contests", "report", "show_report"]

PUBLISHED = "srnag"  # the published schedule, as an arm of its case
SCALE = 1e6  # gaps are shown in millionths


def show_report(folder: Path) -> None:
    """Print what the search of a schedule found."""
    print("\n" + report(read_trials(folder)))


@dataclass(frozen=True)
class Contest:
    """One contestant of a noisy case.

    Attributes:
        case: of the noise.
        arm: its name without the case, such as ``one_f`` or ``nag``.
        setting: its momentum, in words.
        gap: its mean gap over the last 1,000 iterations, over the seeds, in millionths.
        difference: its gap less that of the published schedule, seed by seed; None for itself.
            The intervals of a case's differences hold together (Bonferroni).
    """

    case: str
    arm: str
    setting: str
    gap: Estimate
    difference: Estimate | None

    @property
    def word(self) -> str:
        """``lower``, ``higher`` or ``not told apart``; "" for the published schedule itself."""
        if self.difference is None:
            return ""
        if self.difference.n < 2 or self.difference.low <= 0 <= self.difference.high:
            return "not told apart"
        return "lower" if self.difference.mean < 0 else "higher"


def contests(table: pd.DataFrame, case: str, level: float = 0.95) -> list[Contest]:
    """The confirmation of one noisy case, lowest mean gap first.

    Args:
        table: the trials of the study.
        case: constant or decaying.
        level: of the intervals; those of the differences hold together at it.
    """
    runs = _confirmed(table[table["case"] == case])
    values = _gaps(runs)
    if PUBLISHED not in values:
        return []
    texts = dict(zip(runs["arm"], runs["words"], strict=True))
    shared = 1 - (1 - level) / (len(values.columns) - 1) if len(values.columns) > 1 else level
    found = []
    for arm in values.columns:
        own = values[arm]
        other = None if arm == PUBLISHED else _estimate(own - values[PUBLISHED], shared)
        found.append(Contest(case, str(arm), texts[arm], _estimate(own, level), other))
    return sorted(found, key=lambda contest: contest.gap.mean)


def report(table: pd.DataFrame) -> str:
    """The whole outcome as plain text."""
    parts = []
    for case in CASES:
        of_case = table[table["case"] == case]
        if len(of_case):
            lines = _exact(of_case) if case == "exact" else _noisy(of_case, case)
            parts.append("\n".join([*lines, f"  Searched: {_trials(of_case)}"]))
    return "\n\n".join(parts)


def _exact(table: pd.DataFrame) -> list[str]:
    """Iterations to a gap below 1e-10, for good."""
    rows = []
    for _, row in _confirmed(table).sort_values("objective").iterrows():
        reached = pd.notna(row["stays_below"])
        when = f"{row['stays_below']:,.0f} ({row['first_below']:,.0f})" if reached else "never"
        rows.append((row["arm"], when, row["words"]))
    return [
        "exact: iteration from which on the gap stays below 1e-10 (and where it first is); "
        "one run each, nothing is random",
        _rows(rows),
    ]


def _noisy(table: pd.DataFrame, case: str) -> list[str]:
    found = contests(table, case)
    if not found:
        return [f"{case}: not confirmed yet"]
    rows = []
    for one in found:
        d = one.difference
        apart = "" if d is None else f"{d.mean:+.4g} [{d.low:+.4g}, {d.high:+.4g}] {one.word}"
        rows.append((one.arm, f"{one.gap.mean:.5g} ± {one.gap.std:.2g}", apart, one.setting))
    return [
        f"{case}: mean gap over the last 1,000 iterations, in 1e-6, "
        f"{max(one.gap.n for one in found)} fresh seeds; difference from the published schedule in "
        f"pairs, all intervals together 95 %",
        _rows(rows),
        "  " + _verdict(found),
        *_restarts(table),
    ]


def _rows(rows: Sequence[tuple[str, ...]]) -> str:
    return textwrap.indent(text_table(pd.DataFrame(rows), header=False, align="l"), "  ")


def _verdict(found: Sequence[Contest]) -> str:
    """Whether the published schedule was a good one, in a sentence."""
    base = next(contest for contest in found if contest.arm == PUBLISHED)
    lower = [contest for contest in found if contest.word == "lower"]
    if not lower:
        return f"Nothing is lower than the published schedule ({base.setting}) beyond chance."
    best, names = lower[0], ", ".join(contest.arm for contest in lower)
    d = best.difference
    assert d is not None
    mean, low, high = (-100 * part / base.gap.mean for part in (d.mean, d.high, d.low))
    return (
        f"Lower than the published schedule ({base.setting}): {names}. The best, {best.arm}, "
        f"by {mean:.1f} % [{low:.1f}, {high:.1f}]."
    )


def _restarts(table: pd.DataFrame) -> list[str]:
    """Whether restarts do better than constant momentum, both searched: one paired comparison.

    The two arms are selected by the search's expected gap, which none of these seeds has touched.
    """
    searched = table[(table["phase"] == "search") & (table["state"] == "complete")]
    values = _gaps(_confirmed(table))
    arms = []
    for method in ("SRNAG", "GD + Momentum"):
        mine = searched[searched["method"] == method].sort_values("objective")
        arms += [_bare(arm) for arm in mine["arm"][:1]]
    if len(arms) < 2 or not set(arms) <= set(values.columns):
        return []
    d = _estimate(values[arms[0]] - values[arms[1]])
    return [
        f"  Restarts less constant momentum, {arms[0]} less {arms[1]}: "
        f"{d.mean:+.3g} [{d.low:+.3g}, {d.high:+.3g}] (95 %, {d.n} pairs)."
    ]


def _trials(table: pd.DataFrame) -> str:
    """How many trials each arm had."""
    words = []
    for arm, own in table[table["phase"] == "search"].groupby("arm", sort=False):
        failed = int((own["state"] == "failed").sum())
        more = f" ({failed} failed)" if failed else ""
        words.append(f"{_bare(arm)} {len(own)} trials{more}")
    return ", ".join(words)


def _confirmed(table: pd.DataFrame) -> pd.DataFrame:
    """The complete confirmation runs, with the arm without its case and the momentum in words."""
    runs = table[(table["phase"] == "confirm") & (table["state"] == "complete")]
    names = list(knob_types(QuadraticConfig))
    configs = [make(QuadraticConfig, dict(zip(names, row, strict=True)))
               for row in runs[names].itertuples(index=False)]  # fmt: skip
    return runs.assign(
        words=[config.text for config in configs], arm=[_bare(arm) for arm in runs["arm"]]
    )


def _bare(arm: object) -> str:
    """An arm's name without its case."""
    return str(arm).partition("_")[2]


def _gaps(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean gaps in millionths, a row a seed and a column an arm."""
    return runs.pivot(index="seed", columns="arm", values="mean_gap_last_1000") * SCALE


def _estimate(values: pd.Series[float], level: float = 0.95) -> Estimate:
    return estimate(values.dropna().tolist(), level)
