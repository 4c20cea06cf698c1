"""A study's summary and verdict as text for a terminal, as Markdown or as LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd

from srsgd_ray.analysis.confirm import Confirmation, confirmation
from srsgd_ray.analysis.interval import Estimate
from srsgd_ray.analysis.looks import look_level
from srsgd_ray.analysis.pareto import epochs_saved_verdicts, error_by_epochs
from srsgd_ray.analysis.remarks import remarks
from srsgd_ray.analysis.rows import (
    arm_label,
    arms,
    baselines,
    confirm_metric,
    rows,
    search_goal,
    several_points,
)
from srsgd_ray.analysis.search import expected_best
from srsgd_ray.analysis.summary import ENDS, configurations, summary
from srsgd_ray.analysis.words import in_words, lost_text, share_text
from srsgd_ray.analysis.written import WIDTH, Shown, written
from srsgd_ray.knobs import one_of
from srsgd_ray.results import schema_of
from srsgd_ray.table import FORMATS, table

# How restart knobs are called in a narrow column.
SHORT = {
    "lr": "lr", "restart_f1": "F1 (steps)", "restart_growth": "growth", "restart_kind": "restarts"
}  # fmt: skip


def render(
    trials: pd.DataFrame,
    baseline: str | None = None,
    metric: str | None = None,
    predictions: pd.DataFrame | None = None,
    form: str = "text",
) -> str:
    """A study's summary and verdict; as plain text, it is at most 100 columns wide.

    Args:
        baseline: the arm that the others are compared with; by default what the study says.
        metric: what the confirmation is judged by; None: as the study says.
        predictions: see :func:`confirmation`.
        form: ``text``, ``markdown`` or ``latex``.

    Raises:
        UnknownNameError: for an unknown baseline, metric or form.
        ValueError: see :func:`confirmation`.
    """
    metric = metric or confirm_metric(trials)
    schema_of(trials).number(metric)
    if baseline is not None:
        one_of("baseline", baseline, arms(trials))
    if trials.empty:
        return "No trials yet."
    one_of("format", form, FORMATS[:3])
    searched = bool((trials["phase"] == "search").any())
    parts: list[Shown | str | None] = [_search_table(trials)] if searched else []
    if several_points(trials):
        parts += _epochs_parts(trials, baseline, metric)
    else:
        rivals = baseline or baselines(trials)
        found = confirmation(trials, rivals, metric, predictions=predictions)
        parts += [_expected_table(trials), _knobs_table(trials, searched)]
        parts += _confirmation_parts(found)
    parts.append("\n".join(f"Note: {text}" for text in remarks(trials, baseline, metric)))
    return "\n\n".join(written(part, form) for part in parts if part)


def _knobs_table(trials: pd.DataFrame, searched: bool) -> Shown | None:
    """The configuration of each arm that was selected, in each search, or that it is."""
    found = configurations(trials)
    names = [str(name) for name in found if name not in ("arm", "search")]
    if not names:
        return None
    heads = {n: SHORT.get(n, in_words(n).removeprefix("options.")) for n in names}
    several = ["search"] * bool(found["search"].any())
    shown = found[["arm", *several, *names]]
    shown = shown.assign(**{name: shown[name].map(_knob_text) for name in names})
    title = (
        f"{'Best c' if searched else 'C'}onfiguration of each arm{' in each search' * len(several)}"
    )
    return Shown(title, shown.rename(columns=heads))


def _knob_text(value: Any) -> str:
    """A knob's value in few letters; - for none."""
    if hasattr(value, "__len__") and not isinstance(value, str):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"


def _search_table(trials: pd.DataFrame) -> Shown:
    metric, mode = search_goal(trials)
    column = schema_of(trials).number(metric)
    validation = metric == "val_error"
    where = {"validation": ", on the validation split", "train": ", on the training split"}
    word = "best error" if validation else f"{'lowest' if mode == 'min' else 'highest'} {metric}"
    best = _with_unit(word, column.unit)
    heads = {"epochs": schema_of(trials)["epochs_done"].unit or "epochs", f"best_{metric}": best}
    found = summary(rows(trials, "search"))
    shown = found[["arm", "trials", *ENDS, *heads]]
    return Shown(
        f"Search{where.get(column.split, '')}{_better_words(mode == 'min', validation)}",
        shown.rename(columns=heads),
        {best: _form(shown[f"best_{metric}"], column.unit)},
    )


