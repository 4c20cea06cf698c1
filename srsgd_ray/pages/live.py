"""What a study does just now, from its record alone: nothing here is seen or waited for by it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from srsgd_ray.results.planned import planned
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.results.record import Contents, TrialRecord

LOG = "log.txt"
LOG_BYTES = 6000
FAILURES = 5
PACE_OVER = 600.0  # seconds of the past that the pace is measured over


def live(folder: Path, contents: Contents, now: float | None = None) -> dict[str, Any]:
    """State of the driver, trials that run, failures, and the time left at the measured pace.

    Returns:
        ``running`` (whether a process on this machine holds the record), ``trials`` (of those that
        run: ``trial``, ``epoch``, ``epochs``, the last row), ``counts`` by state, ``done`` and
        ``epochs`` (of all), ``seconds_left`` (None if unknown), ``failures`` and ``log``.
    """
    now = time.time() if now is None else now
    running = held(folder / RECORD)
    trials = list(contents.trials.values())
    spec = contents.header["spec"]
    count, epochs = _planned(contents.header, trials)
    done = sum(len(t.rows) for t in trials)
    left = max(0, epochs - sum(len(t.rows) if t.end is None else _length(t, spec) for t in trials))
    rate = _rate(contents, now)
    states: dict[str, int] = {}
    for trial in trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    lost = [t for t in trials if t.state in ("failed", "diverged")]
    lost.sort(key=lambda t: float((t.end or {}).get("ended", 0)))
    return {
        "running": running,
        "counts": states,
        "planned": count,
        "ended": sum(t.end is not None for t in trials),
        "done": done,
        "epochs": epochs,
        "seconds_left": left / rate if rate and running and left else None,
        "trials": [_shown(t, spec) for t in trials if t.end is None] if running else [],
        "failures": [
            {"trial": t.trial, "state": t.state, "reason": _last_line(t)} for t in lost[-FAILURES:]
        ],
        "log": _log(folder / LOG),
        "at": now,
    }


def held(path: Path) -> bool:
    """Whether a process of this machine holds the lock of a file; asked without taking it."""
    try:
        number = path.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(
        line.split()[1] == "FLOCK" and line.split()[-3].endswith(f":{number}")
        for line in locks.splitlines()
        if len(line.split()) >= 8
    )


def _shown(trial: TrialRecord, spec: dict[str, Any]) -> dict[str, Any]:
    last = trial.rows[-1] if trial.rows else {}
    return {
        "trial": trial.trial,
        "epoch": len(trial.rows),
        "epochs": _length(trial, spec),
        "metric": spec.get("metric", ""),
        "value": last.get(spec.get("metric", "")),
        "since": float(last.get("time") or trial.started),
    }


def _length(trial: TrialRecord, spec: dict[str, Any]) -> int:
    """Reports of a whole trial: its knob says, or else its study; a trial may report once."""
    known = trial.config.get("epochs", spec.get("epochs"))
    return max(int(known) if isinstance(known, int) else 1, len(trial.rows))


def _planned(header: dict[str, Any], trials: list[TrialRecord]) -> tuple[int, int]:
    """Trials and epochs of the whole study; those that have not begun are as long as the others."""
    spec, count, epochs = header["spec"], 0, 0
    points = spec.get("confirm_points", 1) if spec.get("pareto") else 1
    for arm in spec.get("arms", []):
        own = [t for t in trials if t.arm == arm["name"]]
        seeds, searches = planned(header, arm["name"]) or (0, 1)
        of_search = spec.get("trials") if arm.get("trials") is None else arm["trials"]
        wanted = max(len(own), searches * ((of_search or 0) + seeds * points))
        lengths = [_length(t, spec) for t in own]
        typical = sum(lengths) / len(lengths) if lengths else (spec.get("epochs") or 1)
        count += wanted
        epochs += sum(lengths) + round(typical * (wanted - len(own)))
    return count, epochs


def _rate(contents: Contents, now: float) -> float:
    """Epochs a second, over this session's last minutes."""
    sessions = contents.sessions
    began = max(float(sessions[-1].get("at", 0)) if sessions else 0.0, now - PACE_OVER)
    times = [
        float(row["time"])
        for trial in contents.trials.values()
        for row in trial.rows
        if (row.get("time") or 0) > began
    ]
    span = now - min(times) if times else 0.0
    return (len(times) - 1) / span if len(times) > 1 and span > 0 else 0.0


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
