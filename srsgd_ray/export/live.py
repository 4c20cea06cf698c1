"""TensorBoard's files of a study that runs: a thread follows its record and writes what is new.

The study does not know of it and does not wait for it: what goes wrong here is a line in the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srsgd_ray.export import tensorboard
from srsgd_ray.export.runs import exported, run_of
from srsgd_ray.results.lines import Lines
from srsgd_ray.results.record import FILE_NAME
from srsgd_ray.results.tables import columns_in

EVERY = 1.0  # seconds between two looks at the record, at least
SHARE = 20.0  # and this many times as long as the last look took
PATIENCE = 60.0  # seconds that the last look may take


@contextmanager
def following(folder: Path, wanted: bool = True) -> Iterator[None]:
    """Keep the event files of a study's folder up to date with its record, if wanted, meanwhile.

    At the end they are as an export writes them, with the verdict.
    """
    if not wanted:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(
        target=_follow,
        args=(folder, tensorboard.place(folder), ended),
        daemon=True,
        name="tensorboard",
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)


def _follow(folder: Path, out: Path, ended: threading.Event) -> None:
    try:
        with (folder / FILE_NAME).open("rb") as file:
            lines = Lines(folder / FILE_NAME)
            wait, last = 0.0, False
            while not last:
                last = ended.wait(wait)
                began = time.monotonic()
                changed = {event["trial"] for event in lines.events(file) if "trial" in event}
                assert lines.contents is not None
                columns = columns_in(lines.contents)
                for trial in changed:
                    tensorboard.put(out / trial, run_of(lines.contents, trial, columns))
                took = time.monotonic() - began if wait else 0.0  # the first one imports
                wait = max(EVERY, SHARE * took)
        tensorboard.write(exported(folder), out)
    except Exception as error:
        logging.getLogger(__name__).error(
            "TensorBoard's files are not written any more: %s: %s. An export of the study to "
            "tensorboard completes them.", type(error).__name__, error,
        )  # fmt: skip
