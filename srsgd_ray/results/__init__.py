"""Results: the one schema, the crash-safe record of a study, and its Parquet tables."""

from srsgd_ray.results.columns import (
    EPOCH_COLUMNS,
    STATES,
    TRIAL_COLUMNS,
    Column,
    arrow_schema,
    check_column,
    columns,
)
from srsgd_ray.results.provenance import provenance
from srsgd_ray.results.record import Record, RecordError, TrialRecord, read_record
from srsgd_ray.results.tables import read_epochs, read_trials, write_tables

__all__ = [
    "EPOCH_COLUMNS",
    "STATES",
    "TRIAL_COLUMNS",
    "Column",
    "Record",
    "RecordError",
    "TrialRecord",
    "arrow_schema",
    "check_column",
    "columns",
    "provenance",
    "read_epochs",
    "read_record",
    "read_trials",
    "write_tables",
]
