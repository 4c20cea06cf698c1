"""Whole studies of a toy on the local backend: ends of every kind, cuts, stops and processes."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
import toy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from srsgd_ray.backends.base import Assignment, Slot
from srsgd_ray.backends.processes import Running, _Process
from srsgd_ray.results import read_record, read_table
from srsgd_ray.search_spaces import SearchSpace, When
from srsgd_ray.study import Arm, Study, StudyResult, run
from srsgd_ray.study.options import Options
from srsgd_ray.study.run import execute

X = {"x": FloatDistribution(0.0, 1.0)}
STUDY = Study(
    name="t",
    question="?",
    trainable=toy.toy,
    arms=(Arm("near", X), Arm("far", {"x": FloatDistribution(-2.0, -1.0)})),
    baseline="far",
    trials=3,
    confirm_seeds=2,
    confirm_seed=1,  # the toy's score grows with the seed
)
TIMES = {"train_seconds", "time"}


pytestmark = pytest.mark.usefixtures("in_memory")


def conduct(study: Study, folder: Path, **options: Any) -> StudyResult:
    return run(study, results=folder, backend="local", **options)


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each trial without what a clock says."""
    return {
        trial.trial: [{k: v for k, v in row.items() if k not in TIMES} for row in trial.rows]
        for trial in read_record(folder).trials.values()
    }


def ends(folder: Path) -> dict[str, tuple[str, str | None]]:
    found = {}
    for trial in read_record(folder).trials.values():
        found[trial.trial] = (trial.state, (trial.end or {}).get("reason"))
    return found


def test_a_whole_study_of_a_metric_that_is_better_higher(tmp_path: Path) -> None:
    result = conduct(STUDY, tmp_path)
    assert result.status == "finished"
    table = result.trials
    assert set(table["state"]) == {"complete"}
    assert len(table) == 2 * (3 + 2)
    search = table[table["phase"] == "search"]
    for arm in ("near", "far"):
        best = search[search["arm"] == arm].sort_values("score").iloc[-1]
        assert result.best[arm] == {"x": best["x"]}
        confirmed = table[(table["phase"] == "confirm") & (table["arm"] == arm)]
        assert set(confirmed["x"]) == {best["x"]}
        assert confirmed["seed"].tolist() == [1, 2]
        assert confirmed["test_score"].notna().all()
    assert search["test_score"].isna().all()
    (comparison,) = result.comparisons
    assert comparison.arm == "near"
    assert len(result.epochs) == 10 * 3
    assert (set(table["metric"]), set(table["mode"])) == ({"score"}, {"max"})
    assert not list((tmp_path / "t").glob("checkpoints-*"))


def test_running_prints_nothing_and_leaves_the_generators_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import random

    import numpy as np
    import torch

    state = (random.random(), float(np.random.random()), float(torch.rand(())))  # noqa: NPY002
    for module in (random, np.random, torch):
        module.seed(3) if module is not torch else torch.manual_seed(3)
    first = (random.random(), float(np.random.random()), float(torch.rand(())))  # noqa: NPY002
    for module in (random, np.random, torch):
        module.seed(3) if module is not torch else torch.manual_seed(3)
    conduct(STUDY, tmp_path)
    then = (random.random(), float(np.random.random()), float(torch.rand(())))  # noqa: NPY002
    assert then == first != state
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("wrong", "state", "reason"),
    [
        ("value", "failed", "x must be small, but is not (toy.py:N)"),
        ("type", "failed", "TypeError: object of type 'int' has no len() (toy.py:N)"),
        ("exit", "failed", "RuntimeError: the work called sys.exit('no more') (toy.py:N)"),
        ("machine", "failed", "RuntimeError: the machine gave up (toy.py:N)"),
        ("diverge", "diverged", "it exploded"),
        ("nan", "diverged", "score is nan in epoch 1"),
    ],
)
def test_ends_of_every_kind(tmp_path: Path, wrong: str, state: str, reason: str) -> None:
    study = dataclasses.replace(STUDY, base={"wrong": wrong}, trials=1, confirm_seeds=0)
    assert conduct(study, tmp_path).status == "finished"
    for found, said in ends(tmp_path / "t").values():
        assert (found, re.sub(r":\d+\)", ":N)", str(said))) == (state, reason)
    if wrong == "diverge":
        assert set(read_record(tmp_path / "t").trials["search-near-000"].end or {}) >= {
            "diverged_step"
        }


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (toy.undeclared, "must be declared before it is reported, but 'scroe' is not"),
        (toy.silent, "must be reported, but never never was"),
        (toy.short, "returned after 1 of 3. Report in each of config.epochs"),
        (toy.peeking, "measured on the test split, which a confirmation run alone may read"),
    ],
)
def test_reports_that_break_the_declaration(tmp_path: Path, work: Any, reason: str) -> None:
    study = dataclasses.replace(STUDY, trainable=work, trials=1, confirm_seeds=0)
    conduct(study, tmp_path)
    for state, said in ends(tmp_path / "t").values():
        assert state == "failed"
        assert reason in str(said)


