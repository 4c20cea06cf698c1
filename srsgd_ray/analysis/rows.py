"""Which rows of a trials table are meant: one study, by phase and arm, with checks."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from srsgd_ray.config import one_of
from srsgd_ray.results.columns import Column, columns

__all__ = [
    "arm_label",
    "arms",
    "baselines",
    "default_baseline",
    "finite",
    "number_column",
    "numbers",
    "restarting",
    "rows",
]

LABELS = {
    "srsgd": "SRSGD",
    "nesterov_no_restart": "Nesterov, no restart",
    "sgd": "SGD",
    "sgd_nesterov": "SGD, Nesterov",
    "sgd_plain": "SGD, no momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "radam": "RAdam",
}


def arm_label(arm: str) -> str:
    """Name of an arm for people: ``SRSGD`` for ``srsgd``, ``SRSGD late`` for ``srsgd_late``."""
    return LABELS.get(arm) or " ".join(LABELS.get(word, word) for word in arm.split("_"))


def arms(trials: pd.DataFrame) -> list[str]:
    """The arms of a study, in the order in which they first appear.

    Raises:
        ValueError: if the table holds more than one study.
    """
    if trials.empty:
        return []
    studies = [str(study) for study in trials["study"].unique()]
    if len(studies) > 1:
        raise ValueError(
            f"one study at a time can be analysed, but got {len(studies)}: "
            f"{', '.join(sorted(studies))}. Select the rows of one."
        )
    return [str(arm) for arm in trials["arm"].unique()]


def rows(trials: pd.DataFrame, phase: str, arm: str | None = None) -> pd.DataFrame:
    """The trials of one phase (search or confirm), of one arm or of all.

    Raises:
        UnknownNameError: for a phase or an arm that does not exist.
        ValueError: if the table holds more than one study.
    """
    one_of("phase", phase, ("search", "confirm"))
    valid = arms(trials)
    if arm is not None:
        one_of("arm", arm, valid)
    if not valid:
        return trials.reset_index(drop=True)
    chosen = trials[trials["phase"] == phase]
    if arm is not None:
        chosen = chosen[chosen["arm"] == arm]
    return chosen.reset_index(drop=True)


def number_column(name: str) -> Column:
    """The trials column of that name, which must hold numbers.

    Raises:
        UnknownNameError: if there is no such column.
        ValueError: if it does not hold numbers.
    """
    column = next((c for c in columns("trials") if c.name == name), None) or Column(
        name, pa.float64(), ""
    )
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise ValueError(
            f"a column of numbers is needed, but {name!r} holds {column.type}. "
            f"Choose one such as val_error or lr."
        )
    return column


def numbers(table: pd.DataFrame, name: str) -> pd.Series[float]:
    """A column as floats; what is missing becomes NaN."""
    return pd.to_numeric(table[name]).astype("float64")


def finite(values: pd.Series[float]) -> pd.Series[bool]:
    """Where a value is neither missing nor infinite."""
    return values.notna() & (values.abs() != float("inf"))


def restarting(trials: pd.DataFrame) -> list[str]:
    """The arms whose momentum is restarted."""
    return [arm for arm in arms(trials) if "srsgd" in _optimizers(trials, arm)]


def default_baseline(trials: pd.DataFrame) -> str | None:
    """The arm that the others are compared with: the study's own, if its table says.

    Otherwise ``sgd``, or else the first arm without restarts, or else the first arm; None without
    trials.
    """
    names = arms(trials)
    said = trials["baseline"].dropna() if "baseline" in trials else trials["arm"][:0]
    if len(said) and said.iloc[0] in names:
        return str(said.iloc[0])
    without = [arm for arm in names if arm not in restarting(trials)]
    preferred: Sequence[str] = ["sgd"] if "sgd" in names else [*without, *names]
    return preferred[0] if preferred else None


def baselines(trials: pd.DataFrame) -> dict[str, str]:
    """The arm that each arm is compared with, as the study says; arms without one are left out.

    A table that does not say so has one baseline for all, :func:`default_baseline`.
    """
    names = arms(trials)
    said = trials["baseline"] if "baseline" in trials else pd.Series(None, trials.index, dtype=str)
    found = dict(zip(trials["arm"], said, strict=True))
    if not any(rival in names for rival in found.values()):
        only = default_baseline(trials)
        found = dict.fromkeys(names, only)
    return {
        arm: rival
        for arm in names
        if isinstance(rival := found.get(arm), str) and rival in names and rival != arm
    }


def _optimizers(trials: pd.DataFrame, arm: str) -> set[str]:
    return set(trials.loc[trials["arm"] == arm, "optimizer"])
