"""``optuna.db``, which ``optuna-dashboard`` opens: a view of the record, and nothing reads it back.

Optuna's own storage makes a transaction of each trial, report and attribute: 17 ms of CPU for a
trial of twelve reports, against 0.3 ms here, where many trials are written in one. Optuna makes the
tables, of schema 12.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from srsgd_ray.results.contents import Contents, TrialRecord
from srsgd_ray.results.log import one_line
from srsgd_ray.study.dashboard import confirmation, confirmed_by, opened
from srsgd_ray.study.search import Search
from srsgd_ray.study.spec import Study
from srsgd_ray.study.stored import (
    CHILDREN,
    There,
    alike,
    clear,
    connect,
    contradiction,
    name_of,
    open_storage,
    read_trials,
    set_aside,
    unsound,
)
from srsgd_ray.study.view import in_order

DATABASE = "optuna.db"
SCHEMA = 12


class Database:
    """Brings ``optuna.db`` up to what a record says; one that says otherwise is set aside.

    Args:
        folder: of the study.
        study: the study.
        searches: of it, by arm and number.
        say: is told in a line, if the database is made anew.
    """

    def __init__(
        self,
        folder: Path,
        study: Study,
        searches: Mapping[tuple[str, int], Search],
        say: Callable[[str], object],
    ) -> None:
        self.file, self._study, self._searches, self._say = folder / DATABASE, study, searches, say
        self._connection: sqlite3.Connection | None = None
        self._forget()

    def _forget(self) -> None:
        self._studies: dict[str, int] = {}  # their ids, by name
        self._attempts: dict[tuple[int, str], list[int]] = {}  # ids of trials, by study and name
        self._numbers: dict[int, int] = {}  # of the next trial of a study
        self._seen = 0  # trials of the record
        self._open: dict[str, int] = {}  # reports of those that have not ended

    def bring_up(self, contents: Contents) -> None:
        """Write what has changed since the last time; ``contents`` must not change meanwhile."""
        trials = contents.trials
        if self._connection is None:
            ended = self._begin(contents)
            changed = in_order(trials.values())
        else:
            ended = set()
            known = [trials[name] for name in self._open]
            news = [t for t in known if t.end or len(t.rows) != self._open[t.trial]]
            news += islice(trials.values(), self._seen, None)
            changed = [(trial, len(trial.failures)) for trial in news]
        put = [(s.name, [frozen]) for s in self._searches.values() for frozen in s.prior]
        put = [] if self._seen else put
        for trial, attempt in changed:
            name, attempts = self._wanted(contents, trial)
            put.append((name, attempts[: attempt + 1]))
        if any(name and name not in self._studies for name, _ in put):
            self._name_studies(contents)  # the first confirmation run has ended
        assert self._connection is not None
        with self._connection:  # one transaction
            self._connection.execute("BEGIN IMMEDIATE")
            for name, attempts in put:
                self._put(name, attempts, ended)
        self._seen = len(trials)
        for trial, _ in changed:
            self._open.pop(trial.trial, None)
            if trial.end is None:
                self._open[trial.trial] = len(trial.rows)

    def close(self) -> None:
        """Release the file; the next :meth:`bring_up` begins anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._forget()

    def _begin(self, contents: Contents) -> set[int]:
        """Open the database, a new one if there is none that agrees; ids that have ended in it."""
        why, searched = "", any(t.phase == "search" for t in contents.trials.values())
        if self.file.exists():
            try:
                if not (why := unsound(self.file)):
                    return self._opened(contents)
            except _Contradiction as found:
                why = str(found)
            except Exception as error:
                if "locked" in str(error) or not os.access(self.file, os.W_OK):
                    raise
                why = f"it cannot be read: {one_line(str(error))}"
            self.close()
            aside = set_aside(self.file)
            self._say(f"{DATABASE} did not say what the record says ({why}): it is {aside} now, "
                      f"and a new one was made from the record.")  # fmt: skip
        elif searched and len(contents.sessions) > 1:
            self._say(f"{DATABASE} was missing: a new one was made from the record.")
        return self._opened(contents)

    def _opened(self, contents: Contents) -> set[int]:
        self._name_studies(contents)
        self._connection = connect(self.file)
        # A power cut may damage it then, a killed process does not; and it can be made anew.
        self._connection.execute("PRAGMA synchronous=OFF")
        schema = self._connection.execute("SELECT schema_version FROM version_info").fetchone()
        if schema != (SCHEMA,):
            raise _Contradiction(f"its schema is {schema[0]}, and this version writes {SCHEMA}")
        wanted: dict[str, dict[str, list[FrozenTrial]]] = {}
        for search in self._searches.values():
            for frozen in search.prior:
                wanted.setdefault(search.name, {})[name_of(frozen.user_attrs)] = [frozen]
        for trial in contents.trials.values():
            name, attempts = self._wanted(contents, trial)
            wanted.setdefault(name, {})[trial.trial] = attempts
        ended: set[int] = set()
        for name, id_ in self._studies.items():
            there = read_trials(self._connection, id_)
            if name == _confirmation_in(contents):
                if _stale(contents, there, wanted.get(name, {})):
                    clear(self._connection, id_)
                    there = {}
            elif why := contradiction(there, wanted.get(name, {})):
                raise _Contradiction(why)
            self._attempts |= {(id_, t): [o.trial_id for o in own] for t, own in there.items()}
            every = [one for own in there.values() for one in own]
            self._numbers[id_] = max((one.number + 1 for one in every), default=0)
            ended |= {one.trial_id for one in every if one.state.is_finished()}
        return ended

    def _name_studies(self, contents: Contents) -> None:
        """Have Optuna make the studies that there are to be."""
        storage = open_storage(self.file)
        wanted = [(s.name, s.directions, s.values) for s in self._searches.values()]
        if any(map(_confirmed, contents.trials.values())):
            aim, metric = confirmed_by(self._study), self._study.confirm_metric
            wanted.append((_confirmation_in(contents), [aim], [metric]))
        try:
            for name, directions, values in wanted:
                self._studies[name] = opened(storage, name, directions, values)._study_id
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def _wanted(self, contents: Contents, trial: TrialRecord) -> tuple[str, list[FrozenTrial]]:
        """Name of the Optuna study that shows a trial, and its attempts; none: it is not shown."""
        if _confirmed(trial):
            return _confirmation_in(contents), [confirmation(self._study, trial)]
        search = self._searches.get((trial.arm, trial.search))
        outside = trial.trial in contents.header.get("outside", ())
        if search is None or trial.phase != "search" or outside:
            return "", []
        return search.name, search.shown(trial)

    def _put(self, study: str, attempts: Sequence[FrozenTrial], ended: Collection[int]) -> None:
        """Write the attempts of a trial, but for those that have ended there."""
        for at, frozen in enumerate(attempts):
            id_ = self._studies[study]
            known = self._attempts.setdefault((id_, name_of(frozen.user_attrs)), [])
            if at == len(known):
                number = self._numbers.get(id_, 0)
                self._numbers[id_] = number + 1
                known.append(self._insert(id_, number, frozen))
            elif known[at] not in ended:
                self._insert(id_, None, frozen, known[at])

    def _insert(
        self, study: int, number: int | None, frozen: FrozenTrial, trial: int | None = None
    ) -> int:
        """Write a trial anew, in the place of one that is there, if it is; its id."""
        assert self._connection is not None
        execute, many = self._connection.execute, self._connection.executemany
        times = _utc(frozen.datetime_start), _utc(frozen.datetime_complete)
        if trial is None:
            trial = execute(
                "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) "
                "VALUES (?, ?, ?, ?, ?)", (number, study, frozen.state.name, *times)
            ).lastrowid  # fmt: skip
        else:
            execute(
                "UPDATE trials SET state = ?, datetime_start = ?, datetime_complete = ? "
                "WHERE trial_id = ?", (frozen.state.name, *times, trial)
            )  # fmt: skip
            for table in CHILDREN:
                execute(f"DELETE FROM {table} WHERE trial_id = ?", (trial,))
        assert trial is not None
        many("INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
             "VALUES (?, ?, ?, ?)",
             [(trial, name, spread.to_internal_repr(frozen.params[name]), _as_json(spread))
              for name, spread in frozen.distributions.items()])  # fmt: skip
        many("INSERT INTO trial_values (trial_id, objective, value, value_type) "
             "VALUES (?, ?, ?, 'FINITE')",
             [(trial, at, value) for at, value in enumerate(frozen.values or ())])  # fmt: skip
        many("INSERT INTO trial_intermediate_values "
             "(trial_id, step, intermediate_value, intermediate_value_type) "
             "VALUES (?, ?, ?, 'FINITE')",
             [(trial, *report) for report in frozen.intermediate_values.items()])  # fmt: skip
        many(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
            [(trial, key, json.dumps(value)) for key, value in frozen.user_attrs.items()],
        )
        return trial


class _Contradiction(ValueError):
    """The database says what the record does not."""


def _stale(
    contents: Contents,
    there: Mapping[str, Sequence[There]],
    wanted: Mapping[str, Sequence[FrozenTrial]],
) -> bool:
    """Whether the confirmation is to be shown anew: a run of it ran again, or an arm came.

    Raises:
        _Contradiction: if it contradicts the record.
    """
    stale = False
    for name, own in there.items():
        run, now = contents.trials.get(name), wanted.get(name, (None,))[0]
        if run is None or run.phase != "confirm" or len(own) > 1:
            said = f"{name or 'a trial'} of the confirmation is not in the record"
            raise _Contradiction(said)
        if now is None or not alike(own[0], now):
            if not run.failures and (now is None or own[0].distributions == now.distributions):
                raise _Contradiction(f"{name} is another one")
            stale = True
    return stale


def _confirmed(trial: TrialRecord) -> bool:
    return trial.phase == "confirm" and trial.end is not None


def _confirmation_in(contents: Contents) -> str:
    return f"{contents.header['study']}/confirmation"  # no arm's name has a slash


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


_as_json = cache(distribution_to_json)
