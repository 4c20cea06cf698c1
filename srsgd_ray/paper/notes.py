"""What stands above a figure of the paper: its sources, its n, its faults, and how ours differ."""

from __future__ import annotations

from typing import Any

import pandas as pd

from srsgd_ray.paper.faults import FAULTS
from srsgd_ray.paper.panels import EACH, EPOCH, GAP, PAPER

MOST_FLAGS = 4  # of what ours did unlike the published runs; the Parquet has all
# What a figure says about its fault: by default, and with --as-plotted.
DRAWN = {
    "mirrored_bands": ("Here each has its own.", "Here as in the paper."),
    "swapped_f1_20_30": ("Here they are swapped back.", "Here as in the paper."),
    "curves_of_other_runs": ("Here as in the paper.", "Here as in the paper."),
    "resnet200_sgd_runs_on": ("Here cut as in the paper.", "Here cut as in the paper."),
}


def notes(table: pd.DataFrame) -> list[str]:
    """The notes of a figure, from its numbers."""
    name, as_plotted = str(table["figure"].iloc[0]), bool(table["as_plotted"].iloc[0])
    said = _published(table[table["source"] == "published"])
    for key in PAPER[name].faults:
        said.append(f"{FAULTS[key].what} {DRAWN[key][as_plotted]}")
    ours = table[table["source"] == "ours"]
    if len(ours):
        said += _ours(ours)
    return said


def optimizer(role: str, series: str) -> str:
    """Whose line it is, as far as variants differ between optimizers."""
    return "SGD" if series == "SGD" or role == "reference" else "SRSGD"


def variants(table: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Our variants by optimizer and text, each optimizer's numbered from 0."""
    ours = table[table["source"] == "ours"].drop_duplicates(["role", "series", "variant"])
    found: dict[str, list[str]] = {}
    for role, series, variant in zip(ours["role"], ours["series"], ours["variant"], strict=True):
        own = found.setdefault(optimizer(role, series), [])
        own += [variant] * (variant not in own)
    return {(whose, text): n for whose, own in found.items() for n, text in enumerate(own)}


def _published(table: pd.DataFrame) -> list[str]:
    """What the published numbers are: once if all panels agree, else panel by panel."""
    by_panel = {str(place): _numbers(own) for place, own in table.groupby("panel", sort=False)}
    kinds = list(dict.fromkeys(by_panel.values()))
    parts = kinds if len(kinds) == 1 else [f"{place}: {kind}" for place, kind in by_panel.items()]
    said = [f"Published (arXiv 2002.10583 v1, from the authors' repository): {'; '.join(parts)}."]
    if table["x_label"].iloc[0] == EACH:
        said.append("The meaning of the x axis is inferred from the names of the published files.")
    return said


def _numbers(table: pd.DataFrame) -> str:
    """What the published numbers of one panel are."""
    if table["role"].iloc[0] != "curve":
        n = table["n"].dropna()
        counted = f"n = {_span(n)}" if len(n) else "n not known"
        return f"mean and std of the lowest test error over the epochs, {counted}"
    thinned = ", each 100th iteration" if table["y_label"].iloc[0] == GAP else ""
    if (table["n"] == 1).all():
        return f"single runs{thinned}"
    return f"mean of {_span(table['n'])} runs, 95 % t interval (in the paper a bootstrap)"


def _ours(table: pd.DataFrame) -> list[str]:
    """What ours are: first what holds for all, then what each variant has for itself."""
    n = table["n"].dropna()
    mean = "single runs" if (n == 1).all() else "mean over seeds with a 95 % t interval"
    said = f"Ours: {mean}, n = {_span(n)}"
    if EPOCH in set(table["x_label"]):
        said += "; the loss of the k-th epoch stands at k - 1"
    errors = "point" in set(table["role"])
    found = {
        # The epoch of an error is no matter where none is drawn.
        (whose, number): [
            flag for flag in text.split("; ") if flag and (errors or not flag.startswith("epoch:"))
        ]
        for (whose, text), number in variants(table).items()
    }
    common = [flag for flag in next(iter(found.values())) if all(flag in f for f in found.values())]
    lines = ["; ".join([said, *_few(common)]) + "."]
    several = any(number for _, number in found)
    for (whose, number), flags in found.items():
        own = [flag for flag in flags if flag not in common]
        name = f"Ours, {whose} ({number + 1})" if several else f"Ours, {whose}"
        if own or several:
            lines.append(f"{name}: {'; '.join(_few(own)) or 'nothing else differs'}.")
    return lines


def _few(flags: list[str]) -> list[str]:
    more = len(flags) - MOST_FLAGS
    return [*flags[:MOST_FLAGS], f"{more} more"] if more > 0 else flags


def _span(n: pd.Series[Any]) -> str:
    return f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
