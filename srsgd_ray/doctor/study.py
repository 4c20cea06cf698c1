"""The folder of a study: its record, who works on it, and whether all else agrees with it."""

from __future__ import annotations

import fcntl
import sqlite3
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil

from srsgd_ray.doctor.finding import ERROR, OK, WARNING, Finding, Look, gigabytes
from srsgd_ray.doctor.left import used
from srsgd_ray.results import RecordError, read_record
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.lines import examine
from srsgd_ray.results.mending import mended
from srsgd_ray.results.record import FILE_NAME
from srsgd_ray.typed import typed

ENDED = ("COMPLETE", "PRUNED", "FAIL")  # Optuna's


def looks(folder: Path) -> list[Look]:
    """Looks at a study's folder."""
    return [
        Look("record", lambda: record(folder)),
        Look("tables", lambda: tables(folder)),
        Look("optuna.db", lambda: optuna(folder)),
        Look("disk use", lambda: disk_use(folder)),
    ]


def record(folder: Path) -> list[Finding]:
    """Whether the record can be read, and whether somebody writes it."""
    try:
        contents = read_record(folder)
    except RecordError as error:
        return [_damage(folder, str(error))]
    states = Counter(trial.state for trial in contents.trials.values())
    rows = sum(len(trial.rows) for trial in contents.trials.values())
    counts = ", ".join(f"{count} {state}" for state, count in states.items()) or "no trial"
    found = [Finding(OK, "record", f"sound: {counts}; {rows} epochs")]
    if pids := _writers(folder):
        held = f"process {', '.join(map(str, pids))} works on it"
        return [*found, Finding(OK, "lock", held)]
    if not states["running"]:
        return [*found, Finding(OK, "lock", "free")]
    value = f"free, though {states['running']} trials have begun and not ended: interrupted"
    return [*found, Finding(WARNING, "lock", value, typed("srsgd-ray", "resume", folder))]


def _damage(folder: Path, said: str) -> Finding:
    """Which lines are damaged, and of which trials nothing is lost."""
    path = folder / FILE_NAME
    damaged, whole, lost = examine(path)
    if not damaged:
        return Finding(ERROR, "record", said)
    value = f"damaged: line {', '.join(map(str, damaged))} of {path}; {len(whole)} trials whole"
    value += f": {', '.join(whole)}" if whole else ""
    value += f"; something lost of {', '.join(lost)}" if lost else ""
    try:
        found = mended(folder)
    except RecordError as error:
        return Finding(ERROR, "record", f"{value}. {error}", "Restore the folder from a copy.")
    mend = f"{typed('srsgd-ray', 'doctor', folder, '--mend')} && "
    mend += typed("srsgd-ray", "resume", folder)
    cure = f"Restore the folder from a copy, or mend it. {found.said}\n  {mend}"
    return Finding(ERROR, "record", value, cure)


def _writers(folder: Path) -> list[int | str]:
    """Processes that hold the record; "elsewhere" for one of another machine or user."""
    path = (folder / FILE_NAME).resolve()
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            return []
    pids: list[int | str] = []
    for process in psutil.process_iter():
        try:
            if any(open_file.path == str(path) for open_file in process.open_files()):
                pids.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return pids or ["elsewhere"]


def tables(folder: Path) -> list[Finding]:
    """Whether the Parquet tables have all that the record has."""
    contents, lags = _read(folder)
    trials, epochs = (
        pd.read_parquet(folder / f"{name}.parquet", columns=["trial", column])
        for name, column in (("trials", "state"), ("epochs", "epoch"))
    )
    told = dict(zip(trials["trial"], trials["state"], strict=True))
    known = {name: trial.state for name, trial in contents.trials.items()}
    rows = sum(len(trial.rows) for trial in contents.trials.values())
    value = f"{len(trials)} trials, {len(epochs)} epochs"
    if told == known and len(epochs) == rows:
        return [Finding(OK, "tables", f"{value}, as in the record")]
    if lags:
        return [Finding(OK, "tables", f"{value} of {len(known)} and {rows}: the study runs")]
    differ = sum(told.get(name) != state for name, state in known.items())
    value += f", but the record has {len(known)} and {rows}; {differ} trials differ"
    return [Finding(WARNING, "tables", value, typed("srsgd-ray", "resume", folder))]


def optuna(folder: Path) -> list[Finding]:
    """Whether Optuna's database is whole, and has the search's trials."""
    path = folder / "optuna.db"
    contents, lags = _read(folder)
    ended = sum(t.phase == "search" and t.end is not None for t in contents.trials.values())
    if not path.is_file():
        if not any(trial.phase == "search" for trial in contents.trials.values()):
            return [Finding(OK, "optuna.db", "none: nothing was searched")]
        return [Finding(WARNING, "optuna.db", "missing", typed("srsgd-ray", "resume", folder))]
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with sqlite3.connect(uri, uri=True, timeout=5.0) as database:
            whole = database.execute("PRAGMA quick_check").fetchone()[0]
            states = Counter(dict(database.execute(
                "SELECT state, count(*) FROM trials GROUP BY state"
            ).fetchall()))  # fmt: skip
    except sqlite3.Error as error:
        whole, states = str(error), Counter()
    there = sum(states[state] for state in ENDED)
    cure = f"rm {path} && {typed('srsgd-ray', 'resume', folder)}"
    if whole != "ok":
        return [Finding(ERROR, "optuna.db", f"damaged: {whole}", cure)]
    if there < ended and not lags:
        value = f"{there} ended trials, but the record has {ended} of the search"
        return [Finding(WARNING, "optuna.db", value, cure)]
    return [Finding(OK, "optuna.db", f"{there} ended trials, {ended} of the search in the record")]


def _read(folder: Path) -> tuple[Contents, bool]:
    """The record, and whether somebody writes it: then all else is a moment behind."""
    return read_record(folder), bool(_writers(folder))


def disk_use(folder: Path) -> list[Finding]:
    """What the folder takes, and what an ended study left of its checkpoints."""
    value = gigabytes(used(folder))
    kept = [path for path in folder.glob("checkpoints-*") if path.is_dir()]
    if kept:
        value += f", {gigabytes(sum(map(used, kept)))} of it checkpoints"
    return [Finding(OK, "disk use", value)]
