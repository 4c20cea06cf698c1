"""The report of strange but legal studies: its numbers, units and sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_results import confirm_runs, made_epochs, made_table
from toy import ToyConfig

from srsgd_ray import analysis
from srsgd_ray.figures import training_curves
from srsgd_ray.results import arrow_schema, columns_of
from srsgd_ray.results.schema import KEY, Schema
from srsgd_ray.trainable import Metric, Run, as_trainable

Rows = list[dict[str, Any]]


def own_table(
    *parts: Rows, unit: str = "", better: str = "higher", baseline: str = "b"
) -> pd.DataFrame:
    """The trials table of a study of an own metric, as reading it would give it."""

    @as_trainable(
        metrics=(
            Metric("score", "?", unit, better, "validation"),
            Metric("test_score", "?", unit, better, "test"),
        )
    )
    def own(config: ToyConfig, run: Run) -> None: ...

    design = {
        "study": "own", "metric": "score", "mode": "max" if better == "higher" else "min",
        "confirm_metric": "test_score", "epochs_done": 3, "epochs": 3,
    }  # fmt: skip
    rows = [{**design, **row} for part in parts for row in part]
    for row in rows:
        row["trial"] = f"{row['phase']}-{row['arm']}-{row['number']:03d}"
        row["baseline"] = baseline if row["arm"] != baseline else None
    names = columns_of(own)
    schema = arrow_schema("trials", names)
    known = [{k: v for k, v in row.items() if k in schema.names} for row in rows]
    table = pa.Table.from_pylist(known, schema=schema)
    frame: pd.DataFrame = table.to_pandas()
    frame.attrs[KEY] = Schema(names["trials"])
    return frame


def trials(arm: str, values: Sequence[float | None], **more: Any) -> Rows:
    """Search trials; None stands for a diverged one."""
    return [
        {"phase": "search", "arm": arm, "number": n, "score": value, "x": 0.5 + n, "seed": 0,
         "state": "diverged" if value is None else "complete", "ended": float(n), **more}
        for n, value in enumerate(values)
    ]  # fmt: skip


def runs(arm: str, values: Sequence[float | None]) -> Rows:
    """Confirmation runs with seeds from 1 on; None stands for a diverged one."""
    return [
        {**row, "phase": "confirm", "test_score": row["score"], "score": None, "x": 0.5,
         "seed": row["number"] + 1}
        for row in trials(arm, values)
    ]  # fmt: skip


def spread(size: float, wide: float, seed: int = 0) -> list[float]:
    """Six values about a size, so wide."""
    return [*map(float, size + wide * np.random.default_rng(seed).normal(size=6))]


def of_size(size: float, wide: float, **more: Any) -> pd.DataFrame:
    one, other = spread(size, wide), spread(1.5 * size, wide, 1)
    return own_table(trials("a", other), trials("b", one), runs("a", other), runs("b", one), **more)


NONE: list[float | None] = [None] * 6
STUDIES = {
    "tiny": of_size(1e-9, 1e-10),
    "small": of_size(1e-3, 1e-4, unit="s", better="lower"),
    "one": of_size(1.0, 0.1),
    "percent": of_size(40.0, 3.0, unit="%"),
    "close": own_table(trials("a", spread(1e5, 1e-3)), baseline=""),
    "huge": of_size(1e12, 1e10),
    "negative": of_size(-4.0, 0.1),
    "zero": own_table(trials("a", [0.0] * 6), trials("b", [0.0] * 6), runs("b", [0.0] * 6)),
    "one arm": own_table(trials("a", spread(1, 1)), runs("a", spread(1, 1)), baseline=""),
    "no search": own_table(runs("a", spread(1, 1)), runs("b", spread(1, 1, 1))),
    "a search diverged": own_table(
        trials("a", NONE), trials("b", spread(1, 1)), runs("b", spread(1, 1))
    ),
    "all diverged": own_table(trials("a", NONE), trials("b", NONE)),
    "all runs diverged": own_table(
        trials("a", spread(1, 1)), trials("b", spread(1, 1)), runs("a", NONE), runs("b", NONE)
    ),
    "long names": own_table(
        *(trials(f"arm_whose_name_is_long_{n}", spread(1, 1, n)) for n in range(9))
    ),
    "begun": own_table(trials("a", NONE[:1], state="running", epochs_done=0)),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_report_is_as_wide_as_it_says_and_holds_numbers(name: str) -> None:
    text = analysis.render(STUDIES[name])
    assert max(map(len, text.splitlines())) <= 100
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    for bad in ("nan", "inf", "None", "-0.00", "-0.0000", "-0"):
        assert bad not in words


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("tiny", [r"^a 6 6 0 0 0 0 18 1\.\d{3}e-09$", r"^a 1\.\d{3}e-09 \(1\.\d{3}e-09 to "]),
        ("small", [r"^Search, on the validation split \(lower is better\)$",
                   r" epochs lowest score \(s\)$", r"^Confirmation, test score \(s\) over seeds"]),
        ("one", [r"^a 1\.\d{4} \(1\.\d{4} to 1\.\d{4}\) "]),
        ("percent", [r" highest score %$", "best score % after",
                     r"^a \d\d\.\d\d \(\d\d\.\d\d to "]),
        ("close", [r"^a 100000\.\d{4} \(99999\.\d{4} to 100000\.\d{4}\) "]),
        ("huge", [r"^a 1\.\d{3}e\+12 \(1\.\d{3}e\+12 to "]),
        ("zero", [r"^a 0\.0000 \(0\.0000 to 0\.0000\) "]),
    ],
)  # fmt: skip
def test_digits_and_units(name: str, lines: list[str]) -> None:
    text = "\n".join(" ".join(line.split()) for line in analysis.render(STUDIES[name]).split("\n"))
    for line in lines:
        assert re.search(line, text, re.MULTILINE), line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny", r"a has a higher test score than b: by \d\.\d+e-10 .* interval \d\.\d+e-10 to \d"),
        (
            "huge",
            r"a has a higher test score than b: by 5\.\d\de\+11 .* interval \d\.\d\de\+11 to 5",
        ),
        ("one", r"a has a higher test score than b: by 0\.52 .* interval 0\.\d\d to 0\.\d\d,"),
    ],
)
def test_verdicts_of_any_size(name: str, said: str) -> None:
    (verdict,) = [found.verdict for found in analysis.confirmation(STUDIES[name], "b").comparisons]
    assert re.match(said, verdict), verdict


def test_what_differs_by_rounding_is_the_same() -> None:
    same = own_table(runs("a", [0.1 + 0.2, 1.1 + 2.2]), runs("b", [0.3, 3.3]))
    (found,) = analysis.confirmation(same, "b").comparisons
    assert any(found.differences) and (found.estimate.mean, found.estimate.std) == (0, 0)
    assert found.verdict.startswith("No difference seen between a and b: the same test score")
    # A spread that is small beside the values is one, and numbers that are small by themselves.
    for size in (1e6, 1e-9):
        table = own_table(runs("a", [size, size * (1 + 1e-9), size * (1 - 1e-9)]), baseline="")
        (arm,) = analysis.confirmation(table, None).arms
        assert arm.estimate.std == pytest.approx(size * 1e-9, rel=1e-3)


def test_a_study_without_a_baseline_compares_nothing() -> None:
    one, other = spread(1, 0.1), spread(2, 0.1, 1)
    table = own_table(runs("a", one), runs("b", other), baseline="")
    assert analysis.baselines(table) == {}
    assert "than" not in analysis.render(table)
    assert "than" in analysis.render(table, baseline="a")


def test_nothing_is_said_of_what_an_arm_without_a_result_chose() -> None:
    assert analysis.remarks(STUDIES["a search diverged"]) == []
    assert analysis.remarks(STUDIES["all diverged"]) == []
    assert analysis.remarks(STUDIES["all runs diverged"]) == []


def test_an_interval_that_leaves_what_values_there_are() -> None:
    uneven = [0.01, 0.01, 0.02, 0.9]
    said = (
        "No test score is below 0, but the interval of a is: if there are no such values, the runs "
        "are too few or too uneven for such an interval."
    )
    sound = runs("b", spread(1, 0.1))
    for values, better, remarked in (
        (uneven, "lower", [said]),
        (uneven, "higher", []),
        (spread(0, 1), "lower", []),
        (spread(1, 0.1), "lower", []),
    ):
        table = own_table(runs("a", values), sound, better=better, baseline="")
        assert analysis.remarks(table) == remarked


def test_curves_of_a_loop_that_counts_no_steps() -> None:
    confirmed = confirm_runs("srsgd", (3.0, 3.1))
    epochs = made_table(made_epochs(confirmed), "epochs").drop(columns="step")
    figure = training_curves(epochs, made_table(confirmed))
    assert "restarts of the momentum" not in {axes.get_title() for axes in figure.axes}
