"""The record and its tables: nothing is lost, nothing is doubled, everything can be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made_results import made_table

from srsgd_ray.config import TrainConfig
from srsgd_ray.results import (
    Record,
    RecordError,
    arrow_schema,
    columns,
    columns_of,
    provenance,
    read_epochs,
    read_record,
    read_table,
    read_trials,
    schema_of,
    write_tables,
)
from srsgd_ray.results.columns import DESIGN, END, IDENTITY, PROVENANCE, STATE
from srsgd_ray.results.tables import Kept
from srsgd_ray.trainable import find
from srsgd_ray.trainable.protocol import SHARED

EPOCH_COLUMNS, TRIAL_COLUMNS = columns("epochs"), columns("trials")
Row = Callable[..., dict[str, Any]]
TRIAL = "search-srsgd-000"


def fill(folder: Path, row: Row, study: str = "s") -> Record:
    spec = {"baseline": "sgd", "metric": "val_error", "mode": "min"}
    record = Record.create(folder, {"study": study, "spec": spec})
    record.session(**provenance())
    for number, arm in enumerate(("srsgd", "sgd")):
        config = TrainConfig(optimizer=arm, lr_milestones=(6,)).to_dict()
        record.begin(f"search-{arm}-000", "search", arm, number, config)
    record.epoch(TRIAL, row(1, 30.0))
    record.epoch(TRIAL, row(2, 20.0))
    record.epoch(TRIAL, row(3, 25.0))
    record.end(TRIAL, "complete", parameters=123, workers=1)
    record.end("search-sgd-000", "diverged", "diverged at step 7", diverged_step=7)
    return record


def test_columns_are_unique_and_documented() -> None:
    for table in (EPOCH_COLUMNS, TRIAL_COLUMNS):
        names = [column.name for column in table]
        assert len(names) == len(set(names))
        assert all(column.doc.strip() for column in table)
    assert set(TrainConfig().to_dict()) <= {c.name for c in EPOCH_COLUMNS}
    assert set(TrainConfig().to_dict()) <= {c.name for c in TRIAL_COLUMNS}


def test_no_knob_or_metric_may_take_the_name_of_a_column_of_every_study() -> None:
    # A trainable may report train_seconds itself.
    groups = (*IDENTITY, *STATE, *END, *DESIGN, *PROVENANCE)
    own = {"epoch", "time", "epochs_done", "diverged_step", "superseded", "facts"}
    assert set(SHARED) == {column.name for column in groups} - {"train_seconds"} | own


def test_tables_hold_what_the_record_holds(tmp_path: Path, row: Row) -> None:
    with fill(tmp_path / "s", row) as record:
        write_tables(tmp_path / "s", record.contents)
    trials, epochs = read_trials(tmp_path / "s"), read_epochs(tmp_path / "s")
    assert sorted(trials.columns) == sorted(c.name for c in TRIAL_COLUMNS)
    assert list(epochs.columns) == [c.name for c in EPOCH_COLUMNS]
    done = trials.set_index("trial").loc[TRIAL]
    assert (done["state"], done["epochs_done"], done["val_error"]) == ("complete", 3, 25.0)
    assert (done["best_val_error"], done["best_epoch"], done["parameters"]) == (20.0, 2, 123)
    assert done["train_seconds"] == pytest.approx(0.75)
    assert list(done["lr_milestones"]) == [6]
    assert done["torch_version"]
    assert (done["baseline"], done["metric"], done["mode"]) == ("sgd", "val_error", "min")
    bad = trials.set_index("trial").loc["search-sgd-000"]
    assert (bad["state"], bad["diverged_step"], bad["epochs_done"]) == ("diverged", 7, 0)
    assert pd.isna(bad["val_error"])
    assert epochs["val_error"].tolist() == [30.0, 20.0, 25.0]
    assert set(epochs["optimizer"]) == {"srsgd"}
    assert pq.read_schema(tmp_path / "s" / "trials.parquet").equals(arrow_schema("trials"))


def test_a_folder_of_studies_reads_as_one_table(tmp_path: Path, row: Row) -> None:
    for study in ("a", "b"):
        with fill(tmp_path / study, row, study) as record:
            write_tables(tmp_path / study, record.contents)
    assert set(read_trials(tmp_path)["study"]) == {"a", "b"}
    assert len(read_epochs(tmp_path / "a", tmp_path / "b")) == 6
    query = f"SELECT count(*), min(val_error) FROM '{tmp_path}/*/epochs.parquet'"
    assert duckdb.sql(query).fetchall() == [(6, 20.0)]


def test_tables_of_an_older_version_are_read(tmp_path: Path, row: Row) -> None:
    with fill(tmp_path / "s", row) as record:
        write_tables(tmp_path / "s", record.contents)
    path = tmp_path / "s" / "trials.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["baseline"]), path)
    trials = read_trials(tmp_path / "s")
    assert trials["baseline"].isna().all()
    assert sorted(trials.columns) == sorted(c.name for c in TRIAL_COLUMNS)


def test_a_trial_keeps_the_session_that_it_began_in(tmp_path: Path, row: Row) -> None:
    with Record.create(tmp_path, {"study": "s"}) as record:
        for number, commit in enumerate(("first", "then")):
            record.session(commit=commit, torch_version=f"{number}.0")
            record.begin(f"t{number}", "search", "srsgd", number, {})
            record.epoch(f"t{number}", row(1, 30.0))
    # The first trial is resumed by the second session: it keeps where its seed and data came from.
    with Record.reopen(tmp_path) as record:
        for trial in ("t0", "t1"):
            record.end(trial, "complete")
        write_tables(tmp_path, record.contents)
    found = read_trials(tmp_path)[["trial", "commit", "torch_version"]].to_numpy().tolist()
    assert found == [["t0", "first", "0.0"], ["t1", "then", "1.0"]]


def test_tables_of_a_record_that_grows_are_those_that_it_makes_at_once(
    tmp_path: Path, row: Row
) -> None:
    def begin(record: Record, number: int, phase: str = "search", confirms: str = "") -> str:
        name = f"{phase}-srsgd-00{number}"
        record.begin(name, phase, "srsgd", number, TrainConfig().to_dict(), 0, confirms)
        return name

    def run(record: Record, name: str) -> None:
        record.epoch(name, row(1, 30.0))
        record.end(name, "complete")

    spec = {"baseline": "sgd", "arms": [{"name": "srsgd"}], "confirm_seeds": 1}
    kept, at_once = Kept(), tmp_path / "at once"
    at_once.mkdir()
    with Record.create(tmp_path / "s", {"study": "s", "spec": spec}) as record:
        record.session(**provenance())
        first, second = begin(record, 0), begin(record, 1)
        steps: list[Callable[[], object]] = [
            lambda: run(record, second),  # while the first one runs
            lambda: run(record, first),
            lambda: run(record, begin(record, 2)),
            lambda: record.select(0, {"srsgd": [first]}),
            lambda: run(record, begin(record, 0, "confirm", first)),
            lambda: record.select(0, {"srsgd": [second]}),  # which makes that one superseded
            lambda: record.extend({**spec, "confirm_seeds": 2}, record.contents.header, {}, ["so"]),
            lambda: run(record, begin(record, 1, "confirm", second)),
            lambda: record.extend(record.contents.header["spec"], {}, {}, ["and so"]),
        ]
        for step in steps:
            step()
            contents = record.contents.copy()
            write_tables(record.folder, contents, columns_of(find("image")), kept)
            write_tables(at_once, contents, columns_of(find("image")))
            for name in ("trials.parquet", "epochs.parquet"):
                assert (record.folder / name).read_bytes() == (at_once / name).read_bytes()
    assert read_trials(at_once)["superseded"].sum() == 1


def test_repeated_events_are_taken_once(tmp_path: Path, row: Row) -> None:
    with Record.create(tmp_path, {"study": "s"}) as record:
        assert record.begin(TRIAL, "search", "srsgd", 0, {})
        assert not record.begin(TRIAL, "search", "srsgd", 0, {})
        assert record.epoch(TRIAL, row(1, 30.0))
        assert not record.epoch(TRIAL, row(1, 99.0))
        assert record.end(TRIAL, "complete")
        assert not record.end(TRIAL, "failed")
        assert not record.epoch(TRIAL, row(2))
    again = read_record(tmp_path)
    assert [r["val_error"] for r in again.trials[TRIAL].rows] == [30.0]
    assert again.trials[TRIAL].state == "complete"


def test_a_gap_in_the_epochs_is_refused(tmp_path: Path, row: Row) -> None:
    with Record.create(tmp_path, {"study": "s"}) as record:
        record.begin(TRIAL, "search", "srsgd", 0, {})
        with pytest.raises(RecordError, match="reported epoch 2 after 0"):
            record.epoch(TRIAL, row(2))


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path, row: Row, cut: int) -> None:
    fill(tmp_path, row).close()
    path = tmp_path / "record.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert read_record(tmp_path).trials["search-sgd-000"].state == "running"
    record = Record.reopen(tmp_path)
    assert record.end("search-sgd-000", "failed", "again")
    record.close()
    assert read_record(tmp_path).trials["search-sgd-000"].state == "failed"
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_damaged_middle_is_refused_with_its_line(tmp_path: Path, row: Row) -> None:
    fill(tmp_path, row).close()
    path = tmp_path / "record.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"{broken\n", *lines[3:]]))
    with pytest.raises(RecordError, match=r"line 4 of .*record.jsonl is damaged"):
        read_record(tmp_path)


def test_only_one_process_may_write(tmp_path: Path, row: Row) -> None:
    record = fill(tmp_path, row)
    with pytest.raises(RecordError, match="another process is working on this study"):
        Record.reopen(tmp_path)
    record.close()
    Record.reopen(tmp_path).close()


@pytest.mark.parametrize(
    ("name", "message"),
    [("s", "already holds a study. Resume it with --resume"), ("file/s", "results must go into")],
)
def test_folders_that_cannot_be_used(tmp_path: Path, row: Row, name: str, message: str) -> None:
    fill(tmp_path / "s", row).close()
    (tmp_path / "file").write_text("not a folder")
    before = (tmp_path / "s" / "record.jsonl").read_bytes()
    with pytest.raises(RecordError) as error:
        Record.create(tmp_path / name, {"study": "s"})
    assert message in str(error.value)
    assert (tmp_path / "s" / "record.jsonl").read_bytes() == before


def test_missing_results_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no results: expected .*trials.parquet"):
        read_trials(tmp_path)
    with pytest.raises(RecordError, match=r"no study to resume: expected .*record.jsonl"):
        Record.reopen(tmp_path)


def test_unknown_columns() -> None:
    known = schema_of(made_table([], "epochs"))
    with pytest.raises(ValueError, match=r"unknown column 'val_acc' of epochs\. Valid: study, "):
        known.column("val_acc", "epochs")
    assert known.column("val_error", "epochs").split == "validation"


def test_a_trial_cannot_end_in_an_unknown_state(tmp_path: Path) -> None:
    with Record.create(tmp_path, {"study": "s"}) as record:
        record.begin(TRIAL, "search", "srsgd", 0, {})
        with pytest.raises(ValueError, match="a trial ends as one of"):
            record.end(TRIAL, "running")


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import make_row
from srsgd_ray.results import Record, write_tables
record = Record.create(Path({folder!r}), {{"study": "s"}})
record.begin("t", "search", "srsgd", 0, {{}})
for epoch in range(1, 100000):
    record.epoch("t", make_row(epoch))
    if epoch % 20 == 0:
        write_tables(record.folder, record.contents)
    print(epoch, flush=True)
"""


