"""The log of a study: a line in words for each of the record's events that a person follows.

``log.txt`` holds when each trial began and ended, how, and what it had reached. What Ray, libraries
and the trials themselves print is not for it: on the command line that goes to ``output.txt``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srsgd_ray.knobs import value_in

if TYPE_CHECKING:
    from srsgd_ray.results.contents import Contents, TrialRecord

LOG, OUTPUT = "log.txt", "output.txt"
CODES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_])")  # colours and the like
NAMED = 3  # trials that a line about many names


def note(folder: Path, contents: Contents, event: Mapping[str, Any]) -> None:
    """Append the line of an event that ``contents`` knows already, if it has one.

    The record holds the same: a log that cannot be written ends nothing.
    """
    text = _line(contents, event)
    if text:
        logged(folder, text, event["at"])


def logged(folder: Path, text: str, at: float | None = None) -> str:
    """Append a line to the log of the study in ``folder``, with its moment; the text."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    with suppress(OSError), (folder / LOG).open("ab") as file:
        file.write(f"{moment}  {one_line(text)}\n".encode(errors="backslashreplace"))
    return text


def one_line(text: str) -> str:
    """The text without colour codes, in one line."""
    return " ".join(CODES.sub("", text).split())


def searched(header: Mapping[str, Any], trial: TrialRecord) -> dict[str, Any]:
    """What distinguishes a trial: the knobs that its arm searches; of a confirmation, its seed."""
    arms = {arm["name"]: arm for arm in header.get("spec", {}).get("arms", [])}
    ranges = arms.get(trial.arm, {}).get("space", {}).get("ranges", {})
    seed = {"seed": trial.config.get("seed")} if trial.phase != "search" or not ranges else {}
    return {name: value_in(trial.config, name) for name in ranges} | seed


def reached(header: Mapping[str, Any], trial: TrialRecord) -> dict[str, Any]:
    """What a trial reported last of the metrics that its study judges by; none before that."""
    spec = header.get("spec", {})
    names = [spec.get("metric"), spec.get("pareto_metric")]
    names += [spec.get("confirm_metric")] if trial.phase == "confirm" else []
    last = trial.rows[-1] if trial.rows else {}
    return {name: last[name] for name in dict.fromkeys(names) if last.get(name) is not None}


def unit(header: Mapping[str, Any]) -> str:
    """What a study calls its reports: epochs, rounds, ..."""
    columns = header.get("columns", {}).get("epochs", [])
    return next((c["unit"] for c in columns if c["name"] == "epoch"), "epochs")


def _line(contents: Contents, event: Mapping[str, Any]) -> str:
    kind = event["event"]
    if kind == "session":
        return _session(contents, event)
    if kind == "pause":
        return "the session ends" if contents.sessions[-1].get("held_workers", 1) else ""
    if kind == "spec":
        spec = event["spec"]
        return (
            f"the study goes on as edited: {spec.get('trials')} search trials an arm, "
            f"{spec.get('confirm_seeds')} seeds, {spec.get('searches')} searches"
        )
    if kind == "selected":
        names = [name for trials in event["arms"].values() for name in trials]
        return f"search {event['search']} has ended: {', '.join(names) or 'nothing'} to confirm"
    if kind == "retry":
        trial = contents.trials[event["trial"]]
        return f"{trial.trial} is to run again; it had ended {trial.failures[-1]}"
    if kind == "enqueue":
        point = ", ".join(f"{k} {v}" for k, v in event["point"].items())
        return f"arm {event['arm']} is to try {point}, in search {event['search']}"
    if kind == "wait":
        names = list(event["trials"])
        waiting = ", ".join(names[:NAMED])
        waiting += f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        if event["over"]:
            return f"the study stops: no trial has workers for so long (--wait-hours): {waiting}"
        verb = "wait" if len(event["trials"]) > 1 else "waits"
        return (
            f"{waiting} {verb} for {event['need']}" if waiting else "no trial waits for workers now"
        )
    if kind == "trial":
        trial = contents.trials[event["trial"]]
        knobs = ", ".join(f"{k} {v}" for k, v in searched(contents.header, trial).items())
        return f"{trial.trial} begins: arm {trial.arm}, {trial.phase}" + (knobs and f", {knobs}")
    return _end(contents, event) if kind == "end" else ""


def _session(contents: Contents, event: Mapping[str, Any]) -> str:
    number, header = len(contents.sessions), contents.header
    question = header.get("spec", {}).get("question", "")
    text = f"session {number} of {header.get('study')} begins on {event.get('host')}"
    text += f": {question}" if question and number == 1 else ""
    if not event.get("held_workers", 1):  # such as skip, where nobody works on the study
        return f"a command on {event.get('host')} changes the study"
    begun = [t for t in contents.trials.values() if t.end is None]
    on = ", ".join(f"{t.trial} after epoch {len(t.rows)}" for t in begun)
    return text + (on and f"; it goes on with {on}")


def _end(contents: Contents, event: Mapping[str, Any]) -> str:
    trial = contents.trials[event["trial"]]
    since = max(trial.started, float(contents.sessions[-1]["at"]) if contents.sessions else 0.0)
    facts = [f"{n} {v:.6g}" if isinstance(v, float) else f"{n} {v}"
             for n, v in reached(contents.header, trial).items()]  # fmt: skip
    done, units = len(trial.rows), unit(contents.header)
    facts += [f"{done} {units[:-1] if done == 1 else units}, {event['at'] - since:.1f} s"]
    facts += [f"on {event['host']}"] if event.get("host") else []
    why = f", {event['reason']}" if event.get("reason") else ""
    return f"{trial.trial} ends {event['state']}{why}: {', '.join(facts)}"
