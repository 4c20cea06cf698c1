"""The searches of a study, as its record has them: Optuna's database is a view of the record."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from optuna.storages import BaseStorage, RDBStorage

from srsgd_ray.results import Record, TrialRecord
from srsgd_ray.results.log import one_line
from srsgd_ray.results.place import free_name
from srsgd_ray.study.dashboard import Confirmation
from srsgd_ray.study.search import Search, open_storage
from srsgd_ray.study.spec import Study

DATABASE = "optuna.db"
BESIDE = ("", "-journal", "-wal", "-shm")  # SQLite would take a journal for that of the new file


def searches_of(
    study: Study, record: Record, say: Callable[[str], object] = lambda line: None
) -> dict[tuple[str, int], Search]:
    """A search for each arm that has one and each number, in the storage in the study's folder.

    A database that says what the record does not is set aside, and made anew from the record.

    Args:
        study: the study.
        record: of it.
        say: is told in a line, if the database is made anew.
    """
    if not any(study.trials_of(arm.name) for arm in study.arms):
        return {}
    file, storage, found = record.folder / DATABASE, None, {}
    if file.exists():
        if not (why := _unsound(file)):
            try:
                storage = open_storage(file)
                found = _opened(study, record, storage)
                why = next(filter(None, (s.differs(_of(record, *k)) for k, s in found.items())), "")
                why = why or Confirmation(study, record, storage).differs()
            except Exception as error:
                if "locked" in str(error) or not os.access(file, os.W_OK):
                    raise
                why = f"it cannot be read: {one_line(str(error))}"
        if not why:
            return found
        aside = _set_aside(file, storage)
        say(f"{DATABASE} did not say what the record says ({why}): it is {aside} now, and a new "
            f"one was made from the record.")  # fmt: skip
    elif any(trial.phase == "search" for trial in record.trials.values()):
        say(f"{DATABASE} was missing: a new one was made from the record.")
    return _opened(study, record, open_storage(file))


def _of(record: Record, arm: str, number: int) -> list[TrialRecord]:
    outside = record.contents.header.get("outside", ())
    return [t for t in record.trials.values() if t.trial not in outside
            and (t.phase, t.arm, t.search) == ("search", arm, number)]  # fmt: skip


def _unsound(file: Path) -> str:
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


def _set_aside(file: Path, storage: BaseStorage | None) -> str:
    """Rename a database; its new name."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()
    aside = free_name(file)
    for end in BESIDE:
        if (part := file.with_name(file.name + end)).exists():
            part.rename(aside.with_name(aside.name + end))
    return aside.name


def _opened(study: Study, record: Record, storage: BaseStorage) -> dict[tuple[str, int], Search]:
    contents = record.contents
    prior = contents.header.get("prior", ())
    return {
        (arm.name, number): Search(
            storage,
            contents.header["study"],
            arm.name,
            arm.searched,
            goals=study.goals(),
            searcher=study.searcher,
            trials=study.trials_of(arm.name),
            seed=study.search_seed(number),
            fixed=study.fixed_of(arm.name),
            enqueue=dict(enumerate(arm.enqueue)) | contents.enqueued.get((arm.name, number), {}),
            number=number,
            spaces=contents.header.get("spaces", 1),
            prior=[one for one in prior if one["arm"] == arm.name],
        )
        for number in range(study.searches)
        for arm in study.arms
        if study.trials_of(arm.name)
    }
