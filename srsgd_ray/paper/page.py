"""What every format of a published table beside our runs shows: texts in rows, and notes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from srsgd_ray.paper.cells import SETS, PublishedTable
from srsgd_ray.paper.compare import PROTOCOLS, STATUSES, srsgd_minus_sgd

__all__ = ["Page", "page_of", "said_of"]

LOUD = "GENERATED DATA"
COUNTED = {
    "agrees": "agree[s] with the published error (the {level:g} % interval of the difference "
    "contains 0)",
    "differs": "do[es] not agree",
    "one run": "[has|have] one run of ours only and no interval",
    "generated data": f"[was|were] run on {LOUD} and not compared",
    "no published error": "[has|have] no published error to compare with",
    "not run": "[was|were] not run",
}


@dataclass(frozen=True)
class Page:
    """What all formats but CSV show: tables of texts, lines said, marks explained."""

    title: str
    loud: str
    tables: tuple[tuple[str, list[str], list[list[str]]], ...]
    said: str
    marks: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def page_of(asked: PublishedTable, table: pd.DataFrame, protocol: str, level: float) -> Page:
    """The page of a table that :func:`published_beside_ours` returned."""
    said = list(dict.fromkeys(flag for flags in table["protocol_flags"] for flag in flags))
    marks = {flag: _mark(i) for i, flag in enumerate(said)}
    pairs = srsgd_minus_sgd(table, level)
    loud = int((table["status"] == "generated data").sum())
    shown = [("", *_columns(asked, table, marks))]
    if len(pairs):
        shown.append(
            (
                f"SRSGD - SGD, points, paired by seed ({100 * level:g} % t interval)",
                *_pair_columns(pairs, marks),
            )
        )
    return Page(
        title=f"{asked.title}: published and ours, test error %",
        loud=f"{LOUD}: {loud} of the rows of ours are on made-up data, not {_sets(table)}. "
        "They say nothing about the published errors." if loud else "",
        tables=tuple(shown),
        said=said_of(table, level),
        marks=tuple((mark, flag) for flag, mark in marks.items()),
        notes=tuple(_notes(asked, table, protocol, level)),
    )  # fmt: skip


def said_of(table: pd.DataFrame, level: float = 0.95) -> str:
    """How many cells agree, how many do not, how many were not run: one sentence."""
    counts = {status: int((table["status"] == status).sum()) for status in STATUSES}
    said = [
        f"{count} {_counted(COUNTED[status], count).format(level=100 * level)}"
        for status, count in counts.items()
        if count or status in ("agrees", "differs", "not run")
    ]
    total = table["cell"].nunique()
    again = " (one that was run in several ways counts for each)" if len(table) > total else ""
    return f"Of {total} cells{again}, {', '.join(said[:-1])} and {said[-1]}."


def _counted(text: str, count: int) -> str:
    """``[was|were]`` and ``agree[s]`` as one or several of them have it."""
    text = re.sub(r"\[(\w+)\|(\w+)\]", r"\1" if count == 1 else r"\2", text)
    return re.sub(r"\[(\w+)\]", r"\1" if count == 1 else "", text)


def _columns(
    asked: PublishedTable, table: pd.DataFrame, marks: dict[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the main table; what is the same in all rows has no column."""
    several = {key for key in ("dataset", "optimizer", "schedule", "epochs")
               if table[key].nunique() > 1}  # fmt: skip
    several -= {"epochs"} if asked.x else set()
    made: dict[str, list[str]] = {}
    for _, row in table.iterrows():
        parts = {_family(row): str(row["depth"])}
        if "dataset" in several:
            parts = {"data": SETS[row["dataset"]], **parts}
        if several & {"optimizer", "schedule"}:
            parts["optimizer"] = "SGD" if row["optimizer"] == "sgd" else f"SRSGD {row['schedule']}"
        if asked.x:
            parts[asked.x] = f"{row['x']:g}" + "~" * row["milestones_inferred"]
        if "epochs" in several:
            parts["epochs"] = str(row["epochs"])
        parts["published"] = _published(row, asked.digits)
        parts["ours"] = _ours(row, asked.digits)
        parts["ours - published"] = (
            "" if pd.isna(row["difference"]) else _interval(row, asked.digits)
        )
        parts["flags"] = _marks(row, marks)
        for key, text in parts.items():
            made.setdefault(key, []).append(text)
    return list(made), [list(row) for row in zip(*made.values(), strict=True)]


def _pair_columns(pairs: pd.DataFrame, marks: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    header = ["network", "schedule", "published", "ours", "pairs of seeds", "flags"]
    rows = [
        [
            f"{_family(row)}-{row['depth']}",
            str(row["schedule"]),
            "not known" if pd.isna(row["published"]) else f"{row['published']:+.2f}",
            _interval(row, 2),
            str(row["n"]),
            _marks(row, marks),
        ]
        for _, row in pairs.iterrows()
    ]
    return header, rows


def _family(row: pd.Series[Any]) -> str:
    return "ResNet" if str(row["model"]).startswith("imagenet") else "PreResNet"


def _marks(row: pd.Series[Any], marks: dict[str, str]) -> str:
    """The row's flags: ``abd``, or with spaces if letters do not suffice."""
    return ("" if len(marks) <= 26 else " ").join(marks[flag] for flag in row["protocol_flags"])


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


def _mark(index: int) -> str:
    """a, b, .., z, aa, ab, .. ."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ("" if index < 26 else _mark(index // 26 - 1)) + letters[index % 26]


def _sets(table: pd.DataFrame) -> str:
    return " and ".join(SETS[name] for name in table["dataset"].unique())


def _notes(asked: PublishedTable, table: pd.DataFrame, protocol: str, level: float) -> list[str]:
    notes = [
        f"Mean ± sample standard deviation over n runs; compared: {PROTOCOLS[protocol]}. The "
        "published errors are of each run's best epoch by test error; in eight single runs the "
        "last epoch's was 0.08 points higher on average."
    ]
    known, compared = (
        table["published_mean"].notna(),
        f"In brackets the {100 * level:g} % interval: ",
    )
    if known.any() and table.loc[known, "published_n"].notna().all():
        notes.append(f"{compared}Welch's t of the two means.")
    elif known.any():
        notes.append(
            f"{compared}difference -+ sqrt((t s / sqrt(n))^2 + (z S)^2), with the published "
            "deviation S taken for that of a single run, since its n is not known: too wide if the "
            "published mean is over 4 or more runs, too narrow if over 2 or 3."
        )
    if known.any():
        notes.append(
            "Each interval stands for itself, so that one comparison in "
            f"{1 / (1 - level):.0f} disagrees by chance; to agree is not to be shown equal."
        )
    if not known.all():
        notes.append("not known: run in the paper, but its error is not in the sources.")
    if table["milestones_inferred"].any():
        notes.append("~: the published milestones are inferred.")
    if asked.x == "F1":
        notes.append("The growth r = 2 of the published runs is inferred.")
    return notes
