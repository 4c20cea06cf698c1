"""Which knobs a study's table shows, and their values as text."""

from __future__ import annotations

from typing import Any

import pandas as pd

from srsgd_ray.analysis.rows import searched_knobs
from srsgd_ray.results import schema_of

__all__ = ["SHORT", "knob_text", "shown_knobs"]

# Of studies of SRSGD, what is always shown, and how it is called in a narrow column.
RESTARTS = ("lr", "weight_decay", "restart_f1", "restart_growth", "restart_kind")
SHORT = {"restart_f1": "F1 (steps)", "restart_growth": "growth", "restart_kind": "restarts"}
MOST_KNOBS = 12


def shown_knobs(trials: pd.DataFrame) -> list[str]:
    """The knobs that a study's table shows: those that were searched, or that arms differ in."""
    known = schema_of(trials)
    searched = searched_knobs(trials)
    if set(RESTARTS) <= set(known):
        return list(dict.fromkeys([*RESTARTS, *searched]))[:MOST_KNOBS]
    confirm = trials[trials["phase"] == "confirm"]
    table = confirm if len(confirm) else trials
    differ = [
        name
        for name in known.named("knob")
        if name != "seed" and name not in searched and name in table
        and table[name].map(str).nunique() > 1
    ]  # fmt: skip
    return [*searched, *differ][:MOST_KNOBS]


def knob_text(value: Any) -> str:
    """A knob's value in few letters; - for none."""
    if hasattr(value, "__len__") and not isinstance(value, str):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"
