"""Studies of image classification on the local backend: rows, ends, and the paper's protocol."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from srsgd_ray import analysis
from srsgd_ray.config import TrainConfig
from srsgd_ray.paper.studies import paper_study
from srsgd_ray.results import read_epochs, read_record, read_trials
from srsgd_ray.search_spaces import SearchSpace, When
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.options import Options
from srsgd_ray.study.run import execute
from srsgd_ray.study.shorten import select, smoke
from srsgd_ray.training import train

TIMES = {"train_seconds", "eval_seconds", "images_per_second", "time"}
LR = SearchSpace("lr", "?", {"lr": FloatDistribution(0.01, 0.3, log=True)})
STUDY = Study(
    name="t",
    question="?",
    arms=(Arm("srsgd", LR, {"optimizer": "srsgd"}), Arm("sgd", LR, {"optimizer": "sgd"})),
    baseline="sgd",
    base={"width": 4, "batch_size": 128},
    epochs=3,
    trials=2,
    confirm_seeds=2,
)


def only(arm: str, **changes: Any) -> Study:
    """A study of one arm with one trial, without confirmation, unless ``changes`` say else."""
    base = dataclasses.replace(
        STUDY, arms=(STUDY.arm(arm),), baseline=arm, trials=1, confirm_seeds=0
    )
    return dataclasses.replace(base, **changes)


def conduct(study: Study, folder: Path, **options: Any) -> str:
    chosen = Options(results=folder, backend="local", plan="no", **options)
    return execute(study, chosen, name=study.name, resume=False, quiet=True)


def test_rows_are_those_of_the_loop_alone(tmp_path: Path) -> None:
    """Neither the engine nor what ran before in the process changes a number."""
    assert conduct(dataclasses.replace(STUDY, confirm_seeds=1), tmp_path) == "finished"
    record = read_record(tmp_path / "t")
    assert len(record.trials) == 6
    for trial in record.trials.values():
        rows: list[dict[str, Any]] = []
        train(
            TrainConfig.from_dict({**trial.config, "threads": 1}),
            lambda row, save, rows=rows: rows.append(row),  # type: ignore[misc]
        )
        alone, ours = (
            [{k: v for k, v in row.items() if k not in TIMES} for row in told]
            for told in (rows, trial.rows)
        )
        assert ours == alone


def test_ends_of_every_kind(tmp_path: Path) -> None:
    """A diverging, a failing and a sound trial: each is told as what it was."""
    space = SearchSpace(
        "lr", "?", {"lr": CategoricalDistribution((0.1, 1e30))}, {"lr": (0.1, 1e30)}
    )
    arm = Arm("sgd", space, {"optimizer": "sgd"})
    # A batch of more images than the training set holds is fine; fewer than workers is not.
    study = only("sgd", arms=(arm,), trials=2, searcher="grid", confirm_seeds=1)
    assert conduct(study, tmp_path, slots=1) == "finished"
    record = read_record(tmp_path / "t")
    states = {t.config["lr"]: t.state for t in record.trials.values() if t.phase == "search"}
    assert states == {0.1: "complete", 1e30: "diverged"}
    bad = next(t for t in record.trials.values() if t.state == "diverged")
    assert bad.end is not None
    assert bad.end["reason"] == f"diverged at step {bad.end['diverged_step']}"
    stored = optuna.load_study(
        study_name="t-sgd", storage=f"sqlite:///{tmp_path}/t/optuna.db"
    ).trials
    assert {t.params["lr"]: t.state for t in stored} == {
        0.1: TrialState.COMPLETE,
        1e30: TrialState.FAIL,
    }
    broken = dataclasses.replace(only("sgd"), name="broken", base={"width": 4, "device": "cuda:7"})
    with pytest.raises(ValueError, match="needs GPU 7, but this process sees"):
        conduct(broken, tmp_path)
    assert not (tmp_path / "broken").exists()


def test_a_study_of_the_paper_runs_to_its_table_on_generated_data(tmp_path: Path) -> None:
    """What --smoke does: the published protocol, two arms, and the real layout of the data."""
    study = smoke(select(paper_study("table1_cifar10"), {"schedule": ["linear"]}))
    shallow = [dataclasses.replace(arm, fixed={**arm.fixed, "depth": 20}) for arm in study.arms]
    study = dataclasses.replace(study, arms=tuple(shallow))
    assert conduct(study, tmp_path) == "finished"
    trials = read_trials(tmp_path / study.name)
    assert set(trials["arm"]) == {"srsgd_110_linear", "sgd_110"}
    assert set(trials["state"]) == {"complete"}
    assert set(trials["data_dir"]) == {"generated"}
    assert set(trials["train_on"]) == {"train+validation"}
    assert (trials["best_test_error"] <= trials["test_error"]).all()
    epochs = read_epochs(tmp_path / study.name)
    assert epochs["test_error"].notna().all()
    assert list(epochs["epoch_lr"])[:4] == pytest.approx([0.1, 0.01, 0.001, 1e-4])


def test_parts_of_ones_own_and_parts_of_knobs_are_searched(tmp_path: Path) -> None:
    """Each stage's restart frequency by itself, a condition, and options of any torch optimizer."""
    stages = {
        "restart_list.0": IntDistribution(2, 10), "restart_list.1": IntDistribution(11, 20),
        "restart_list.2": IntDistribution(21, 30),
    }  # fmt: skip
    kinds = {
        "restart_kind": CategoricalDistribution(("constant", "linear")),
        "restart_growth": When(FloatDistribution(1.5, 3.0), restart_kind="linear"),
    }
    options = {"optimizer_options.alpha": FloatDistribution(0.5, 0.99)}
    tiny = {"model": "own_parts:Tiny", "optimizer": "torch.optim:RMSprop", "lr": 0.01}
    study = dataclasses.replace(
        STUDY,
        arms=(
            Arm("stages", stages, {"restart_kind": "explicit", "restart_list": (1, 1, 1)}),
            Arm("kinds", kinds),
            Arm("own", options, {**tiny, "lr_schedule": "cosine", "label_smoothing": 0.1}),
        ),
        baseline="",
        epochs=4,
        trials=3,
        confirm_seeds=1,
    )
    assert conduct(study, tmp_path) == "finished"
    trials = read_trials(tmp_path / "t")
    assert set(trials["state"]) == {"complete"}, trials["reason"].dropna().tolist()
    mine = trials[trials["arm"] == "stages"]
    parts = mine[["restart_list.0", "restart_list.1", "restart_list.2"]].to_numpy().tolist()
    assert [list(found) for found in mine["restart_list"]] == parts
    kinds_ = trials[trials["arm"] == "kinds"]
    assert (kinds_.loc[kinds_["restart_kind"] == "constant", "restart_growth"] == 2.0).all()
    own = trials[trials["arm"] == "own"]
    assert own["optimizer_options.alpha"].between(0.5, 0.99).all()
    assert (
        json.loads(own["optimizer_options"].iloc[0])["alpha"]
        == (own["optimizer_options.alpha"].iloc[0])
    )
    text = analysis.render(trials)
    assert "alpha" in text
