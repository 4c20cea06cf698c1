"""Tables as text, Markdown, LaTeX or CSV: the one writer, whoever has rows to show.

In come a DataFrame and a format; out goes text without a newline at its end. Text is laid out by
rich and CSV by pandas, both imported when they are first needed.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from srsgd_ray.knobs import one_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMATS", "escape_latex", "escape_markdown", "table"]

FORMATS = ("text", "markdown", "latex", "csv")
LEAST = 8  # letters of a first column that stay
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "<": r"$<$", ">": r"$>$", "|": r"\textbar{}",
    "[": "{[}", "*": "{*}",  # at the beginning of a row these would belong to the \\ before it
}  # fmt: skip
# What Markdown, and its dialect that knows tables and formulas, reads as more than a letter.
MARKED = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])")


def table(
    rows: pd.DataFrame,
    form: str = "text",
    *,
    title: str = "",
    align: str = "lr",
    numbers: str | Mapping[str, str] = "g",
    header: bool = True,
    width: int | None = None,
) -> str:
    """Write a table; in all formats but CSV its cells are texts.

    A string is shown as it is, a number that is no integer by ``numbers``, None and NaN as ``-``.
    CSV keeps all digits, leaves what is missing empty, joins lists by ``;`` and has no title.

    Args:
        rows: a row a line; its column names are the header.
        form: one of ``FORMATS``. LaTeX is a plain tabular with hlines, which needs no package.
        title: stands above, over a rule in text.
        align: ``l`` or ``r`` a column, to the left or right; the last letter holds for the rest.
        numbers: format of floats, such as ``.2f``; or of each column, ``g`` where it has none.
        header: whether the column names are written.
        width: of the text in letters; the first column is cut to fit, to ``LEAST`` letters at
            most, and the others never. None: no limit.

    Raises:
        UnknownNameError: for an unknown format.
    """
    one_of("format", form, FORMATS)
    if form == "csv":
        cells = rows.astype(object).map(
            lambda value: ";".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        )
        options: dict[str, Any] = {"index": False, "header": header, "lineterminator": "\n"}
        text = str(cells.to_csv(**options))
        if "\r" in text:  # which the csv module leaves unquoted, though readers end a line there
            text = str(cells.to_csv(quoting=csv.QUOTE_NONNUMERIC, **options))
        return text.rstrip("\n")
    names = [_cell(str(name), "") for name in rows.columns]
    forms = [numbers if isinstance(numbers, str) else numbers.get(n, "g") for n in names]
    lines = [names] if header else []
    for row in rows.astype(object).itertuples(index=False, name=None):
        lines.append([_cell(value, form) for value, form in zip(row, forms, strict=True)])
    sides = align[: len(names)] + align[-1] * (len(names) - len(align))
    if form == "text":
        return _text(lines, sides, title, width)
    return (_markdown if form == "markdown" else _latex)(lines, sides, title, header)


def _cell(value: Any, form: str) -> str:
    if isinstance(value, float):  # numpy's double is one
        return "-" if math.isnan(value) else format(value, form)
    # A line's end, or what only directs a terminal, is shown as Python writes it.
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _text(lines: list[list[str]], sides: str, title: str, width: int | None) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if width is not None and lines:
        first, *rest = (max(map(len, column)) for column in zip(*lines, strict=True))
        width = max(width, min(first, LEAST) + sum(2 + letters for letters in rest))
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for index, side in enumerate(sides):
        justify: Literal["left", "right"] = "left" if side == "l" else "right"
        # Of a table that is too wide, rich narrows the columns that may be wrapped.
        made.add_column(justify=justify, no_wrap=index > 0)
    for line in lines:
        made.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in line))
    out = io.StringIO()
    # In a notebook rich would display the table and write nothing.
    console = Console(
        file=out, width=width or 10_000, color_system=None, force_jupyter=False,
        force_terminal=False, legacy_windows=False,
    )  # fmt: skip
    console.print(made)
    shown = [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join([*([title, "-" * max(map(len, shown))] if title else []), *shown])


def _markdown(lines: list[list[str]], sides: str, title: str, header: bool) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(escape_markdown, cells))} |"

    rule = line(["---" if side == "l" else "---:" for side in sides])
    # Markdown knows no table without a header.
    head, *body = lines if header else [[""] * len(sides), *lines]
    above = [f"**{escape_markdown(title)}**", ""] if title else []
    return "\n".join([*above, line(head), rule, *map(line, body)])


def _latex(lines: list[list[str]], sides: str, title: str, header: bool) -> str:
    shown = [" & ".join(map(escape_latex, line)) + r" \\" for line in lines]
    body = [r"\hline", *([shown[0], r"\hline"] if header else []), *shown[header:], r"\hline"]
    tabular = "\n".join([rf"\begin{{tabular}}{{{sides}}}", *body, r"\end{tabular}"])
    return (rf"\textbf{{{escape_latex(title)}}}" + "\n\n" if title else "") + tabular


def escape_markdown(text: str) -> str:
    """A text in which no letter means anything to Markdown."""
    return MARKED.sub(r"\\\g<0>", text)


def escape_latex(text: str) -> str:
    """A text in which no letter means anything to LaTeX."""
    return re.sub("-(?=-)", "-{}", "".join(LATEX.get(letter, letter) for letter in text))
