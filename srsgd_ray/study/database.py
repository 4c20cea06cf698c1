"""``optuna.db``, which ``optuna-dashboard`` opens: a view of the record, and nothing reads it back.

Optuna's own storage makes a transaction of each trial, report and attribute: 17 ms of CPU for a
trial of twelve reports, against 0.1 ms here, where many trials are written in one.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from srsgd_ray.results.contents import Contents, TrialRecord
from srsgd_ray.results.log import one_line
from srsgd_ray.study.dashboard import confirmation, confirmed_by
from srsgd_ray.study.search import Search
from srsgd_ray.study.spec import Study
from srsgd_ray.study.stored import (
    CHILDREN,
    SCHEMA,
    There,
    clear,
    connect,
    contradiction,
    name_of,
    read_trials,
    rows_of,
    set_aside,
    study_in,
    unsound,
)
from srsgd_ray.study.view import in_order

DATABASE = "optuna.db"
Shown = tuple[str, list[FrozenTrial]]  # name of the Optuna study that shows a trial, its attempts


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
            changed = list(trials.values())
        else:
            known = [trials[name] for name in self._open]
            changed = [t for t in known if t.end or len(t.rows) != self._open[t.trial]]
            changed += islice(trials.values(), self._seen, None)
        wanted = {trial.trial: self._wanted(contents, trial) for trial in changed}
        ended = self._begin(contents, wanted) if self._connection is None else set()
        put = [(s.name, [frozen]) for s in self._searches.values() for frozen in s.prior]
        put = [] if self._seen else put
        for trial, attempt in in_order(changed):
            name, attempts = wanted[trial.trial]
            put.append((name, attempts[: attempt + 1]))
        assert self._connection is not None
        with self._connection:  # one transaction
            self._connection.execute("BEGIN IMMEDIATE")
            self._put(put, ended)
        self._seen = len(trials)
        for trial in changed:
            self._open.pop(trial.trial, None)
            if trial.end is None:
                self._open[trial.trial] = len(trial.rows)

    def close(self) -> None:
        """Release the file; the next :meth:`bring_up` begins anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._forget()

    def _begin(self, contents: Contents, wanted: Mapping[str, Shown]) -> set[int]:
        """Open the database, a new one if there is none that agrees; ids that have ended in it."""
        why, searched = "", any(t.phase == "search" for t in contents.trials.values())
        if self.file.exists():
            try:
                if not (why := unsound(self.file)):
                    return self._opened(contents, wanted)
            except _Contradiction as found:
                why = str(found)
            except Exception as error:
                said = str(error)
                if re.search("locked|is full|disk I/O", said) or not os.access(self.file, os.W_OK):
                    raise
                why = f"it cannot be read: {one_line(said)}"
            self.close()
            aside = set_aside(self.file)
            self._say(f"{DATABASE} did not say what the record says ({why}): it is {aside} now, "
                      f"and a new one was made from the record.")  # fmt: skip
        elif searched and len(contents.sessions) > 1:
            self._say(f"{DATABASE} was missing: a new one was made from the record.")
        return self._opened(contents, wanted)

    def _opened(self, contents: Contents, every: Mapping[str, Shown]) -> set[int]:
        self._connection = connect(self.file)
        found = "SELECT schema_version, version_num FROM version_info, alembic_version"
        if (schema := self._connection.execute(found).fetchone()) != SCHEMA:
            raise _Contradiction(f"its schema is {schema}, and this version writes {SCHEMA}")
        wanted = {
            search.name: {name_of(frozen.user_attrs): [frozen] for frozen in search.prior}
            for search in self._searches.values()
        }
        for trial, (name, attempts) in every.items():
            if name:
                wanted.setdefault(name, {})[trial] = attempts
        ended: set[int] = set()
        with self._connection:
            for name, theirs in wanted.items():
                there = read_trials(self._connection, id_ := self._id(name))
                if name == _confirmation_in(contents):
                    if _stale(contents, there, theirs):
                        clear(self._connection, id_)
                        there = {}
                elif why := contradiction(there, theirs):
                    raise _Contradiction(why)
                self._attempts |= {(id_, t): [o.trial_id for o in own] for t, own in there.items()}
                ones = [one for own in there.values() for one in own]
                self._numbers[id_] = max((one.number + 1 for one in ones), default=0)
                ended |= {one.trial_id for one in ones if TrialState[one.state].is_finished()}
        return ended

    def _id(self, name: str) -> int:
        """Of the Optuna study of that name, made if missing."""
        if name not in self._studies:
            assert self._connection is not None
            aims = {s.name: (s.directions, s.values) for s in self._searches.values()}
            confirmed = [confirmed_by(self._study)], [self._study.confirm_metric]
            self._studies[name] = study_in(self._connection, name, *aims.get(name, confirmed))
        return self._studies[name]

    def _wanted(self, contents: Contents, trial: TrialRecord) -> Shown:
        """Name of the Optuna study that shows a trial, and its attempts; none: it is not shown."""
        if _confirmed(trial):
            return _confirmation_in(contents), [confirmation(self._study, trial)]
        search = self._searches.get((trial.arm, trial.search))
        outside = trial.trial in contents.header.get("outside", ())
        if search is None or trial.phase != "search" or outside:
            return "", []
        return search.name, search.shown(trial)

    def _put(self, shown: Sequence[Shown], ended: set[int]) -> None:
        """Write the attempts of trials, each anew where it is there, but for the ``ended`` ones."""
        assert self._connection is not None
        execute, many = self._connection.execute, self._connection.executemany
        new, again = [], []
        rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in CHILDREN}
        (free,) = execute("SELECT coalesce(max(trial_id), 0) + 1 FROM trials").fetchone()
        for study, attempts in shown:
            for at, frozen in enumerate(attempts):
                own = self._id(study)
                known = self._attempts.setdefault((own, name_of(frozen.user_attrs)), [])
                times = _utc(frozen.datetime_start), _utc(frozen.datetime_complete)
                if at == len(known):
                    number = self._numbers.get(own, 0)
                    self._numbers[own] = number + 1
                    new.append((free, number, own, frozen.state.name, *times))
                    known.append(free)
                    free += 1
                elif known[at] in ended:
                    continue
                else:
                    again.append((frozen.state.name, *times, known[at]))
                ended.add(known[at])
                for table, found in rows_of(frozen).items():
                    rows[table] += [(known[at], *row) for row in found]
        many("INSERT INTO trials (trial_id, number, study_id, state, datetime_start, "
             "datetime_complete) VALUES (?, ?, ?, ?, ?, ?)", new)  # fmt: skip
        many("UPDATE trials SET state = ?, datetime_start = ?, datetime_complete = ? "
             "WHERE trial_id = ?", again)  # fmt: skip
        for table, columns in CHILDREN.items():
            many(f"DELETE FROM {table} WHERE trial_id = ?", [row[-1:] for row in again])
            many(f"INSERT INTO {table} (trial_id, {', '.join(columns)}) "
                 f"VALUES (?{', ?' * len(columns)})", rows[table])  # fmt: skip


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
        rows = own[0].rows if now is None else rows_of(now)
        if now is None or (own[0].state, own[0].rows) != (now.state.name, rows):
            arms, ours = ({row[-1] for row in r["trial_params"]} for r in (own[0].rows, rows))
            if not run.failures and arms == ours:
                raise _Contradiction(f"{name} is another one")
            stale = True
    return stale


def _confirmed(trial: TrialRecord) -> bool:
    return trial.phase == "confirm" and trial.end is not None


def _confirmation_in(contents: Contents) -> str:
    return f"{contents.header['study']}/confirmation"  # no arm's name has a slash


def _utc(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
