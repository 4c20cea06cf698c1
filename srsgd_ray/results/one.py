"""One trial of a folder: from the record, or from the tables of a folder that has no record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from srsgd_ray.knobs import one_of
from srsgd_ray.results.contents import TrialRecord
from srsgd_ray.results.place import RecordError
from srsgd_ray.results.record import FILE_NAME, read_record
from srsgd_ray.results.schema import Schema
from srsgd_ray.results.tables import AGAIN, columns_in
from srsgd_ray.trainable import PREDICTIONS


@dataclass(frozen=True)
class OneTrial:
    """A trial, and what is needed to run it again.

    Attributes:
        trial: what is known of it; its ``session`` says on what it ran.
        trainable: name or import path of what it ran.
        folder: where the module of that lies; "" where Python looks.
        judged: the metric that must be in every row.
        options: that the study was started with; empty if nobody knows.
        columns: of its rows, by name: what was reported, and what a clock said.
    """

    trial: TrialRecord
    trainable: str
    folder: str
    judged: str
    options: dict[str, Any]
    columns: Schema


def read_trial(folder: Path, name: str) -> OneTrial:
    """Read a trial of a study's folder; its predictions are among its artifacts.

    Raises:
        RecordError: if the folder holds neither a record nor tables.
        UnknownNameError: if there is no such trial.
    """
    found = _of_record(folder, name) if (folder / FILE_NAME).is_file() else _of_tables(folder, name)
    predicted = folder / PREDICTIONS / f"{name}.parquet"
    if predicted.is_file():
        with predicted.open("rb") as file:
            found.trial.artifacts[PREDICTIONS] = pq.read_table(file).to_pydict()
    return found


def _of_record(folder: Path, name: str) -> OneTrial:
    contents = read_record(folder)
    one_of("trial", name, contents.trials, f" of {folder}")
    header, spec = contents.header, contents.header["spec"]
    return OneTrial(
        contents.trials[name],
        spec.get("trainable", "image"),
        spec.get("trainable_folder", ""),
        spec["metric"],
        dict(header.get("options", {})),
        Schema(columns_in(contents)["epochs"]),
    )


def _of_tables(folder: Path, name: str) -> OneTrial:
    rows, schemas = {}, {}
    for table in ("trials", "epochs"):
        path = folder / f"{table}.parquet"
        if not path.is_file():
            raise RecordError(f"no study here: expected {folder / FILE_NAME}, or {path}.")
        with path.open("rb") as file:  # nulls and NaN stay apart, which pandas mixes
            found = pq.read_table(file)
        rows[table], schemas[table] = found.to_pylist(), Schema.of_arrow([found.schema])
    by_name = {row["trial"]: row for row in rows["trials"]}
    one_of("trial", name, by_name, f" of {folder}")
    row, roles = by_name[name], schemas["trials"]
    config = {k: row[k] for k in roles.named("knob") if "." not in k and row[k] is not None}
    reported = ("epoch", *schemas["epochs"].named("metric"), *schemas["epochs"].named("measure"))
    row["reason"] = (row["reason"] or "").partition(AGAIN)[0].rstrip("; ") or None
    trial = TrialRecord(
        name, row["phase"], row["arm"], row["number"], config, row["started"],
        rows=[{k: own[k] for k in reported} for own in rows["epochs"] if own["trial"] == name],
        end=None if row["state"] == "running" else row,
        session={k: row[k] for k in roles.named("provenance") if k not in ("host", "hardware")},
    )  # fmt: skip
    trainable = row.get("trainable") or "image"
    return OneTrial(trial, trainable, "", row["metric"], {}, schemas["epochs"])
