"""What a study does just now, from its record alone: nothing here is seen or waited for by it."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

from srsgd_ray.pages.plain import plain
from srsgd_ray.results.contents import Contents, TrialRecord
from srsgd_ray.results.log import LOG
from srsgd_ray.results.place import held
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.results.remaining import Remaining, planned_epochs, remaining

LOG_BYTES = 6000
FAILURES = 5
LOST = ("failed", "diverged")


def live(folder: Path, contents: Contents, now: float | None = None) -> dict[str, Any]:
    """State of the driver, trials that run, failures, and the time left at the measured pace.

    Returns:
        As :func:`progress`, with ``trials`` (of those that run: ``trial``, ``epoch``, ``epochs``,
        the search metric at each epoch), ``idle`` slots, those ``waiting`` for workers
        (since when) and what they ``need``, the last ``failures`` and ``log``.
    """
    now = max(contents.last, time.time() if now is None else now)
    found = progress(folder, contents, now)
    running, trials = found["running"], list(contents.trials.values())
    open_ = [t for t in trials if t.end is None] if running else []
    lost = [t for t in trials if t.state in LOST]
    lost.sort(key=lambda t: float((t.end or {}).get("ended", 0)))
    spec = contents.header.get("spec", {})
    return {
        **found,
        "may_grow": spec.get("until_decided"),
        "metric": spec.get("metric", ""),
        "trials": [_shown(t, contents) for t in open_],
        "idle": max(0, found["slots"] - len(open_)) if running else 0,
        "waiting": contents.waiting if running else {},
        "need": contents.need,
        "failures": [
            {"trial": t.trial, "state": t.state, "reason": _last_line(t)} for t in lost[-FAILURES:]
        ],
        "log": _log(folder / LOG),
        "at": now,
    }


def progress(folder: Path, contents: Contents, now: float) -> dict[str, Any]:
    """How far a study is: a line of it in a list of studies.

    Returns:
        ``state`` (see :func:`state_of`), ``running`` (whether a process on this machine holds the
        record), ``counts`` by state, ``planned``, ``ended``, ``phases`` (ended and all, of each),
        ``epochs`` of all and those ``done``, ``slots``, and ``seconds_left`` (None if unknown).
    """
    running, far = held(folder / RECORD), remaining(contents, now)
    states: dict[str, int] = {}
    for trial in contents.trials.values():
        states[trial.state] = states.get(trial.state, 0) + 1
    return {
        "state": state_of(contents, far, running),
        "running": running,
        "counts": states,
        "planned": far.trials,
        "ended": far.ended,
        "phases": far.phases,
        "done": far.done,
        "epochs": far.epochs,
        "slots": far.slots,
        "seconds_left": far.seconds if running and far.ended < far.trials else None,
    }


def state_of(contents: Contents, far: Remaining, running: bool) -> str:
    """What a study is doing.

    Returns:
        ``running`` here; ``finished``; ``interrupted``, in order; ``stale``: its driver here ended
        without a word, as one that was killed does; or ``not running here``: the same, but on
        another machine, where it may be at work.
    """
    if running:
        return "running"
    if far.ended == far.trials > 0:
        return "finished"
    last = contents.sessions[-1] if contents.sessions else {"paused": True}
    if last.get("paused"):
        return "interrupted"
    return "stale" if last.get("host") in (None, platform.node()) else "not running here"


def _shown(trial: TrialRecord, contents: Contents) -> dict[str, Any]:
    metric = contents.header.get("spec", {}).get("metric", "")
    last = trial.rows[-1] if trial.rows else {}
    values = plain({row["epoch"]: row.get(metric) for row in trial.rows})
    return {
        "trial": trial.trial,
        "arm": trial.arm,
        "epoch": len(trial.rows),
        "epochs": planned_epochs(contents, trial),
        "value": values.get(str(len(trial.rows))),
        "curve": list(values.values()),
        "since": float(last.get("time") or trial.started),
    }


def _last_line(trial: TrialRecord) -> str:
    reason = str((trial.end or {}).get("reason") or "").strip()
    return reason.splitlines()[-1] if reason else ""


def _log(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if len(text) >= LOG_BYTES else text
