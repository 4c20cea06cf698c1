"""The schema that a table carries with it: what its columns mean, without its trainable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from srsgd_ray.knobs import one_of
from srsgd_ray.results.columns import Column, first_edition

KEY = "srsgd_ray"  # under which a frame's attrs hold it


class Schema(dict[str, Column]):
    """Columns by name. Never changed, so that pandas need not copy it with each frame."""

    def __init__(self, columns: Iterable[Column]) -> None:
        super().__init__({column.name: column for column in columns})

    @classmethod
    def of_arrow(cls, schemas: Iterable[pa.Schema]) -> Schema:
        """The union of what several tables say of their columns."""
        found: dict[str, Column] = {}
        for schema in schemas:
            for field in schema:
                column = _of_field(field)
                if field.name not in found or (column.role and not found[field.name].role):
                    found[field.name] = column
        return cls(found.values())

    def __copy__(self) -> Schema:
        return self

    def __deepcopy__(self, memo: Any) -> Schema:
        return self

    def named(self, role: str) -> list[str]:
        """The columns of a role, in order."""
        return [name for name, column in self.items() if column.role == role]

    def column(self, name: str, table: str = "trials") -> Column:
        """The column of that name; raises with the valid names otherwise."""
        one_of("column", name, self, f" of {table}")
        return self[name]

    def number(self, name: str) -> Column:
        """The column of that name, which must hold numbers."""
        column = self.column(name)
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise ValueError(
                f"a column of numbers is needed, but {name!r} holds {column.type}. "
                f"Choose one such as {', '.join(self.named('metric')[:2]) or 'number'}."
            )
        return column


def _of_field(field: pa.Field) -> Column:
    """A column from what a Parquet field says; the first edition said no role."""
    known = None if b"role" in (field.metadata or {}) else _known().get(field.name)
    return known or Column.of_field(field)


def _known() -> dict[str, Column]:
    """Columns of the first edition by name; those of trials say more."""
    both = first_edition()
    return {column.name: column for column in (*both["epochs"], *both["trials"])}


def schema_of(frame: pd.DataFrame) -> Schema:
    """What a frame's columns mean: what it carries, or what their names and types suggest."""
    carried = frame.attrs.get(KEY)
    if isinstance(carried, Schema) and all(name in carried for name in frame.columns):
        return carried
    known = {**_known(), **(dict(carried) if isinstance(carried, Schema) else {})}
    found = []
    for name in map(str, frame.columns):
        kind = pa.float64() if pd.api.types.is_float_dtype(frame[name]) else pa.string()
        kind = pa.int64() if pd.api.types.is_integer_dtype(frame[name]) else kind
        found.append(known.get(name) or Column(name, kind, ""))
    return Schema(found)
