"""Optuna's database in SQLite: its tables, and what they hold, read as rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.results.log import one_line
from srsgd_ray.results.place import free_name

SCHEMA = (12, "v3.2.0.a")  # version of Optuna's tables, and the last change of it
Rows = dict[str, dict[tuple[Any, ...], None]]  # by table: sets that keep their order
BESIDE = ("", "-journal", "-wal", "-shm")  # SQLite would take a journal for that of the new file
LOCK_WAIT = 60.0  # seconds: a dashboard may read while the study writes
CHILDREN = {  # tables that hold what belongs to a trial, and their columns
    "trial_params": ("param_name", "param_value", "distribution_json"),
    "trial_values": ("objective", "value", "value_type"),
    "trial_intermediate_values": ("step", "intermediate_value", "intermediate_value_type"),
    "trial_user_attributes": ("key", "value_json"),
}


def connect(file: Path) -> sqlite3.Connection:
    """Open a database; of a new one the tables are made, as Optuna makes them."""
    # A path stays out of a URL: no escape takes "?", "#" or "%" in it.
    connection = sqlite3.connect(file, timeout=LOCK_WAIT, check_same_thread=False)
    # A power cut may damage it then, a killed process does not; and it can be made anew.
    connection.execute("PRAGMA synchronous=OFF")
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        empty = files("srsgd_ray.study") / "data" / "optuna.sql"
        connection.executescript(empty.read_text(encoding="utf-8"))
        connection.execute("UPDATE version_info SET library_version = ?", (optuna.__version__,))
        connection.commit()
    return connection


def study_in(
    connection: sqlite3.Connection,
    name: str,
    directions: Sequence[StudyDirection],
    metrics: Sequence[str],
) -> int:
    """Id of the Optuna study of that name, made if missing, whose values are called as metrics."""
    execute = connection.execute
    execute("INSERT OR IGNORE INTO studies (study_name) VALUES (?)", (name,))
    (id_,) = execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()
    connection.executemany(
        "INSERT OR IGNORE INTO study_directions (study_id, objective, direction) VALUES (?, ?, ?)",
        [(id_, at, direction.name) for at, direction in enumerate(directions)],
    )
    execute(
        "INSERT INTO study_system_attributes (study_id, key, value_json) "
        "VALUES (?, 'study:metric_names', ?) "
        "ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json",
        (id_, json.dumps(list(metrics))),
    )
    return int(id_)


_as_json = cache(distribution_to_json)


@dataclass(frozen=True)
class There:
    """A trial in the database: what its row holds, and those of the tables of ``CHILDREN``."""

    trial_id: int
    number: int
    state: str
    rows: Rows


def rows_of(trial: FrozenTrial) -> Rows:
    """What the tables of ``CHILDREN`` hold of a trial, without its id."""
    values, reports = enumerate(trial.values or ()), trial.intermediate_values.items()
    found = (
        ((name, spread.to_internal_repr(trial.params[name]), _as_json(spread))
         for name, spread in trial.distributions.items()),
        ((*value, "FINITE") for value in values),
        ((*report, "FINITE") for report in reports),
        ((name, json.dumps(value)) for name, value in trial.user_attrs.items()),
    )  # fmt: skip
    return {table: dict.fromkeys(rows) for table, rows in zip(CHILDREN, found, strict=True)}


def name_of(attributes: Mapping[str, Any]) -> str:
    """What a trial with these attributes is called: trial, or prior, of the record."""
    return str(attributes.get("trial") or attributes.get("prior") or "")


def read_trials(connection: sqlite3.Connection, study: int) -> dict[str, list[There]]:
    """The trials of an Optuna study by name, each attempt."""
    found = {
        id_: There(id_, number, state, {table: {} for table in CHILDREN})
        for id_, number, state in connection.execute(
            "SELECT trial_id, number, state FROM trials WHERE study_id = ? ORDER BY number",
            (study,),
        )
    }
    of_study = "trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"
    for table, columns in CHILDREN.items():
        for id_, *row in connection.execute(
            f"SELECT trial_id, {', '.join(columns)} FROM {table} WHERE {of_study}", (study,)
        ):
            found[id_].rows[table][tuple(row)] = None
    named: dict[str, list[There]] = {}
    for one in found.values():
        attributes = {key: json.loads(text) for key, text in one.rows["trial_user_attributes"]}
        named.setdefault(name_of(attributes), []).append(one)
    return named


def differ(there: There, wanted: FrozenTrial) -> str:
    """What of a trial in the database contradicts the record; "" for one that only lags behind."""
    own, theirs = there.rows, rows_of(wanted)
    reports = "trial_intermediate_values"
    if own["trial_params"] != theirs["trial_params"]:
        return "has other parameters"
    if TrialState[there.state].is_finished():
        ends = (there.state, own["trial_values"]), (wanted.state.name, theirs["trial_values"])
        if ends[0] != ends[1]:
            return "has ended otherwise"
        alike = own[reports] == theirs[reports]
    else:
        alike = own[reports].keys() <= theirs[reports].keys()
    return "" if alike else "has other reports"


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


def clear(connection: sqlite3.Connection, study: int) -> None:
    """Delete the trials of an Optuna study."""
    of_study = "WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"
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
