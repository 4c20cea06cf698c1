"""Published errors and ours as text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pandas as pd

from srsgd_ray.knobs import one_of
from srsgd_ray.paper.cells import SETS, TABLES, PublishedTable
from srsgd_ray.paper.compare import (
    LOUD,
    PROTOCOLS,
    STATUSES,
    compare_with_published,
    srsgd_minus_sgd,
)
from srsgd_ray.table import FORMATS, escape_latex, table

WIDTH = 100  # letters of a line of text


def render_comparison(
    name: str,
    trials: pd.DataFrame,
    form: str = "text",
    protocol: str = "last",
    any_epochs: bool = False,
    level: float = 0.95,
) -> str:
    """A published table with our runs, ready to print.

    Args:
        name, trials, protocol, any_epochs, level: see :func:`compare_with_published`.
        form: one of ``FORMATS``. CSV holds the columns of :func:`compare_with_published`, lists
            joined by ``;``, and nothing else.

    Raises:
        UnknownNameError: for an unknown table, format or protocol.
        ValueError: if ``level`` is not between 0 and 1.
    """
    one_of("format", form, FORMATS)
    found = compare_with_published(name, trials, protocol, any_epochs, level)
    if form == "csv":
        return table(found, "csv")
    asked = TABLES[name]
    flags = dict.fromkeys(flag for flags in found["protocol_flags"] for flag in flags)
    marks = {flag: _mark(i) for i, flag in enumerate(flags)}
    pairs = srsgd_minus_sgd(found, level)
    heading = f"{asked.title}: published and ours, test error %"
    parts = [
        *_loud(found, form),
        table(_main(asked, found, marks), form, title=heading, align="l"),
        _paragraph(summary(found, level), form),
    ]
    if len(pairs):
        heading = f"SRSGD - SGD, points, paired by seed ({100 * level:g} % t interval)"
        parts.append(table(_paired(pairs, marks), form, title=heading, align="l"))
    if marks:
        parts.append(_explained(marks, form))
    notes = [_paragraph(note, form) for note in _notes(asked, found, protocol, level)]
    return "\n\n".join([*parts, ("\n" if form == "text" else "\n\n").join(notes)])


def summary(table: pd.DataFrame, level: float = 0.95) -> str:
    """How many cells agree, how many do not, how many were not run: one sentence."""
    counts = {status: int((table["status"] == status).sum()) for status in STATUSES}
    said = [
        f"{count} {_counted(STATUSES[status], count).format(level=100 * level)}"
        for status, count in counts.items()
        if count or status in ("agrees", "differs", "not run")
    ]
    total = table["cell"].nunique()
    again = " (one that was run in several variants counts for each)" if len(table) > total else ""
    return f"Of {total} cells{again}, {', '.join(said[:-1])} and {said[-1]}."


def _counted(text: str, count: int) -> str:
    """``[was|were]`` and ``agree[s]`` as one or several of them have it."""
    text = re.sub(r"\[(\w+)\|(\w+)\]", r"\1" if count == 1 else r"\2", text)
    return re.sub(r"\[(\w+)\]", r"\1" if count == 1 else "", text)


# Texts around the tables, in each format.


def _paragraph(text: str, form: str) -> str:
    if form == "text":
        return textwrap.fill(text, WIDTH)
    return escape_latex(text) if form == "latex" else text


def _loud(found: pd.DataFrame, form: str) -> list[str]:
    """A warning if rows are on made-up data."""
    rows = int((found["status"] == "generated data").sum())
    if not rows:
        return []
    sets = " and ".join(SETS[name] for name in found["dataset"].unique())
    text = _paragraph(
        f"{LOUD}: {rows} of the rows of ours are on made-up data, not {sets}. They say nothing "
        f"about the published errors.",
        form,
    )
    rule = "!" * WIDTH
    return [
        {"text": f"{rule}\n{text}\n{rule}", "markdown": f"> **{text}**"}.get(
            form, rf"\textbf{{{text}}}"
        )
    ]


def _explained(marks: dict[str, str], form: str) -> str:
    if form == "latex":
        return escape_latex("; ".join(f"{mark}: {flag}" for flag, mark in marks.items()) + ".")
    if form == "markdown":
        return "\n".join(f"- {mark}: {flag}" for flag, mark in marks.items())
    width = max(map(len, marks.values()))
    lines = [f"  {mark.ljust(width)}  {flag}" for flag, mark in marks.items()]
    return "\n".join(["What ours did differently", *lines])


# Cells of the tables.


def _main(asked: PublishedTable, found: pd.DataFrame, marks: dict[str, str]) -> pd.DataFrame:
    """The main table as texts; what is the same in all rows has no column."""
    several = {key for key in ("dataset", "optimizer", "schedule", "epochs")
               if found[key].nunique() > 1}  # fmt: skip
    made = []
    for _, row in found.iterrows():
        parts = {"data": SETS[row["dataset"]]} if "dataset" in several else {}
        parts[_network(row)] = str(row["depth"])
        if several & {"optimizer", "schedule"}:
            parts["optimizer"] = "SGD" if row["optimizer"] == "sgd" else f"SRSGD {row['schedule']}"
        if asked.x:
            parts[asked.x] = f"{row['x']:g}" + "~" * row["milestones_inferred"]
        elif "epochs" in several:
            parts["epochs"] = str(row["epochs"])
        compared = "" if pd.isna(row["difference"]) else _interval(row, asked.digits)
        made.append(
            {
                **parts,
                "published": _published(row, asked.digits),
                "ours": _ours(row, asked.digits),
                "ours - published": compared,
                "flags": _marks(row, marks),
            }
        )
    return pd.DataFrame(made)


def _paired(pairs: pd.DataFrame, marks: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "network": f"{_network(row)}-{row['depth']}",
            "schedule": row["schedule"],
            "published": "not known" if pd.isna(row["published"]) else f"{row['published']:+.2f}",
            "ours": _interval(row, 2),
            "pairs of seeds": str(row["n"]),
            "flags": _marks(row, marks),
        }
        for _, row in pairs.iterrows()
    )


def _network(row: pd.Series[Any]) -> str:
    return "ResNet" if str(row["model"]).startswith("imagenet") else "PreResNet"


def _marks(row: pd.Series[Any], marks: dict[str, str]) -> str:
    """The row's flags: ``abd``, or with spaces if letters do not suffice."""
    return ("" if len(marks) <= 26 else " ").join(marks[flag] for flag in row["protocol_flags"])


