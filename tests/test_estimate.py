"""Plans, budgets, and parts of a study."""

from __future__ import annotations

import dataclasses
import datetime
import os
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import make_row
from optuna.distributions import FloatDistribution, IntDistribution

from srsgd_ray.backends import NotMeasured, Plan
from srsgd_ray.config import TrainConfig
from srsgd_ray.paper.studies import paper_study
from srsgd_ray.results import Record, TrialRecord, read_record
from srsgd_ray.results.record import Contents
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.ahead import Ahead
from srsgd_ray.study.estimate import HoursLimit, cost, said_of, spent_hours
from srsgd_ray.study.options import Options
from srsgd_ray.study.prices import check_price, price_line
from srsgd_ray.study.shorten import select, smoke, with_epochs
from srsgd_ray.study.start import job_of, plan_of
from srsgd_ray.trainables.image import ImageClassification
from srsgd_ray.training.timing import measure

LR = SearchSpace("lr", "?", {"lr": FloatDistribution(0.01, 0.3, log=True)})
STUDY = Study(
    name="t",
    question="?",
    arms=(Arm("srsgd", LR, {"optimizer": "srsgd"}), Arm("sgd", LR, {"optimizer": "sgd"})),
    baseline="sgd",
    epochs=10,
    trials=4,
    confirm_seeds=3,
)
TWO_SLOTS = Plan(slots=2, workers=1, cpus_per_worker=1, gpus_per_worker=0)


def timed(config: dict[str, Any]) -> float:
    """Training on everything takes longer than on the split; the test set takes 10 s."""
    tests = 1.0 if config["test_every_epoch"] else 1 / config["epochs"]
    test = 10.0 * tests if config["evaluate_test"] else 0.0
    return (3.0 if config["train_on"] == "train+validation" else 2.0) + test


def test_a_plan_is_trials_times_epochs_times_seconds() -> None:
    study = dataclasses.replace(STUDY, confirm_on="train+validation")
    found = cost(study, TWO_SLOTS, None, timed)
    assert (found.trials, found.epochs, found.measured) == (14, 140, (2, 0))
    # Search: 80 epochs of 2 s. Confirmation: 60 of 3 s, and the test set once a run, 10 s.
    assert found.seconds == pytest.approx(80 * 2 + 60 * 3 + 6 * 10)
    assert found.hours == pytest.approx(400 / 3600)
    assert found.wall == pytest.approx(200)
    text = found.text(datetime.datetime(2026, 1, 1, 23, 59))
    assert "14 trials, 140 epochs, 0.111 worker-hours (2 configurations timed here" in text
    assert "2 at a time: 3:20, until Fri 02 Jan 2026, 00:02." in text


@pytest.mark.parametrize(
    ("free", "asked", "slots", "said"),
    [
        (None, None, 2, ""),
        (2.0, None, 2, ""),
        (1.01, None, 1, ""),
        (0.5, None, 1, "0 of 1 slots can begin now"),  # one at least: it waits for the others
        (1.01, 2, 2, "1 of 2 slots can begin now, the others wait"),
    ],
)
def test_others_slots_are_not_free(
    free: float | None, asked: int | None, slots: int, said: str
) -> None:
    options, left = Options(slots=asked), None if free is None else [{"CPU": free}]
    plan = plan_of(STUDY, options, [{"CPU": 2.0}], None, left)
    assert (plan.slots, plan.cpus_per_worker) == (slots, 0.99)
    lines = said_of(plan, options, None, left)
    assert said in lines[0] if said else lines == []


@pytest.mark.parametrize(
    ("price", "gpus", "said"),
    [
        # 200 s of two machines, and of the head.
        ("0.9", 0, "an estimate: $0.11: 2 machines of a slot each at $0.9 an hour, which is your"),
        ("m5.xlarge", 0, "$0.021 on demand or $0.015 spot: 1 m5.xlarge for up to 4 workers each"),
        ("g5.xlarge", 0, "$0.12 on demand or $0.068 spot: 2 g5.xlarge for up to 1 worker each"),
        (
            "g5.xlarge",
            1,
            "($1.006 an hour on demand and $0.5134 an hour spot) and the head (m5.xla",
        ),
        ("m5.xlarge", 1, "No price: a worker of trials of 1 worker with 1 CPU and 1 GPU does not"),
    ],
)
def test_a_price_is_an_estimate_and_says_from_when(price: str, gpus: int, said: str) -> None:
    found = cost(STUDY, dataclasses.replace(TWO_SLOTS, gpus_per_worker=gpus), None, timed)
    found = dataclasses.replace(found, seconds=400.0)
    text = found.text(datetime.datetime(2026, 1, 1), price)
    assert said in text
    if "No price" not in said:
        assert "Prices of us-west-2 from" in text and "read in November 2026" in text


