"""Tables as JSON can hold them: names of columns and rows, with None for what is no number."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd


def plain_table(frame: pd.DataFrame) -> dict[str, Any]:
    """A table as its columns' names and its rows."""
    rows = [plain(row) for row in frame.astype(object).to_dict("records")]
    return {"columns": [str(name) for name in frame], "rows": rows}


def plain(values: dict[Any, Any]) -> dict[str, Any]:
    """A row, its names as texts."""
    return {str(name): _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    """A value as JSON holds it; what is no finite number becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable) and not isinstance(value, str | dict):
        return ", ".join(str(_value(item)) for item in value)
    return None if value is pd.NA or value is pd.NaT else value
