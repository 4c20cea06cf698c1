"""Results: the one schema, the crash-safe record of a study, and its Parquet tables."""

from srsgd_ray.results.columns import (
    STATES,
    Column,
    arrow_schema,
    check_column,
    columns,
    columns_of,
    columns_to_plain,
)
from srsgd_ray.results.provenance import provenance
from srsgd_ray.results.record import Record, RecordError, TrialRecord, read_record
from srsgd_ray.results.tables import read_epochs, read_table, read_trials, write_tables

__all__ = [
    "STATES",
    "Column",
    "Record",
    "RecordError",
    "TrialRecord",
    "arrow_schema",
    "check_column",
    "columns",
    "columns_of",
    "columns_to_plain",
    "provenance",
    "read_epochs",
    "read_record",
    "read_table",
    "read_trials",
    "write_tables",
]


def __getattr__(name):
    from srsgd_ray.results import columns as c

    if name in ("EPOCH_COLUMNS", "TRIAL_COLUMNS"):
        return getattr(c, name)
    raise AttributeError(name)