def _mark(index: int) -> str:
    """a, b, .., z, aa, ab, .. ."""
    return ("" if index < 26 else _mark(index // 26 - 1)) + chr(ord("a") + index % 26)


def _published(row: pd.Series[Any], digits: int) -> str:
    if pd.isna(row["published_mean"]):
        return "not known"
    n = "n not known" if pd.isna(row["published_n"]) else f"n = {row['published_n']:.0f}"
    return f"{row['published_mean']:.{digits}f} ± {row['published_std']:.{digits}f} ({n})"


def _ours(row: pd.Series[Any], digits: int) -> str:
    if row["status"] == "not run":
        return "not run"
    spread = "" if pd.isna(row["ours_std"]) else f" ± {row['ours_std']:.{digits}f}"
    loud = f" {LOUD}" if row["status"] == "generated data" else ""
    return f"{row['ours_mean']:.{digits}f}{spread} (n = {row['ours_n']}){loud}"


def _interval(row: pd.Series[Any], digits: int) -> str:
    if pd.isna(row["difference"]):
        return "no seed in both"
    said = f"{row['difference']:+.{digits}f}"
    if pd.isna(row["low"]):
        return f"{said} (no interval)"
    return f"{said} ({row['low']:.{digits}f} to {row['high']:.{digits}f})"


def _notes(
    asked: PublishedTable, found: pd.DataFrame, protocol: str, level: float
) -> Iterator[str]:
    yield (
        f"Mean ± sample standard deviation over n runs; compared: {PROTOCOLS[protocol]}. The "
        "published errors are of each run's best epoch by test error; in eight single runs the "
        "last epoch's was 0.08 points higher on average."
    )
    known, compared = found["published_mean"].notna(), f"In brackets the {100 * level:g} % interval"
    if known.any() and found.loc[known, "published_n"].notna().all():
        yield f"{compared}: Welch's t of the two means."
    elif known.any():
        yield (
            f"{compared}: difference -+ sqrt((t s / sqrt(n))^2 + (z S)^2), with the published "
            "deviation S taken for that of a single run, since its n is not known: too wide if the "
            "published mean is over 4 or more runs, too narrow if over 2 or 3."
        )
    if known.any():
        yield (
            "Each interval stands for itself, so that one comparison in "
            f"{1 / (1 - level):.0f} disagrees by chance; to agree is not to be shown equal."
        )
    if not known.all():
        yield "not known: run in the paper, but its error is not in the sources."
    if found["milestones_inferred"].any():
        yield "~: the published milestones are inferred."
    if asked.x == "F1":
        yield "The growth r = 2 of the published runs is inferred."
