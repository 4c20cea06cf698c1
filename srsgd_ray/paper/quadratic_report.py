"""What the search of a schedule for the quadratic found, in words: each arm and the published."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from srsgd_ray.analysis import Comparison, Confirmation, Estimate, confirmation
from srsgd_ray.analysis.rows import current
from srsgd_ray.knobs import knob_types, make
from srsgd_ray.results import read_trials
from srsgd_ray.table import table as text_table
from srsgd_ray.trainables.quadratic_problem import CASES, QuadraticConfig

METRIC = "mean_gap_last_1000"
SCALE = 1e6  # gaps are shown in millionths


def show_report(folder: Path) -> None:
    """Print what the search of a schedule found."""
    print("\n" + report(read_trials(folder)))


def compare(table: pd.DataFrame, *arms: str) -> Confirmation:
    """Mean gaps over the last 1,000 iterations, in millionths: arms against the first, in pairs.

    The intervals of the differences hold together at 95 % (Bonferroni); the seeds are fixed by
    the study, so that there is one look.

    Args:
        table: the trials of the study.
        arms: of those with confirmation runs.
    """
    runs = _confirmed(table)
    runs = runs[runs["arm"].isin(arms)]
    return confirmation(
        runs.assign(**{METRIC: runs[METRIC] * SCALE}), arms[0], METRIC, extendable=False
    )


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
    runs = _confirmed(table).sort_values("objective")
    texts, rows = _texts(runs), []
    for _, row in runs.iterrows():
        reached = pd.notna(row["stays_below"])
        when = f"{row['stays_below']:,.0f} ({row['first_below']:,.0f})" if reached else "never"
        rows.append((_bare(row["arm"]), when, texts[row["arm"]]))
    return [
        "exact: iteration from which on the gap stays below 1e-10 (and where it first is); "
        "one run each, nothing is random",
        _rows(rows),
    ]


def _noisy(table: pd.DataFrame, case: str) -> list[str]:
    runs, published = _confirmed(table), f"{case}_srnag"
    arms = dict.fromkeys(runs["arm"])
    if published not in arms:
        return [f"{case}: not confirmed yet"]
    found = compare(table, published, *arms)
    against = {one.arm: one for one in found.comparisons}
    texts, rows = _texts(runs), []
    for own in sorted(found.arms, key=lambda result: result.estimate.mean):
        difference = ""
        if own.arm in against:
            difference = f"{_interval(against[own.arm].estimate, '.4g')} {word(against[own.arm])}"
        gap = f"{own.estimate.mean:.5g} ± {own.estimate.std:.2g}"
        rows.append((_bare(own.arm), gap, difference, texts[own.arm]))
    return [
        f"{case}: mean gap over the last 1,000 iterations, in 1e-6, "
        f"{max(own.estimate.n for own in found.arms)} fresh seeds; difference from the published "
        f"schedule in pairs, all intervals together 95 %",
        _rows(rows),
        "  " + _verdict(found, texts[published]),
        *_restarts(table),
    ]


def word(compared: Comparison) -> str:
    """Whether the gap of an arm is ``lower``, ``higher`` or, by its interval, neither."""
    if not compared.estimate.low * compared.estimate.high > 0:
        return "not distinguished"
    return "lower" if compared.estimate.mean < 0 else "higher"


def _verdict(found: Confirmation, published: str) -> str:
    """Whether the published schedule was a good one, in a sentence."""
    lower = [one for one in found.comparisons if word(one) == "lower"]
    if not lower:
        return f"Nothing is lower than the published schedule ({published}) beyond chance."
    lower.sort(key=lambda one: found.arm(one.arm).estimate.mean)
    d, whole = lower[0].estimate, found.arm(lower[0].baseline).estimate.mean
    mean, low, high = (-100 * part / whole for part in (d.mean, d.high, d.low))
    return (
        f"Lower than the published schedule ({published}): "
        f"{', '.join(_bare(one.arm) for one in lower)}. The best, {_bare(lower[0].arm)}, "
        f"by {mean:.1f} % [{low:.1f}, {high:.1f}]."
    )


def _restarts(table: pd.DataFrame) -> list[str]:
    """Whether restarts do better than constant momentum, both searched: one paired comparison.

    The two arms are selected by the search's expected gap, which none of these seeds has touched.
    """
    searched = current(table).query("phase == 'search' and state == 'complete'")
    best = searched.sort_values("objective").drop_duplicates("method").set_index("method")["arm"]
    pair = [best.get(method) for method in ("GD + Momentum", "SRNAG")]
    if not set(pair) <= set(_confirmed(table)["arm"]):
        return []
    constant, restarted = map(str, pair)
    d = compare(table, constant, restarted).comparisons[0].estimate
    return [
        f"  Restarts less constant momentum, {_bare(restarted)} less {_bare(constant)}: "
        f"{_interval(d, '.3g')} (95 %, {d.n} pairs)."
    ]


def _trials(table: pd.DataFrame) -> str:
    """How many trials each arm had."""
    words = []
    for arm, own in current(table).query("phase == 'search'").groupby("arm", sort=False):
        failed = int((own["state"] == "failed").sum())
        more = f" ({failed} failed)" if failed else ""
        words.append(f"{_bare(arm)} {len(own)} trials{more}")
    return ", ".join(words)


def _confirmed(table: pd.DataFrame) -> pd.DataFrame:
    """The complete confirmation runs."""
    return current(table).query("phase == 'confirm' and state == 'complete'")


def _texts(runs: pd.DataFrame) -> Mapping[str, str]:
    """The momentum of each arm in words."""
    names = list(knob_types(QuadraticConfig))
    first = runs.drop_duplicates("arm")
    rows = first[names].itertuples(index=False)
    return {
        arm: make(QuadraticConfig, dict(zip(names, row, strict=True))).text
        for arm, row in zip(first["arm"], rows, strict=True)
    }


def _rows(rows: Sequence[tuple[str, ...]]) -> str:
    return textwrap.indent(text_table(pd.DataFrame(rows), header=False, align="l"), "  ")


def _interval(d: Estimate, form: str) -> str:
    return f"{d.mean:+{form}} [{d.low:+{form}}, {d.high:+{form}}]"


def _bare(arm: object) -> str:
    """An arm's name without its case."""
    return str(arm).partition("_")[2]
