"""Parts of a report, tables and sentences, as text, Markdown or LaTeX."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from srsgd_ray.analysis.rows import arm_label
from srsgd_ray.table import escape_latex, escape_markdown, table

WIDTH = 100


@dataclass(frozen=True)
class Shown:
    """A table of the report, whatever it is written as; ``note`` stands below it."""

    title: str
    rows: pd.DataFrame
    numbers: Mapping[str, str] = field(default_factory=dict)
    align: str = "lr"
    note: str = ""


def written(part: Shown | str, form: str) -> str:
    """A table or sentences, a line each, in a format."""
    if isinstance(part, str):
        if form == "text":
            return "\n".join(textwrap.fill(line, WIDTH) for line in part.splitlines())
        escape = escape_latex if form == "latex" else escape_markdown
        return "\n\n".join(map(escape, part.splitlines()))
    rows = part.rows
    rows = rows.assign(arm=rows["arm"].map(arm_label)) if "arm" in rows else rows
    shown = table(rows, form, title=part.title, align=part.align, numbers=part.numbers, width=WIDTH)
    gap = "\n" if form == "text" else "\n\n"
    return shown + gap + written(part.note, form) if part.note else shown
