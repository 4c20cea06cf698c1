"""The one schema of all results: every column of ``epochs.parquet`` and ``trials.parquet``.

Three groups of columns stand in both tables: which trial it is, its configuration (named as the
fields of :class:`srsgd_ray.config.TrainConfig`), and what happened. Times are Unix seconds (UTC).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from srsgd_ray.knobs import UnknownNameError, knob_types
from srsgd_ray.trainable import Trainable, find

SCHEMA_VERSION = 2
Table = Literal["epochs", "trials"]

STATES = {
    "running": "not ended yet, or its driver died: `--resume` goes on with it",
    "complete": "reached its last epoch",
    "pruned": "stopped early by the scheduler",
    "diverged": "a non-finite loss ended it; `reason` says at which step",
    "failed": "a crash that retries did not mend; `reason` holds the error",
}


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type, unit ("" for none) and meaning."""

    name: str
    type: pa.DataType
    doc: str
    unit: str = ""
    role: str = ""
    better: str = ""
    split: str = ""


TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TYPES = {
    str: TEXT, int: WHOLE, float: REAL, bool: FLAG, tuple[int, ...]: pa.list_(WHOLE),
    tuple[float, ...]: pa.list_(REAL), tuple[str, ...]: pa.list_(TEXT), dict[str, Any]: TEXT,
}  # fmt: skip


def columns_of(
    trainable: Trainable, extra: Mapping[str, type] | None = None
) -> dict[Table, tuple[Column, ...]]:
    config = trainable.Config
    types = knob_types(config)
    knobs = [
        Column(
            f.name,
            TYPES[types[f.name]],
            f.metadata.get("doc", ""),
            f.metadata.get("unit", ""),
            "knob",
        )
        for f in dataclasses.fields(config)
    ]
    if "seed" not in types:
        knobs.append(Column("seed", WHOLE, "seed of the trial", role="knob"))
    knobs += [Column(n, TYPES[t], "", role="knob") for n, t in (extra or {}).items()]
    ident = [
        Column(n, WHOLE if n == "number" else TEXT, "", role="identity")
        for n in ("study", "phase", "arm", "trial", "number")
    ]
    metrics = [
        Column(
            m.name,
            TYPES[m.kind],
            m.doc,
            m.unit,
            "metric" if m.better else "measure",
            m.better,
            m.split,
        )
        for m in trainable.metrics
    ]
    names = [m.name for m in trainable.metrics]
    shared = [
        Column(n, REAL, "", "s", "measure") for n in ("train_seconds", "time") if n not in names
    ]
    best = []
    for m in trainable.metrics:
        if m.best_at:
            best += [
                Column(f"best_{m.name}", REAL, "", m.unit, "outcome"),
                Column(m.best_at, WHOLE, "", "epochs", "outcome"),
            ]
    out = [
        Column(n, t, "", role="outcome")
        for n, t in (
            ("state", TEXT),
            ("reason", TEXT),
            ("epochs_done", WHOLE),
            ("diverged_step", WHOLE),
        )
    ]
    out += (
        [c for c in metrics if c.role == "metric"]
        + [c for c in metrics if c.role == "measure" and c.name != "train_seconds"]
        + best
    )
    out += [
        Column(n, t, "", role="outcome")
        for n, t in (
            ("parameters", WHOLE),
            ("workers", WHOLE),
            ("train_seconds", REAL),
            ("started", REAL),
            ("ended", REAL),
        )
    ]
    design = [
        Column(n, FLAG if n == "pareto" else TEXT, "", role="design")
        for n in (
            "baseline",
            "metric",
            "mode",
            "pareto",
            "protocol",
            "confirm_metric",
            "tie_break",
            "pareto_metric",
            "trainable",
        )
    ]
    prov = [
        Column(n, WHOLE if n == "schema_version" else TEXT, "", role="provenance")
        for n in (
            "schema_version",
            "commit",
            "host",
            "hardware",
            "python_version",
            "srsgd_ray_version",
            "torch_version",
            "ray_version",
            "optuna_version",
        )
    ]
    return {
        "epochs": tuple(
            [*ident, Column("epoch", WHOLE, "", "epochs", "budget"), *metrics, *shared, *knobs]
        ),
        "trials": tuple([*ident, *out, *knobs, *design, *prov]),
    }


def columns_to_plain(columns: Any) -> Any:
    return {
        t: [
            {**dataclasses.asdict(dataclasses.replace(c, type=None)), "type": str(c.type)}
            for c in cs
        ]
        for t, cs in columns.items()
    }


@functools.cache
def _default() -> Any:
    return columns_of(find("image"))


def columns(table: Table) -> tuple[Column, ...]:
    return tuple(_default()[table])


def arrow_schema(table: Table, given: Any = None) -> pa.Schema:
    return pa.schema(
        [
            pa.field(c.name, c.type, metadata={"doc": c.doc, "unit": c.unit})
            for c in (given or _default())[table]
        ],
        metadata={"srsgd_ray_schema": str(SCHEMA_VERSION)},
    )


def check_column(name: str, table: Table) -> str:
    valid = [c.name for c in columns(table)]
    if name not in valid:
        raise UnknownNameError(f"unknown column {name!r} of {table}. Valid: {', '.join(valid)}.")
    return name


def __getattr__(name: str) -> Any:
    if name == "EPOCH_COLUMNS":
        return columns("epochs")
    if name == "TRIAL_COLUMNS":
        return columns("trials")
    raise AttributeError(name)
