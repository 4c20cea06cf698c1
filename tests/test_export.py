"""Exports: each tool's own reader finds what the Parquet holds, however often it is written."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from made_results import confirm_runs, made_epochs, made_trial
from optuna.distributions import FloatDistribution

from srsgd_ray import Arm, Study
from srsgd_ray.cli import main
from srsgd_ray.export import export
from srsgd_ray.export import tensorboard as events
from srsgd_ray.export.runs import exported, run_of
from srsgd_ray.export.tensorboard import FILE
from srsgd_ray.export.wandb import name_of
from srsgd_ray.results import arrow_schema, read_epochs, read_record, read_trials, schema_of
from srsgd_ray.results.tables import columns_in
from srsgd_ray.study import run

NASTY = "lost | a & b_c: </script> 5 % \\ of $x$"
SPACE = json.dumps({"lr": {"low": 0.001, "high": 1.0}, "restart_f1": {"low": 2, "high": 64}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a trial of each state, one that never reported, and metrics that are missing."""
    design = {"metric": "val_error", "mode": "min", "confirm_metric": "test_error"}
    shared: dict[str, Any] = {"search_space": SPACE, "baseline": "sgd", "seed": 5, **design}
    rows = [
        made_trial("srsgd", 0, val_error=30.0, lr=1 / 3, restart_f1=7.0, epochs_done=2,
                   started=10.5, parameters=77, **shared),
        made_trial("srsgd", 1, "diverged", reason=NASTY, epochs_done=1, lr=1e-300,
                   diverged_step=17, started=11.5, **shared),
        made_trial("srsgd", 2, "pruned", epochs_done=1, started=12.5, **shared),
        made_trial("srsgd", 3, "failed", reason="no", epochs_done=0, started=13.5, **shared),
        made_trial("sgd", 0, "running", epochs_done=1, started=14.5, lr_milestones=[3, 4]),
    ]  # fmt: skip
    of_arms = (("srsgd", [2.0, 2.5, 1.5], shared), ("sgd", [3.0, 3.25, None], design))
    for arm, errors, more in of_arms:
        more = {name: value for name, value in more.items() if name != "seed"}
        rows += confirm_runs(arm, errors, started=20.0, epochs_done=2, **more)
    found: Path = tmp_path_factory.mktemp("made")
    made = made_epochs([row for row in rows if row["epochs_done"]], validated=True)
    for row in made:
        row["time"] = 100.0 + row["epoch"] / 3
        row["val_loss"] = math.nan if row["arm"] == "sgd" else 1e-9 * row["epoch"]
    for name, table in (("trials", rows), ("epochs", made)):
        pq.write_table(
            pa.Table.from_pylist(table, schema=arrow_schema(name)), found / f"{name}.parquet"
        )
    return found


def scalars(folder: Path) -> dict[str, dict[str, dict[int, float]]]:
    """By trial and metric, what was reported by epoch."""
    epochs = read_epochs(folder)
    schema = schema_of(epochs)
    names = {*schema.named("metric"), *schema.named("measure")} - {"time"}
    found: dict[str, dict[str, dict[int, float]]] = {t: {} for t in read_trials(folder)["trial"]}
    for row in epochs.to_dict("records"):
        for name in names:
            if math.isfinite(row[name]):
                found[row["trial"]].setdefault(name, {})[row["epoch"]] = row[name]
    return found


def twice(folder: Path, to: str, out: Path, look: Callable[[], Any]) -> Any:
    """Export, and export again: a reader must find the same."""
    export(folder, to=to, out=out)
    first = look()
    export(folder, to=to, out=out)
    assert look() == first
    return first


