"""Results: the schema, the crash-safe record of a study, and its Parquet tables.

In: what happened to trials. Out: tables that carry what their columns mean. What needs pandas is
loaded when it is first used, for a worker needs none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from srsgd_ray.results.columns import (
    STATES,
    Column,
    Columns,
    arrow_schema,
    columns,
    columns_from_plain,
    columns_of,
    columns_to_plain,
)
from srsgd_ray.results.contents import TrialRecord
from srsgd_ray.results.place import RecordError
from srsgd_ray.results.provenance import provenance
from srsgd_ray.results.record import Record, read_record

if TYPE_CHECKING:
    from srsgd_ray.results.predictions import read_predictions, write_predictions
    from srsgd_ray.results.reading import read_epochs, read_table, read_trials
    from srsgd_ray.results.schema import Schema, schema_of
    from srsgd_ray.results.tables import write_tables

# Where what needs pandas stands.
_LATER = {
    "reading": ("read_epochs", "read_table", "read_trials"),
    "predictions": ("read_predictions", "write_predictions"),
    "schema": ("Schema", "schema_of"),
    "tables": ("write_tables",),
}

__all__ = [
    "STATES",
    "Column",
    "Columns",
    "Record",
    "RecordError",
    "Schema",
    "TrialRecord",
    "arrow_schema",
    "columns",
    "columns_from_plain",
    "columns_of",
    "columns_to_plain",
    "provenance",
    "read_epochs",
    "read_predictions",
    "read_record",
    "read_table",
    "read_trials",
    "schema_of",
    "write_predictions",
    "write_tables",
]


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
