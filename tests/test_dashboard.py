"""What optuna-dashboard finds in ``optuna.db``: names of metrics, and the confirmation."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from test_local import STUDY, conduct

from srsgd_ray.results import read_trials
from srsgd_ray.results.contents import Contents
from srsgd_ray.study import Arm, database, writer

BAD = Arm("bad", fixed={"wrong": "diverge"}, trials=0)


def stored(folder: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'optuna.db'}")


def check(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """Hold the confirmation in the database against the Parquet."""
    found = stored(folder, "t/confirmation")
    assert found.metric_names == ["test_score"]
    assert found.direction == optuna.study.StudyDirection.MAXIMIZE
    table = read_trials(folder).query("phase == 'confirm'").set_index("trial")
    trials = found.trials
    assert sorted(t.user_attrs["trial"] for t in trials) == sorted(table.index)
    for one in trials:
        row = table.loc[one.user_attrs["trial"]]
        assert one.params == {"arm": row["arm"]}
        assert one.user_attrs["seed"] == row["seed"]
        assert one.user_attrs["state"] == row["state"]
        if row["state"] == "complete":
            assert one.value == row["test_score"]
            assert one.user_attrs["x"] == row["x"]
        else:
            assert (one.state, one.user_attrs["reason"]) == (TrialState.FAIL, row["reason"])
        assert one.datetime_start is not None
        assert abs(one.datetime_start.timestamp() - row["started"]) < 1e-3
    return trials


def test_the_confirmation_stands_beside_the_searches(tmp_path: Path) -> None:
    conduct(STUDY, tmp_path)
    folder = tmp_path / "t"
    first = check(folder)
    assert stored(folder, "t-near").metric_names == ["score"]
    names = {s.study_name for s in optuna.get_all_study_summaries(f"sqlite:///{folder}/optuna.db")}
    assert names == {"t-near", "t-far", "t/confirmation"}

    conduct(dataclasses.replace(STUDY, confirm_seeds=3), tmp_path, resume=True)
    longer = check(folder)  # the new seeds are added
    assert [t.user_attrs["trial"] for t in longer[: len(first)]] == [
        t.user_attrs["trial"] for t in first
    ]

    more = dataclasses.replace(STUDY, confirm_seeds=3, arms=(*STUDY.arms, BAD))
    conduct(more, tmp_path, resume=True)
    choices = CategoricalDistribution(["near", "far", "bad"])
    assert {t.state for t in check(folder)} == {TrialState.COMPLETE, TrialState.FAIL}
    assert all(t.distributions["arm"] == choices for t in check(folder))


def test_a_folder_without_names_and_confirmation_gets_them(tmp_path: Path) -> None:
    conduct(STUDY, tmp_path)
    storage = f"sqlite:///{tmp_path / 't' / 'optuna.db'}"
    optuna.delete_study(study_name="t/confirmation", storage=storage)
    study = stored(tmp_path / "t", "t-near")
    study._storage.set_study_system_attr(study._study_id, "study:metric_names", None)
    assert stored(tmp_path / "t", "t-near").metric_names is None
    conduct(STUDY, tmp_path, resume=True)
    assert stored(tmp_path / "t", "t-near").metric_names == ["score"]
    assert len(check(tmp_path / "t")) == 4


@pytest.mark.parametrize("method", ["_put", "_opened"])
def test_a_view_that_cannot_be_made_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    whole = getattr(database.Database, method)

    def full(*args: object) -> None:
        whole(*args)
        raise sqlite3.OperationalError("database or disk is full")

    study = dataclasses.replace(STUDY, confirm_seeds=1)
    with monkeypatch.context() as patch:
        patch.setattr(database.Database, method, full)
        patch.setattr(writer, "FIRST", 60.0)  # it is said when that was seen first, and at the end
        assert conduct(study, tmp_path).status == "finished"
    said = (tmp_path / "t" / "log.txt").read_text()
    assert said.count("optuna.db is not what the record says, and a resume makes it so: data") == 1
    assert not list((tmp_path / "t").glob("*.set-aside-*"))
    assert conduct(study, tmp_path, resume=True).status == "finished"
    check(tmp_path / "t")


@pytest.mark.parametrize("junk", [b"", b"no database" * 1000])
def test_a_view_that_is_lost_or_overwritten_meanwhile_is_whole_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, junk: bytes
) -> None:
    monkeypatch.setattr(writer, "FIRST", 0.01)
    bring_up, spoiled = database.Database.bring_up, []

    def spoil(self: database.Database, contents: Contents) -> None:
        bring_up(self, contents)
        if not spoiled:
            spoiled.append(len(contents.trials))
            self.file.write_bytes(junk) if junk else self.file.unlink()

    monkeypatch.setattr(database.Database, "bring_up", spoil)
    conduct(dataclasses.replace(STUDY, base={"wait": 0.02}), tmp_path)
    assert spoiled
    assert "a resume makes it so" not in (tmp_path / "t" / "log.txt").read_text()
    check(tmp_path / "t")
    assert len(stored(tmp_path / "t", "t-near").trials) == 3