def test_a_moments_trouble_costs_no_row(tmp_path: Path) -> None:
    base = {"wrong": f"once:{tmp_path}/marker"}
    conduct(dataclasses.replace(STUDY, base=base), tmp_path)
    assert {state for state, _ in ends(tmp_path / "t").values()} == {"complete"}
    for told in rows(tmp_path / "t").values():
        assert [row["epoch"] for row in told] == [1, 2, 3]
        assert told[2]["score"] - told[1]["score"] == pytest.approx(1.0), "the state was restored"


def test_processes_report_the_same_rows_as_one_though_one_errs_and_one_dies(tmp_path: Path) -> None:
    # The search asks in another order where two run at a time, so it is a grid.
    space = SearchSpace("x", "?", X, {"x": (0.1, 0.4, 0.9)})
    bad = {name: {"wrong": f"{name}:{tmp_path}/{name}"} for name in ("once", "kill")}
    sound, unsound = (
        dataclasses.replace(
            STUDY, searcher="grid", confirm_seeds=1, baseline="kill",
            arms=tuple(Arm(name, space, fixed[name]) for name in bad),
        )
        for fixed in ({"once": {}, "kill": {}}, bad)
    )  # fmt: skip
    conduct(sound, tmp_path / "one")
    conduct(unsound, tmp_path / "two", slots=2)
    assert (tmp_path / "once").exists() and (tmp_path / "kill").exists()
    assert rows(tmp_path / "one" / "t") == rows(tmp_path / "two" / "t")
    assert {state for state, _ in ends(tmp_path / "two" / "t").values()} == {"complete"}


# Schedulers compare within an arm, and go on as they were.

ASHA = {"scheduler": "asha", "asha_reduction": 2.0, "confirm_seeds": 0, "epochs": 8}


def pruned(folder: Path) -> dict[str, int]:
    """Pruned trials of each arm."""
    found: dict[str, int] = {}
    for trial in read_record(folder).trials.values():
        found[trial.arm] = found.get(trial.arm, 0) + (trial.state == "pruned")
    return found


def grid(*values: float) -> SearchSpace:
    return SearchSpace("x", "?", {"x": FloatDistribution(-9.0, 9.0)}, {"x": values})


def test_asha_compares_a_trial_with_its_own_arm_only(tmp_path: Path) -> None:
    """The worst of the better arm beats the best of the other: together, one would lose all."""
    study = dataclasses.replace(
        STUDY,
        arms=(Arm("near", grid(0.9, 1.0, 1.1, 0.8)), Arm("far", grid(-8.0, -8.1, -8.2, -8.3))),
        searcher="grid",
        trials=4,
        **ASHA,
    )
    conduct(study, tmp_path)
    found = pruned(tmp_path / "t")
    assert 0 < found["near"] < 4
    assert 0 < found["far"] < 4, "an arm that is worse as a whole keeps its best trials"


@pytest.mark.parametrize("scheduler", ["median", "hyperband"])
def test_other_schedulers_stop_bad_trials(tmp_path: Path, scheduler: str) -> None:
    points = (1.0, 0.9, 0.8, 0.7, -8.0, -8.5, -8.9, -8.2, -8.1, -8.3)
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", grid(*points)),), baseline="", searcher="grid", trials=10,
        **{**ASHA, "scheduler": scheduler},
    )  # fmt: skip
    conduct(study, tmp_path)
    stopped = [t for t in read_record(tmp_path / "t").trials.values() if t.state == "pruned"]
    assert stopped
    assert all(t.config["x"] < 0 for t in stopped), "good trials go on"
    assert all("stopped by the scheduler at epoch" in (t.end or {})["reason"] for t in stopped)


