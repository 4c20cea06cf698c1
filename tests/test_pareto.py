"""Error against epochs: fronts, and the epochs saved, against numbers made by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_results import made_trial
from scipy import stats

from srsgd_ray import analysis
from srsgd_ray.figures.pareto import error_by_epochs
from srsgd_ray.figures.style import NotYet
from srsgd_ray.results import Column, Schema, schema_of


def table(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows)).assign(baseline="sgd")


def search(arm: str, number: int, epochs: int, error: float, **more: object) -> dict[str, object]:
    return made_trial(arm, number, epochs=epochs, val_error=error, **more)


def confirm(arm: str, epochs: int, errors: list[float]) -> list[dict[str, object]]:
    return [
        made_trial(
            arm, seed, phase="confirm", trial=f"confirm-{arm}-{epochs}-{seed}", epochs=epochs,
            seed=seed, test_error=error,
        )
        for seed, error in enumerate(errors, start=1)
    ]  # fmt: skip


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    trials = table(
        search("srsgd", 0, 4, 5.0),
        search("srsgd", 1, 2, 9.0),
        search("srsgd", 2, 8, 5.0),  # no better than 4 epochs
        search("srsgd", 3, 6, 3.0),
        search("srsgd", 4, 6, 3.0),  # the same again: the first counts
        search("srsgd", 5, 1, math.nan),
        search("srsgd", 6, 1, 1.0, state="pruned"),
        search("sgd", 0, 1, 0.0),
    )
    front = analysis.pareto_front(trials, "srsgd")
    assert front["trial"].tolist() == [f"search-srsgd-{n:03d}" for n in (1, 0, 3)]
    assert front["epochs"].tolist() == [2, 4, 6]
    assert analysis.spread_points(front, 2)["epochs"].tolist() == [2, 6]
    assert analysis.spread_points(front, 9).equals(front)


def test_epochs_saved_by_hand() -> None:
    trials = table(
        *confirm("srsgd", 4, [8.0, 8.0]),
        *confirm("srsgd", 8, [4.0, 4.0]),
        *confirm("srsgd", 12, [5.0, 5.0]),  # worse: the best so far counts
        *confirm("sgd", 4, [9.0, 9.0]),
        *confirm("sgd", 12, [6.0, 6.0]),
    )
    found = analysis.epochs_saved(trials, "srsgd", "sgd")
    # 6 % lies halfway between 8 % at 4 epochs and 4 % at 8: 6 epochs, of 12.
    assert (found.saved, found.low, found.high) == (6.0, 6.0, 6.0)
    assert (found.target, found.full, found.n, found.reached) == (6.0, 12, 2, 1.0)
    assert (
        "At the error of SGD after 12 epochs (6.00 %), SRSGD saves 6.0 epochs (95 % interval 6.0"
        in found.verdict
    )
    back = analysis.epochs_saved(trials, "sgd", "srsgd")
    assert math.isinf(back.saved)
    assert back.reached == 0.0
    assert "saves none: it does not get there" in back.verdict


def test_the_interval_comes_from_the_seeds() -> None:
    trials = table(
        *confirm("srsgd", 4, [9.0, 9.0, 9.0, 9.0]),
        *confirm("srsgd", 8, [3.0, 4.0, 5.0, 6.0]),
        *confirm("sgd", 8, [6.0, 6.0, 6.0, 6.0]),
    )
    found = analysis.epochs_saved(trials, "srsgd", "sgd")
    assert found.low < found.saved < found.high
    assert found.saved == pytest.approx(8 - (4 + 4 * (9 - 6) / (9 - 4.5)))
    assert not found.at_most


def test_the_interval_is_stretched_to_the_t_law() -> None:
    """Resampled means of three seeds vary too little: by sqrt(3/2) t/z around the mean."""
    ours = {4: [8.0, 7.0, 9.5], 12: [3.0, 4.5, 2.5]}
    theirs = [5.0, 5.5, 6.5]
    trials = table(
        *confirm("srsgd", 4, ours[4]), *confirm("srsgd", 12, ours[12]), *confirm("sgd", 12, theirs)
    )
    found = analysis.epochs_saved(trials, "srsgd", "sgd")
    wide = math.sqrt(3 / 2) * stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975)
    means = {k: np.mean(v) for k, v in ours.items()}
    saved = []
    for draw in np.random.default_rng(0).integers(3, size=(4000, 3)):
        stretched = {k: m + wide * (np.mean(np.array(ours[k])[draw]) - m) for k, m in means.items()}
        middle = np.mean(theirs)
        target = middle + wide * (np.mean(np.array(theirs)[draw]) - middle)
        if stretched[4] <= target:
            saved.append(8.0)
        elif min(stretched.values()) > target:
            saved.append(-math.inf)
        else:
            part = (stretched[4] - target) / (stretched[4] - stretched[12])
            saved.append(12 - (4 + 8 * part))
    low, high = np.quantile(saved, [0.025, 0.975], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx((low, high))
    # Without it, the interval would be much narrower.
    assert found.low < found.saved - 1.2


def test_epochs_saved_by_a_metric_that_is_better_higher() -> None:
    lower = table(*confirm("srsgd", 4, [8.0, 8.0]), *confirm("srsgd", 8, [4.0, 4.0]),
                  *confirm("sgd", 12, [6.0, 6.0]))  # fmt: skip
    wanted = analysis.epochs_saved(lower, "srsgd", "sgd").saved
    column = Column("test_error", pa.float64(), "", "", "metric", "higher", "test")
    higher = lower.assign(test_error=100 - lower["test_error"])
    known = {**dict(schema_of(lower)), "test_error": column}
    higher.attrs["srsgd_ray"] = Schema(known.values())
    found = analysis.epochs_saved(higher, "srsgd", "sgd")
    assert (found.saved, found.target) == (wanted, 94.0) == (6.0, 94.0)


def test_seeds_that_miss_a_point_are_left_out() -> None:
    trials = table(
        *confirm("srsgd", 4, [5.0, 5.0, 5.0]), *confirm("sgd", 4, [6.0, 6.0])
    )  # fmt: skip
    found = analysis.epochs_saved(trials, "srsgd", "sgd")
    assert (found.n, found.saved, found.at_most) == (2, 0.0, True)
    assert "saves at least 0.0 epochs" in found.verdict


def test_the_report_and_the_figure_show_the_lengths() -> None:
    trials = table(
        *(search("srsgd", n, 4 + 2 * n, 9.0 - n) for n in range(4)),
        *(search("sgd", n, 4 + 2 * n, 9.5 - n) for n in range(4)),
        *confirm("srsgd", 4, [8.0, 7.0]),
        *confirm("srsgd", 10, [5.0, 4.0]),
        *confirm("sgd", 10, [6.0, 7.0]),
    )
    text = analysis.render(trials)
    assert "Confirmation, test error % by epochs, over seeds" in text
    assert "t the error of SGD after 10 epochs (6.50 %)" in text
    figure = error_by_epochs(trials)
    confirmed = figure.axes[1]
    assert confirmed.containers[0].lines[0].get_xydata().tolist() == [[4.0, 7.5], [10.0, 4.5]]
    fronts = {line.get_label(): line for line in figure.axes[0].lines}
    assert fronts["front of srsgd"].get_xydata().tolist() == [
        [4.0, 9.0], [6.0, 8.0], [8.0, 7.0], [10.0, 6.0],
    ]  # fmt: skip


def test_lengths_are_reported_without_a_search() -> None:
    trials = table(
        *confirm("srsgd", 4, [8.0, 7.0]), *confirm("srsgd", 10, [5.0, 4.0]),
        *confirm("sgd", 10, [6.0, 7.0]),
    )  # fmt: skip
    text = analysis.render(trials)
    assert text.startswith("Confirmation, test error % by epochs, over seeds\n")
    assert "SRSGD saves 4.0 epochs" in " ".join(text.split())


def test_one_length_has_no_such_figure() -> None:
    with pytest.raises(NotYet, match="one length each"):
        error_by_epochs(table(*confirm("srsgd", 4, [1.0]), *confirm("sgd", 4, [2.0])))
