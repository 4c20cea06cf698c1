"""The study's logic without Ray: who is next, what an end means, what a resume goes on with."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray import analysis
from srsgd_ray.backends import Assignment
from srsgd_ray.figures import best_so_far
from srsgd_ray.results import Record, read_epochs, read_record, read_trials, write_tables
from srsgd_ray.results.remaining import remaining
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study, display
from srsgd_ray.study.controller import Controller
from srsgd_ray.study.database import Database
from srsgd_ray.study.search import Search

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
    confirm_seed=6,
)


class Stage:
    """A controller on a record, and the trials that it let go of."""

    def __init__(self, folder: Path, study: Study = STUDY) -> None:
        new = not (folder / "record.jsonl").exists()
        self.record = (
            Record.create(folder, {"study": "t", "spec": study.to_dict()})
            if new
            else Record.reopen(folder)
        )
        study.check()
        self.forgotten: list[str] = []
        searches = {
            (arm.name, number): Search(
                "t",
                arm.name,
                arm.searched,
                goals=study.goals(),
                searcher="tpe",
                trials=study.trials_of(arm.name),
                seed=study.search_seed(number),
                number=number,
            )
            for number in range(study.searches)
            for arm in study.arms
            if study.trials_of(arm.name)
        }
        self.controller = Controller(study, self.record, searches, self.forgotten.append)
        self.study, self.searches = study, searches

    def write(self) -> None:
        """Write the tables, as a study does beside its trials."""
        write_tables(self.record.folder, self.record.contents, self.study.columns())

    def counts(self) -> tuple[int, int, int, int]:
        """Trials in all and those that ended, epochs in all and those done."""
        found = remaining(self.record.contents)
        return found.trials, found.ended, found.epochs, found.done

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        self.record.close()

    def next(self) -> Assignment:
        assignment = self.controller.next()
        assert assignment is not None
        return assignment

    def run(self, assignment: Assignment, row: Row, error: float = 10.0) -> None:
        """Play the trial's epochs and end."""
        for epoch in range(assignment.known_epochs + 1, assignment.config["epochs"] + 1):
            last = epoch == assignment.config["epochs"] and assignment.config["evaluate_test"]
            self.controller.epoch(
                assignment.trial, row(epoch, error, test_error=error + 1 if last else None)
            )
        self.controller.ended(assignment.trial, "complete")


