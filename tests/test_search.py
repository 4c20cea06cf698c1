"""Optuna's part: what is proposed, and that a resume proposes the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.config import TrainConfig
from srsgd_ray.results import TrialRecord
from srsgd_ray.search_spaces import LEARNING_RATE, RESTART_AND_LR, SPACES, SearchSpace
from srsgd_ray.study.samplers import SEARCHERS, check_searcher
from srsgd_ray.study.search import Goal, Search
from srsgd_ray.study.stored import There, connect, contradiction, rows_of, study_in

Row = Callable[..., dict[str, Any]]
ENDS = ["complete", "pruned", "diverged", "failed"]


def search(searcher: str = "tpe", space: SearchSpace = RESTART_AND_LR) -> Search:
    return Search(
        "s",
        "srsgd",
        space,
        goals=[Goal("val_error")],
        searcher=searcher,
        trials=12,
        seed=3,
    )


def run(found: Search, numbers: range, row: Row) -> list[TrialRecord]:
    """Ask, report and tell; every fourth trial ends in another state."""
    records = []
    for number in numbers:
        name = f"search-srsgd-{number:03d}"
        params = found.ask(name, number)
        config = {**TrainConfig().to_dict(), **params}
        record = TrialRecord(name, "search", "srsgd", number, config, 10.0 * number)
        record.rows.append(row(1, 10 * params["lr"] + number / 100))
        found.report(name, 1, record.rows[0]["val_error"])
        record.end = {"state": ENDS[number % 4], "reason": "why", "ended": record.started + 7.5}
        found.tell(record)
        records.append(record)
    return records


@pytest.mark.parametrize("searcher", list(SEARCHERS))
def test_the_same_seed_proposes_the_same(row: Row, searcher: str) -> None:
    first, again = (run(search(searcher), range(8), row) for _ in "ab")
    assert [r.config for r in first] == [r.config for r in again]
    assert len({tuple(sorted(map(str, r.config.items()))) for r in first}) == 8


@pytest.mark.parametrize("searcher", list(SEARCHERS))
def test_a_sampler_knows_what_a_stopped_trial_had_reported(row: Row, searcher: str) -> None:
    found = search(searcher)
    stopped = [r for r in run(found, range(8), row) if r.state == "pruned"]
    known = [t for t in found._study.get_trials() if t.state == TrialState.PRUNED]
    assert [t.intermediate_values for t in known] == [
        {1: record.rows[0]["val_error"]} for record in stopped
    ]
    assert len(known) == 2


@pytest.mark.parametrize("searcher", list(SEARCHERS))
def test_a_resumed_search_goes_on_as_if_never_cut(row: Row, searcher: str) -> None:
    whole = run(search(searcher), range(14), row)
    resumed = search(searcher)
    resumed.reconcile(whole[:10])
    rest = run(resumed, range(10, 14), row)
    assert [r.config for r in rest] == [r.config for r in whole[10:]]


def test_rustuna_is_refused_where_it_is_missing_or_would_not_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="learns nothing from trials that scheduler='asha' stops"):
        check_searcher("rustuna", scheduler="asha")
    monkeypatch.setattr("srsgd_ray.study.rust.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"Run pip install 'srsgd-ray\[rustuna\]'"):
        check_searcher("rustuna")


def test_grid_visits_every_point_once(row: Row) -> None:
    space = SearchSpace("g", "?", LEARNING_RATE.ranges, {"lr": (0.01, 0.1, 0.3)})
    records = run(search("grid", space), range(3), row)
    assert sorted(r.config["lr"] for r in records) == [0.01, 0.1, 0.3]


def test_spaces_are_data_that_survives_the_record() -> None:
    for name, space in SPACES.items():
        assert space.name == name
        assert SearchSpace.from_dict(space.to_dict()) == space
        space.check(lambda values: TrainConfig().replace(**values).check())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (LEARNING_RATE.replace(momentm=LEARNING_RATE.ranges["lr"]), "unknown configuration key"),
        (
            LEARNING_RATE.replace(lr=optuna.distributions.FloatDistribution(-1.0, 1.0)),
            "0 < lr < inf must hold, but got lr=-1.0",
        ),
        (
            LEARNING_RATE.replace(
                optimizer=optuna.distributions.CategoricalDistribution(("sgd", "srsg"))
            ),
            "unknown optimizer 'srsg'",
        ),
    ],
)
def test_spaces_with_bad_ends_are_refused(space: SearchSpace, message: str) -> None:
    with pytest.raises(ValueError) as error:
        space.check(lambda values: TrainConfig().replace(**values).check())
    assert message in str(error.value)


def test_a_grid_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="lr has none"):
        LEARNING_RATE.replace(lr=LEARNING_RATE.ranges["lr"]).points(0)


@pytest.mark.parametrize("name", ["sp ace", "h#1", "runs?1", "50%41", "{0}", "é"])
def test_a_database_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "optuna.db"
    file.parent.mkdir()
    ids = []
    for _ in range(2):
        with closing(connect(file)) as database, database:
            ids.append(study_in(database, "s", [StudyDirection.MINIMIZE], ["loss"]))
    assert ids == [1, 1]
    assert file.is_file()
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_an_empty_database_is_the_one_that_optuna_makes(tmp_path: Path) -> None:
    aims = [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    theirs, ours = (tmp_path / name for name in ("theirs.db", "ours.db"))
    made = optuna.create_study(storage=f"sqlite:///{theirs}", study_name="s", directions=aims)
    made.set_metric_names(["loss", "score"])
    with closing(connect(ours)) as database, database:
        study_in(database, "s", aims, ["loss", "score"])
    held = []
    for file in (theirs, ours):
        with closing(sqlite3.connect(file)) as database:
            tables = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name")
            # They differ in line breaks and blanks only.
            held.append([(name, "".join((sql or "").split())) for name, sql in tables])
            for name, _ in list(held[-1]):
                if not name.startswith(("ix_", "sqlite_")):
                    held[-1] += [(name, row) for row in database.execute(f"SELECT * FROM {name}")]
    assert held[0] == held[1]
    assert len(held[0]) > 20
    shown = optuna.load_study(study_name="s", storage=f"sqlite:///{ours}")
    assert (shown.directions, shown.metric_names) == (aims, ["loss", "score"])


def test_a_prior_that_is_not_that_of_the_record_is_named() -> None:
    """One that lags behind a crash is completed."""
    space = SearchSpace("g", "?", {"lr": FloatDistribution(0.01, 1.0)})
    prior = [{"folder": "f", "trial": str(n), "params": {"lr": n / 10}, "values": [n]}
             for n in (1, 2, 3)]  # fmt: skip

    def known(*which: int) -> list[FrozenTrial]:
        return Search("s", "a", space, goals=[Goal("val_error")], searcher="tpe", trials=3, seed=0,
                      prior=[prior[n] for n in which]).prior  # fmt: skip

    def said(*which: int) -> str:
        there = {
            frozen.user_attrs["prior"]: [There(n, n, frozen.state.name, rows_of(frozen))]
            for n, frozen in enumerate(known(*which))
        }
        return contradiction(there, {one.user_attrs["prior"]: [one] for one in known(0, 1, 2)})

    assert said(0, 1, 2) == said(0, 1) == said() == ""
    assert said(0, 2, 1) == "its prior is not that of the record"
    assert said(0, 2) == "f: 2 is missing"
    prior.append(prior[0] | {"trial": "4"})
    assert said(0, 1, 2, 3) == "f: 4 is not in the record"
