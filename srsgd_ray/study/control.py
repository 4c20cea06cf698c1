"""What a user does to a study that is there: by its driver while one works on it, else directly."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from srsgd_ray.knobs import one_of
from srsgd_ray.results import Record, provenance, read_record, write_tables
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.place import held
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.confirming import name_selected
from srsgd_ray.study.enqueue import enqueue as enqueue_in
from srsgd_ray.study.enqueue import plan_point
from srsgd_ray.study.requests import ask, by_user, check_running, end_of, end_said
from srsgd_ray.study.spec import Study


def end_trial(folder: Path, kind: str, trial: str, why: str = "", limit: float = 60.0) -> str:
    """End a trial that runs, or that waits for its study to be resumed; what was done, in a line.

    Args:
        folder: of the study.
        kind: ``stop`` or ``skip``; see :func:`srsgd_ray.study.requests.end_of`.
        trial: its name.
        why: what the record says besides.
        limit: seconds to wait for the driver, where one works on the study.

    Raises:
        ValueError: if there is none such, or it has ended already.
    """
    contents = read_record(folder)
    check_running(contents.trials, trial)
    if session := worked_on(folder, contents):
        request = {"kind": kind, "trial": trial, "why": why}
        return ask(folder, session, request, limit) or (
            f"{trial} ends where it reports next: its epoch takes longer than {limit:g} s. The "
            f"study's process knows; there is nothing to wait for"
        )
    with acting(folder) as record:
        check_running(record.trials, trial)
        record.end(trial, *end_of(kind, len(record.trials[trial].rows), why))
        return end_said(record.trials, trial)


def stop_study(folder: Path, limit: float = 60.0) -> str:
    """Have the process that works on a study end in order, as Ctrl-C does; what came of it.

    Raises:
        ValueError: if there is none.
    """
    session = worked_on(folder, read_record(folder))
    if not session:
        raise ValueError(f"no process works on {folder}: there is nothing to stop.")
    return ask(folder, session, {"kind": "stop"}, limit) or (
        f"the study's process has begun to stop, and has not ended within {limit:g} s"
    )


def enqueue(folder: Path, arm: str, point: Mapping[str, Any], limit: float = 60.0) -> str:
    """Plan a known point as the next trial of an arm; what was done, in a line.

    Raises:
        ValueError: if the point cannot be tried, or no trial is left that could take it.
    """
    contents = read_record(folder)
    if session := worked_on(folder, contents):
        request = {"kind": "enqueue", "arm": arm, "point": dict(point)}
        return ask(folder, session, request, limit) or "the study's process has taken the point"
    study = Study.from_dict(contents.header["spec"])
    plan_point(study, contents, arm, point)
    with acting(folder) as record:
        return enqueue_in(study, record, arm, point)[2]


def retry(folder: Path, names: Sequence[str]) -> list[str]:
    """Mark trials to be run again when the study is resumed; their names.

    Args:
        folder: of a study that nobody works on.
        names: of trials that failed, or that a user has ended; none: all that failed by themselves.

    Raises:
        ValueError: if there is none such.
    """
    contents = read_record(folder)
    if worked_on(folder, contents):
        raise ValueError(
            f"a process works on {folder}. Stop it first: srsgd-ray stop {quote(str(folder))}"
        )
    for name in names:
        one_of("trial", name, contents.trials)
        trial = contents.trials[name]
        if trial.state != "failed" and not (trial.end is not None and by_user(trial.end)):
            raise ValueError(
                f"{name} is {trial.state}: retry is for trials that failed, or that a user ended."
            )
    gone = contents.header.get("outside", ())
    failed = [
        t.trial for t in contents.trials.values()
        if t.end is not None and t.state == "failed" and not by_user(t.end) and t.trial not in gone
    ]  # fmt: skip
    chosen = list(dict.fromkeys(names)) or failed
    if not chosen:
        ended = [t.trial for t in contents.trials.values() if t.end is not None and by_user(t.end)]
        named = f" Those that a user ended must be named: {', '.join(ended)}." * bool(ended)
        raise ValueError(
            f"no trial of {folder} has failed by itself: there is nothing to run again.{named}"
        )
    with acting(folder) as record:
        name_selected(Study.from_dict(contents.header["spec"]), record)
        record.retry(chosen)
    return chosen


def worked_on(folder: Path, contents: Contents) -> float:
    """When the session of the process that works on a study began; 0 if there is none.

    A process on this machine holds the record's lock. Of one on another machine only the record
    tells: it may be dead if its session did not end in order.
    """
    if not contents.sessions:
        return 0.0
    last = contents.sessions[-1]
    elsewhere = last.get("host") != platform.node() and not last.get("paused")
    return float(last["at"]) if elsewhere or held(folder / RECORD) else 0.0


@contextmanager
def acting(folder: Path) -> Iterator[Record]:
    """The record of a study that nobody works on, in a session of its own without a worker."""
    with Record.reopen(folder) as record:
        record.session(**provenance(), held_workers=0)
        try:
            yield record
        finally:
            record.pause()
        write_tables(folder, record.contents)