def _with_unit(metric: str, unit: str) -> str:
    """A metric in words with its unit: ``test error %``, ``time (s)``."""
    return f"{in_words(metric)} {unit if unit == '%' else unit and f'({unit})'}".rstrip()


def _better_words(lower: bool, known: bool = False) -> str:
    """Which values are better, where the name of the metric does not say so already."""
    return "" if known else f" ({'lower' if lower else 'higher'} is better)"


def _form(values: Iterable[Any], unit: str, spread: float = math.nan) -> str:
    """Two digits after the point, or as many as show four of the largest value and two of a spread.

    Values that are very large or small get an exponent.
    """
    largest = max((abs(float(v)) for v in values if pd.notna(v) and v), default=1.0)
    first = math.floor(math.log10(largest))
    needed = 1 - math.floor(math.log10(spread)) if spread > 0 else -first
    if largest >= 1e7 or (largest < 0.01 and unit != "%"):
        return f".{min(max(3, first + needed), 9)}e"
    usual = 2 if largest >= 2 or unit == "%" else 4
    return f"z.{min(max(usual, needed), 9)}f"


def _expected_table(trials: pd.DataFrame) -> Shown | None:
    """Expected best after up to four budgets that the searches of all arms have spent."""
    search = rows(trials, "search")
    complete = set(search.loc[search["state"] == "complete", "arm"])
    ended = search[search["arm"].isin(complete) & (search["state"] != "running")]
    names = arms(ended)
    if not names or ended["arm"].value_counts().min() < 4:
        return None
    spent = min(int(expected_best(trials, arm)["epochs"].max()) for arm in names)
    longest = int(ended["epochs_done"].fillna(0).max())
    if spent < 2 * longest:
        return None
    factor = 2
    while longest * factor**4 < spent:
        factor *= 2
    budgets = [longest * factor**k for k in range(3) if longest * factor**k < spent] + [spent]
    tables = [expected_best(trials, arm, epochs=budgets) for arm in names]
    metric = search_goal(trials)[0]
    unit = schema_of(trials).number(metric).unit
    ends = [end for table in tables for end in (table["low"].min(), table["high"].max())]
    form = _form(ends, unit, max(ends) - min(ends))
    spent_on = schema_of(trials)["epochs_done"].unit or "epochs"
    shown = pd.DataFrame({"arm": names})
    for at, budget in enumerate(budgets):
        found = [table.iloc[at] for table in tables]
        shown[f"{budget} {spent_on}"] = [
            f"{row['expected']:{form}} ({row['low']:{form}} to {row['high']:{form}})"
            for row in found
        ]
    # Budgets between the first and the last make way where the table would be too wide.
    while len(shown.columns) > 3 and len(table(shown, width=WIDTH).split("\n")[-1]) > WIDTH:
        shown = shown.drop(columns=shown.columns[-2])
    title = (
        f"Expected best {_with_unit(metric, unit)} after a budget "
        f"(middle 95 % of the orders of trials)"
    )
    notes = {
        "pruned": "A pruned trial counts with the value at which it was stopped: where a budget "
        "pays for few trials, the result may be up to a third too good.",
        "diverged": "A trial without a value counts as the worst one of the study.",
    }
    said = [text for state, text in notes.items() if (ended["state"] == state).any()]
    return Shown(title, shown, note=" ".join(said))


def _epochs_parts(trials: pd.DataFrame, baseline: str | None, metric: str) -> list[Shown | str]:
    """Error by epochs over the confirmation, and the epochs saved."""
    found = error_by_epochs(trials, metric)
    if found.empty:
        return ["No confirmation runs yet."]
    what = _with_unit(metric, schema_of(trials).number(metric).unit)
    rivals = baselines(trials)
    if baseline is not None:
        rivals = {arm: baseline for arm in arms(trials) if arm != baseline}
    said = epochs_saved_verdicts(trials, rivals, metric)
    title, form = f"Confirmation, {what} by epochs, over seeds", {"mean": ".2f", "std": ".2f"}
    estimates = found.rename(columns={"n": "runs"}).assign(n=found["n"])
    return [Shown(title, _with_interval(estimates, ".2f", 0.95), form), *said]


