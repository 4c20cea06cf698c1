"""What the quadratic's studies found, in words: each curve or contestant beside the published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray.analysis import Estimate, estimate
from srsgd_ray.paper.quadratic_agreement import agreement_table, agreements
from srsgd_ray.results import read_table, read_trials
from srsgd_ray.trainables.quadratic_settings import CASES

__all__ = ["PUBLISHED", "Contest", "contests", "report", "show_agreement", "show_report"]

PUBLISHED = "srnag"  # the published schedule, as an arm of its case
SCALE = 1e6  # gaps are shown in millionths


def show_agreement(folder: Path) -> None:
    """Print how the study of Figure 2 agrees with the published curves."""
    print("\nMean gap |f - f*| over the last 1,000 iterations (published: of 50,000):")
    print(agreement_table(agreements(read_trials(folder), read_table(folder, "curves"))))


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
    values = runs.pivot(index="seed", columns="arm", values="mean_gap_last_1000") * SCALE
    if PUBLISHED not in values:
        return []
    texts = dict(zip(runs["arm"], runs["words"], strict=True))
    others = len(values.columns) - 1
    found = []
    for arm in values.columns:
        difference = None
        if arm != PUBLISHED:
            pairs = (values[arm] - values[PUBLISHED]).dropna()
            difference = estimate(pairs.tolist(), 1 - (1 - level) / others)
        gap = estimate(values[arm].dropna().tolist(), level)
        found.append(Contest(case, str(arm), texts[arm], gap, difference))
    return sorted(found, key=lambda contest: contest.gap.mean)


def report(table: pd.DataFrame) -> str:
    """The whole outcome as plain text."""
    parts = []
    for case in CASES:
        of_case = table[table["case"] == case]
        if len(of_case):
            parts.append(_exact(of_case) if case == "exact" else _noisy(of_case, case))
    return "\n\n".join(parts)


def _exact(table: pd.DataFrame) -> str:
    """Iterations to a gap below 1e-10, for good."""
    runs = _confirmed(table)
    lines = [
        "exact: iteration from which on the gap stays below 1e-10 (and where it first is); "
        "one run each, nothing is random"
    ]
    for _, row in runs.sort_values("objective").iterrows():
        reached = pd.notna(row["stays_below"])
        when = f"{row['stays_below']:,.0f} ({row['first_below']:,.0f})" if reached else "never"
        lines.append(f"  {row['arm']:24} {when:17} {row['words']}")
    lines.append("  " + _trials(table))
    return "\n".join(lines)


def _noisy(table: pd.DataFrame, case: str) -> str:
    found = contests(table, case)
    if not found:
        return f"{case}: not confirmed yet\n  {_trials(table)}"
    n = max(contest.gap.n for contest in found)
    lines = [
        f"{case}: mean gap over the last 1,000 iterations, in 1e-6, {n} fresh seeds; "
        f"difference from the published schedule in pairs, all intervals together 95 %"
    ]
    for contest in found:
        gap = f"{contest.gap.mean:.5g} ± {contest.gap.std:.2g}"
        difference = ""
        if contest.difference is not None:
            d = contest.difference
            difference = f"{d.mean:+.4g} [{d.low:+.4g}, {d.high:+.4g}] {contest.word}"
        lines.append(f"  {contest.arm:24} {gap:18} {difference:48} {contest.setting}")
    lines += ["  " + _verdict(found), *_restarts(table), "  " + _trials(table)]
    return "\n".join(lines)


def _verdict(found: list[Contest]) -> str:
    """Whether the published schedule was a good one, in a sentence."""
    base = next(contest for contest in found if contest.arm == PUBLISHED)
    lower = [contest for contest in found if contest.word == "lower"]
    if not lower:
        return f"Nothing is lower than the published schedule ({base.setting}) beyond chance."
    best, names = lower[0], ", ".join(contest.arm for contest in lower)
    assert best.difference is not None
    share = [100 * part / base.gap.mean for part in (best.difference.mean, best.difference.low)]
    share.append(100 * best.difference.high / base.gap.mean)
    return (
        f"Lower than the published schedule ({base.setting}): {names}. The best, {best.arm}, "
        f"by {-share[0]:.1f} % [{-share[2]:.1f}, {-share[1]:.1f}]."
    )


def _restarts(table: pd.DataFrame) -> list[str]:
    """Whether restarts do better than constant momentum, both searched: one paired comparison.

    The two arms are chosen by the search's expected gap, which none of these seeds has touched.
    """
    searched = table[(table["phase"] == "search") & (table["state"] == "complete")]
    runs = _confirmed(table)
    values = runs.pivot(index="seed", columns="arm", values="mean_gap_last_1000") * SCALE
    arms = []
    for method in ("SRNAG", "GD + Momentum"):
        mine = searched[searched["method"] == method].sort_values("objective")
        arms += [str(arm).partition("_")[2] for arm in mine["arm"][:1]]
    if len(arms) < 2 or not set(arms) <= set(values.columns):
        return []
    d = estimate((values[arms[0]] - values[arms[1]]).dropna().tolist())
    return [
        f"  Restarts less constant momentum, {arms[0]} less {arms[1]}: "
        f"{d.mean:+.3g} [{d.low:+.3g}, {d.high:+.3g}] (95 %, {d.n} pairs)."
    ]


def _trials(table: pd.DataFrame) -> str:
    """How many trials each arm had."""
    searched = table[table["phase"] == "search"]
    words = []
    for arm in dict.fromkeys(searched["arm"]):
        states = searched.loc[searched["arm"] == arm, "state"]
        failed = int((states == "failed").sum())
        words.append(
            f"{str(arm).partition('_')[2]} {len(states)} trials"
            + (f" ({failed} failed)" if failed else "")
        )
    return "Searched: " + ", ".join(words)


def _confirmed(table: pd.DataFrame) -> pd.DataFrame:
    """The complete confirmation runs, with the arm without its case and the momentum in words."""
    # Here, for the trainable stands above this module: a table's knobs make a setting again.
    from srsgd_ray.knobs import knob_types, make
    from srsgd_ray.trainable import find

    kind: Any = find("quadratic").Config
    runs = table[(table["phase"] == "confirm") & (table["state"] == "complete")]
    words: list[str] = [make(kind, {k: row[k] for k in knob_types(kind)}).setting().text
             for _, row in runs.iterrows()]  # fmt: skip
    arms = [str(arm).partition("_")[2] for arm in runs["arm"]]
    return runs.assign(words=words, arm=arms)