def test_workers_that_need_nothing_of_a_machine_fit_one_together() -> None:
    plan = dataclasses.replace(TWO_SLOTS, cpus_per_worker=0.0)
    assert "1 m5.xlarge for up to 2 workers each" in price_line("m5.xlarge", plan, 60.0)


@pytest.mark.parametrize(
    ("price", "message"),
    [("0", "price > 0"), ("nan", "price > 0"), ("inf", "price > 0"), ("g5.xlrge", "mean 'g5.xl")],
)
def test_a_bad_price_is_refused(price: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_price(price)


def test_a_test_of_every_epoch_and_the_gpus_are_in_the_plan() -> None:
    study = dataclasses.replace(STUDY, base={"test_every_epoch": True})
    plan = Plan(slots=1, workers=4, cpus_per_worker=1, gpus_per_worker=1)
    found = cost(study, plan, None, timed)
    assert found.seconds == pytest.approx(140 * 2 + 60 * 10)
    assert found.hours == pytest.approx(4 * 880 / 3600)
    assert "GPU-hours" in found.text(datetime.datetime.now())
    shared = dataclasses.replace(found, plan=dataclasses.replace(plan, gpus_per_worker=0.25))
    assert "0.978 worker-hours" in shared.text(datetime.datetime.now())


def test_what_is_done_is_not_planned_again_and_tells_its_own_time() -> None:
    config = STUDY.config("srsgd", {"lr": 0.1}).to_dict()
    whole = TrialRecord("search-srsgd-000", "search", "srsgd", 0, config, 0.0)
    whole.rows = [make_row(epoch) for epoch in range(1, 11)]
    whole.end = {"state": "complete", "ended": 9.0, "workers": 2}
    half = TrialRecord("search-srsgd-001", "search", "srsgd", 1, config, 0.0)
    half.rows = whole.rows[:4]
    contents = Contents({}, [], {trial.trial: trial for trial in (whole, half)})
    found = cost(STUDY, TWO_SLOTS, contents, timed)
    assert (found.trials, found.epochs, found.measured) == (13, 126, (0, 1))
    assert found.seconds == pytest.approx(126 * 0.3)  # make_row: 0.25 s training, 0.05 s evaluation


def test_sessions_count_as_long_as_they_held_their_slots(tmp_path: Path) -> None:
    with Record.create(tmp_path, {"study": "t"}) as record:
        record.session(held_workers=8)
        record.begin("a", "search", "sgd", 0, STUDY.config("sgd", {}).to_dict())
        time.sleep(0.05)
        record.pause()  # no epoch was finished, and yet the slots were held
        first = spent_hours(record.contents) * 3600
        assert first >= 8 * 0.05
        record.session(held_workers=2)
        time.sleep(0.05)
        record.epoch("a", make_row(1))
    again = spent_hours(read_record(tmp_path)) * 3600
    assert again >= first + 2 * 0.05


def test_searched_epochs_are_planned_by_their_middle() -> None:
    space = LR.replace(epochs=IntDistribution(2, 16))
    study = dataclasses.replace(STUDY, arms=(Arm("sgd", space, {"optimizer": "sgd"}),))
    assert cost(study, TWO_SLOTS, None, timed).epochs == 9 * 7


def test_a_budget_stops_once_when_it_is_spent() -> None:
    stops: list[float] = []
    hours = 10.2 / 3600
    with HoursLimit(
        hours, 10.0 / 3600, TWO_SLOTS, lambda: stops.append(time.monotonic())
    ) as budget:
        deadline = time.monotonic() + 10
        while not budget.spent and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.7)
    assert budget.spent
    assert len(stops) == 1
    with HoursLimit(None, 0.0, TWO_SLOTS, lambda: stops.append(0.0)) as budget:
        time.sleep(0.6)
    assert len(stops) == 1
    assert not budget.spent


def timing(measure: Any, free: Any = None) -> Any:
    """A backend that times so, with so much that nobody holds."""
    return Mock(**{"measure.return_value": measure, "free.return_value": free})


def test_a_study_that_finds_no_room_does_not_wait_for_it_to_be_timed(tmp_path: Path) -> None:
    options = Options(results=tmp_path, address="auto", cpus_per_worker=1, slots=1)
    plan = plan_of(STUDY, options, [{"CPU": 2.0}])
    asked = Mock(return_value=3.0)
    for only, free in (("yes", {"CPU": 2.0}), ("only", {"CPU": 0.0}), ("yes", {"CPU": 0.0})):
        chosen = dataclasses.replace(options, plan=only)
        ahead = Ahead(STUDY, chosen, job_of(STUDY, chosen), None, Mock(here=False))
        measure = ahead.or_else(plan, timing(asked, [free]))
        if (only, free["CPU"]) == ("yes", 0.0):
            with pytest.raises(NotMeasured, match="no machine is free"):
                measure({})
        else:
            assert measure({}) == 3.0
    assert asked.call_count == 2