def _confirmation_parts(found: Confirmation) -> list[Shown | str | None]:
    if not any(run.why != "not begun" for arm in found.arms for run in arm.runs):
        return ["No confirmation runs yet."]
    said = [comparison.verdict for comparison in found.comparisons]
    lost = [text for arm in found.arms if (text := lost_text(arm.arm, arm.not_counted))]
    if lost and not said:
        said = [f"Not counted: {'; '.join(lost)}."]
    return [_arms_table(found), _differences_table(found), *said, found.scope]


def _arms_table(found: Confirmation) -> Shown:
    """Each arm by itself: its runs, what it lost, and its mean."""
    plain = found.metric == "test_error" or not found.direction
    many = found.searches > 1
    shown = pd.DataFrame(
        {
            "arm": arm.arm,
            **({"searches": arm.estimate.n} if many else {}),
            "runs": len(arm.values),
            "lost": share_text(arm.lost_share),
            **asdict(arm.estimate),
        }
        for arm in found.arms
    )
    least = shown["std"][shown["std"] > 0].min()
    form = _form([*shown["mean"], *shown["high"]], found.unit, least)
    what = _with_unit(found.metric, found.unit)
    over = "searches, each the mean of its seeds" if many else "seeds"
    title = f"Confirmation, {what} over {over}{_better_words(found.direction == 'lower', plain)}"
    return Shown(
        title, _with_interval(shown, form, found.level), {"mean": form, "std": form}, "lrr"
    )


def _with_interval(found: pd.DataFrame, form: str, level: float) -> pd.DataFrame:
    """A table of estimates with one column of intervals instead of n, low and high."""
    ends = [
        _ends(Estimate(row["n"], row["mean"], row["std"], row["low"], row["high"]), form)
        for _, row in found.iterrows()
    ]
    return found.drop(columns=["n", "low", "high"]).assign(**{f"{100 * level:g} % interval": ends})


def _ends(found: Estimate | None, form: str) -> str:
    return f"{found.low:{form}} to {found.high:{form}}" if found and found.n > 1 else "-"


def _differences_table(found: Confirmation) -> Shown | None:
    """Each difference with all its intervals, and how p and they were corrected."""
    compared = found.comparisons
    if not any(c.estimate.n for c in compared):
        return None
    sizes = [size for c in compared for size in (c.estimate.low, c.estimate.mean, c.estimate.high)]
    form = _form(sizes, found.unit)
    many = found.searches > 1
    shown = pd.DataFrame(
        {
            "arm minus rival": f"{arm_label(c.arm)} - {arm_label(c.baseline)}",
            "pairs": len(c.seeds),
            "mean": c.estimate.mean,
            f"over {'searches and ' * many}seeds": _ends(c.estimate, form),
            f"over {'searches, ' * many}seeds and images": _ends(c.over_images, form),
            "p": f"{c.p_holm:.2g}",
            "p, lost runs": f"{c.lost_p:.2g}" if any(c.lost.values()) else "-",
        }
        for c in compared
    )
    empty = [name for name in shown.columns[4:] if (shown[name] == "-").all()]
    title = f"Differences ({levels_text(found)})"
    return Shown(title, shown.drop(columns=empty), {"mean": form})


def levels_text(found: Confirmation) -> str:
    """The level of the differences, its part at the look they are of, and how many there are."""
    compared = found.comparisons
    looks = sorted({c.look for c in compared if c.look >= 0})
    at = [f"look {n + 1} at {100 * look_level(found.level, n):.4g} %" for n in looks]
    said = f"{100 * found.level:g} % over all looks, {', '.join(at) or 'none ended'}"
    if len(compared) > 1:
        said += f"; {len(compared)} comparisons: Bonferroni intervals, Holm's p"
    return said