@pytest.mark.parametrize("known", [True, False])
def test_a_resumed_study_stops_what_the_uncut_one_would(tmp_path: Path, known: bool) -> None:
    """Rungs are filled again from the record: otherwise the first trial after a cut goes on.

    So does one that was stopped, if the driver died before its end was known.
    """
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", grid(*(1 - i / 10 for i in range(12)))),), baseline="",
        searcher="grid", trials=12, seed=4, **ASHA,
    )  # fmt: skip
    conduct(study, tmp_path / "whole")
    whole = ends(tmp_path / "whole" / "t")
    line = (tmp_path / "whole" / "t" / "record.jsonl").read_text().splitlines(keepends=True)
    third = [i for i, text in enumerate(line) if '"state": "pruned"' in text][3]
    (tmp_path / "cut" / "t").mkdir(parents=True)
    (tmp_path / "cut" / "t" / "record.jsonl").write_text("".join(line[: third + known]))
    conduct(study, tmp_path / "cut", resume=True)
    assert ends(tmp_path / "cut" / "t") == whole
    assert rows(tmp_path / "cut" / "t") == rows(tmp_path / "whole" / "t")


# Searches.


@pytest.mark.on_disk
def test_conditions_and_parts_of_knobs_are_searched(tmp_path: Path) -> None:
    space = {
        "kind": CategoricalDistribution(("plain", "fancy")),
        "x": When(FloatDistribution(0.0, 1.0), kind="fancy"),
        "sizes.1": IntDistribution(3, 9),
        "options.depth": IntDistribution(1, 4),
    }
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", space),), baseline="", trials=12, base={"x": -1.0}
    )
    result = conduct(study, tmp_path)
    table = result.trials[result.trials["phase"] == "search"]
    assert (table.loc[table["kind"] == "plain", "x"] == -1.0).all()
    assert (table.loc[table["kind"] == "fancy", "x"] >= 0.0).all()
    assert set(table["kind"]) == {"plain", "fancy"}
    assert table["sizes.1"].between(3, 9).all()
    assert [list(sizes) for sizes in table["sizes"]] == [[1, s] for s in table["sizes.1"]]
    assert table["options.depth"].between(1, 4).all()
    assert set(result.best["near"]) == set(space)
    stored = optuna.load_study(study_name="t-near", storage=f"sqlite:///{tmp_path}/t/optuna.db")
    assert {len(trial.params) for trial in stored.trials} == {3, 4}


def test_known_points_come_first(tmp_path: Path) -> None:
    arm = Arm("near", X, enqueue=({"x": 0.25}, {"x": 0.75}))
    study = dataclasses.replace(STUDY, arms=(arm,), baseline="", confirm_seeds=0)
    table = conduct(study, tmp_path).trials
    assert table["x"].tolist()[:2] == [0.25, 0.75]
    assert table["x"].tolist()[2] not in (0.25, 0.75)


@pytest.mark.parametrize(
    "searcher", ["gp", "qmc", "nsgaii", "cmaes", "optuna.samplers:BruteForceSampler"]
)
def test_any_sampler_of_optuna(tmp_path: Path, searcher: str) -> None:
    space = {"x": FloatDistribution(0.0, 1.0, step=0.125), "slope": IntDistribution(1, 3)}
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", space),), baseline="", searcher=searcher, trials=8, confirm_seeds=0
    )
    first, again = (conduct(study, tmp_path / name).trials for name in ("a", "b"))
    assert first["x"].tolist() == again["x"].tolist()
    assert first["x"].nunique() > 2


def test_two_metrics_are_searched_together(tmp_path: Path) -> None:
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", X),), baseline="", trials=8, pareto=True, pareto_metric="cost",
        confirm_points=2, searcher="nsgaii",
    )  # fmt: skip
    table = conduct(study, tmp_path).trials
    search, confirm = (table[table["phase"] == phase] for phase in ("search", "confirm"))
    # A score is higher and a cost lower the nearer x is to 1 and to 0: every trial is on the front.
    assert confirm["x"].nunique() == 2
    assert {search["x"].min(), search["x"].max()} == set(confirm["x"])


@pytest.mark.on_disk
@pytest.mark.parametrize("second", [None, math.nan])
def test_a_trial_without_the_second_metric_is_no_candidate(
    tmp_path: Path, second: float | None
) -> None:
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", X),), baseline="", trainable=toy.gappy, pareto=True,
        pareto_metric="cost", searcher="random", base={"wrong": str(second)},
    )  # fmt: skip
    table = conduct(study, tmp_path).trials
    search = table[table["phase"] == "search"]
    assert set(search["state"]) == {"diverged"}
    assert set(search["reason"]) == {f"cost is {second} at the last epoch"}
    stored = optuna.load_study(study_name="t-near", storage=f"sqlite:///{tmp_path}/t/optuna.db")
    assert {trial.state for trial in stored.trials} == {optuna.trial.TrialState.FAIL}


