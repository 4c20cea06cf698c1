"""Results: the schema, the crash-safe record of a study, and its Parquet tables.

In: what happened to trials. Out: tables that carry what their columns mean.
"""

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
from srsgd_ray.results.predictions import read_predictions, write_predictions
from srsgd_ray.results.provenance import provenance
from srsgd_ray.results.record import Record, read_record
from srsgd_ray.results.schema import Schema, schema_of
from srsgd_ray.results.tables import read_epochs, read_table, read_trials, write_tables

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
