"""``srsgd-ray status``: what a study does just now."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from srsgd_ray import analysis
from srsgd_ray.cli.seen import Seen, fitted, holds_study, study_folders
from srsgd_ray.knobs import one_of
from srsgd_ray.progress import duration, waiting
from srsgd_ray.results import RecordError, schema_of
from srsgd_ray.results.place import held
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.results.remaining import to_come
from srsgd_ray.table import table
from srsgd_ray.typed import typed

WORDS = {
    "running": "running here",
    "stale": "stale, its driver ended without a word",
    "not running here": "not running here, but maybe on {host}, which worked on it last",
    "tables": "tables without a record",
}


def status_verb(given: argparse.Namespace) -> None:
    """Print what a study does just now; of a results folder, the one that was at work last."""
    one_of("format", given.format, ("text", "json"))
    path = Path(given.folder)
    inside = [] if holds_study(path) else [p for p in study_folders(path) if (p / RECORD).is_file()]
    if not inside and not holds_study(path):
        raise RecordError(f"no study here: {path} holds none, and is none. Name its folder.")
    latest = max(inside, key=_at_work, default=path)
    seen = Seen.of(latest)
    if given.format == "json":
        by_arm = _arms(seen).astype(object)
        rows = by_arm.where(by_arm.notna(), None).to_dict("records")
        known = {"folder": str(latest), **(seen.now or {}), "state": seen.state, "arms": rows}
        print(json.dumps(known, indent=2, default=str))
        return
    print("\n\n".join(filter(None, _status(seen))))
    if len(inside) > 1:
        others = typed("srsgd-ray", "list", path)
        print(f"\n{len(inside) - 1} more in {path}: {others}")


def _at_work(folder: Path) -> tuple[bool, float]:
    record = folder / RECORD
    return held(record), record.stat().st_mtime


def _status(seen: Seen) -> list[str]:
    now, host = seen.now, ""
    if seen.contents is not None and seen.contents.sessions:
        host = str(seen.contents.sessions[-1].get("host") or "another machine")
    said = WORDS.get(seen.state, seen.state).format(host=host)
    if now is None:
        head = f"{seen.folder}: {said}, {seen.ended} trials ended"
    else:
        head = f"{seen.folder}: {said}, {now['ended']} of {now['planned']} trials ended, "
        head += f"{now['done']} of {now['epochs']} epochs"
        if now["seconds_left"] is not None:
            head += f", about {duration(now['seconds_left'])} left"
        elif seen.state not in ("finished", "running"):
            head += f", last {duration(now['at'] - seen.last)} ago"
    counts = Counter(seen.trials["state"])
    if now is not None and now["waiting"]:
        head += f"\nOf its trials {waiting(now['waiting'], now['need'], now['at'])}"
    states = ", ".join(f"{counts[s]} {s}" for s in analysis.ENDS if counts[s]) or "no trial yet"
    parts = [f"{head}\n{seen.question}".strip(), states, _arms_text(seen)]
    if now is not None:
        parts += [_running_text(seen, now), _failures_text(seen, now)]
    return [*parts, _next(seen)]


def _arms(seen: Seen) -> pd.DataFrame:
    """By arm: ended and planned trials of the search and of the confirmation, and the best."""
    if seen.trials.empty or seen.single:
        return pd.DataFrame()
    coming = to_come(seen.contents) if seen.contents is not None else []
    left = Counter((arm, phase) for arm, phase, _, _ in coming)
    rows, confirmed = [], analysis.confirmation(seen.trials, None)
    for arm in analysis.arms(seen.trials):
        own = analysis.current(seen.trials[seen.trials["arm"] == arm])
        row: dict[str, Any] = {"arm": arm}
        for phase in ("search", "confirm"):
            begun = own[own["phase"] == phase]
            row[f"{phase}_ended"] = int((begun["state"] != "running").sum())
            row[f"{phase}_planned"] = len(begun) + left[arm, phase]
        try:
            won = analysis.winner(seen.trials, arm)
        except ValueError:  # none is complete yet
            row |= {"best": None, "trial": None}
        else:
            row |= {"best": won.value if won.found else None, "trial": won.found or None}
        row["confirmed"] = confirmed.arm(arm).estimate.mean  # as in the table: of all its searches
        rows.append(row)
    return pd.DataFrame(rows)


def _arms_text(seen: Seen) -> str:
    found = _arms(seen)
    if found.empty:
        return ""
    shown = pd.DataFrame({"arm": found["arm"].map(analysis.arm_label)})
    for phase, name in (("search", "search"), ("confirm", "confirmation")):
        counts = zip(found[f"{phase}_ended"], found[f"{phase}_planned"], strict=True)
        if found[f"{phase}_planned"].any():
            shown[name] = [f"{ended} of {planned}" if planned else "-" for ended, planned in counts]
    judged = {"best": analysis.search_goal(seen.trials)[0]}
    judged["confirmed"] = analysis.confirm_metric(seen.trials)
    for name, metric in judged.items():
        if found[name].notna().any():
            unit = schema_of(seen.trials)[metric].unit
            what = "best" if name == "best" else "mean"
            shown[f"{what} {analysis.in_words(metric)} {unit}".rstrip()] = found[name].astype(float)
        if name == "best" and found["trial"].notna().any():
            shown["in"] = found["trial"]
    return table(shown, numbers=".4g")


def _running_text(seen: Seen, now: dict[str, Any]) -> str:
    rows = [
        {
            "trial": trial["trial"],
            "epoch": f"{trial['epoch']} of {trial['epochs']}",
            analysis.in_words(now["metric"]): trial["value"],
            "since": duration(now["at"] - trial["since"]),
        }
        for trial in now["trials"]
    ]
    return table(pd.DataFrame(rows), title="Running", numbers=".4g") if rows else ""


def _failures_text(seen: Seen, now: dict[str, Any]) -> str:
    lost = int(seen.trials["state"].isin(["failed", "diverged"]).sum())
    shown = pd.DataFrame(now["failures"])
    if shown.empty:
        return ""
    title = f"Failed or diverged{f', the last {len(shown)} of {lost}' * (lost > len(shown))}"
    return fitted(table(shown, title=title, align="l"))


def _next(seen: Seen) -> str:
    """The command that one would type now."""
    if seen.state == "running":
        return f"Live page: {typed('srsgd-ray', 'watch', seen.folder)}"
    if seen.state in ("finished", "tables"):
        return f"Its table: {typed('srsgd-ray', 'table', seen.folder)}"
    if seen.contents is not None and "spec" not in seen.contents.header:
        return "Resume it with the command that started it, and --resume."
    return f"Resume with: {typed('srsgd-ray', 'resume', seen.folder)}"
