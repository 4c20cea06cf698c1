"""Published tables beside our runs: matching, intervals, flags and formats, by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from typing import Any

import pandas as pd
import pytest
from made_results import confirm_runs, made_table, made_trial
from scipy import stats

from srsgd_ray.analysis import Estimate
from srsgd_ray.cli import main
from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import UnknownNameError
from srsgd_ray.paper.cells import TABLES, cells
from srsgd_ray.paper.compare import compare_with_published, difference_interval, srsgd_minus_sgd
from srsgd_ray.paper.render import render_comparison, summary
from srsgd_ray.paper.runs import IGNORED, OF_SRSGD
from srsgd_ray.results import columns
from srsgd_ray.table import FORMATS

T2 = 4.302652729911275  # t quantile 0.975 with 2 degrees of freedom
Z = 1.959963984540054
NONE = pd.DataFrame(columns=[column.name for column in columns("trials")])

# PreResNet-110 on CIFAR-10 as Table 1 has it, in all respects.
CELL: dict[str, Any] = {
    "dataset": "cifar10",
    "data_dir": "/data",
    "model": "preresnet",
    "depth": 110,
    "block": "bottleneck",
    "lr": 0.1,
    "epochs": 200,
    "lr_milestones": [80, 120, 160],
    "train_on": "train+validation",
    "normalisation": "as_published",
    "restart_convention": "as_published",
    "restart_f1": 30.0,
    "restart_growth": 2.0,
    "precision": "float32",
    "test_every_epoch": True,
    "evaluate_test": True,
    "workers": 1,
}  # fmt: skip
BATCH = {"batch_size": 128, "weight_decay": 5e-4}


def runs(arm: str, errors: tuple[float | None, ...], **changes: Any) -> list[dict[str, Any]]:
    """Confirmation runs of a cell of Table 1; the best epoch is 0.1 below the last."""
    made = confirm_runs(arm, errors, **{**CELL, **BATCH, **changes})
    for run in made:
        if run["test_error"] is not None and run["test_every_epoch"]:
            run["best_test_error"] = round(run["test_error"] - 0.1, 6)
    return made


def row_of(table: pd.DataFrame, depth: int, schedule: str, x: float | None = None) -> Any:
    found = table[(table["depth"] == depth) & (table["schedule"] == schedule)]
    if x is not None:
        found = found[found["x"] == x]
    assert len(found) == 1
    return found.iloc[0]


def flags_of(name: str = "table1", protocol: str = "as_published", **changes: Any) -> list[str]:
    table = compare_with_published(
        name, made_table(runs("srsgd", (5.0, 5.1, 5.2), **changes)), protocol, any_epochs=True
    )
    (flags,) = [row for row in table["protocol_flags"] if row] or [()]
    return list(flags)


# What is published.


def test_every_table_has_its_cells() -> None:
    counts = {name: len(cells(name)) for name in TABLES}
    assert counts == {
        "table1": 15, "table2": 15, "table3": 8, "table4": 10, "table5": 4,
        "f1-cifar10": 10, "f1-cifar100": 11, "f1-imagenet": 9,
        "epochs-cifar10": 35, "epochs-cifar100": 35, "epochs-imagenet": 24,
        "intermediate-cifar10": 35, "intermediate-cifar100": 35, "intermediate-imagenet": 20,
    }  # fmt: skip
    unknown = {name: sum(cell.mean is None for cell in cells(name)) for name in TABLES}
    assert {name: n for name, n in unknown.items() if n} == {"table1": 5, "table2": 5, "table4": 10}
    assert all(c.mean is None for c in cells("table1") if c.restart_kind == "exponential")


def test_the_frequencies_of_the_ablations() -> None:
    assert cells("f1-cifar10")[4].restart_list == (30, 60, 90, 120)
    of_imagenet = cells("f1-imagenet")
    assert [c.restart_list for c in of_imagenet[:2]] == [(1, 2, 2), (5, 10, 10)]
    assert of_imagenet[3].restart_list == next(
        c.restart_list for c in cells("table3") if c.optimizer == "srsgd"
    )
    assert all(c.restart_decay for c in of_imagenet)


# Numbers.


def test_interval_where_the_published_n_is_not_known() -> None:
    ours = Estimate(3, 5.3, 0.2, math.nan, math.nan)
    low, high = difference_interval(ours, 5.25, 0.14, None)
    # sqrt((4.3027 * 0.2 / 1.7321)^2 + (1.96 * 0.14)^2) = sqrt(0.24684 + 0.07529)
    half = math.sqrt((T2 * 0.2) ** 2 / 3 + (Z * 0.14) ** 2)
    assert half == pytest.approx(0.56757, abs=1e-5)
    assert (low, high) == pytest.approx((0.05 - half, 0.05 + half))


def test_interval_where_the_published_n_is_known_is_welchs() -> None:
    ours = Estimate(3, 4.4, 0.2, math.nan, math.nan)
    low, high = difference_interval(ours, 4.372, 0.12, 5, level=0.9)
    # 0.04/3 + 0.0144/5 = 0.0162133; squared, over 0.0133333^2/2 + 0.00288^2/4: 2.8897 degrees.
    half = stats.t.ppf(0.95, 2.88970) * math.sqrt(0.0162133)
    assert (low, high) == pytest.approx((0.028 - half, 0.028 + half), abs=1e-5)
    # Two equal spreads of five runs: 8 degrees of freedom, t 2.306.
    low, high = difference_interval(Estimate(5, 1.0, 0.1, 0, 0), 0.0, 0.1, 5)
    assert high - 1 == pytest.approx(2.306004 * 0.1 * math.sqrt(0.4))


def test_interval_without_spread_or_with_one_run() -> None:
    assert difference_interval(Estimate(2, 1.0, 0.0, 1, 1), 0.75, 0.0, 5) == (0.25, 0.25)
    one = Estimate(1, 5.0, math.nan, math.nan, math.nan)
    assert all(map(math.isnan, difference_interval(one, 5.0, 0.1, 5)))


def test_a_cell_and_its_runs() -> None:
    trials = made_table([*runs("sgd", (5.1, 5.3, 5.5)), *runs("srsgd", (4.0, 4.1, 4.2))])
    table = compare_with_published("table1", trials)
    sgd, srsgd = row_of(table, 110, ""), row_of(table, 110, "linear")
    assert (sgd["published_mean"], sgd["published_std"]) == (5.25, 0.14)
    assert math.isnan(sgd["published_n"])
    assert (sgd["ours_n"], sgd["ours_epoch"]) == (3, "last")
    assert (sgd["ours_mean"], sgd["ours_std"]) == pytest.approx((5.3, 0.2))
    assert (sgd["difference"], sgd["low"], sgd["high"]) == pytest.approx(
        (0.05, 0.05 - 0.56757, 0.05 + 0.56757), abs=1e-5
    )
    assert sgd["status"] == "agrees"
    assert srsgd["difference"] == pytest.approx(4.1 - 4.93)
    assert srsgd["status"] == "differs"
    assert (srsgd["seeds"], srsgd["studies"]) == ((1, 2, 3), ("made",))
    assert set(table["status"]) == {"agrees", "differs", "not run"}
    assert len(table) == 15


def test_as_published_compares_the_best_epoch() -> None:
    trials = made_table(runs("srsgd", (5.0, 5.1, 5.2)))
    row = row_of(compare_with_published("table1", trials, "as_published"), 110, "linear")
    assert row["ours_mean"] == pytest.approx(5.0)
    assert (row["ours_epoch"], row["protocol_flags"]) == ("best", ())
    # Where not every epoch was tested it stays the last one, and says so.
    trials = made_table(runs("srsgd", (5.0, 5.1, 5.2), test_every_epoch=False))
    row = row_of(compare_with_published("table1", trials, "as_published"), 110, "linear")
    assert row["ours_mean"] == pytest.approx(5.1)
    assert row["protocol_flags"] == ("epoch: last, published best by test error",)


def test_known_n_is_used() -> None:
    trials = made_table(runs("srsgd", (4.2, 4.4, 4.6), depth=290))
    row = row_of(compare_with_published("f1-cifar10", trials, "as_published"), 290, "linear", 30)
    expected = difference_interval(Estimate(3, 4.3, 0.2, 0, 0), 4.372, 0.1191637529, 5)
    assert (row["low"], row["high"]) == pytest.approx(expected)
    assert row["protocol_flags"] == ("seeds: 3, published 5",)


def test_which_runs_count() -> None:
    rows = [
        *runs("srsgd", (5.0, 5.2, None)),  # one diverged
        made_trial("srsgd", 9, **{**CELL, **BATCH, "test_error": 1.0}),  # a search trial
        *runs("srsgd", (9.0,), depth=164),
        *runs("srsgd", (9.0,), block="basic"),
        *runs("srsgd", (9.0,), width=32),
        *runs("srsgd", (9.0,), model="resnet"),
        *runs("srsgd", (9.0,), dataset="cifar100"),
        *runs("srsgd", (9.0,), restart_f1=31.0),
        *runs("srsgd", (9.0,), restart_kind="constant"),
        *runs("srsgd", (9.0,), restart_decay=True),
        *runs("srsgd", (9.0,), optimizer="sgd_nesterov"),
        *runs("srsgd", (9.0,), epochs=199),
        *runs("srsgd", (9.0,), lr_milestones=[80, 120, 161]),
        {**runs("srsgd", (9.0,))[0], "test_error": None, "seed": 7},
    ]
    table = compare_with_published("table1", made_table(rows))
    assert row_of(table, 110, "linear")["values"] == (5.0, 5.2)
    assert (table["status"] != "not run").sum() == 1


@pytest.mark.parametrize(
    "same",
    [
        {"restart_kind": "explicit", "restart_list": [30.0, 60.0, 90.0, 120.0]},
        {"restart_convention": "exact"},
        {"split_seed": 3, "threads": 2, "device": "cuda:1", "momentum": 0.5},
    ],
)
def test_restarts_match_by_their_frequencies(same: dict[str, Any]) -> None:
    table = compare_with_published("table1", made_table(runs("srsgd", (5.0, 5.2), **same)))
    assert row_of(table, 110, "linear")["ours_n"] == 2


def test_the_exponential_recipe_has_no_published_error() -> None:
    trials = made_table(
        runs("srsgd", (5.0, 5.2), restart_kind="exponential", restart_f1=40.0, restart_growth=1.25)
    )
    row = row_of(compare_with_published("table1", trials), 110, "exponential")
    assert row["status"] == "no published error"
    assert row["ours_mean"] == pytest.approx(5.1)
    assert math.isnan(row["published_mean"]) and math.isnan(row["difference"])
    assert "not known  5.10 ± 0.14 (n = 2)" in re.sub(
        " {3,}", "  ", render_comparison("table1", trials)
    )


def test_an_imagenet_cell() -> None:
    imagenet = {
        "dataset": "imagenet", "model": "imagenet_resnet50", "depth": 8, "epochs": 90,
        "lr_milestones": [31, 61], "restart_kind": "explicit", "restart_list": [40.0, 80.0, 80.0],
        "restart_decay": True, "weight_decay": 1e-4, "batch_size": 256, "workers": 8,
        "normalisation": "dataset", "block": "basic",
    }  # fmt: skip
    trials = made_table(runs("srsgd", (23.9, 24.0), **imagenet))
    row = row_of(compare_with_published("table3", trials, "as_published"), 50, "linear")
    assert (row["ours_n"], row["protocol_flags"]) == (2, ())
    four = made_table(runs("srsgd", (23.9, 24.0), **{**imagenet, "workers": 4}))
    row = row_of(compare_with_published("table3", four, "as_published"), 50, "linear")
    assert row["protocol_flags"] == ("images a batch norm: 64, published 32",)
    synced = {**imagenet, "sync_batch_norm": True, "image_size": 160}
    table = compare_with_published("table3", made_table(runs("srsgd", (23.9,), **synced)))
    assert set(row_of(table, 50, "linear")["protocol_flags"]) == {
        "epoch: last, published best by test error",
        "images a batch norm: 256, published 32",
        "image size: 160, published 224",
    }


# Flags.


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"epochs": 100}, "epochs: 100, published 200"),
        ({"lr_milestones": [100, 150, 180]}, "milestones: 100 150 180, published 80 120 160"),
        (
            {"train_on": "train", "validation_fraction": 0.1},
            "training set: 90 %, published 100 %",
        ),
        ({"data_dir": "generated"}, "data: GENERATED, not CIFAR-10"),
        ({"restart_convention": "exact"}, "restarts: exact, published as_published"),
        ({"normalisation": "dataset"}, "normalisation: dataset, published as_published"),
        ({"batch_size": 256, "workers": 2}, "batch: 256, published 128"),
        ({"workers": 2}, "images a batch norm: 64, published 128"),
        ({"lr": 0.05}, "learning rate: 0.05, published 0.1"),
        ({"lr_gamma": 0.2}, "its factor at milestones: 0.2, published 0.1"),
        ({"weight_decay": 1e-4}, "weight decay: 0.0001, published 0.0005"),
        ({"augment": False}, "augmentation: off, published on"),
        ({"precision": "auto"}, "precision: auto, published float32"),
        ({"test_every_epoch": False}, "epoch: last, published best by test error"),
    ],
)
def test_each_flag_alone(changes: dict[str, Any], flag: str) -> None:
    assert flags_of(**changes) == [flag]


def test_nothing_is_flagged_where_nothing_differs() -> None:
    assert flags_of() == []
    assert flags_of(precision="auto", device="cpu") == []
    assert flags_of(train_on="train", validation_fraction=0.0) == []
    assert flags_of(protocol="last") == ["epoch: last, published best by test error"]


def test_sgd_is_flagged_for_its_momentum_and_not_for_restarts() -> None:
    own = runs("sgd", (5.1, 5.2), momentum=0.95, restart_convention="exact", restart_f1=9.0)
    row = row_of(compare_with_published("table1", made_table(own), "as_published"), 110, "")
    assert row["protocol_flags"] == ("momentum: 0.95, published 0.9",)


def test_a_seed_counts_once() -> None:
    rows = runs("srsgd", (5.0, 5.2))
    again = [{**run, "study": "again", "test_error": 9.0} for run in rows[:1]]
    table = compare_with_published("table1", made_table([*rows, *again]))
    row = row_of(table, 110, "linear")
    assert row["values"] == (5.0, 5.2)
    assert "repeats: 1 more of the same seeds, left out" in row["protocol_flags"]


def test_variants_are_not_pooled() -> None:
    rows = [*runs("srsgd", (5.0, 5.2)), *runs("srsgd", (6.0, 6.2, 6.4), lr=0.2)]
    table = compare_with_published("table1", made_table(rows))
    own = table[table["ours_n"] > 0]
    assert list(own["cell"]) == [1, 1]
    assert list(own["ours_mean"]) == pytest.approx([5.1, 6.2])
    assert "(one that was run in several variants counts for each)" in summary(table)
    # Studies with the same way are.
    other = [{**run, "study": "other", "seed": 8} for run in runs("srsgd", (5.4,))]
    table = compare_with_published("table1", made_table([*rows[:2], *other]))
    row = row_of(table, 110, "linear")
    assert (row["seeds"], row["studies"]) == ((1, 2, 8), ("made", "other"))


def test_other_epochs_are_shown_only_when_asked() -> None:
    trials = made_table(runs("srsgd", (5.0, 5.1), epochs=180, lr_milestones=[80, 113, 148]))
    assert set(compare_with_published("epochs-cifar10", trials)["status"]) == {"not run"}
    table = compare_with_published("epochs-cifar10", trials, any_epochs=True)
    own = table[table["ours_n"] > 0]
    assert list(own["x"]) == [15.0]  # 185 epochs are the nearest
    assert "epochs: 180, published 185" in own.iloc[0]["protocol_flags"]
    # A run that is one cell's is not also shown with another.
    exact = made_table(runs("srsgd", (5.0, 5.1), epochs=185, lr_milestones=[80, 115, 150]))
    for any_epochs in (False, True):
        table = compare_with_published("epochs-cifar10", exact, any_epochs=any_epochs)
        assert list(table.loc[table["ours_n"] > 0, "x"]) == [15.0]
    table = compare_with_published("table1", exact, any_epochs=True)
    assert (table["ours_n"] > 0).sum() == 1


def test_generated_data_are_loud_and_not_compared() -> None:
    trials = made_table(runs("srsgd", (5.0, 5.1), data_dir="generated"))
    row = row_of(compare_with_published("table1", trials), 110, "linear")
    assert row["status"] == "generated data"
    assert math.isnan(row["difference"]) and row["ours_n"] == 2
    for form in FORMATS:
        assert "GENERATED" in render_comparison("table1", trials, form)
    text = render_comparison("table1", trials)
    assert text.startswith("!!!!")
    assert "(n = 2) GENERATED DATA" in text
    assert "1 was run on GENERATED DATA and not compared" in text
    # They pair with nothing.
    both = made_table([*runs("srsgd", (5.0, 5.1), data_dir="generated"), *runs("sgd", (5.0, 5.2))])
    assert srsgd_minus_sgd(compare_with_published("table1", both)).empty


# SRSGD - SGD.


def test_srsgd_minus_sgd_is_paired_by_seed() -> None:
    sgd, srsgd = runs("sgd", (5.3, 5.5, 5.2, 9.0)), runs("srsgd", (5.0, 5.1, 5.0), momentum=0.5)
    table = compare_with_published("table1", made_table([*sgd, *srsgd]))
    (row,) = srsgd_minus_sgd(table).to_dict("records")
    assert (row["model"], row["depth"], row["schedule"]) == ("preresnet", 110, "linear")
    assert row["published"] == pytest.approx(4.93 - 5.25)
    assert row["n"] == 3
    # Differences -0.3, -0.4, -0.2: mean -0.3, deviation 0.1.
    half = T2 * 0.1 / math.sqrt(3)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx(
        (-0.3, -0.3 - half, -0.3 + half)
    )
    text = render_comparison("table1", made_table([*sgd, *srsgd]))
    assert re.search(r"PreResNet-110 +linear +-0\.32 +-0\.30 \(-0\.55 to -0\.05\) +3", text)


def test_pairs_need_the_same_protocol() -> None:
    sgd = runs("sgd", (5.3, 5.5), weight_decay=1e-4)
    for changes, pairs in (({"lr": 0.2}, 1), ({"batch_size": 64}, 0), ({"train_on": "train"}, 0)):
        srsgd = runs("srsgd", (5.0, 5.1), **changes)
        table = compare_with_published("table1", made_table([*sgd, *srsgd]))
        assert len(srsgd_minus_sgd(table)) == pairs


def test_what_does_not_tell_variants_apart_is_a_knob_each() -> None:
    assert {field.name for field in dataclasses.fields(TrainConfig)} >= IGNORED | OF_SRSGD


# What is printed.

MANY = made_table(
    [
        *runs("sgd", (5.1, 5.3, 5.5)),
        *runs("srsgd", (4.0, 4.1, 4.2), restart_convention="exact"),
        *runs("srsgd", (4.3,), depth=290),
        *runs("srsgd", (5.0, 5.1), restart_kind="exponential", restart_f1=40.0,
              restart_growth=1.25),
    ]
)  # fmt: skip


def test_the_sentence() -> None:
    text = summary(compare_with_published("table1", MANY))
    assert text == (
        "Of 15 cells, 1 agrees with the published error (the 95 % interval of the difference "
        "contains 0), 1 does not agree, 1 has one run of ours only and no interval, 1 has no "
        "published error to compare with and 11 were not run."
    )
    text = summary(compare_with_published("f1-imagenet", NONE), 0.9)
    assert text == (
        "Of 9 cells, 0 agree with the published error (the 90 % interval of the difference "
        "contains 0), 0 do not agree and 9 were not run."
    )


def test_text() -> None:
    text = render_comparison("table1", MANY)
    assert max(map(len, text.splitlines())) <= 110
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "110 SGD 5.25 ± 0.14 (n not known) 5.30 ± 0.20 (n = 3) +0.05 (-0.52 to 0.62) a" in lines
    assert "290 SRSGD linear 4.37 ± 0.15 (n not known) 4.30 (n = 1) -0.07 (no interval) a" in lines
    assert "290 SRSGD exponential not known not run" in lines
    assert "a epoch: last, published best by test error" in lines
    assert "b restarts: exact, published as_published" in lines
    assert "too narrow if over 2 or 3" in " ".join(lines)
    assert "Of 15 cells" in text


def test_nothing_run() -> None:
    for name in TABLES:
        for form in FORMATS:
            text = render_comparison(name, NONE, form)
            assert text.count("not run") >= len(cells(name))
    assert "not known" in render_comparison("table4", NONE)
    assert "milestones are inferred" in render_comparison("intermediate-cifar10", NONE)
    assert "r = 2 of the published runs is inferred" in render_comparison("f1-imagenet", NONE)
    assert "25.509 ± 0.044 (n = 2)" in render_comparison("f1-imagenet", NONE)


def test_markdown() -> None:
    text = render_comparison("table1", MANY, "markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows[:17]}) == 1
    assert rows[1].replace("|", "").split() == ["---"] * 6
    assert "| 110 | SGD | 5.25 ± 0.14 (n not known) | 5.30 ± 0.20 (n = 3) |" in text
    assert "- a: epoch: last, published best by test error" in text


def test_latex() -> None:
    text = render_comparison("table1", MANY, "latex")
    assert text.count(r"\begin{tabular}{llllll}") == text.count(r"\end{tabular}") == 1 + 1
    assert r"110 & SGD & 5.25 $\pm$ 0.14 (n not known) & 5.30 $\pm$ 0.20 (n = 3) &" in text
    assert r"test error \%" in text and r"as\_published" in text
    assert r"s / sqrt(n))\textasciicircum{}2" in text
    # No special character is left bare, but for those that make the table.
    bare = re.sub(r"\\[%_&#${}\\]|\$\\pm\$|\$[<>]\$|\\\w+(\{[^}]*\})*", "", text)
    for line in bare.splitlines():
        assert not set(line) & set("%_#$^~{}\\"), line
        assert "&" not in line or line.count("&") == 5


def test_csv_reads_back() -> None:
    text = render_comparison("table1", MANY, "csv")
    table = compare_with_published("table1", MANY)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(table.columns)
    assert len(rows) == len(table)
    for read, (_, made) in zip(rows, table.iterrows(), strict=True):
        assert read["status"] == made["status"]
        assert tuple(read["protocol_flags"].split(";")) == (made["protocol_flags"] or ("",))
        for key in ("difference", "low", "ours_mean", "published_mean"):
            assert math.isnan(made[key]) if not read[key] else float(read[key]) == made[key]
    frame = pd.read_csv(io.StringIO(text))
    assert frame["ours_n"].sum() == 9


# The command.


def test_the_command_prints_a_published_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    MANY.to_parquet(tmp_path / "trials.parquet")
    assert main(["table", "table1", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip() == render_comparison("table1", MANY)
    words = ["table1", "--format", "csv", "--protocol", "as_published", "--any-epochs"]
    assert main(["table", *words, str(tmp_path)]) == 0
    assert "best" in capsys.readouterr().out
    assert main(["table", "f1-cifar10"]) == 0
    assert "Of 10 cells" in capsys.readouterr().out


def test_a_folder_alone_is_the_studys_own_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    trials = made_table([*runs("sgd", (5.1, 5.3)), *runs("srsgd", (4.0, 4.1))])
    trials.to_parquet(tmp_path / "trials.parquet")
    assert main(["table", str(tmp_path)]) == 0
    assert "Confirmation, test error % over seeds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table9"], "unknown table 'table9', and no folder of that name. Valid: table1, table2"),
        (["table1", "--format", "pdf"], "unknown format 'pdf'. Valid: text, markdown, latex, csv."),
        (["table1", "--protocol", "mine"], "unknown protocol 'mine'. Valid: last, as_published."),
        (["table1", "/nonexistent"], "no results: expected /nonexistent/trials.parquet"),
        (["/nonexistent"], "no results: expected /nonexistent/trials.parquet"),
        (["results", "results", "--format", "csv"], "takes one folder and no option"),
    ],
)
def test_the_command_refuses_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any,
    words: list[str], message: str,
) -> None:  # fmt: skip
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["table", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_bad_arguments() -> None:
    with pytest.raises(UnknownNameError, match="unknown table 'table9'"):
        compare_with_published("table9", NONE)
    with pytest.raises(ValueError, match="0 < level < 1 must hold"):
        compare_with_published("table1", NONE, level=95)
