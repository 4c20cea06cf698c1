"""Failed trials run again: their rows are new, the record says so, and the search hears of it."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
import toy
from made_results import events_of, rewrite
from test_local import STUDY, conduct, ends, rows

from srsgd_ray.cli import main
from srsgd_ray.export import export
from srsgd_ray.results import Record, read_record, read_table, read_trials
from srsgd_ray.study.rerun import rerun

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """User code that raises in epoch 2 of some trials, until it is mended."""
    state: dict[str, Any] = {"when": lambda config, run: False}
    whole = toy.toy.function

    @functools.wraps(whole)
    def broken(config: toy.ToyConfig, run: Any) -> None:
        report = run.report

        def reported(**metrics: Any) -> None:
            if state["when"](config, run) and run.done == 1:
                raise ValueError("a mistake")
            report(**metrics)

        run.report = reported
        whole(config, run)

    monkeypatch.setattr(toy.toy, "function", broken)
    return state


def retry(folder: Path, *words: str) -> int:
    return main(["retry", str(folder), *words, "--no-figures"])


def start(study: Any, folder: Path) -> Path:
    assert conduct(study, folder, slots=1).status == "finished"
    return folder / "t"


def test_failed_trials_run_again_and_the_numbers_are_those_without_a_mistake(
    tmp_path: Path, breaks: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    study = dataclasses.replace(STUDY, searcher="random")
    sound = start(study, tmp_path / "sound")
    breaks["when"] = lambda config, run: config.x > 0.3 or run.seed == 2
    folder = start(study, tmp_path)
    failed = {name for name, (state, _) in ends(folder).items() if state == "failed"}
    assert any(name.startswith("search-near") for name in failed)
    assert "confirm-far-001" in failed
    breaks["when"] = lambda config, run: False
    assert retry(folder) == 0
    after = read_record(folder).trials
    assert {t.state for t in after.values()} == {"complete"}
    table = read_trials(folder).set_index("trial")
    for name in failed:
        assert [row["epoch"] for row in after[name].rows] == [1, 2, 3]
        (failure,) = after[name].failures
        assert failure.startswith("failed, a mistake (test_retry.py:")
        assert table.loc[name, "reason"] == f"run again after: {failure}"
        assert rerun(folder, name).equal
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in folder.glob("*.parquet"):
        shutil.copy(path, bare)
    assert rerun(bare, min(failed)).equal
    log = (folder / "log.txt").read_text()
    assert f"{min(failed)} is to run again; it had ended failed, a mistake" in log
    assert "changes the study" in log
    # What it found is what it would have found, but for the confirmation of what was best before.
    searched = {n: r for n, r in rows(folder).items() if n.startswith("search")}
    assert searched == {n: r for n, r in rows(sound).items() if n.startswith("search")}
    assert retry(folder) == 2
    assert "no trial of" in capsys.readouterr().err
    events = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    assert {e["trial"] for e in events if e["event"] == "retry"} == failed


def test_a_search_trial_that_becomes_the_best_is_confirmed_at_the_next_look(
    tmp_path: Path, breaks: dict[str, Any]
) -> None:
    study = dataclasses.replace(STUDY, searcher="random")
    sound = start(study, tmp_path / "sound")
    best = read_trials(sound).query("arm == 'near' and phase == 'search'")
    best = best.loc[best["score"].idxmax()]
    breaks["when"] = lambda config, run: config.x == best["x"]
    folder = start(study, tmp_path)
    assert read_record(folder).look == 0
    breaks["when"] = lambda config, run: False
    assert retry(folder, best["trial"]) == 0
    contents = read_record(folder)
    assert contents.look == 1
    table = read_trials(folder)
    confirm = table[(table["arm"] == "near") & (table["phase"] == "confirm")]
    assert confirm["superseded"].tolist() == [True, True, False, False]
    assert set(confirm[~confirm["superseded"]]["x"]) == {best["x"]}
    assert set(confirm[~confirm["superseded"]]["look"]) == {1}


@pytest.mark.on_disk
def test_optuna_hears_of_it(tmp_path: Path, breaks: dict[str, Any]) -> None:
    breaks["when"] = lambda config, run: True
    study = dataclasses.replace(STUDY, trials=2, confirm_seeds=0)
    folder = start(study, tmp_path)
    breaks["when"] = lambda config, run: False
    assert retry(folder, "search-near-000") == 1  # every trial of the other arm has failed
    for _ in range(2):  # in the storage as it is, and in one that is made anew
        known = optuna.load_study(study_name="t-near", storage=f"sqlite:///{folder}/optuna.db")
        states = [(t.user_attrs["trial"], t.state.name) for t in known.trials]
        # Each attempt once, in the order in which they were made, also after several resumes.
        assert [(name[-1], state) for name, state in states] == [
            ("0", "FAIL"), ("1", "FAIL"), ("0", "COMPLETE")
        ]  # fmt: skip
        (folder / "optuna.db").unlink(missing_ok=True)
        for _ in range(2):
            assert conduct(study, tmp_path, resume=True).status == "finished"


def test_tables_of_a_trials_own_are_those_of_the_last_attempt(
    tmp_path: Path, breaks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = toy.toy.function

    @functools.wraps(whole)
    def drawing(config: toy.ToyConfig, run: Any) -> None:
        run.artifact("curve", value=[len(tried)])
        whole(config, run)

    tried = [1]
    monkeypatch.setattr(toy.toy, "function", drawing)
    breaks["when"] = lambda config, run: True
    study = dataclasses.replace(STUDY, arms=STUDY.arms[:1], baseline="", trials=1, confirm_seeds=0)
    folder = start(study, tmp_path)
    assert read_table(folder, name="curve")["value"].tolist() == [1]
    breaks["when"], tried[:] = lambda config, run: False, [1, 1]
    assert retry(folder) == 0
    assert read_table(folder, name="curve")["value"].tolist() == [2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what MLflow uses of SQLAlchemy
def test_an_export_takes_no_epoch_of_an_earlier_attempt(
    tmp_path: Path, breaks: dict[str, Any]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    breaks["when"] = lambda config, run: True
    folder = start(dataclasses.replace(STUDY, trials=1, confirm_seeds=0), tmp_path)
    export(folder, to="mlflow", out=tmp_path)
    breaks["when"] = lambda config, run: False
    assert retry(folder) == 0
    export(folder, to="mlflow", out=tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("t").experiment_id])
    statuses = sorted((one.info.run_name, one.info.status) for one in found)
    assert statuses == [(n, end) for n in sorted(rows(folder)) for end in ("FAILED", "FINISHED")]
    for one in found:
        history = client.get_metric_history(one.info.run_id, "score")
        assert len(history) == (3 if one.info.status == "FINISHED" else 1)


def test_what_is_not_retried(
    tmp_path: Path, breaks: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    breaks["when"] = lambda config, run: config.x < 0
    folder = start(dataclasses.replace(STUDY, trials=1, confirm_seeds=0), tmp_path)
    before = (folder / "record.jsonl").read_bytes()
    for words, message in (
        (["search-near-000"], "search-near-000 is complete: retry is for trials that failed"),
        (["search-near-00"], "unknown trial 'search-near-00'"),
    ):
        assert retry(folder, *words) == 2
        assert message in capsys.readouterr().err
    with Record.reopen(folder):
        assert retry(folder) == 2
    assert f"a process works on {folder}. Stop it first: " in capsys.readouterr().err
    assert (folder / "record.jsonl").read_bytes() == before


def test_what_a_user_ended_may_run_again_if_it_is_named(tmp_path: Path) -> None:
    folder = start(dataclasses.replace(STUDY, trials=1, confirm_seeds=0), tmp_path)
    lines = events_of(folder / "record.jsonl")
    for line in lines:
        if line["event"] == "end" and line["trial"] == "search-near-000":
            line |= {"state": "pruned", "reason": "stopped by the user at epoch 3"}
    rewrite(folder / "record.jsonl", lines)
    assert retry(folder) == 2
    assert retry(folder, "search-near-000") == 0
    assert ends(folder)["search-near-000"][0] == "complete"


def test_a_retry_that_is_interrupted_goes_on(tmp_path: Path, breaks: dict[str, Any]) -> None:
    breaks["when"] = lambda config, run: True
    study = dataclasses.replace(STUDY, trials=2, confirm_seeds=0)
    folder = start(study, tmp_path)
    with Record.reopen(folder) as record:
        record.retry(["search-near-000", "search-far-001"])
    assert read_record(folder).trials["search-near-000"].state == "running"
    breaks["when"] = lambda config, run: False
    assert conduct(study, tmp_path, resume=True).status == "finished"
    states = {name: state for name, (state, _) in ends(folder).items()}
    assert states == {
        "search-near-000": "complete", "search-far-000": "failed",
        "search-near-001": "failed", "search-far-001": "complete",
    }  # fmt: skip