def test_kill_9_loses_no_told_row_and_tables_stay_whole(tmp_path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    deadline = time.monotonic() + 60
    told = 0
    while told < 50 and time.monotonic() < deadline:
        told = int(writer.stdout.readline())
        if told % 10 == 0 and (tmp_path / "epochs.parquet").exists():
            read_epochs(tmp_path)  # a reader never sees half a table
    os.kill(writer.pid, signal.SIGKILL)
    told = max([told, *map(int, writer.stdout.read().split())])
    writer.wait()
    writer.stdout.close()
    assert told >= 50
    rows = read_record(tmp_path).trials["t"].rows
    assert len(rows) >= told
    assert [r["epoch"] for r in rows] == list(range(1, len(rows) + 1))


def test_a_table_of_trials_own_holds_the_attempts_that_count(tmp_path: Path) -> None:
    def values() -> dict[str, list[int]]:
        write_tables(tmp_path, record.contents)
        found = read_table(tmp_path, name="curves")
        return {str(trial): list(own["value"]) for trial, own in found.groupby("trial")}

    with Record.create(tmp_path, {"study": "s"}) as record:
        record.begin("search-a-000", "search", "a", 0, {})
        record.artifact("search-a-000", "curves", {"value": [1]})
        record.end("search-a-000", "failed", "no luck")
        assert values() == {"search-a-000": [1]}
        # It runs again and makes none; another trial makes one: as many as there were.
        record.retry(["search-a-000"])
        record.end("search-a-000", "complete")
        record.begin("search-b-000", "search", "b", 0, {})
        record.artifact("search-b-000", "curves", {"value": [2]})
        record.end("search-b-000", "failed", "no luck")
        assert values() == {"search-b-000": [2]}
        record.retry(["search-b-000"])
        with pytest.raises(RecordError, match="no results"):
            values()
        assert not (tmp_path / "curves.parquet").exists()


def test_a_copy_for_another_thread_shares_nothing_that_a_running_trial_changes(
    tmp_path: Path, row: Row
) -> None:
    with Record.create(tmp_path, {"study": "s"}) as record:
        record.begin(TRIAL, "search", "srsgd", 0, {})
        copied = record.contents.copy()
        record.artifact(TRIAL, "curves", {"value": [1]})
        record.epoch(TRIAL, {**row(1, 30.0), "facts": {"host": "here"}})
        then = copied.trials[TRIAL]
        assert (then.artifacts, then.facts, then.rows) == ({}, {}, [])
