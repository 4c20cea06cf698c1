"""The study's logic without Ray: who is next, what an end means, what a resume goes on with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray.results import Record, read_epochs, read_trials
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.conductor import Conductor, Handout
from srsgd_ray.study.search import Search, open_storage

Row = Callable[..., dict[str, Any]]
LR = SearchSpace("lr", "?", {"lr": FloatDistribution(0.01, 0.3, log=True)})
STUDY = Study(
    name="t",
    question="?",
    arms=(Arm("srsgd", LR, {"optimizer": "srsgd"}), Arm("sgd", LR, {"optimizer": "sgd"})),
    baseline="sgd",
    epochs=2,
    trials=2,
    confirm_seeds=2,
    seed=5,
)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Stage:
    """A conductor on a record, and the trials that it let go of."""

    def __init__(self, folder: Path, study: Study = STUDY) -> None:
        new = not (folder / "record.jsonl").exists()
        self.record = Record.create(folder, {"study": "t"}) if new else Record.reopen(folder)
        storage = open_storage(folder / "optuna.db")
        self.forgotten: list[str] = []
        searches = {
            arm.name: Search(
                storage,
                "t",
                arm.name,
                arm.space,
                searcher="tpe",
                mode="min",
                metric=study.metric,
                trials=study.trials,
                seed=study.seed,
                pareto=study.pareto,
            )
            for arm in study.arms
        }
        self.conductor = Conductor(study, self.record, searches, self.forgotten.append)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        self.record.close()

    def next(self) -> Handout:
        handout = self.conductor.next()
        assert handout is not None
        return handout

    def run(self, handout: Handout, row: Row, error: float = 10.0) -> None:
        """Play the trial's epochs and end."""
        for epoch in range(handout.known_epochs + 1, handout.config["epochs"] + 1):
            last = epoch == handout.config["epochs"] and handout.config["evaluate_test"]
            self.conductor.epoch(
                handout.trial, row(epoch, error, test_error=error + 1 if last else None)
            )
        self.conductor.ended(handout.trial, "complete")


