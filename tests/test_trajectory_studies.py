"""The minefield as a trainable, its study on the local backend, and the picture of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import re
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from optuna.distributions import FloatDistribution

from srsgd_ray.paper import trajectory as trajectory_run
from srsgd_ray.paper.trajectory import Picture, draw_picture, paths
from srsgd_ray.paper.trajectory_figure import TABLES
from srsgd_ray.results import read_trials
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Study, StudyResult, run
from srsgd_ray.study.database import Database
from srsgd_ray.trainables import spirals as problem
from srsgd_ray.trainables.minefield import APART, MinefieldConfig
from srsgd_ray.trainables.spirals import scores, spirals, train

SMALL = MinefieldConfig(data_seed=3, points=40, width=5, steps=40, batch_size=8, every=4, runs=1)
RATES = (0.05, 0.2)


def script() -> Study:
    """The study of studies/trajectory.py."""
    file = Path(__file__).parents[1] / "studies" / "trajectory.py"
    spec = importlib.util.spec_from_file_location("trajectory_script", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    study: Study = module.STUDY
    return study


def small_study(**changes: Any) -> Study:
    """The same with the settings of SMALL and two learning rates."""
    study = script()
    rates = {"space": dataclasses.replace(study.arms[0].searched, grid={"lr": RATES})}
    base = {"data_seed": 3, "points": 40, "width": 5, "steps": 40, "batch_size": 8, "every": 4,
            "runs": 2}  # fmt: skip
    small = dataclasses.replace(
        study,
        arms=tuple(dataclasses.replace(arm, **rates) for arm in study.arms),
        base=base, trials=2, confirm_seeds=3, confirm_seed=3, seed=3,
    )  # fmt: skip
    return dataclasses.replace(small, **{**changes, "base": {**base, **changes.get("base", {})}})


def conduct(study: Study, folder: Path, **options: Any) -> StudyResult:
    return run(study, results=folder, backend="local", **options)


@pytest.fixture(autouse=True, scope="module")
def in_memory() -> Any:
    """No ``optuna.db``."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "bring_up", lambda self, contents: None)
        yield


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The trials of the small study."""
    result = conduct(small_study(), tmp_path_factory.mktemp("study"))
    assert result.status == "finished"
    return result.trials


@pytest.fixture(scope="module")
def tables(trials: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return paths(dataclasses.replace(Picture.of(trials), grid=9))


def means(arm: str, lr: float, seeds: range, part: str) -> tuple[float, float]:
    """Mean loss and error of networks trained together, by hand."""
    data = spirals(SMALL.data_seed, SMALL.points, SMALL.noise)
    ends = train(dataclasses.replace(SMALL, optimizer=arm, lr=lr), seeds, data.train)[-1]
    loss, error = scores(ends, getattr(data, part), SMALL)
    return loss.mean().item(), error.mean().item()


def test_the_script_is_the_comparison_of_the_page() -> None:
    study = script().check()
    assert [arm.name for arm in study.arms] == ["srsgd", "sgd"]
    assert study.baseline_of("srsgd") == "sgd"
    rates = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    assert all(arm.searched.grid == {"lr": rates} for arm in study.arms)
    assert (study.metric, study.confirm_metric, study.mode) == ("val_error", "test_error", "min")
    for arm in study.arms:
        config = study.config(arm.name, {"lr": 0.1})
        assert config == MinefieldConfig(optimizer=arm.name, lr=0.1)
        assert config.runs == 20


def test_a_search_trial_is_the_mean_of_networks_on_seeds_of_their_own(
    trials: pd.DataFrame,
) -> None:
    search = trials[trials["phase"] == "search"]
    assert sorted(zip(search["arm"], search["lr"], strict=True)) == [
        (arm, lr) for arm in ("sgd", "srsgd") for lr in RATES
    ]
    seeds = range(3 + APART, 5 + APART)
    for _, row in search.iterrows():
        assert row["arm"] == row["optimizer"]
        validation = means(row["arm"], row["lr"], seeds, "validation")
        assert (row["val_loss"], row["val_error"]) == validation
        assert row["train_loss"] == means(row["arm"], row["lr"], seeds, "train")[0]
        assert (row["runs"], row["parameters"]) == (2, sum(SMALL.sizes))
    assert search[["test_loss", "test_error"]].isna().all().all()


def test_a_confirmation_run_is_one_network(trials: pd.DataFrame) -> None:
    search, confirm = (trials[trials["phase"] == phase] for phase in ("search", "confirm"))
    assert set(confirm["runs"]) == {1}
    for arm, mine in confirm.groupby("arm"):
        tried = search[search["arm"] == arm]
        best = tried.sort_values(["val_error", "val_loss"])["lr"].iloc[0]
        assert set(mine["lr"]) == {best}
        assert mine["seed"].tolist() == [3, 4, 5]
        for _, row in mine.iterrows():
            alone = range(int(row["seed"]), int(row["seed"]) + 1)
            tested = means(str(arm), best, alone, "test")
            assert (row["test_loss"], row["test_error"]) == tested
            assert row["train_loss"] == means(str(arm), best, alone, "train")[0]


def test_the_lowest_validation_error_is_chosen_then_loss_and_never_a_diverged_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Losses and errors of two networks each.
    told = {
        ("srsgd", 0.05): ((0.3, 0.1), (4.0, 6.0)), ("srsgd", 0.2): ((0.1, 0.1), (7.0, 3.0)),
        ("sgd", 0.05): ((0.1, math.nan), (1.0, 1.0)), ("sgd", 0.2): ((0.5, 0.5), (8.0, 8.0)),
    }  # fmt: skip
    monkeypatch.setattr(problem, "train", lambda config, *_: [told[config.optimizer, config.lr]])
    monkeypatch.setattr(problem, "scores", lambda ends, *_: tuple(map(torch.tensor, ends)))
    result = conduct(small_study(confirm_seeds=1), tmp_path)
    search = result.trials[result.trials["phase"] == "search"].set_index(["arm", "lr"])
    assert search.loc[("sgd", 0.05), "state"] == "diverged"
    said = "the train loss of a network is not finite at the end"
    assert search.loc[("sgd", 0.05), "reason"] == said
    assert search.loc[("srsgd", 0.05), "val_error"] == search.loc[("srsgd", 0.2), "val_error"] == 5
    assert result.best == {"srsgd": {"lr": 0.2}, "sgd": {"lr": 0.2}}
    picture = Picture.of(result.trials)
    lrs, tuning = picture.lrs, picture.tuning
    assert lrs == {"srsgd": 0.2, "sgd": 0.2}
    assert tuning["optimizer"].tolist() == ["srsgd", "srsgd", "sgd", "sgd"]
    assert tuning["lr"].tolist() == [0.05, 0.2] * 2
    assert tuning["chosen"].tolist() == [False, True, False, True]


def test_a_network_that_diverges_ends_the_trial(tmp_path: Path) -> None:
    wild = SearchSpace("lr", "?", {"lr": FloatDistribution(0.1, 1e300)}, {"lr": (0.2, 1e200)})
    study = small_study(confirm_seeds=1)
    arms = tuple(dataclasses.replace(arm, space=wild) for arm in study.arms)
    result = conduct(dataclasses.replace(study, arms=arms), tmp_path)
    diverged = result.trials[result.trials["state"] == "diverged"]
    assert sorted(zip(diverged["arm"], diverged["lr"], strict=True)) == [
        ("sgd", 1e200), ("srsgd", 1e200),
    ]  # fmt: skip
    assert diverged["reason"].str.contains("loss of a network is not finite").all()
    assert result.best == {"srsgd": {"lr": 0.2}, "sgd": {"lr": 0.2}}


def test_a_trial_leaves_the_number_of_threads_alone(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    conduct(small_study(trials=1, confirm_seeds=1), tmp_path)
    assert torch.get_num_threads() == threads


def test_the_study_says_what_the_picture_needs(trials: pd.DataFrame) -> None:
    picture = Picture.of(trials)
    lrs, tuning = picture.lrs, picture.tuning
    own = {"optimizer": "srsgd", "lr": SMALL.lr}
    assert dataclasses.replace(picture.config, **own) == SMALL
    assert (picture.seeds, picture.grid) == ([3, 4, 5], 81)
    confirm = trials[trials["phase"] == "confirm"]
    assert lrs == dict(zip(confirm["arm"], confirm["lr"], strict=True))
    for _, row in tuning.iterrows():
        assert row["chosen"] == (row["lr"] == lrs[row["optimizer"]])


def test_the_ends_of_the_paths_are_what_was_confirmed(
    trials: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> None:
    made = tables["trajectory"]
    ends = made[made["step"] == 40].set_index(["optimizer", "seed"])
    for _, row in trials[trials["phase"] == "confirm"].iterrows():
        end = ends.loc[(row["arm"], row["seed"])]
        assert end["loss"] == pytest.approx(row["train_loss"], rel=1e-9)
        assert end["test_loss"] == pytest.approx(row["test_loss"], rel=1e-9)
        assert end["test_error"] == row["test_error"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "unknown optimizer 'adam'. Valid: srsgd, sgd."),
        ({"lr": 0.0}, "0 < lr < inf must hold, but got lr=0.0"),
        ({"lr": math.nan}, "0 < lr < inf must hold, but got lr=nan"),
        ({"runs": 0}, "1 <= runs < inf must hold, but got runs=0"),
        ({"data_seed": -1}, "0 <= data_seed < inf must hold, but got data_seed=-1"),
        ({"every": 7}, "every must divide steps, but got every=7 for steps=2000"),
    ],
)
def test_bad_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        MinefieldConfig(**changes).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 3}, "trials"),
        ({"confirm_on": "train+validation"}, "needs a knob train_on"),
        ({"metric": "val_acc"}, "unknown metric 'val_acc'. Valid: train_loss, val_loss"),
        ({"metric": "test_error"}, "test_error"),
        ({"base": {"points": 3}}, "4 <= points < inf must hold, but got points=3"),
    ],
)
def test_bad_studies(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        conduct(small_study(**changes), tmp_path)
    assert list(tmp_path.iterdir()) == []


# The picture.


def test_the_picture_of_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr(trajectory_run, "_draw", lambda folder: drawn.append(folder))
    folder = conduct(small_study(), tmp_path).folder
    draw_picture(folder)
    assert drawn == [folder]
    out = capsys.readouterr().out
    assert "the edge of the grid" in out and "of the squared distances" in out
    assert re.search(r"^srsgd +learning rate .*test error .* %  \(3 runs\)$", out, re.M)
    schema = pq.read_schema(folder / "trajectory.parquet")
    facts = json.loads(schema.metadata[b"srsgd_ray_trajectory"])
    assert {k: facts["settings"][k] for k in ("points", "steps", "seeds", "grid")} == {
        "points": 40, "steps": 40, "seeds": [3, 4, 5], "grid": 81,
    }  # fmt: skip
    assert {"commit", "torch_version", "hardware"} <= set(facts)
    assert {path.stem for path in folder.glob("*.parquet")} == {*TABLES, "trials", "epochs"}
    assert not read_trials(folder).empty, "the picture leaves the study's tables alone"


def test_no_picture_without_a_confirmation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = conduct(small_study(confirm_seeds=0), tmp_path).folder
    draw_picture(folder)
    said = capsys.readouterr().out.strip()
    assert said == "No picture: it takes a confirmed run of each optimizer."
    assert not (folder / "trajectory.parquet").exists()