def only(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run under the names that are compared."""
    return {name: values for name, values in found.items() if name in wanted}


def read_events(folder: Path) -> tuple[dict[str, dict[int, float]], dict[str, str], Any]:
    """A run's scalars by tag and step, its texts, and its hyperparameters and status."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    values: dict[str, dict[int, float]] = {}
    for tag in found.Tags()["scalars"]:
        steps = [event.step for event in found.Scalars(tag)]
        assert len(steps) == len(set(steps)), f"{tag} of {folder} has an epoch twice"
        values[tag] = {event.step: event.value for event in found.Scalars(tag)}
    texts, session = {}, {}
    for tag in found.Tags()["tensors"]:
        content = found.SummaryMetadata(tag).plugin_data.content
        if tag == metadata.SESSION_START_INFO_TAG:
            for name, value in metadata.parse_session_start_info_plugin_data(
                content
            ).hparams.items():
                session[name] = getattr(value, value.WhichOneof("kind"))
        elif tag == metadata.SESSION_END_INFO_TAG:
            session["status"] = metadata.parse_session_end_info_plugin_data(content).status
        else:
            (event,) = found.Tensors(tag)
            texts[tag] = event.tensor_proto.string_val[0].decode()
    return values, texts, session


def check_events(folder: Path, logs: Path) -> None:
    """Hold event files against the Parquet; a scalar has the precision of a float32 there."""
    wanted = scalars(folder)
    assert {p.parent.name for p in logs.glob("*/*tfevents*")} == {*wanted, "study"}
    for trial, metrics in wanted.items():
        values, _, _ = read_events(logs / trial)
        assert only(values, metrics) == {
            name: {step: float(np.float32(v)) for step, v in by_step.items()}
            for name, by_step in metrics.items()
        }


def test_tensorboard_reads_what_the_tables_hold(folder: Path, tmp_path: Path) -> None:
    logs = tmp_path / "made"

    def look() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert len(twice(folder, "tensorboard", tmp_path, look)) == 12
    check_events(folder, logs)
    values, texts, session = read_events(logs / "search-srsgd-001")
    assert session == {"arm": "srsgd", "phase": "search", "search": 0.0, "lr": 1e-300,
                       "restart_f1": session["restart_f1"], "seed": 5.0, "status": 2}  # fmt: skip
    assert values["end/diverged_step"] == {1: 17.0}
    assert "</script\\> 5 % " in texts["end"] and "| optimizer | srsgd |" in texts["configuration"]
    assert read_events(logs / "search-srsgd-003")[2]["status"] == 2
    assert read_events(logs / "search-srsgd-002")[2]["status"] == 1  # pruned, not failed
    assert "status" not in read_events(logs / "search-sgd-000")[2]  # it runs
    said = read_events(logs / "study")[1]
    assert said["verdict"] == "\n\n".join(exported(folder).verdicts) and "SRSGD" in said["verdict"]
    assert "**val_error**: top-1 error" in said["metrics"] and "lower is better" in said["metrics"]


def test_csv_is_the_parquet(folder: Path, tmp_path: Path) -> None:
    twice(
        folder, "csv", tmp_path, lambda: [p.read_bytes() for p in sorted(tmp_path.rglob("*.csv"))]
    )
    for name, table in (("trials", read_trials(folder)), ("epochs", read_epochs(folder))):
        found = pd.read_csv(tmp_path / "made" / f"{name}.csv")
        assert list(found.columns) == list(table.columns)
        for column in table:
            for value, was in zip(found[column], table[column], strict=True):
                if isinstance(was, np.ndarray):
                    was = ";".join(map(str, was)) or math.nan
                was = math.nan if was is None or was == "" else was
                assert value == was or (value != value and was != was), (name, column)


@pytest.mark.parametrize(("to", "ending"), [("markdown", "md"), ("latex", "tex")])
def test_trials_in_a_text_have_all_digits(
    folder: Path, tmp_path: Path, to: str, ending: str
) -> None:
    export(folder, to=to, out=tmp_path)
    text = (tmp_path / "made" / f"search.{ending}").read_text(encoding="utf-8")
    cut = r"(?<!\\) & " if to == "latex" else r"(?<!\\) \| "
    lines = [
        [cell.replace("\\", "") for cell in re.split(cut, line.removesuffix(r" \\").strip("| "))]
        for line in text.splitlines()
        if re.search(cut, line) and "---" not in line
    ]
    rows = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
    search = read_trials(folder).query("phase == 'search'").set_index("trial")
    assert set(rows) == set(search.index)
    for trial, own in rows.items():
        if trial.startswith("search-srsgd"):  # the other arm searched nothing
            assert float(own["lr"]) == search["lr"][trial]
        assert own["state"] == search["state"][trial]
    whole = (tmp_path / "made" / f"study.{ending}").read_text(encoding="utf-8")
    assert "SRSGD has a lower test error than SGD" in whole or "Not enough" in whole


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what it uses of SQLAlchemy
def test_mlflow_reads_what_the_tables_hold(folder: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    from mlflow.entities import ViewType

    wanted = scalars(folder)

    def look() -> dict[str, Any]:
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("made")
        assert experiment.tags["mlflow.note.content"] == exported(folder).about()
        found = {}
        for one in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL):
            history = {
                name: [(m.step, m.value) for m in client.get_metric_history(one.info.run_id, name)]
                for name in one.data.metrics
            }
            assert one.info.run_name not in found
            found[one.info.run_name] = (one.info.status, one.data.tags, one.data.params, history)
        return found

    runs = twice(folder, "mlflow", tmp_path, look)
    assert set(runs) == set(wanted)
    table = read_trials(folder).set_index("trial")
    status = {"complete": "FINISHED", "running": "RUNNING", "pruned": "KILLED"}
    for trial, (ended, tags, params, history) in runs.items():
        assert {n: dict(h) for n, h in only(history, wanted[trial]).items()} == wanted[trial]
        assert all(len(steps) == len(dict(steps)) for steps in history.values())
        assert ended == status.get(table["state"][trial], "FAILED")
        assert (tags["phase"], tags["arm"]) == (table["phase"][trial], table["arm"][trial])
        assert float(params["lr"]) == table["lr"][trial]
    assert runs["search-srsgd-001"][1]["reason"] == NASTY
    assert runs["search-sgd-000"][2]["lr_milestones"] == "[3, 4]"


def test_wandb_reads_what_the_tables_hold(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    wanted = scalars(folder)

    def look() -> dict[str, int]:
        return {str(p): p.stat().st_ino for p in tmp_path.glob("wandb/offline-run-*/*.wandb")}

    assert len(twice(folder, "wandb", tmp_path, look)) == len(wanted)
    study = exported(folder)
    table = read_trials(folder).set_index("trial")
    for own in study.runs[1], study.runs[4], study.runs[5]:  # diverged, running, complete
        (place,) = tmp_path.glob(f"wandb/*{name_of(study, own)}/*.wandb")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        (begun,) = (record["run"] for record in records if record["type"] == "run")
        config = begun["config"]["update"]
        assert (begun["display_name"], begun["project"]) == (own.trial, "made")
        assert config["lr"] == table["lr"][own.trial]
        assert config["srsgd_ray"]["phase"] == own.phase
        assert config["srsgd_ray"].get("reason", "") == table["reason"].fillna("")[own.trial]
        found: dict[str, dict[int, float]] = {}
        for item in (r["history"]["item"] for r in records if r["type"] == "history"):
            for name, value in item.items():
                found.setdefault(name, {})[item["_step"]] = value
        assert only(found, wanted[own.trial]) == wanted[own.trial]
        assert records[-1]["exit"]["exit_code"] == (own.state == "diverged")


def test_trackio_reads_what_the_tables_hold(folder: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("trackio") is None:  # once imported, it keeps its folder
        pytest.skip("trackio is not installed")
    wanted = scalars(folder)

    def look() -> dict[str, Any]:
        from trackio import Api
        from trackio.sqlite_storage import SQLiteStorage

        return {one.name: (one.config, SQLiteStorage.get_logs("made", one.name, run_id=one.id))
                for one in Api().runs("made")}  # fmt: skip

    runs = twice(folder, "trackio", tmp_path, look)
    table = read_trials(folder).set_index("trial")
    assert set(runs) == set(wanted)
    for trial, (config, logs) in runs.items():
        found: dict[str, dict[int, float]] = {}
        for line in logs:
            for name, value in line.items():
                assert line["step"] not in found.get(name, {}) or name in ("step", "timestamp")
                found.setdefault(name, {})[line["step"]] = value
        steps = wanted[trial].pop("step", {})  # trackio's own word, for the epoch here
        assert set(steps) <= set(found["step"])
        assert only(found, wanted[trial]) == wanted[trial]
        assert config["lr"] == table["lr"][trial]
        assert config["srsgd_ray"]["state"] == table["state"][trial]


def test_what_cannot_be_exported_is_one_message(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for words, said in (
        ([str(tmp_path), "--to", "csv"], "no results: expected"),
        ([str(folder), "--to", "cvs"], "unknown format 'cvs'"),
        ([str(folder), "--to", "csv", "--out", str(tmp_path / "taken" / "x")], "cannot"),
        ([str(folder), str(folder), "--to", "csv", "--out", "x"], "'made' stands for several"),
        ([str(folder), "--to", "mlflow", "--out", str(tmp_path / "x")], "pip install"),
    ):
        assert main(["export", *words]) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert main(["export", str(folder), "--to", "csv", "--out", str(tmp_path / "x")]) == 0
    assert f"made: 11 trials in {tmp_path / 'x' / 'made'}" in capsys.readouterr().out


STUDY = Study(
    name="live",
    question="Is it seen?",
    trainable=toy.toy,
    arms=(
        Arm("near", {"x": FloatDistribution(0.0, 1.0)}, fixed={"wait": 0.05}),
        Arm("bad", fixed={"wrong": "diverge"}, trials=0),
    ),
    baseline="bad",
    trials=2,
    confirm_seeds=2,
)


def test_events_are_written_while_the_study_runs_and_a_resume_continues_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: None
) -> None:
    from srsgd_ray.export import live

    monkeypatch.setattr(live, "EVERY", 0.01)
    monkeypatch.setattr(live, "SHARE", 0.0)
    seen, put = set(), events.put
    monkeypatch.setattr(
        events, "put", lambda place, run: (seen.add((run.state, run.last)), put(place, run))
    )
    run(STUDY, results=tmp_path, backend="local", tensorboard=True)
    folder = tmp_path / "live"
    logs = folder / "tensorboard"
    assert {("complete", 3), ("diverged", 1)} <= seen
    assert any(state == "running" and epochs for state, epochs in seen)
    check_events(folder, logs)
    assert "no seed is complete in both" in read_events(logs / "study")[1]["verdict"]
    assert read_events(logs / "study")[1]["question"] == "Is it seen?"
    whole = {path: path.read_bytes() for path in logs.rglob("*tfevents*")}
    export(folder, to="tensorboard")
    assert {path: path.read_bytes() for path in logs.rglob("*tfevents*")} == whole

    contents = read_record(folder)  # it gives the runs that the Parquet gives
    columns = columns_in(contents)
    assert [run_of(contents, name, columns) for name in contents.trials] == exported(folder).runs

    lines = (folder / "record.jsonl").read_bytes().splitlines(keepends=True)
    at = [i for i, line in enumerate(lines) if json.loads(line)["event"] == "epoch"][4]
    (folder / "record.jsonl").write_bytes(b"".join(lines[: at + 1]))  # of the second trial
    begun = logs / "search-near-001" / FILE
    begun.write_bytes(begun.read_bytes()[:-700])  # torn in a record
    run(STUDY, results=tmp_path, backend="local", tensorboard=True, resume=True)
    check_events(folder, logs)
    first = logs / "search-near-000" / FILE
    assert first.read_bytes() == whole[first]


def test_events_that_cannot_be_written_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_memory: None
) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "tensorboard").touch()
    result = run(STUDY, results=tmp_path, backend="local", tensorboard=True)
    assert result.status == "finished"
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "TensorBoard's files are not written any more: " in line and "\n" not in line


def test_tensorboard_that_is_missing_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ValueError, match=r"tensorboard is needed.*pip install"):
        run(STUDY, results=tmp_path, backend="local", tensorboard=True)
    assert not list(tmp_path.iterdir())
