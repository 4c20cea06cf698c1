"""The analysis of a search, its curves and its report, against values computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_results import confirm_runs, made_table, made_trial, searched

from srsgd_ray import analysis
from srsgd_ray.analysis import best_trial, confirmation, render, summary

KNOBS = ("restart_f1", "lr")
T2 = 4.302652729911275  # t quantile 0.975 with 2 degrees of freedom


def test_best_trial_is_the_best_complete_one() -> None:
    assert best_trial(searched(), "srsgd")["trial"] == "search-srsgd-002"
    assert best_trial(searched(), "srsgd", mode="max")["trial"] == "search-srsgd-000"
    assert best_trial(searched(), "sgd", metric="lr")["lr"] == 0.2


def test_best_trial_breaks_ties_by_loss_then_number() -> None:
    tied = [
        made_trial("sgd", 3, val_error=5.0, val_loss=0.2),
        made_trial("sgd", 2, val_error=5.0, val_loss=0.1),
        made_trial("sgd", 1, val_error=5.0, val_loss=0.1),
        made_trial("sgd", 0, val_error=5.0, val_loss=None),
    ]
    assert best_trial(made_table(tied), "sgd")["number"] == 1
    table = analysis.sensitivity(made_table(tied), *KNOBS)
    assert list(table.loc[table["best"], "trial"]) == ["search-sgd-001"]
    # Rows that never were in Parquet have columns of objects.
    assert best_trial(pd.DataFrame(tied), "sgd")["number"] == 1


def test_best_so_far() -> None:
    table = analysis.best_so_far(searched())
    one = table[table["arm"] == "srsgd"]
    assert [name[-1] for name in one["trial"]] == ["1", "2", "0", "3"]
    assert list(one["trials"]) == [1, 2, 3, 4]
    assert list(one["epochs"]) == [2, 12, 22, 25]
    np.testing.assert_array_equal(one["val_error"], [np.nan, 4.0, 8.0, np.nan])
    np.testing.assert_array_equal(one["best_val_error"], [np.nan, 4.0, 4.0, 4.0])
    other = table[table["arm"] == "sgd"]
    assert list(other["epochs"]) == [0, 10]
    np.testing.assert_array_equal(other["best_val_error"], [np.nan, 6.0])


def test_sensitivity() -> None:
    whole = analysis.sensitivity(searched(), *KNOBS)
    assert list(whole["arm"]) == ["srsgd"] * 4 + ["sgd"] * 2
    table = whole[whole["arm"] == "srsgd"]
    assert list(table["state"]) == ["complete", "diverged", "complete", "pruned"]
    np.testing.assert_array_equal(table["val_error"], [8.0, np.nan, 4.0, np.nan])
    assert list(table["best"]) == [False, False, True, False]
    assert list(table["restart_f1"]) == [5.0, 30.0, 500.0, 30.0]


def test_summary() -> None:
    runs = confirm_runs("srsgd", (3.0, 3.4), lr=0.07, restart_f1=44.0, restart_growth=1.5)
    table = summary(pd.concat([searched(), made_table(runs)], ignore_index=True)).set_index("arm")
    one, other = table.loc["srsgd"], table.loc["sgd"]
    states = ["trials", "complete", "pruned", "diverged", "failed", "running", "epochs"]
    assert list(one[states]) == [5, 2, 1, 1, 0, 1, 32]
    assert list(other[states]) == [2, 1, 0, 0, 1, 0, 10]
    assert (one["best_val_error"], one["lr"], one["restart_f1"]) == (4.0, 0.07, 44.0)
    assert (one["confirmed"], one["mean"]) == (2, 3.2)
    assert one["std"] == pytest.approx(0.2 * math.sqrt(2))
    # Not confirmed: the best trial so far. An arm without restarts has no restart columns.
    assert (other["lr"], other["weight_decay"], other["confirmed"]) == (0.2, 1e-3, 0)
    assert math.isnan(other["restart_f1"]) and math.isnan(other["mean"])


def test_render_fits_and_lines_up() -> None:
    long = "srsgd_with_a_name_that_is_much_longer_than_any_name_ought_to_be_in_a_table"
    runs = [*confirm_runs("srsgd", (3.0, None)), *confirm_runs("sgd", (3.4, 3.5))]
    rows = made_table([*runs, made_trial(long, 0, val_error=5.0)])
    text = render(pd.concat([searched(), rows], ignore_index=True))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    start = lines.index("Search, on the validation split")
    assert len({len(line) for line in lines[start + 2 : start + 6]}) == 1
    assert lines[start + 3].split() == ["SRSGD", "5", "2", "1", "1", "0", "1", "32", "4.00"]
    assert "SRSGD 1 diverged (seed 2)" in " ".join(lines)
    assert "No confirmation runs yet." in render(searched())
    assert render(made_table([])) == "No trials yet."
    runs = [*confirm_runs("srsgd", (3.0, 3.1)), *confirm_runs("sgd_plain", (3.5, 3.61))]
    assert "SRSGD has a lower test error than SGD, no momentum: by" in render(made_table(runs))


def test_restart_steps_and_stages() -> None:
    row = made_trial("srsgd", 0, restart_f1=3.0, restart_growth=2.0, epochs=2, lr_milestones=[1])
    stored = made_table([row]).iloc[0]
    for given in (row, stored):
        assert analysis.restart_steps(given, 12, 5) == [3, 5, 11]
    stages = analysis.restart_stages(stored, 2, 5)
    assert stages.to_dict("list") == {
        "begin": [0.0, 1.0],
        "end": [1.0, 2.0],
        "frequency": [3, 6],
        "period": [3, 6],
        "restarts": [1, 1],
    }
    assert len(analysis.restart_stages(stored, 1, 5)) == 1
    assert analysis.restart_steps(made_trial("sgd", 0), 100, 5) == []
    assert analysis.restart_stages(made_trial("sgd", 0), 10, 5).empty


def test_seed_curves() -> None:
    trials = made_table([*confirm_runs("sgd", (3.0, 3.1, 3.2, None))])
    losses = {0: (1.0, 0.1), 1: (2.0, 0.2), 2: (3.0,), 3: (50.0, 60.0)}
    epochs = made_table(
        [
            {"study": "made", "phase": "confirm", "arm": "sgd", "trial": f"confirm-sgd-{n:03d}",
             "epoch": e + 1, "step": 18 * (e + 1), "train_loss": loss}
            for n, own in losses.items()
            for e, loss in enumerate(own)
        ],
        "epochs",
    )  # fmt: skip
    table = analysis.seed_curves(epochs, trials, "train_loss")
    assert list(table["n"]) == [3, 2]
    assert list(table["mean"]) == pytest.approx([2.0, 0.15])
    assert table["low"].iloc[0] == pytest.approx(2 - T2 / math.sqrt(3))
    assert list(table["most"]) == [3.0, 0.2]
    assert analysis.seed_curves(epochs, trials, "val_error").empty
    assert analysis.steps_per_epoch(epochs, "confirm-sgd-001") == 18
    with pytest.raises(ValueError, match="but 'nobody' has no epoch yet"):
        analysis.steps_per_epoch(epochs, "nobody")


TWO_STUDIES = [made_trial("sgd", 0), {**made_trial("sgd", 0), "study": "other"}]
TWO_OF_A_SEED = [{**run, "seed": 4} for run in confirm_runs("sgd", (3.0, 3.1))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: best_trial(t, "adam"), "unknown arm 'adam'. Valid: srsgd, sgd."),
        (lambda t: best_trial(t, "sgd", "accuracy"), "unknown column 'accuracy' of trials."),
        (lambda t: best_trial(t, "sgd", "host"), "numbers is needed, but 'host' holds string"),
        (lambda t: best_trial(t, "sgd", mode="most"), "unknown mode 'most'. Valid: min, max."),
        (
            lambda t: best_trial(t[t["state"] != "complete"], "srsgd"),
            "'srsgd' needs a complete search trial with a val_error, but has none (1 diverged, "
            "1 pruned, 1 running)",
        ),
        (lambda t: best_trial(t, "sgd", "test_error"), "with a test_error, but has none"),
        (lambda t: analysis.sensitivity(t, "f1", "lr"), "unknown column 'f1' of trials."),
        (lambda t: analysis.sensitivity(t, "lr", "arm"), "'arm' holds string"),
        (lambda t: analysis.sensitivity(t, "lr", "lr"), "x, y and the metric must differ, but got"),
        (lambda t: analysis.expected_best(t, "sgd", 1.0), "0 < level < 1 must hold, but got"),
        (lambda t: confirmation(t, "adam"), "unknown baseline 'adam'. Valid: srsgd, sgd."),
        (lambda t: confirmation(t, metric="device"), "'device' holds string"),
        (lambda t: confirmation(t, level=95), "but got level=95. Use 0.95 for 95 %."),
        (lambda t: confirmation(t).arm("adam"), "unknown arm 'adam'"),
        (lambda t: render(t, baseline="adam"), "unknown baseline 'adam'"),
        (lambda _: confirmation(made_table(TWO_OF_A_SEED)), "'sgd' has more of seed 4."),
        (lambda _: summary(made_table(TWO_STUDIES)), "but got 2: made, other. Select the rows"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call(searched())
    assert message in str(error.value)


def test_render_says_what_a_smaller_budget_would_have_found() -> None:
    rows = [made_trial("sgd", n, val_error=error) for n, error in enumerate([4.0, 1.0, 3.0, 2.0])]
    title = "Expected best validation error % after a budget (middle 95 % of the orders of trials)"
    part = render(made_table(rows)).split(f"{title}\n")[1].split("\n\n")[0]
    lines = [" ".join(line.split()) for line in part.splitlines()]
    # One trial: the mean of 1 to 4. Two: 1 with chance 3/6, 2 with 2/6, 3 with 1/6.
    assert lines[1:] == [
        "arm 10 epochs 20 epochs 40 epochs",
        "SGD 2.50 (1.00 to 4.00) 1.67 (1.00 to 3.00) 1.00 (1.00 to 1.00)",
    ]
    bad = [
        made_trial("sgd", 4, "pruned", val_error=5.0, epochs_done=1),
        made_trial("sgd", 5, "diverged"),
    ]
    text = " ".join(render(made_table([*rows, *bad])).split())
    assert "A pruned trial counts with the value at which it was stopped: where" in text
    assert "too good. A trial without a value counts as the worst one of the study." in text
    assert "Expected best" not in render(made_table(rows[:3]))
