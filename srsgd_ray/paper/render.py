"""Published errors beside ours as text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd

from srsgd_ray.config import one_of
from srsgd_ray.paper.compare import TABLES, published_beside_ours
from srsgd_ray.paper.page import Page, page_of

__all__ = ["FORMATS", "render_beside"]

FORMATS = ("text", "markdown", "latex", "csv")
PAGE = 100  # columns of the text
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def render_beside(
    name: str,
    trials: pd.DataFrame,
    form: str = "text",
    protocol: str = "last",
    any_epochs: bool = False,
    level: float = 0.95,
) -> str:
    """A published table beside our runs, ready to print.

    Args:
        name, trials, protocol, any_epochs, level: see :func:`published_beside_ours`.
        form: one of ``FORMATS``. CSV holds the columns of :func:`published_beside_ours`, lists
            joined by ``;``, and nothing else.

    Raises:
        UnknownNameError: for an unknown table, format or protocol.
        ValueError: if ``level`` is not between 0 and 1.
    """
    one_of("format", form, FORMATS)
    table = published_beside_ours(name, trials, protocol, any_epochs, level)
    if form == "csv":
        return _csv(table)
    page = page_of(TABLES[name], table, protocol, level)
    return {"text": _text, "markdown": _markdown, "latex": _latex}[form](page)


def _text(page: Page) -> str:
    rule = ["!" * PAGE, textwrap.fill(page.loud, PAGE), "!" * PAGE] if page.loud else []
    parts = ["\n".join(rule)] if rule else []
    for heading, header, rows in page.tables:
        parts.append("\n".join([heading or page.title, *_aligned(header, rows)]))
        if not heading:
            parts.append(textwrap.fill(page.said, PAGE))
    if page.marks:
        width = max(len(mark) for mark, _ in page.marks)
        lines = [f"  {mark.ljust(width)}  {flag}" for mark, flag in page.marks]
        parts.append("\n".join(["What ours did differently", *lines]))
    parts.append("\n".join(textwrap.fill(note, PAGE) for note in page.notes))
    return "\n\n".join(parts)


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return ["-" * max(map(len, lines)), *lines]


def _markdown(page: Page) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    parts = [f"**{page.title}**"]
    if page.loud:
        parts.append(f"> **{page.loud}**")
    for heading, header, rows in page.tables:
        if heading:
            parts.append(f"**{heading}**")
        parts.append("\n".join([line(header), line(["---"] * len(header)), *map(line, rows)]))
        if not heading:
            parts.append(page.said)
    if page.marks:
        parts.append("\n".join(f"- {mark}: {flag}" for mark, flag in page.marks))
    return "\n\n".join([*parts, *page.notes])


def _latex(page: Page) -> str:
    """Plain tabulars with hlines, to be put into a table or a minipage; needs no package."""
    parts = [rf"\textbf{{{_escape(page.title)}}}"]
    if page.loud:
        parts.append(rf"\textbf{{{_escape(page.loud)}}}")
    for heading, header, rows in page.tables:
        if heading:
            parts.append(rf"\textbf{{{_escape(heading)}}}")
        lines = [" & ".join(map(_escape, row)) + r" \\" for row in [header, *rows]]
        body = [r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
        columns = "l" * len(header)
        parts.append("\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"]))
        if not heading:
            parts.append(_escape(page.said))
    if page.marks:
        parts.append(_escape("; ".join(f"{mark}: {flag}" for mark, flag in page.marks) + "."))
    return "\n\n".join([*parts, *map(_escape, page.notes)])


def _escape(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _csv(table: pd.DataFrame) -> str:
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.itertuples(index=False):
        writer.writerow([_plain(value) for value in row])
    return made.getvalue().rstrip("\n")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
