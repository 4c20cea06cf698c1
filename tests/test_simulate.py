"""Simulated searches over recorded trials: clock, orders, and decisions as in real ones."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from optuna.distributions import CategoricalDistribution, FloatDistribution
from test_local import conduct

from srsgd_ray.analysis import best_trial
from srsgd_ray.backends import Assignment, Plan
from srsgd_ray.backends.simulated import Recording, SimulatedBackend
from srsgd_ray.cli import main
from srsgd_ray.results import read_epochs, read_record, read_trials
from srsgd_ray.search_spaces import SearchSpace, When
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.recorded import Places, Recorded, recorded
from srsgd_ray.study.simulate import Design, Replay, simulate

EXAMPLE = Path(__file__).parents[1] / "results" / "example"
SPACE = {"x": FloatDistribution(-3.0, 1.0), "slope": FloatDistribution(0.01, 5.0, log=True)}
STUDY = Study(
    name="t",
    question="?",
    trainable=toy.toy,
    base={"epochs": 9},
    arms=(Arm("one", SPACE), Arm("fixed")),
    baseline="fixed",
    trials=12,
    confirm_seeds=2,
    searcher="random",
)

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture(scope="module")
def example() -> Recorded:
    return recorded(read_trials(EXAMPLE), read_epochs(EXAMPLE), "srsgd")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The trials of the study, none of them pruned."""
    result = conduct(STUDY, tmp_path_factory.mktemp("whole"))
    return recorded(result.trials, read_epochs(result.folder), "one")


