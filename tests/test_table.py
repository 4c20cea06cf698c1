"""The one writer of tables: each format reads back, and says of what is missing that it is."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from srsgd_ray.table import FORMATS, table

ROWS = pd.DataFrame(
    [("SRSGD", 8, 2.1525, "1.79 to 2.52"), ("a|b_c", 10, float("nan"), None)],
    columns=["arm", "runs", "mean", "95 % interval"],
)


def test_text_lines_up() -> None:
    text = table(ROWS, title="Test error", numbers={"mean": ".2f"})
    assert text.splitlines() == [
        "Test error",
        "--------------------------------",
        "arm    runs  mean  95 % interval",
        "SRSGD     8  2.15   1.79 to 2.52",
        "a|b_c    10     -              -",
    ]
    left = table(ROWS, align="l", header=False).splitlines()
    assert left == ["SRSGD  8   2.1525  1.79 to 2.52", "a|b_c  10  -       -"]


def test_text_is_the_same_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = table(ROWS)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert table(ROWS) == expected


def test_text_is_cut_in_its_first_column_only() -> None:
    rows = ROWS.assign(arm=["a name that is longer than it ought to be", "sgd"])
    lines = table(rows, width=40).splitlines()
    assert max(map(len, lines)) == 40
    assert lines[1].split()[-5:] == ["8", "2.1525", "1.79", "to", "2.52"]
    assert lines[1].startswith("a name") and "…" in lines[1]


def test_markdown_keeps_its_columns() -> None:
    assert table(ROWS, "markdown", title="Test error").splitlines() == [
        "**Test error**",
        "",
        "| arm | runs | mean | 95 % interval |",
        "| --- | ---: | ---: | ---: |",
        "| SRSGD | 8 | 2.1525 | 1.79 to 2.52 |",
        r"| a\|b_c | 10 | - | - |",
    ]


def test_latex_has_no_bare_special_character() -> None:
    assert table(ROWS, "latex", align="lrl").splitlines() == [
        r"\begin{tabular}{lrll}",
        r"\hline",
        r"arm & runs & mean & 95 \% interval \\",
        r"\hline",
        r"SRSGD & 8 & 2.1525 & 1.79 to 2.52 \\",
        r"a\textbar{}b\_c & 10 & - & - \\",
        r"\hline",
        r"\end{tabular}",
    ]


def test_csv_keeps_all_digits() -> None:
    rows = pd.DataFrame({"x": [0.1 + 0.2, None], "flags": [("a", "b"), ()], "said": ["q,r", None]})
    text = table(rows, "csv", title="not there", numbers=".1f")
    assert text.splitlines() == ["x,flags,said", '0.30000000000000004,a;b,"q,r"', ",,"]
    assert pd.read_csv(io.StringIO(text))["x"][0] == 0.1 + 0.2


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows_leave_a_header(form: str) -> None:
    text = table(pd.DataFrame(columns=["one", "two"]), form)
    assert "one" in text and "two" in text


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown format .html.\. Valid: text, markdown"):
        table(ROWS, "html")


def test_other_columns_are_never_cut() -> None:
    rows = pd.DataFrame({"arm": ["a"], "a knob of many letters": [1], "another such knob": [2]})
    assert table(rows, width=20) == table(rows)