def test_what_is_told_is_on_the_disk_and_a_power_cut_takes_no_more_than_an_end(
    tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cut = tmp_path / "s" / "record.jsonl", tmp_path / "cut"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    with Stage(tmp_path / "s") as stage:
        for state in ("failed", "complete"):
            assignment = stage.next()
            for epoch in range(1, assignment.epochs + 1):
                assert synced[-1] == file.stat().st_size
                stage.controller.epoch(assignment.trial, row(epoch, 9.0))
            assert synced[-1] == file.stat().st_size
            stage.controller.ended(assignment.trial, state)
            assert (synced[-1] == file.stat().st_size) == (state == "failed")
        cut.mkdir()
        (cut / file.name).write_bytes(file.read_bytes()[: synced[-1]])
        ended = stage.record.trials[assignment.trial].end
        stage.next()
        assert synced[-1] == file.stat().st_size
    assert read_record(cut).trials[assignment.trial].end is None
    with Stage(cut) as stage:
        again = stage.record.trials[assignment.trial].end
    assert {**(again or {}), "ended": 0} == {**(ended or {}), "ended": 0}


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
            assignment = stage.next()
            assert assignment.trial == name
            assert (assignment.config["seed"], assignment.config["evaluate_test"]) == (5, False)
            assert assignment.config["lr_milestones"] == [1]
            if error < 5.5:
                best[assignment.config["optimizer"]] = assignment.config["lr"]
            stage.run(assignment, row, error)
        assert not stage.controller.finished
        seen = []
        while (assignment_ := stage.controller.next()) is not None:
            config = assignment_.config
            assert config["lr"] == best[config["optimizer"]]
            assert config["evaluate_test"] is True
            assert config["train_on"] == "train"
            seen.append((assignment_.trial, config["seed"]))
            stage.run(assignment_, row)
        assert seen == [
            ("confirm-srsgd-000", 6),
            ("confirm-sgd-000", 6),
            ("confirm-srsgd-001", 7),
            ("confirm-sgd-001", 7),
        ]
        assert stage.controller.finished
        assert len(stage.forgotten) == 8
        assert stage.counts() == (8, 8, 16, 16)


def test_no_confirmation_before_the_last_search_trial_ends(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        assignments = [stage.next() for _ in range(4)]
        for assignment in assignments[:3]:
            stage.run(assignment, row)
        assert stage.controller.next() is None
        assert not stage.controller.finished
        stage.run(assignments[3], row)
        assert stage.next().trial == "confirm-srsgd-000"


def test_the_next_search_fills_slots_while_one_waits_for_its_last_trial(
    tmp_path: Path, row: Row
) -> None:
    with Stage(tmp_path, dataclasses.replace(STUDY, searches=2)) as stage:
        first = [stage.next() for _ in range(5)]
        assert [a.trial for a in first[3:]] == ["search-sgd-001", "search-srsgd-002"]
        for assignment in first[:4]:
            stage.run(assignment, row)
        assert stage.next().trial == "confirm-srsgd-000"
        assert stage.record.trials[first[4].trial].search == 1


def test_every_end_counts_in_the_budget_but_only_complete_can_be_best(
    tmp_path: Path, row: Row
) -> None:
    with Stage(tmp_path) as stage:
        first, second, third, fourth = (stage.next() for _ in range(4))
        stage.controller.ended(first.trial, "diverged", "diverged at step 3", diverged_step=3)
        stage.controller.epoch(third.trial, row(1, 1.0))
        stage.controller.ended(third.trial, "pruned", "stopped")
        stage.controller.ended(second.trial, "failed", "boom")
        stage.run(fourth, row, math.nan)  # complete, but without a number
        assert stage.record.trials[fourth.trial].state == "diverged"
        assert stage.controller.next() is None  # no arm has a configuration to confirm
        assert stage.controller.finished
        assert display.best_so_far(STUDY, stage.record.trials.values()) == {}
        stage.write()
    trials = read_trials(tmp_path)
    assert sorted(trials["state"]) == ["diverged", "diverged", "failed", "pruned"]
    assert trials.set_index("trial").loc[second.trial, "reason"] == "boom"


def test_a_resume_first_goes_on_with_what_was_running(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        first, second = stage.next(), stage.next()
        stage.run(first, row, 3.0)
        stage.controller.epoch(second.trial, row(1, 4.0))
    with Stage(tmp_path) as again:
        assignment = again.next()
        assert assignment == Assignment(
            second.trial, second.config, 1, 2, 5, False, runs_ahead=True
        )
        again.run(assignment, row, 4.0)
        assert again.next().trial == "search-srsgd-001"
        # What a worker tells again changes nothing.
        again.controller.epoch(second.trial, row(1, 99.0))
        again.write()
    assert read_epochs(tmp_path).query("trial == @second.trial")["val_error"].tolist() == [4.0, 4.0]


def test_a_driver_that_died_after_the_last_row_ends_that_trial(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        first = stage.next()
        for epoch in (1, 2):
            stage.controller.epoch(first.trial, row(epoch, 3.0))
    with Stage(tmp_path) as again:
        assert again.record.trials[first.trial].state == "complete"
        assert again.next().trial == "search-sgd-000"


def test_a_resumed_study_proposes_what_the_uncut_one_would(tmp_path: Path, row: Row) -> None:
    study = dataclasses.replace(STUDY, trials=8, confirm_seeds=0)

    def play(stage: Stage, count: int) -> list[float]:
        found = []
        for _ in range(count):
            assignment = stage.next()
            found.append(assignment.config["lr"])
            stage.run(assignment, row, 100 * assignment.config["lr"])
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
        assert stage.counts() == (6, 0, 2 * (1 + 2 + 2), 0)
        seen = []
        while (assignment := stage.controller.next()) is not None:
            seen.append((assignment.trial, assignment.config["epochs"], assignment.config["seed"]))
            stage.run(assignment, row)
        stage.write()
        assert seen == [
            ("confirm-short-000", 1, 6),
            ("confirm-other-000", 2, 6),
            ("confirm-sgd-000", 2, 6),
            ("confirm-short-001", 1, 7),
            ("confirm-other-001", 2, 7),
            ("confirm-sgd-001", 2, 7),
        ]
        assert stage.controller.finished
        assert stage.counts() == (6, 6, 10, 10)
    assert [study.baseline_of(arm.name) for arm in arms] == ["sgd", None, None]
    told = read_trials(tmp_path).drop_duplicates("arm").set_index("arm")["baseline"]
    assert told["short"] == "sgd"
    assert told[["other", "sgd"]].isna().all()


def test_an_arms_own_rival_stands_in_the_table(tmp_path: Path, row: Row) -> None:
    arms = (
        Arm("a", fixed={"lr": 0.1}, against="c"), Arm("b", fixed={"lr": 0.2}),
        Arm("c", fixed={"lr": 0.3}, against=""),
    )  # fmt: skip
    study = dataclasses.replace(STUDY, arms=arms, baseline="a", trials=0).check()
    with Stage(tmp_path, study) as stage:
        while (assignment := stage.controller.next()) is not None:
            stage.run(assignment, row)
        stage.write()
    trials = read_trials(tmp_path)
    told = trials.drop_duplicates("arm").set_index("arm")["baseline"]
    assert told[["a", "b"]].to_dict() == {"a": "c", "b": "a"}
    assert told.isna()["c"]
    assert analysis.baselines(trials) == {"a": "c", "b": "a"}


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
            assignment = stage.next()
            lengths.add(assignment.config["epochs"])
            stage.run(assignment, row, 30.0 - assignment.config["epochs"])  # longer is better
        assert len(lengths) > 2
        runs = []
        while (assignment_ := stage.controller.next()) is not None:
            runs.append(
                (assignment_.trial, assignment_.config["epochs"], assignment_.config["seed"])
            )
            stage.run(assignment_, row)
        low, high = min(lengths), max(lengths)
        assert runs == [
            ("confirm-sgd-000", low, 6),
            ("confirm-sgd-001", high, 6),
            ("confirm-sgd-002", low, 7),
            ("confirm-sgd-003", high, 7),
        ]
        trials, ended, epochs, done = stage.counts()
        assert (ended, done) == (trials, epochs)
        Database(tmp_path, study, stage.searches, print).bring_up(stage.record.contents)
    stored = optuna.load_study(study_name="t-sgd", storage=f"sqlite:///{tmp_path}/optuna.db")
    assert [t.values for t in stored.trials] == [
        [30.0 - t.params["epochs"], t.params["epochs"]] for t in stored.trials
    ]
    with Stage(tmp_path, study) as again:
        assert again.controller.finished


def test_table_and_figures_show_the_configuration_that_was_confirmed(
    tmp_path: Path, row: Row
) -> None:
    """A search by validation loss: its best has another error than the lowest."""
    study = dataclasses.replace(STUDY, metric="val_loss", mode="", trials=3).check()
    assert study.mode == "min"
    with Stage(tmp_path, study) as stage:
        losses = {"srsgd": [0.9, 0.2, 0.5], "sgd": [0.3, 0.8, 0.7]}
        errors = {"srsgd": [3.0, 9.0, 5.0], "sgd": [8.0, 4.0, 6.0]}
        best: dict[str, float] = {}
        for number in range(3):
            for arm in ("srsgd", "sgd"):
                assignment = stage.next()
                if losses[arm][number] == min(losses[arm]):
                    best[arm] = assignment.config["lr"]
                for epoch in (1, 2):
                    told = row(epoch, errors[arm][number], val_loss=losses[arm][number])
                    stage.controller.epoch(assignment.trial, told)
                stage.controller.ended(assignment.trial, "complete")
        found = display.best_so_far(study, stage.record.trials.values())
        assert found == {"srsgd": 0.2, "sgd": 0.3}
        while (assignment_ := stage.controller.next()) is not None:
            assert assignment_.config["lr"] == best[assignment_.config["optimizer"]]
            stage.run(assignment_, row)
        stage.write()
    trials = read_trials(tmp_path)
    table = analysis.summary(trials).set_index("arm")
    assert table["lr"].to_dict() == best
    assert table["best_val_loss"].to_dict() == {"srsgd": 0.2, "sgd": 0.3}
    shown = analysis.sensitivity(trials, "lr", "weight_decay")
    assert shown[shown["best"]].set_index("arm")["lr"].to_dict() == best
    assert set(shown.columns) >= {"val_loss"}
    so_far = analysis.best_so_far(trials)
    assert so_far.groupby("arm")["best_val_loss"].last().to_dict() == {"srsgd": 0.2, "sgd": 0.3}
    text = analysis.render(trials)
    assert "lowest validation loss (nats)" in text
    assert "Search, on the validation split (lower is better)" in text
    axes = best_so_far(trials).get_axes()[0]
    assert axes.get_ylabel() == "validation loss (nats)"


def test_the_progress_counts_what_runs(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        first, second = stage.next(), stage.next()
        stage.run(first, row)
        stage.controller.epoch(second.trial, row(1))
        # 4 search trials and 4 confirmation runs of 2 epochs; one has ended, one is half done.
        assert stage.counts() == (8, 1, 16, 3)
        stage.controller.ended(second.trial, "pruned", "stopped")
        assert stage.counts() == (8, 2, 15, 3)


def test_a_row_after_a_trials_end_is_not_taken(tmp_path: Path, row: Row) -> None:
    with Stage(tmp_path) as stage:
        first = stage.next()
        stage.controller.epoch(first.trial, row(1, 5.0))
        stage.controller.ended(first.trial, "pruned", "stopped")
        stage.controller.epoch(first.trial, row(2, 1.0))
        assert [r["val_error"] for r in stage.record.trials[first.trial].rows] == [5.0]
    assert len(read_record(tmp_path).trials[first.trial].rows) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pareto": True}, "pareto=True needs epochs in the space of every arm"),
        ({"protocol": "x", "protocols": {"a": {}}}, "unknown protocol 'x'. Valid: a"),
        ({"arms": (STUDY.arms[0],) * 2}, "arms must have names that a table can tell apart"),
        (
            {"arms": (Arm("sgd", fixed={"epochs": 9}),), "trials": 1, "scheduler": "asha"},
            "scheduler='asha' needs arms of equal epochs",
        ),
        (
            {"arms": (Arm("sgd"),), "trials": 0, "confirm_seeds": 0},
            "a study needs something to run",
        ),
        ({"searcher": "anneal"}, "unknown search 'anneal'. Valid: tpe, random, grid, cmaes"),
        ({"scheduler": "pbt"}, "unknown scheduler 'pbt'. Valid: none, asha, hyperband, median"),
        ({"metric": "val_acc"}, "unknown metric 'val_acc'. Valid: train_loss, train_error, val_"),
        (
            {"metric": "test_error"},
            "unknown metric 'test_error'. Valid: train_loss, train_error, v",
        ),
        ({"base": {"validation_fraction": 0.0}}, "needs a validation split, but got"),
        ({"baseline": "adam"}, "unknown arm 'adam'. Valid: srsgd, sgd"),
        ({"trials": 0}, "trials >= 1 must hold, but got trials=0"),
        ({"epochs": 0}, "1 <= epochs < inf must hold"),
        ({"confirm_seeds": -1}, "0 <= confirm_seeds < inf must hold"),
        ({"confirm_on": "test"}, "unknown confirm_on 'test'"),
        ({"name": "a/b"}, "must be of letters, digits"),
        ({"lr_drops": (0.5, 1.5)}, "lr_drops must lie between 0 and 1"),
        ({"asha_reduction": 1.0}, "1 < asha_reduction < inf must hold"),
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