def test_arms_take_turns_then_the_best_are_confirmed_in_pairs(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        errors = {
            "search-srsgd-000": 9.0,
            "search-sgd-000": 5.0,
            "search-srsgd-001": 4.0,
            "search-sgd-001": 6.0,
        }
        best = {}
        for name, error in errors.items():
            handout = stage.next()
            assert handout.trial == name
            assert (handout.config["seed"], handout.config["evaluate_test"]) == (5, False)
            assert handout.config["lr_milestones"] == [1]
            if error < 5.5:
                best[handout.config["optimizer"]] = handout.config["lr"]
            stage.run(handout, row, error)
        assert not stage.conductor.finished
        seen = []
        while (handout_ := stage.conductor.next()) is not None:
            config = handout_.config
            assert config["lr"] == best[config["optimizer"]]
            assert config["evaluate_test"] is True
            assert config["train_on"] == "train"
            seen.append((handout_.trial, config["seed"]))
            stage.run(handout_, row)
        assert seen == [
            ("confirm-srsgd-000", 6),
            ("confirm-sgd-000", 6),
            ("confirm-srsgd-001", 7),
            ("confirm-sgd-001", 7),
        ]
        assert stage.conductor.finished
        assert len(stage.forgotten) == 8
        counts = stage.conductor.counts()
        assert dataclasses.astuple(counts) == (8, 8, 16, 16)


def test_no_confirmation_before_the_last_search_trial_ends(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        handouts = [stage.next() for _ in range(4)]
        for handout in handouts[:3]:
            stage.run(handout, row)
        assert stage.conductor.next() is None
        assert not stage.conductor.finished
        stage.run(handouts[3], row)
        assert stage.next().trial == "confirm-srsgd-000"


def test_every_end_counts_in_the_budget_but_only_complete_can_be_best(
    tmp_path: Path, row: Row
) -> None:
    with Stage(tmp_path) as stage:
        first, second, third, fourth = (stage.next() for _ in range(4))
        stage.conductor.ended(first.trial, "diverged", "diverged at step 3", diverged_step=3)
        stage.conductor.epoch(third.trial, row(1, 1.0))
        stage.conductor.ended(third.trial, "pruned", "stopped")
        stage.conductor.ended(second.trial, "failed", "boom")
        stage.run(fourth, row, math.nan)  # complete, but without a number
        assert stage.record.trials[fourth.trial].state == "diverged"
        assert stage.conductor.next() is None  # no arm has a configuration to confirm
        assert stage.conductor.finished
        assert stage.conductor.best_so_far() == {}
        stage.conductor.write_tables(force=True)
    trials = read_trials(tmp_path)
    assert sorted(trials["state"]) == ["diverged", "diverged", "failed", "pruned"]
    assert trials.set_index("trial").loc[second.trial, "reason"] == "boom"


def test_a_resume_first_goes_on_with_what_was_running(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        first, second = stage.next(), stage.next()
        stage.run(first, row, 3.0)
        stage.conductor.epoch(second.trial, row(1, 4.0))
    with Stage(tmp_path) as again:
        handout = again.next()
        assert handout == Handout(second.trial, second.config, 1)
        again.run(handout, row, 4.0)
        assert again.next().trial == "search-srsgd-001"
        # What a worker tells again changes nothing.
        again.conductor.epoch(second.trial, row(1, 99.0))
    assert read_epochs(tmp_path).query("trial == @second.trial")["val_error"].tolist() == [4.0, 4.0]


def test_a_driver_that_died_after_the_last_row_ends_that_trial(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        first = stage.next()
        for epoch in (1, 2):
            stage.conductor.epoch(first.trial, row(epoch, 3.0))
    with Stage(tmp_path) as again:
        assert again.record.trials[first.trial].state == "complete"
        assert again.next().trial == "search-sgd-000"


def test_a_resumed_study_proposes_what_the_uncut_one_would(tmp_path: Path, row: Row) -> None:
    study = dataclasses.replace(STUDY, trials=8, confirm_seeds=0)

    def play(stage: Stage, count: int) -> list[float]:
        found = []
        for _ in range(count):
            handout = stage.next()
            found.append(handout.config["lr"])
            stage.run(handout, row, 100 * handout.config["lr"])
        return found

    with Stage(tmp_path / "whole", study) as stage:
        whole = play(stage, 16)
    with Stage(tmp_path / "cut", study) as stage:
        first = play(stage, 9)
    with Stage(tmp_path / "cut", study) as stage:
        assert first + play(stage, 7) == whole


def test_without_a_search_each_fixed_configuration_is_run_over_the_seeds(
    tmp_path: Path, row: Row
) -> None:
    arms = (
        Arm("short", fixed={"optimizer": "srsgd", "epochs": 1, "lr_milestones": ()}, against="sgd"),
        Arm("other", fixed={"optimizer": "srsgd", "restart_f1": 5}, against=""),
        Arm("sgd", fixed={"optimizer": "sgd"}),
    )
    study = dataclasses.replace(
        STUDY, arms=arms, baseline="", trials=0, base={"test_every_epoch": True}
    ).check()
    with Stage(tmp_path, study) as stage:
        assert stage.conductor.counts().epochs == 2 * (1 + 2 + 2)
        seen = []
        while (handout := stage.conductor.next()) is not None:
            seen.append((handout.trial, handout.config["epochs"], handout.config["seed"]))
            stage.run(handout, row)
        assert seen == [
            ("confirm-short-000", 1, 6),
            ("confirm-other-000", 2, 6),
            ("confirm-sgd-000", 2, 6),
            ("confirm-short-001", 1, 7),
            ("confirm-other-001", 2, 7),
            ("confirm-sgd-001", 2, 7),
        ]
        assert stage.conductor.finished
        assert dataclasses.astuple(stage.conductor.counts()) == (6, 6, 10, 10)
    assert [study.baseline_of(arm.name) for arm in arms] == ["sgd", None, None]


def test_two_aims_confirm_points_of_the_front(tmp_path: Path, row: Row) -> None:
    space = LR.replace(epochs=IntDistribution(2, 9))
    study = dataclasses.replace(
        STUDY,
        arms=(Arm("sgd", space, {"optimizer": "sgd"}),),
        trials=8,
        pareto=True,
        confirm_points=2,
    ).check()
    with Stage(tmp_path, study) as stage:
        lengths = set()
        for _ in range(8):
            handout = stage.next()
            lengths.add(handout.config["epochs"])
            stage.run(handout, row, 30.0 - handout.config["epochs"])  # longer is better
        assert len(lengths) > 2
        runs = []
        while (handout_ := stage.conductor.next()) is not None:
            runs.append((handout_.trial, handout_.config["epochs"], handout_.config["seed"]))
            stage.run(handout_, row)
        low, high = min(lengths), max(lengths)
        assert runs == [
            ("confirm-sgd-000", low, 6),
            ("confirm-sgd-001", high, 6),
            ("confirm-sgd-002", low, 7),
            ("confirm-sgd-003", high, 7),
        ]
        assert stage.conductor.counts().epochs_done == stage.conductor.counts().epochs
    stored = optuna.load_study(study_name="t-sgd", storage=f"sqlite:///{tmp_path}/optuna.db")
    assert [t.values for t in stored.trials] == [
        [30.0 - t.params["epochs"], t.params["epochs"]] for t in stored.trials
    ]
    with Stage(tmp_path, study) as again:
        assert again.conductor.finished


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pareto": True}, "pareto=True needs epochs in the space of every arm"),
        ({"protocol": "x", "protocols": {"a": {}}}, "unknown protocol 'x'. Valid: a"),
        ({"arms": (STUDY.arms[0],) * 2}, "arms must have names of their own"),
        (
            {"arms": (Arm("sgd", fixed={"epochs": 9}),), "trials": 1, "scheduler": "asha"},
            "scheduler='asha' needs arms of equal epochs",
        ),
        (
            {"arms": (Arm("sgd"),), "trials": 0, "confirm_seeds": 0},
            "a study needs something to run",
        ),
        ({"searcher": "anneal"}, "unknown search 'anneal'. Valid: tpe, random, grid, cmaes"),
        ({"scheduler": "hyperband"}, "unknown scheduler 'hyperband'. Valid: none, asha"),
        ({"metric": "val_acc"}, "unknown column 'val_acc' of epochs"),
        ({"metric": "test_error"}, "unknown metric 'test_error'. Valid: val_error, val_loss"),
        ({"base": {"validation_fraction": 0.0}}, "needs a validation split, but got"),
        ({"baseline": "adam"}, "unknown arm 'adam'. Valid: srsgd, sgd"),
        ({"trials": 0}, "trials >= 1 must hold, but got trials=0"),
        ({"epochs": 0}, "epochs >= 1 must hold"),
        ({"confirm_seeds": -1}, "confirm_seeds >= 0 must hold"),
        ({"confirm_on": "test"}, "unknown confirm_on 'test'"),
        ({"name": "a/b"}, "must be of letters, digits"),
        ({"lr_drops": (0.5, 1.5)}, "lr_drops must lie between 0 and 1"),
        ({"asha_reduction": 1.0}, "asha_reduction > 1 must hold"),
        ({"base": {"depth": 9}}, "depth must be 6n + 2"),
        ({"base": {"dpeth": 8}}, "unknown configuration key 'dpeth'"),
        ({"searcher": "grid"}, "searcher='grid' needs grid values"),
    ],
)
def test_bad_studies_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        dataclasses.replace(STUDY, **changes).check()
    assert message in str(error.value)


def test_a_study_survives_the_record() -> None:
    assert Study.from_dict(STUDY.to_dict()) == STUDY