def test_fixed_arms_beside_searched_ones_and_tables_of_their_own(tmp_path: Path) -> None:
    study = dataclasses.replace(
        STUDY,
        trainable=toy.Once,
        arms=(Arm("near", X), Arm("fixed", fixed={"x": 0.5}, trials=0, confirm_seeds=1)),
        baseline="fixed",
        confirm_seed=40,
    )
    result = conduct(study, tmp_path)
    table = result.trials
    assert table.groupby(["phase", "arm"]).size().to_dict() == {
        ("confirm", "fixed"): 1, ("confirm", "near"): 2, ("search", "near"): 3,
    }  # fmt: skip
    assert sorted(table.loc[table["phase"] == "confirm", "seed"]) == [40, 40, 41]
    assert set(table["parameters"]) == {3}
    curve = read_table(tmp_path / "t", "curve")
    assert curve["step"].tolist() == [0, 1, 2] * 3
    assert set(curve["seed"]) == {40, 41}
    assert curve.loc[curve["step"] == 1, "value"].tolist() == curve["x"][::3].tolist()


# Stops.

SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_local import SLOW
from srsgd_ray.study import launch
if __name__ == "__main__":
    sys.exit(launch(SLOW))
"""
SLOW = dataclasses.replace(STUDY, base={"wait": 0.05})
BARE = {**os.environ, "PATH": "/usr/bin:/bin"}  # no environment is active
LINE = f"{shlex.quote(sys.executable)} mine.py --backend local"


def driver(folder: Path, line: str, epochs: int, **more: Any) -> subprocess.Popen[str]:
    """A study script that has been started and has so many epochs in its record."""
    (folder / "mine.py").write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "env": BARE, **more}
    started = subprocess.Popen(shlex.split(line), cwd=folder, text=True, **given)
    record, deadline = folder / "r" / "t" / "record.jsonl", time.monotonic() + 60
    while not record.exists() or record.read_text().count('"event": "epoch"') < epochs:
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return started


def stopped(started: subprocess.Popen[str], folder: Path, number: signal.Signals) -> str:
    """Stop it by a signal, in order; the last line that it printed."""
    started.send_signal(number)
    out, _ = started.communicate(timeout=60)
    assert started.returncode == 130
    assert json_events(folder / "r" / "t" / "record.jsonl")[-1] == "pause"
    return out.strip().splitlines()[-1].strip()


def test_the_line_that_a_stop_printed_resumes_and_a_killed_driver_loses_no_row(
    tmp_path: Path,
) -> None:
    line = f"{LINE} --no-figures --results r"
    printed = stopped(driver(tmp_path, line, 5), tmp_path, signal.SIGINT)
    assert printed == f"{line} --resume"
    told = rows(tmp_path / "r" / "t")
    again = driver(tmp_path, printed, 13)
    again.kill()
    again.communicate()
    more = rows(tmp_path / "r" / "t")
    assert sum(map(len, more.values())) >= 13
    assert conduct(SLOW, tmp_path / "r", resume=True).status == "finished"
    conduct(SLOW, tmp_path / "whole")
    after = rows(tmp_path / "r" / "t")
    assert after == rows(tmp_path / "whole" / "t")
    for earlier in (told, more):
        assert all(after[trial][: len(old)] == old for trial, old in earlier.items())


def test_sigterm_stops_processes_in_order(tmp_path: Path) -> None:
    line = f"{LINE} --slots 2 --no-figures --results r"
    printed = stopped(driver(tmp_path, line, 5), tmp_path, signal.SIGTERM)
    assert printed == f"{line} --resume"
    told = rows(tmp_path / "r" / "t")
    assert conduct(SLOW, tmp_path / "r", resume=True).status == "finished"
    after = rows(tmp_path / "r" / "t")
    assert all(after[trial][: len(old)] == old for trial, old in told.items())


def json_events(record: Path) -> list[str]:
    return [json.loads(text)["event"] for text in record.read_text().splitlines()]


def test_the_budget_stops_in_order(tmp_path: Path) -> None:
    study = dataclasses.replace(STUDY, base={"wait": 0.05}, trials=50)
    options = Options(tmp_path, backend="local", plan="no", budget_hours=1 / 3600)
    began = time.monotonic()
    assert execute(study, options, name="t", resume=False) == "out of budget"
    assert time.monotonic() - began < 10
    assert rows(tmp_path / "t")


def test_a_process_that_died_while_it_waited_is_noticed_like_one_that_dies_at_work() -> None:
    process = _Process(Slot(path="toy:toy", folder=str(Path(__file__).parent)), 0)
    process.kill()
    running = Running(Mock(), Assignment("t", {}, 0, 1, 0, False))
    process.begin(running)
    assert process.running is running
    with pytest.raises((EOFError, ConnectionError)):
        process.hear(running)
