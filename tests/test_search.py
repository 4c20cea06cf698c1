"""Optuna's part: every end is stored as what it was, and a resume proposes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from srsgd_ray.config import TrainConfig
from srsgd_ray.results import TrialRecord
from srsgd_ray.search_spaces import LEARNING_RATE, RESTART_AND_LR, SPACES, SearchSpace
from srsgd_ray.study.samplers import SEARCHERS
from srsgd_ray.study.search import Goal, Search, open_storage

Row = Callable[..., dict[str, Any]]
ENDS = ["complete", "pruned", "diverged", "failed"]


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def search(file: Path | None, searcher: str = "tpe", space: SearchSpace = RESTART_AND_LR) -> Search:
    return Search(
        open_storage(file),
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
        record = TrialRecord(name, "search", "srsgd", number, config, 100.0)
        record.rows.append(row(1, 10 * params["lr"] + number / 100))
        found.report(name, 1, record.rows[0]["val_error"])
        record.end = {"state": ENDS[number % 4], "reason": "why", "ended": 107.5}
        found.tell(record)
        records.append(record)
    return records


def stored(file: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s-srsgd", storage=f"sqlite:///{file}").trials


def test_every_end_is_stored_in_truth(tmp_path: Path, row: Row) -> None:
    records = run(search(tmp_path / "o.db"), range(4), row)
    trials = stored(tmp_path / "o.db")
    assert [t.state for t in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
    ]
    assert trials[0].value == records[0].rows[-1]["val_error"]
    for trial, record, state in zip(trials, records, ENDS, strict=True):
        assert trial.params == {k: record.config[k] for k in RESTART_AND_LR.ranges}
        assert trial.intermediate_values == {1: record.rows[0]["val_error"]}
        assert trial.user_attrs == {
            "trial": record.trial,
            "state": state,
            "reason": "why",
            "seed": 0,
            "epoch": 1,
            "seconds": 7.5,
        }


@pytest.mark.parametrize("searcher", list(SEARCHERS))
def test_the_same_seed_proposes_the_same(row: Row, searcher: str) -> None:
    first, again = (run(search(None, searcher), range(8), row) for _ in "ab")
    assert [r.config for r in first] == [r.config for r in again]
    assert len({tuple(sorted(map(str, r.config.items()))) for r in first}) == 8


@pytest.mark.parametrize("searcher", list(SEARCHERS))
@pytest.mark.parametrize("lost", [False, True])
def test_a_resumed_search_goes_on_as_if_never_cut(
    tmp_path: Path, row: Row, searcher: str, lost: bool
) -> None:
    file = None if lost else tmp_path / "b.db"
    whole = run(search(None, searcher), range(8), row)
    part = run(search(file, searcher), range(5), row)
    resumed = search(file, searcher)
    resumed.reconcile(part)
    rest = run(resumed, range(5, 8), row)
    assert [r.config for r in part + rest] == [r.config for r in whole]


def test_reconcile_mends_what_a_crash_left(tmp_path: Path, row: Row) -> None:
    file = tmp_path / "o.db"
    found = search(file)
    records = run(found, range(2), row)
    found.ask("search-srsgd-002", 2)  # running, and in the record
    running = TrialRecord("search-srsgd-002", "search", "srsgd", 2, {"seed": 0}, 100.0)
    running.rows += [row(1, 5.0), row(2, 4.0)]
    found.ask("search-srsgd-003", 3)  # ended in the record, but Optuna was not told
    ended = TrialRecord("search-srsgd-003", "search", "srsgd", 3, {"seed": 0}, 100.0)
    ended.rows.append(row(1, 6.0))
    ended.end = {"state": "complete", "ended": 101.0}
    found.ask("search-srsgd-004", 4)  # asked, never handed out
    again = search(file)
    again.reconcile([*records, running, ended])
    states = [t.state for t in stored(file)]
    assert states[2:] == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL]
    assert stored(file)[2].intermediate_values == {1: 5.0, 2: 4.0}
    assert stored(file)[3].value == 6.0
    running.end = {"state": "complete", "ended": 102.0}
    again.tell(running)
    assert stored(file)[2].value == 4.0


def test_grid_visits_every_point_once(tmp_path: Path, row: Row) -> None:
    space = SearchSpace("g", "?", LEARNING_RATE.ranges, {"lr": (0.01, 0.1, 0.3)})
    records = run(search(tmp_path / "o.db", "grid", space), range(3), row)
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


def test_unwritable_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the Optuna storage must be writable"):
        open_storage(tmp_path / "missing" / "o.db")


@pytest.mark.parametrize("name", ["sp ace", "h#1", "runs?1", "50%41", "{0}", "é"])
def test_a_storage_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "optuna.db"
    file.parent.mkdir()
    for _ in range(2):
        storage = open_storage(file)
        optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
    assert file.is_file()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_prior_that_is_not_that_of_the_record_is_named(row: Row) -> None:
    """One that lags behind a crash is completed."""
    storage, space = open_storage(None), SearchSpace("g", "?", {"lr": FloatDistribution(0.01, 1.0)})
    prior = [{"folder": "f", "trial": str(n), "params": {"lr": n / 10}, "values": [n]}
             for n in (1, 2, 3)]  # fmt: skip

    def known(*which: int) -> Search:
        return Search(storage, "s", "a", space, goals=[Goal("val_error")], searcher="tpe", trials=3,
                      seed=0, prior=[prior[n] for n in which])  # fmt: skip

    known(0, 1)
    assert known(0, 1, 2).differs([]) == known(0, 1, 2).differs([]) == ""
    records = run(known(0, 1, 2), range(1), row)
    assert known(0, 1, 2).differs(records) == ""
    for other in ((0, 1), (0, 2, 1), ()):
        assert known(*other).differs(records) == "its prior is not that of the record"