def test_a_plan_is_timed_while_ray_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    slow = timing(lambda config: 3.0)

    def seconds(work: Any, config: TrainConfig, workers: int, threads: int) -> float:
        asked.append(threading.current_thread().name)
        return 2.0 * threads

    monkeypatch.setattr(ImageClassification, "seconds", seconds)
    options = Options(results=tmp_path, cpus_per_worker=1, slots=1)
    ahead = Ahead(STUDY, options, job_of(STUDY, options), None, Mock(here=True))
    ahead.wait()
    plan = plan_of(STUDY, options, [{"CPU": float(len(os.sched_getaffinity(0)))}])
    found = cost(STUDY, plan, None, ahead.or_else(plan, timing(timed)))
    assert found.seconds == 2.0 * 14 * 10
    assert asked == ["ahead"] * 2, "in a thread, a search's trial and a confirmation's"
    # For another plan than was foreseen, or where trials run elsewhere, a worker is asked.
    other = dataclasses.replace(plan, cpus_per_worker=0.5)
    assert cost(STUDY, other, None, ahead.or_else(other, slow)).seconds == 3.0 * 140
    ahead = Ahead(STUDY, options, job_of(STUDY, options), None, Mock(here=False))
    ahead.wait()
    assert cost(STUDY, plan, None, ahead.or_else(plan, slow)).seconds == 3.0 * 140
    assert len(asked) == 2


def test_measuring_times_real_steps_and_leaves_the_generator_alone() -> None:
    import torch

    torch.manual_seed(7)
    before = torch.get_rng_state()
    config = TrainConfig(width=4, batch_size=64, threads=1)
    found = measure(config, limit=0.2)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.epoch > found.test > 0


def test_arms_are_selected_by_their_labels() -> None:
    study = paper_study("table1_cifar10")
    some = select(study, {"depth": ["110", "290"], "schedule": ["linear"]})
    assert [arm.name for arm in some.arms] == [
        "srsgd_110_linear", "sgd_110", "srsgd_290_linear", "sgd_290",
    ]  # fmt: skip
    assert some.baseline_of("srsgd_290_linear") == "sgd_290"
    alone = select(study, {"depth": ["110"], "optimizer": ["srsgd"]})
    assert [arm.name for arm in alone.arms] == ["srsgd_110_linear", "srsgd_110_exponential"]
    assert alone.baseline_of("srsgd_110_linear") is None
    alone.check()
    with pytest.raises(ValueError, match=r"unknown depth '111'. Valid: 110, 290"):
        select(study, {"depth": ["111"]})
    ablation = paper_study("f1_cifar10")
    assert len(select(ablation, {"depth": ["290"], "f1": ["30", "40"]}).arms) == 2
    both = paper_study("epochs_cifar")
    with pytest.raises(ValueError, match="no arm of 'epochs_cifar' has"):
        select(both, {"optimizer": ["sgd"], "fewer": ["15"]})


def test_other_epochs_scale_the_milestones() -> None:
    study = with_epochs(paper_study("table1_cifar10"), 20)
    config = study.check().config("srsgd_110_linear", {})
    assert (config.epochs, config.lr_milestones) == (20, (8, 12, 16))
    with pytest.raises(ValueError, match="lr_milestones < epochs must hold and increase"):
        with_epochs(paper_study("table1_cifar10"), 3).check()
    assert with_epochs(STUDY, 6).config("sgd", {}).lr_milestones == (3, 4)


@pytest.mark.parametrize(
    "study",
    [
        STUDY,
        paper_study("table1_cifar10"),
        paper_study("table3_imagenet"),
        paper_study("epochs_imagenet"),
        paper_study("f1_imagenet"),
    ],
)
def test_a_smoke_study_is_small_and_sound(study: Study) -> None:
    small = smoke(study).check()
    optimizers = {study.config(arm.name, {}).optimizer for arm in study.arms}
    assert {small.config(arm.name, {}).optimizer for arm in small.arms} == optimizers
    assert len(small.arms) == len(optimizers)
    assert small.confirm_seeds <= 2
    for arm in small.arms:
        config = small.config(arm.name, {})
        assert config.epochs <= 5
        assert config.dataset == "digits" or config.data_dir == "generated"
        stages = len(study.config(arm.name, {}).lr_milestones)
        if study.trials == 0:
            assert len(config.lr_milestones) == stages
