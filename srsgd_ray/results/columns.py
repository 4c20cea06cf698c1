"""The one schema of all results: every column of ``epochs.parquet`` and ``trials.parquet``.

Three groups of columns stand in both tables: which trial it is, its configuration (named as the
fields of :class:`srsgd_ray.config.TrainConfig`), and what happened. Times are Unix seconds (UTC).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

import pyarrow as pa

from srsgd_ray.config import TrainConfig, UnknownNameError

__all__ = ["EPOCH_COLUMNS", "STATES", "TRIAL_COLUMNS", "Column", "arrow_schema", "columns"]

SCHEMA_VERSION = 1
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


TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

IDENTITY = (
    Column("study", TEXT, "name of the study"),
    Column("phase", TEXT, "search (a configuration is tried) or confirm (the best, again)"),
    Column("arm", TEXT, "which side of the comparison, such as srsgd or sgd"),
    Column("trial", TEXT, "name of the trial, unique in the study: phase-arm-number"),
    Column("number", WHOLE, "0-based number of the trial within its phase and arm"),
)
_ARROW = {
    str: TEXT,
    int: WHOLE,
    float: REAL,
    bool: FLAG,
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[float, ...]: pa.list_(pa.float64()),
    dict[str, Any]: TEXT,
}
CONFIG = tuple(
    Column(f.name, _ARROW[get_type_hints(TrainConfig)[f.name]], f.metadata["doc"],
           f.metadata["unit"])
    for f in dataclasses.fields(TrainConfig)
)  # fmt: skip
METRICS = (
    Column("train_loss", REAL, "mean cross entropy over the epoch's training batches", "nats"),
    Column("train_error", REAL, "training error while training, on augmented images", "%"),
    Column("val_loss", REAL, "mean cross entropy on the validation split", "nats"),
    Column("val_error", REAL, "top-1 error on the validation split", "%"),
    Column("test_loss", REAL, "mean cross entropy on the test set; where evaluated", "nats"),
    Column("test_error", REAL, "top-1 error on the test set; where evaluated", "%"),
)
EPOCH = (
    Column("epoch", WHOLE, "number of epochs finished, from 1", "epochs"),
    Column("step", WHOLE, "optimizer steps finished", "steps"),
    Column("epoch_lr", REAL, "learning rate during the epoch"),
    Column("restart_period", REAL, "steps between restarts at the epoch's end", "steps"),
    Column("restarts", WHOLE, "momentum restarts so far", "restarts"),
    *METRICS,
    Column("train_seconds", REAL, "wall time of the epoch's training", "s"),
    Column("eval_seconds", REAL, "wall time of the epoch's evaluation", "s"),
    Column("images_per_second", REAL, "training images a second, all workers together", "1/s"),
    Column("skipped_images", WHOLE, "images left out as unreadable, of all parts", "images"),
    Column("time", REAL, "when the epoch ended", "s"),
)
OUTCOME = (
    Column("state", TEXT, "; ".join(f"{name}: {doc}" for name, doc in STATES.items())),
    Column("reason", TEXT, "why it ended, unless complete"),
    Column("epochs_done", WHOLE, "epochs finished", "epochs"),
    Column("diverged_step", WHOLE, "step of the first non-finite loss", "steps"),
    *(dataclasses.replace(c, doc=c.doc.replace("; where evaluated", "") + ", last epoch done")
      for c in METRICS),
    Column("best_test_error", REAL, "lowest test error over the epochs, chosen by itself", "%"),
    Column("best_test_epoch", WHOLE, "first epoch that reached best_test_error", "epochs"),
    Column("best_val_error", REAL, "lowest validation error over the epochs", "%"),
    Column("best_epoch", WHOLE, "first epoch that reached best_val_error", "epochs"),
    Column("parameters", WHOLE, "trainable parameters of the network"),
    Column("workers", WHOLE, "worker processes of the trial"),
    Column("train_seconds", REAL, "sum over the epochs", "s"),
    Column("started", REAL, "when the trial was handed out first", "s"),
    Column("ended", REAL, "when it ended", "s"),
)  # fmt: skip
PROVENANCE = (
    Column("schema_version", WHOLE, "version of this schema"),
    Column("commit", TEXT, "git commit of the code, with +dirty if it was changed"),
    Column("host", TEXT, "machine of the first worker"),
    Column("hardware", TEXT, "processor or GPU of the first worker"),
    Column("python_version", TEXT, "version of Python"),
    Column("srsgd_ray_version", TEXT, "version of this package"),
    Column("torch_version", TEXT, "version of torch"),
    Column("ray_version", TEXT, "version of Ray"),
    Column("optuna_version", TEXT, "version of Optuna"),
)
DESIGN = (
    Column("baseline", TEXT, "arm that this arm is compared with; none if it is itself a baseline"),
    Column("metric", TEXT, "column of the epochs table that the search judged by, last epoch"),
    Column("mode", TEXT, "min or max: which end of it is better"),
    Column("pareto", FLAG, "whether the search had a second aim, few epochs"),
    Column("protocol", TEXT, "named set of fields that the study was run with, if it has such"),
)
EPOCH_COLUMNS = IDENTITY + EPOCH + CONFIG
TRIAL_COLUMNS = IDENTITY + OUTCOME + CONFIG + DESIGN + PROVENANCE


def columns(table: Table) -> tuple[Column, ...]:
    """The columns of one of the two tables, in order."""
    return EPOCH_COLUMNS if table == "epochs" else TRIAL_COLUMNS


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of one of the two tables; each field carries its doc and unit."""
    return pa.schema(
        [pa.field(c.name, c.type, metadata={"doc": c.doc, "unit": c.unit}) for c in columns(table)],
        metadata={"srsgd_ray_schema": str(SCHEMA_VERSION)},
    )


def check_column(name: str, table: Table) -> str:
    """Return ``name`` if the table has such a column, else raise with the list of valid ones."""
    valid = [c.name for c in columns(table)]
    if name not in valid:
        raise UnknownNameError(f"unknown column {name!r} of {table}. Valid: {', '.join(valid)}.")
    return name
