"""What an Optuna database in SQLite holds, read as rows: Optuna's own reader takes 1 ms a trial."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.results.log import one_line
from srsgd_ray.results.place import free_name
from srsgd_ray.study.view import differ

BESIDE = ("", "-journal", "-wal", "-shm")  # SQLite would take a journal for that of the new file
LOCK_WAIT = 60.0  # seconds: a dashboard may read while the study writes
CHILDREN = ("trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes")


def connect(file: Path) -> sqlite3.Connection:
    """Open a database; a path stays out of a URL: no escape takes "?", "#" or "%" in it."""
    return sqlite3.connect(file, timeout=LOCK_WAIT, check_same_thread=False)


def open_storage(file: Path) -> RDBStorage:
    """Optuna's storage in ``file``, made if missing.

    Raises:
        ValueError: if the file cannot be opened.
    """
    try:
        creator = {"creator": lambda: connect(file)}
        return RDBStorage("sqlite:///optuna.db", engine_kwargs=creator)
    except Exception as error:
        message = f"the Optuna storage must be writable, but {file} is not: {error}"
        raise ValueError(message) from error


@dataclass
class There:
    """A trial in the database, with the names that Optuna's ``FrozenTrial`` has."""

    trial_id: int
    number: int
    state: TrialState
    values: list[float] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    intermediate_values: dict[int, float] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)


_of_json = cache(json_to_distribution)


def name_of(attributes: Mapping[str, Any]) -> str:
    """What a trial with these attributes is called: trial, or prior, of the record."""
    return str(attributes.get("trial") or attributes.get("prior") or "")


def read_trials(connection: sqlite3.Connection, study: int) -> dict[str, list[There]]:
    """The trials of an Optuna study by name, each attempt."""
    found: dict[int, There] = {}
    of_study = "WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"
    for id_, number, state in connection.execute(
        "SELECT trial_id, number, state FROM trials WHERE study_id = ? ORDER BY number", (study,)
    ):
        found[id_] = There(id_, number, TrialState[state])
    for id_, name, value, text in connection.execute(
        f"SELECT trial_id, param_name, param_value, distribution_json FROM trial_params {of_study}",
        (study,),
    ):
        found[id_].distributions[name] = spread = _of_json(text)
        found[id_].params[name] = spread.to_external_repr(value)
    for id_, value in connection.execute(
        f"SELECT trial_id, value FROM trial_values {of_study} ORDER BY objective", (study,)
    ):
        found[id_].values = [*(found[id_].values or []), value]
    for id_, step, value in connection.execute(
        f"SELECT trial_id, step, intermediate_value FROM trial_intermediate_values {of_study}",
        (study,),
    ):
        found[id_].intermediate_values[step] = value
    for id_, key, text in connection.execute(
        f"SELECT trial_id, key, value_json FROM trial_user_attributes {of_study}", (study,)
    ):
        found[id_].user_attrs[key] = json.loads(text)
    named: dict[str, list[There]] = {}
    for one in found.values():
        named.setdefault(name_of(one.user_attrs), []).append(one)
    return named


def contradiction(
    there: Mapping[str, Sequence[There]], wanted: Mapping[str, Sequence[FrozenTrial]]
) -> str:
    """What a database says that the record does not, or "" if it only lags behind."""
    for name in there.keys() - wanted.keys():
        return f"{name or 'a trial'} is not in the record"
    missing = ""
    for name, attempts in wanted.items():
        own = there.get(name, [])
        if not own:
            missing = missing or name
        elif missing:
            return f"{missing} is missing"
        elif len(own) not in (len(attempts), max(1, len(attempts) - 1)):
            return f"{name} is there {len(own)} times instead of {len(attempts)}"
        elif len(own) == len(attempts) and (said := differ(own[-1], attempts[-1])):
            return f"{name} {said}"
    priors = [there[n][0].number for n, (one, *_) in wanted.items()
              if n in there and "prior" in one.user_attrs]  # fmt: skip
    return "" if priors == list(range(len(priors))) else "its prior is not that of the record"


def alike(there: There, wanted: FrozenTrial) -> bool:
    """Whether a trial in the database is the one that it should have."""

    def said(trial: There | FrozenTrial) -> tuple[Any, ...]:
        attrs = json.dumps(trial.user_attrs, sort_keys=True)  # as the database keeps them
        return trial.state, trial.values, trial.params, trial.distributions, attrs

    return said(there) == said(wanted)


def clear(connection: sqlite3.Connection, study: int) -> None:
    """Delete the trials of an Optuna study."""
    of_study = "WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"
    with connection:
        for table in (*CHILDREN, "trials"):
            connection.execute(f"DELETE FROM {table} {of_study}", (study,))


def unsound(file: Path) -> str:
    """What SQLite says of a damaged database; "" of one that is whole, or cannot be opened."""
    try:
        with sqlite3.connect(file, timeout=5.0) as database:
            said = str(database.execute("PRAGMA quick_check").fetchone()[0])
        database.close()
    except sqlite3.OperationalError:  # locked, or not to be read: opening it says so
        return ""
    except sqlite3.DatabaseError as error:
        said = str(error)
    return "" if said == "ok" else f"it is damaged: {one_line(said)}"


def set_aside(file: Path) -> str:
    """Rename a database; its new name."""
    aside = free_name(file)
    for end in BESIDE:
        if (part := file.with_name(file.name + end)).exists():
            part.rename(aside.with_name(aside.name + end))
    return aside.name
