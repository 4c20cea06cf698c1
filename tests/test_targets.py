"""Epochs, steps and seconds to a target, performance profiles, and the steps to a loss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_results import made_epochs, made_table, made_trial
from scipy.special import ndtr, stdtr

from srsgd_ray import analysis
from srsgd_ray.analysis import performance_profile, steps_to_loss, times_to_target, to_target
from srsgd_ray.analysis.targets import median_ratio
from srsgd_ray.cli import main
from srsgd_ray.figures import draw_profile
from srsgd_ray.results import arrow_schema

Tables = tuple[pd.DataFrame, pd.DataFrame]
NEVER = [9.0, 8.0, 7.0, 6.0]
AT = {n: [9.0] * (n - 1) + [4.0] * (5 - n) for n in (1, 2, 3, 4)}


def tables(curves: dict[str, list[list[float]]], states: dict[str, str] | None = None) -> Tables:
    """A study whose confirmation runs have these validation errors, a list for each seed."""
    trials, epochs = [], []
    for arm, runs in curves.items():
        for number, values in enumerate(runs):
            state = (states or {}).get(f"{arm}{number}", "complete")
            trial = made_trial(
                arm, number, state, phase="confirm", seed=number + 1, epochs_done=len(values),
                val_error=values[-1] if values else None, baseline="sgd" if arm != "sgd" else None,
            )  # fmt: skip
            rows = made_epochs([trial])
            trials.append(trial)
            epochs += [
                {**row, "val_error": value, "train_seconds": 0.5}
                for row, value in zip(rows, values, strict=True)
            ]
    return made_table(epochs, "epochs"), made_table(trials)


def words(text: str) -> str:
    """A text without its layout."""
    return " ".join(text.split())


def test_the_first_epoch_that_meets_it_counts_and_a_miss_is_infinite() -> None:
    epochs, trials = tables(
        {"srsgd": [[9, 5, 6, 4], NEVER, [9, 4], [9, 9], [9, 9], [9, 5]]},
        {"srsgd2": "diverged", "srsgd3": "failed", "srsgd4": "running", "srsgd5": "running"},
    )
    found = {c: times_to_target(epochs, trials, 5.0, "val_error", c)["time"].tolist()
             for c in analysis.COSTS}  # fmt: skip
    inf, nan = math.inf, math.nan
    np.testing.assert_equal(found["epochs"], [2, inf, 2, inf, nan, 2])
    np.testing.assert_equal(found["steps"], [36, inf, 36, inf, nan, 36])
    np.testing.assert_equal(found["seconds"], [1, inf, 1, inf, nan, 1])


def test_a_metric_that_is_better_higher() -> None:
    epochs, trials = tables({"srsgd": [[1, 3, 2]], "sgd": [[1, 2, 3]]})
    for table in (epochs, trials):
        table.attrs.clear()
        table["metric"], table["mode"] = "score", "max"
        table["score"] = table["val_error"]
    assert times_to_target(epochs, trials, 3.0, "score")["time"].tolist() == [2, 3]


def test_the_baselines_final_value_is_its_mean_over_complete_runs() -> None:
    sgd = [AT[2], NEVER, NEVER]
    epochs, trials = tables({"srsgd": [AT[1], NEVER, AT[3]], "sgd": sgd}, {"sgd2": "diverged"})
    (found,) = to_target(epochs, trials)
    assert (found.arm, found.baseline, found.metric) == ("srsgd", "sgd", "val_error")
    assert found.target == 5.0  # of 4 and 6
    assert found.times == (1, math.inf, 3) and found.rival_times == (2, math.inf, math.inf)
    # Ratios 1/2, none, and 0; the pair that misses twice counts as 1 for the median alone.
    assert found.ratio == 0.5 and (found.low, found.high) == (0.0, math.inf)
    text = analysis.target_text(epochs, trials)
    assert "Epochs until a validation error of 5 % is met, the mean final value of SGD" in text
    assert "SRSGD 3 2 1 3 not reached" in words(text)
    assert "2 of 3 runs of SRSGD and 1 of 3 runs of SGD" in words(text)


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio", "interval", "said"),
    [
        ([2] * 6, [4] * 6, 0.5, (0.5, 0.5), "SRSGD reaches a validation error of 5 % in 0.50 t"),
        ([2] * 5, [4] * 5, 0.5, (0, math.inf), "Not enough pairs to tell which of SRSGD and SGD"),
        ([2] * 6, [0] * 6, 0.0, (0, 0), "6 of 6 runs of SRSGD and 0 of 6 runs of SGD reached it"),
        ([0] * 6, [2] * 6, math.inf, (math.inf, math.inf), "in inf times the epochs of SGD"),
        ([0] * 8, [0] * 8, 1.0, (0, math.inf), "Not enough pairs"),
        ([2] * 7 + [0], [4] * 7 + [0], 0.5, (0, math.inf), "interval 0.00 to inf, n = 8 pairs"),
        ([2] * 8 + [0], [4] * 8 + [0], 0.5, (0.5, 0.5), "8 of 9 runs of SRSGD and 8 of 9 runs"),
        ([1, 2, 3, 4] * 2, [2, 2, 4, 4] * 2, math.sqrt(0.75), (0.5, 1), "Not enough pairs"),
    ],
)  # fmt: skip
def test_ratios_of_pairs(
    ours: list[int], theirs: list[int], ratio: float, interval: tuple[float, float], said: str
) -> None:
    """0 stands for a miss; 2 (1/2)^5 > 0.05, so that five pairs decide nothing."""
    curves = {arm: [AT[n] if n else NEVER for n in runs]
              for arm, runs in (("srsgd", ours), ("sgd", theirs))}  # fmt: skip
    (found,) = to_target(*tables(curves), 5.0)
    assert found.ratio == pytest.approx(ratio)
    assert (found.low, found.high) == interval
    assert said in found.verdict


def test_searches_count_once_each() -> None:
    """Of 12 pairs in 2 searches there are 2 values, too few for an interval."""
    epochs, trials = tables({"srsgd": [AT[2]] * 12, "sgd": [AT[4]] * 12})
    trials["search"] = trials["number"] // 6
    (found,) = to_target(epochs, trials, 5.0)
    assert (found.n, found.searches, found.ratio) == (2, 2, 0.5)
    assert (found.low, found.high) == (0, math.inf)


def test_later_looks_have_less_of_the_error() -> None:
    """At the second look 0.5 %: 2 (1/2)^8 is more than that, 2 (1/2)^9 less."""
    for n, decided in ((8, False), (9, True)):
        epochs, trials = tables({"srsgd": [AT[2]] * n, "sgd": [AT[4]] * n})
        trials["look"] = (trials["number"] > 5).astype(int)
        (found,) = to_target(epochs, trials, 5.0)
        assert (found.high < 1) == decided


def test_false_verdicts_are_rare_where_the_target_is_the_baselines() -> None:
    """Both arms are alike, and their last value is noise about what half of the runs reach."""
    rng = np.random.default_rng(5)
    falls = 2 + 8 * np.exp(-np.arange(20) / 5)
    told = 0
    for _ in range(400):
        ours, theirs = falls + 0.2 * rng.normal(size=(2, 6, 1)) + 0.3 * rng.normal(size=(2, 6, 20))
        target = theirs[:, -1].mean()
        first = [np.where((side <= target).any(1), (side <= target).argmax(1) + 1.0, math.inf)
                 for side in (ours, theirs)]  # fmt: skip
        pairs = pd.DataFrame({"time": first[0], "time_rival": first[1], "search": 0})
        _, low, high, _ = median_ratio(pairs, 0.95)
        told += not low <= 1 <= high
    assert 0 < told <= 20


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"metric": "test_error"}, "test_error is not. Choose another: train_loss, train_error, v"),
        ({"metric": "nothing"}, "unknown column 'nothing' of trials"),
        ({"cost": "hours"}, "unknown cost 'hours'. Valid: epochs, steps, seconds."),
        ({"target": "best"}, "unknown target 'best', or a number. Valid: baseline."),
        ({"rivals": {"sgd": "adam"}}, "unknown arm 'adam'"),
    ],
)
def test_what_cannot_be_told(asked: dict[str, Any], message: str) -> None:
    epochs, trials = tables({"srsgd": [AT[1]], "sgd": [AT[1]]})
    with pytest.raises(ValueError, match=message):
        to_target(epochs, trials, **asked)


def test_unready_tables_are_refused() -> None:
    epochs, trials = tables({"srsgd": [AT[1]], "sgd": [AT[1]]}, {"sgd0": "diverged"})
    with pytest.raises(ValueError, match="the final validation error of sgd is no target yet"):
        to_target(epochs, trials)
    with pytest.raises(ValueError, match="steps need the column step"):
        times_to_target(epochs.drop(columns="step"), trials, 1.0, "val_error", "steps")
    with pytest.raises(ValueError, match="one confirmation run a seed, but 'srsgd' has more of"):
        twice = trials.assign(seed=1, arm="srsgd")
        times_to_target(epochs, twice, 1.0, "val_error")


def studies() -> dict[str, Tables]:
    """Three studies: srsgd twice as fast, equal, and a miss of half of its runs."""
    return {
        "a": tables({"srsgd": [AT[1]] * 3, "sgd": [AT[2]] * 3}),
        "b": tables({"srsgd": [AT[3]] * 3, "sgd": [AT[3]] * 3, "adam": [AT[1]] * 3}),
        "c": tables({"srsgd": [AT[1], AT[1], NEVER, NEVER], "sgd": [AT[4]] * 4}),
    }


def test_profiles_by_hand() -> None:
    found = performance_profile(studies(), 5.0)
    assert found.times["arm"].tolist() == ["srsgd", "sgd"] * 3
    assert found.times["time"].tolist() == [1, 2, 3, 3, math.inf, 4]
    assert found.times["ratio"].tolist() == [1, 2, 1, 1, math.inf, 1]
    assert found.curve("srsgd")["share"].tolist() == [pytest.approx(2 / 3)]
    assert found.curve("sgd").values.tolist() == [[1, pytest.approx(2 / 3)], [2, 1]]
    # Below the steps, from 1 to 4: 2/3 throughout; 2/3 up to 2 and 1 from there.
    assert found.scores.tolist() == pytest.approx([2 / 3, (2 / 3 + 2) / 3])
    text = words(analysis.profile_text(found))
    assert "c validation error 5 not reached 4 (1.00)" in text
    assert " SGD 0.67 0.67 1.00 1.00 0.89" in text
    both_miss = performance_profile({"a": tables({"srsgd": [NEVER], "sgd": [NEVER]})}, 5.0)
    assert both_miss.times["ratio"].tolist() == [math.inf, math.inf]
    assert both_miss.curve("sgd")["share"].tolist() == [0.0]
    assert "No arm meets its target in any of the studies" in analysis.profile_text(both_miss)
    assert "No arm meets" not in text
    some = performance_profile({**studies(), "z": tables({"srsgd": [NEVER], "sgd": [NEVER]})}, 5.0)
    assert some.unmet.startswith("No arm meets the target in z: that counts as a miss of every arm")


def test_profiles_need_common_arms(tmp_path: Path) -> None:
    some = {"a": tables({"srsgd": [AT[1]], "sgd": [AT[1]]}), "b": tables({"adam": [AT[1]]})}
    with pytest.raises(ValueError, match="two arms that all studies have, but got none"):
        performance_profile(some, 5.0)
    written = draw_profile(performance_profile(studies(), 5.0), ["svg"], tmp_path)
    assert [path.name for path in written] == ["performance_profile.svg"]
    drawn = written[0].read_text()
    assert "share of the 3 studies" in drawn and "SRSGD 0.67; SGD 0.89" in drawn


LOSSES = {
    "srsgd": [[3.30, 3.278, 3.2700], [3.31, 3.277, 3.2701], [3.29, 3.276, 3.2702]],
    "sgd": [[3.3, 3.29, 3.279], [3.3, 3.29, 3.281], [3.3, 3.28, 3.275]],
}


def test_steps_to_a_loss_by_the_tracks_test() -> None:
    epochs, trials = tables(LOSSES)
    found = steps_to_loss(epochs, trials, "srsgd", 3.28, "val_error", std=0.0013)
    assert (found.step, found.mean) == (36, pytest.approx(3.277))
    assert found.p == pytest.approx(ndtr(-0.003 * math.sqrt(3) / 0.0013))
    assert found.runs["value"].tolist() == [3.278, 3.277, 3.276] and not found.differ


@pytest.mark.parametrize(("mean", "step"), [(3.2768, 36.0), (3.27775, 54.0)])
def test_the_bound_is_the_tracks(mean: float, step: float) -> None:
    """It asks for (3.28 - mean) sqrt(n) of 0.004 or more: with n = 3 here 0.0055 and 0.0039."""
    epochs, trials = tables({"srsgd": [[3.3, mean, 3.2]] * 3})
    assert steps_to_loss(epochs, trials, "srsgd", 3.28, "val_error", std=0.0013).step == step


def test_without_a_known_spread_it_is_the_t_test() -> None:
    epochs, trials = tables(LOSSES)
    found = steps_to_loss(epochs, trials, "srsgd", 3.28, "val_error")
    assert (found.step, found.p) == (54, pytest.approx(stdtr(2, -99 * math.sqrt(3))))
    assert "does not" not in found.verdict and "in 54 steps: their mean is 3.2701" in found.verdict


def test_a_lost_run_fails_the_test_and_all_runs_are_shown() -> None:
    epochs, trials = tables(LOSSES, {"srsgd1": "diverged"})
    text = analysis.track_text(epochs, trials, 3.28, "val_error", std=0.0013)
    assert "SRSGD does not reach" in text and "some were lost" in text
    assert "All runs: 3.27 (seed 1), diverged (seed 2), 3.2702 (seed 3)." in words(text)
    assert "Against the rule" not in text
    trials.loc[trials["arm"] == "sgd", "batch_size"] = 7
    unequal = analysis.track_text(epochs, trials, 3.28, "val_error")
    assert unequal.count("Against the rule: arms differ in batch_size.") == 1
    one = tables({"srsgd": [AT[1]]})
    with pytest.raises(ValueError, match="two runs that have ended, but srsgd has 1"):
        steps_to_loss(*one, "srsgd", 1.0, "val_error")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The results of a study in a folder."""
    (tmp_path / "one").mkdir()
    curves = {"srsgd": [AT[2]] * 6, "sgd": [AT[4]] * 6}
    for name, frame in zip(("epochs", "trials"), tables(curves), strict=True):
        table = pa.Table.from_pandas(frame, schema=arrow_schema(name), preserve_index=False)
        pa.parquet.write_table(table, tmp_path / "one" / f"{name}.parquet")
    return str(tmp_path / "one")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("table {0} --to-target 5", "in 0.50 times the epochs of SGD"),
        ("table {0} --to-target baseline --cost steps", "the mean final value of SGD, in 0.50 ti"),
        ("table {0} --to-target 5 --rule modded-nanogpt", "a validation error of 5 in 36 steps"),
        ("table {0} {0}/../one --to-target 5", "share of studies within a ratio of the fastest"),
        ("figures performance_profile {0} --format svg --to-target 5", "figures/performance_pro"),
        ("table {0} --to-target best", "unknown target 'best'"),
        ("table {0} --cost steps", "--cost belongs to a target. Add --to-target baseline or a nu"),
        ("table {0} --to-target 5 --rule speedrun", "unknown rule 'speedrun'. Valid: modded"),
        ("table {0} --to-target baseline --rule modded-nanogpt", "--to-target with a number"),
        ("table table1 --to-target 5", "a published table has no target"),
        ("figures {0} --to-target 5", "--to-target belongs to the figure performance_profile"),
        ("figures performance_profile fig1 --to-target 5", "got fig1. Name the studies' folders"),
    ],
)  # fmt: skip
def test_the_command_line(
    typed: str, said: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(typed.format(folder).split())
    out, err = capsys.readouterr()
    assert said in words(out + err)
    assert status == (2 if err else 0)
