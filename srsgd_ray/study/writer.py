"""What is made of the record while a study runs: tables, and Optuna's database, beside the study.

The study does not wait for them: a thread looks at the record now and then, and writes what has
changed. Both can be made anew from the record at any time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from srsgd_ray.results import Record, write_tables
from srsgd_ray.results.columns import Columns
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.log import one_line
from srsgd_ray.results.record import FILE_NAME
from srsgd_ray.results.tables import Kept
from srsgd_ray.study.database import Database

FIRST, EVERY = 0.5, 2.0  # seconds until the first look, and between two, at least
SHARE = 50.0  # and this many times as long as the last one took, in time of the processor


class Writer:
    """A context: within it, and at its end, tables and database are brought up to the record.

    Args:
        record: of the study.
        columns: of its tables.
        database: None: there is none.
        say: is told in a line, once, if the database cannot be written; no study stops for that.
        failed: is called, in the thread, with the error if the tables cannot be written.
    """

    def __init__(
        self,
        record: Record,
        columns: Columns,
        database: Database | None,
        say: Callable[[str], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self.record, self._columns, self._database = record, columns, database
        self._say, self._failed = say, failed
        self._said, self._kept = False, Kept()
        self._one, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="tables")

    def __enter__(self) -> Writer:
        if self._database is not None and self._database.file.exists():
            self.write()  # what contradicts the record must be seen before the record goes on
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self.write(last=True)

    def write(self, last: bool = False) -> None:
        """Write what has changed, now.

        Raises:
            OSError: if the tables cannot be written.
        """
        with self._one:
            contents = self.record.contents.copy()
            write_tables(self.record.folder, contents, self._columns, self._kept)
            if self._database is not None:
                # What is wrong with the file is mended by the next try, and after the last is none.
                if not self._bring_up(self._database, contents, not (self._said or last)) and last:
                    self._bring_up(self._database, contents, tell=True)
                if last:
                    self._database.close()

    def _bring_up(self, database: Database, contents: Contents, tell: bool) -> bool:
        try:
            database.bring_up(contents)
        except Exception as error:
            database.close()
            if tell:
                self._said = True
                self._say(f"{database.file.name} is not what the record says, and a "
                          f"resume makes it so: {one_line(str(error))}")  # fmt: skip
            return False
        return True

    def _follow(self) -> None:
        wait, seen, file = FIRST, 0, self.record.folder / FILE_NAME
        while not self._over.wait(wait):
            wait, size = EVERY, file.stat().st_size if file.exists() else -1
            if size == seen:
                continue
            seen, began = size, time.thread_time()
            try:
                self.write()
            except Exception as error:
                self._failed(error)
                return
            wait = max(EVERY, SHARE * (time.thread_time() - began))