class Script:
    """Assigns named trials, and writes down what it hears; ``cut`` is pruned after an epoch."""

    def __init__(self, names: str, cut: str = "") -> None:
        self.left, self.cut, self.heard = list(names), cut, list[str]()

    finished = False

    def next(self) -> Assignment | None:
        return Assignment(self.left.pop(0), {}, 0, 0, 0, False) if self.left else None

    def epoch(self, trial: str, row: Any) -> None:
        self.heard.append(f"{trial}{row['epoch']}")

    def continues(self, trial: str, row: Any) -> bool:
        return trial != self.cut

    def artifact(self, trial: str, name: str, columns: Any) -> None:
        raise AssertionError

    def ended(self, trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        self.heard.append(f"{trial} {state}")


def played(seconds: dict[str, list[float]], slots: int, cut: str = "") -> tuple[list[str], float]:
    def recording(assigned: Assignment) -> Recording:
        took = seconds[assigned.trial]
        rows = [{"epoch": n + 1} for n in range(len(took))]
        return Recording(rows, took, "diverged" if assigned.trial == "d" else "complete")

    script, backend = Script("".join(seconds), cut), SimulatedBackend(recording)
    plan = Plan(slots=slots, workers=1, cpus_per_worker=1.0, gpus_per_worker=0.0)
    backend.run(script, plan=plan)
    return script.heard, backend.clock


def test_the_clock_of_one_slot_and_of_two() -> None:
    seconds = {"a": [3.0, 3.0], "b": [1.0, 1.0], "c": [2.0], "d": [1.0]}
    heard, clock = played(seconds, 1)
    assert heard == [
        "a1", "a2", "a complete", "b1", "b2", "b complete", "c1", "c complete", "d1", "d diverged",
    ]  # fmt: skip
    assert clock == 11
    # a: 3, 6. b: 1, 2. c begins at 2: 4. d begins at 4: 5.
    heard, clock = played(seconds, 2)
    assert heard == [
        "b1", "b2", "b complete", "a1", "c1", "c complete", "d1", "d diverged", "a2", "a complete",
    ]  # fmt: skip
    assert clock == 6
    heard, clock = played(seconds, 2, cut="a")
    assert heard[3:5] == ["a1", "a pruned"]
    assert clock == 4  # d begins at 3 in a's place, and ends when c does


@pytest.mark.parametrize("scheduler", ["asha", "median", "hyperband"])
def test_it_stops_the_trials_that_a_real_search_stops(
    scheduler: str, whole: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conduct(dataclasses.replace(STUDY, scheduler=scheduler), tmp_path)
    wanted = {
        trial.number: (trial.state, len(trial.rows))
        for trial in read_record(tmp_path / "t").trials.values()
        if (trial.arm, trial.phase) == ("one", "search")
    }
    assert {state for state, _ in wanted.values()} == {"complete", "pruned"}
    replay = Replay(whole, Places(whole.space, whole.params), Design(scheduler=scheduler), 0)
    replay._order = iter(range(12))  # as it was recorded: a random search asks for the same points
    heard: dict[str, tuple[str, int]] = {}
    ended = replay.ended

    def note(trial: str, state: str, reason: str | None = None, **facts: Any) -> None:
        heard[trial] = (state, max(replay._curves[trial], default=0))
        ended(trial, state, reason, **facts)

    monkeypatch.setattr(replay, "ended", note)
    # Hyperband draws a trial's bracket by its name.
    begin = replay._scheduler.begin
    monkeypatch.setattr(
        replay._scheduler, "begin", lambda name: begin(f"search-one-{name.split('-')[1]}")
    )
    continues = replay._scheduler.continues
    monkeypatch.setattr(
        replay._scheduler,
        "continues",
        lambda name, row: continues(f"search-one-{name.split('-')[1]}", row),
    )
    SimulatedBackend(replay.recording).run(replay)
    assert {int(name.split("-")[1]): end for name, end in heard.items()} == wanted


def test_all_trials_in_any_order_find_the_best(example: Recorded) -> None:
    seconds = sum(sum(trial.seconds) for trial in example.trials)
    best = best_trial(read_trials(EXAMPLE), "srsgd")
    for found in simulate(example, Design(), range(3)):
        assert (found["trials"], found["epochs"], found["worse"]) == (12, 144, 0)
        assert found["trial"] == best["trial"]
        assert found["seconds"] == pytest.approx(seconds)
    assert example.value(example.best) == best["val_error"]


def test_a_half_finds_it_in_half_of_the_orders(example: Recorded) -> None:
    found = list(simulate(example, Design(trials=6), range(400)))
    assert {one["epochs"] for one in found} == {72}
    share = np.mean([one["trial"] == example.names[example.best] for one in found])
    assert abs(share - 0.5) < 3 * 0.5 / 20
    again = list(simulate(example, Design(trials=6), range(400)))
    assert again == found


def test_a_budget_is_never_passed(example: Recorded) -> None:
    for design in (Design(epochs=30), Design("qmc", epochs=30, slots=3)):
        for found in simulate(example, design, range(5)):
            assert found["epochs"] == 30
    [found] = simulate(example, Design(epochs=5), [0])
    assert found["trial"] is None
    assert np.isnan(found["worse"])


@pytest.mark.parametrize(("searcher", "trials"), [("tpe", 12), ("gp", 4), ("qmc", 12)])
def test_a_sampler_takes_each_trial_once_and_the_same_by_seed(
    searcher: str, trials: int, example: Recorded
) -> None:
    orders, places = [], Places(example.space, example.params)
    for _ in range(2):
        replay = Replay(example, places, Design(searcher, slots=2, trials=trials), 7)
        SimulatedBackend(replay.recording).run(replay)
        orders.append(list(replay._taken.values()))
    assert len(set(orders[0])) == len(orders[0]) == trials
    assert orders[0] == orders[1]


def test_a_sampler_hears_of_the_trial_that_was_taken(example: Recorded) -> None:
    replay = Replay(example, Places(example.space, example.params), Design("tpe", "asha"), 0)
    SimulatedBackend(replay.recording).run(replay)
    assert replay._study is not None
    told = [trial for trial in replay._study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(told) == 12
    values = {tuple(example.params[at].values()): example.value(at) for at in range(12)}
    for trial in told:
        whole = values[tuple(trial.params[name] for name in example.space.ranges)]
        assert trial.state.name == "PRUNED" or trial.value == whole


def test_tpe_learns_where_the_good_trials_are(tmp_path: Path) -> None:
    """The score has its best at x = 1: a search that learns finds better trials with few."""
    result = conduct(dataclasses.replace(STUDY, trials=80, base={"epochs": 1}), tmp_path)
    known = recorded(result.trials, read_epochs(result.folder), "one")
    worse = {
        searcher: np.mean(
            [one["worse"] for one in simulate(known, Design(searcher, trials=20), range(12))]
        )
        for searcher in ("random", "tpe")
    }
    assert worse["tpe"] < 0.7 * worse["random"]


def test_what_is_nearest() -> None:
    space = SearchSpace(
        "s",
        "?",
        {
            "lr": FloatDistribution(0.001, 1.0, log=True),
            "kind": CategoricalDistribution(["a", "b", "c"]),
            "f": FloatDistribution(0.0, 10.0),
        },
        {},
        {"f": {"kind": ("b",)}},
    )
    there = [
        {"lr": 0.001, "kind": "a"},
        {"lr": 0.1, "kind": "c"},
        {"lr": 0.1, "kind": "b", "f": 0.0},
        {"lr": 0.1, "kind": "b", "f": 9.0},
    ]
    places, free = Places(space, there), np.ones(4, dtype=bool)
    assert places.nearest({"lr": 0.02, "kind": "a"}, free) == 0
    assert places.nearest({"lr": 0.9, "kind": "a"}, np.array([False, True, True, True])) == 1
    assert places.nearest({"lr": 0.001, "kind": "b", "f": 8.0}, free) == 3
    assert places.nearest({"lr": 1.0, "kind": "b", "f": 4.0}, free) == 2
    free[2] = False
    assert places.nearest({"lr": 1.0, "kind": "b", "f": 4.0}, free) == 3


def test_a_space_with_a_condition_is_read_from_the_table(tmp_path: Path) -> None:
    space = {
        "x": FloatDistribution(-3.0, 1.0),
        "kind": CategoricalDistribution(["plain", "other"]),
        "slope": When(FloatDistribution(0.1, 1.0), kind="other"),
    }
    study = dataclasses.replace(STUDY, arms=(Arm("one", space), Arm("fixed")), trials=8)
    result = conduct(study, tmp_path)
    known = recorded(result.trials, read_epochs(result.folder), "one")
    assert known.space.conditions == {"slope": {"kind": ("other",)}}
    # Where it was not searched the knob has its default, which the sampler must not hear of.
    for params in known.params:
        assert ("slope" in params) == (params["kind"] == "other")
    [found] = simulate(known, Design("tpe"), [0])
    assert found["worse"] == 0


def test_pruned_trials_are_refused(tmp_path: Path) -> None:
    result = conduct(dataclasses.replace(STUDY, scheduler="asha"), tmp_path)
    with pytest.raises(ValueError, match=r"need whole curves, but \d+ of 12 .* --scheduler none"):
        recorded(result.trials, read_epochs(result.folder), "one")
    with pytest.raises(ValueError, match="arm 'fixed' had none"):
        recorded(result.trials, read_epochs(result.folder), "fixed")


def test_diverged_trials_end_as_they_did_and_failed_ones_are_left_out(tmp_path: Path) -> None:
    space = {
        "x": FloatDistribution(-3.0, 1.0),
        "wrong": CategoricalDistribution(["", "diverge", "value"]),
    }
    study = dataclasses.replace(STUDY, arms=(Arm("one", space), Arm("fixed")))
    result = conduct(study, tmp_path)
    states = result.trials.query("arm == 'one' and phase == 'search'")["state"].value_counts()
    assert set(states.index) == {"complete", "diverged", "failed"}
    known = recorded(result.trials, read_epochs(result.folder), "one")
    assert known.left_out == {"failed": states["failed"]}
    [found] = simulate(known, Design(), [0])
    assert found["epochs"] == 9 * states["complete"] + states["diverged"]
    assert found["trial"] in set(result.trials.query("state == 'complete'")["trial"])


def test_the_verb(capsys: pytest.CaptureFixture[str], example: Recorded) -> None:
    asked = ["simulate", str(EXAMPLE), "--arm", "srsgd", "--scheduler", "asha", "--searches", "30"]
    assert main(asked) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert main([*asked, "--format", "csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(lines) == 60
    asha = [line for line in lines if line["search"] == "random, asha"]
    plain = [line for line in lines if line["search"] == "plain"]
    assert [line["epochs"] for line in asha] == [line["epochs"] for line in plain]
    hits = sum(float(line["worse"] or 1) <= 0 for line in asha)
    assert f"{100 * hits / 30:.0f} % (" in text
    pairs = [
        float(a["worse"]) - float(p["worse"])
        for a, p in zip(asha, plain, strict=True)
        if a["worse"] and p["worse"]
    ]
    assert f"difference {np.mean(pairs):.2f} points" in text
    assert f"n = {len(pairs)} pairs" in text
    assert "best search-srsgd-011, validation error % 1.05" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--searcher", "cmaes"], "cannot be simulated"),
        (["--searcher", "grid"], "as random does here"),
        (["--trials", "99"], "at most 12"),
        (["--trials", "0"], "at least 1"),
        (["--slots", "0"], "slots must be at least 1"),
        (["--reduction", "1"], "above 1"),
        (["--searches", "1"], "at least 2"),
        (["--arm", "x"], "unknown arm 'x'"),
        (["--scheduler", "ash"], "Did you mean 'asha'"),
        (["--format", "html"], "unknown format"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(EXAMPLE), *words]) == 2
    assert message in capsys.readouterr().err
