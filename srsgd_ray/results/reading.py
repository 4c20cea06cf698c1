"""Parquet to pandas: the tables of studies, as their records have them.

A table that lags behind its record, after a crash or while the study runs, is made from the record,
in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from srsgd_ray.results.columns import Columns, arrow_schema, first_edition
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.place import RecordError
from srsgd_ray.results.record import holds_line, only_paused, read_record
from srsgd_ray.results.schema import KEY, Schema
from srsgd_ray.results.tables import ROWS, SIZE, columns_in, made, of_name, stamp

SHARED = (b"identity", b"design", b"provenance")  # roles of columns that every study has


def frames(contents: Contents) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of trials and of epochs of a record, as they are read from Parquet."""
    return frame(contents, "trials"), frame(contents, "epochs")


def frame(contents: Contents, name: str, columns: Columns | None = None) -> pd.DataFrame:
    """The same of one; its columns are those that the record says, unless they are given."""
    return _framed([made(contents, name, columns or columns_in(contents))])


def read_epochs(*paths: Path | str) -> pd.DataFrame:
    """One row an epoch: of a study's folder, of several, or of a folder of studies.

    What a study does not have of the columns of all of them is missing in its rows. Where the
    record knows more than the tables, as after a crash or while the study runs, it is read.

    Raises:
        RecordError: if no table is found, or two studies have one column with different types.
    """
    return _read("epochs", paths)


def read_trials(*paths: Path | str) -> pd.DataFrame:
    """One row a trial; otherwise as :func:`read_epochs`."""
    return _read("trials", paths)


def read_table(*paths: Path | str, name: str = "") -> pd.DataFrame:
    """A table that trials made themselves: ``read_table(folder, name="curves")``."""
    if not name:
        *paths_, name = paths  # type: ignore[assignment]
        return _read(str(name), paths_)
    return _read(name, paths)


def _read(name: str, paths: Iterable[Path | str]) -> pd.DataFrame:
    files: list[Path] = []
    tables: list[pa.Table] = []
    for own in (Path(path) / f"{name}.parquet" for path in paths):
        inside = [own] if _holds(own) else sorted(f / own.name for f in own.parent.glob("*"))
        found = {file: table for file in inside if (table := _table(file)) is not None}
        if not found:
            raise RecordError(f"no results: expected {own}, or studies with {name}.parquet in it.")
        files += found
        tables += found.values()
    _check_types(tables, files)
    return _framed(tables)


def _holds(path: Path) -> bool:
    return path.is_file() or holds_line(path.parent)


def _table(path: Path) -> pa.Table | None:
    """A table as the record has it, if there is one; None if neither is there."""
    name, folder, table = path.stem, path.parent, None
    size = stamp(folder / "trials.parquet", SIZE)  # first: what is written meanwhile is newer
    if path.is_file():
        # Opened once: pyarrow opens a path twice, and a study may replace it in between.
        with path.open("rb") as opened:
            table = pq.read_table(opened)
    if holds_line(folder):
        if name in ROWS:
            size = None if table is None else (table.schema.metadata or {}).get(SIZE)
        if size is None or not only_paused(folder, int(size)):
            contents = read_record(folder)
            if contents.trials if name in ROWS else of_name(contents, name):
                return made(contents, name, columns_in(contents))
            if name not in ROWS:
                return None  # no trial has it any more
    return None if table is None else _whole(name, table)


def _framed(tables: list[pa.Table]) -> pd.DataFrame:
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    frame.attrs[KEY] = Schema.of_arrow([table.schema for table in tables])
    return frame


def _whole(name: str, table: pa.Table) -> pa.Table:
    """A table of an older version with all columns that it should have, empty where it had none.

    Folders of the first edition do not say what their columns are: they are image classification.
    """
    if name not in first_edition():
        return table
    there = set(table.column_names)
    schema = arrow_schema(name)
    if any(b"role" in (field.metadata or {}) for field in table.schema):
        shared = [f for f in schema if f.name not in there and f.metadata[b"role"] in SHARED]
        schema = pa.schema([*table.schema, *shared], metadata=table.schema.metadata)
    made = [
        table[f.name].cast(f.type) if f.name in there else pa.nulls(len(table), f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(made, schema=schema)


def _check_types(tables: list[pa.Table], files: list[Path]) -> None:
    """Whole numbers and others may be mixed; every other difference of types is refused."""
    seen: dict[str, tuple[pa.DataType, Path]] = {}
    for table, file in zip(tables, files, strict=True):
        for field in table.schema:
            was, first = seen.setdefault(field.name, (field.type, file))
            alike = was == field.type or pa.types.is_null(was) or pa.types.is_null(field.type)
            if not alike and not (_number(was) and _number(field.type)):
                raise RecordError(
                    f"a column must have one type in all studies that are read together, but "
                    f"{field.name} is {was} in {first.parent} and {field.type} in {file.parent}. "
                    f"Read them one after the other."
                )


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
