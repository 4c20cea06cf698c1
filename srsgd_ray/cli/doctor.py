"""``srsgd-ray doctor``: what may keep a study from running here, with cures."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from srsgd_ray.doctor import Finding, examined, left, machine, places, study
from srsgd_ray.doctor.finding import ERROR, LEVELS, Look
from srsgd_ray.results.lines import examine
from srsgd_ray.results.mending import mend
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.table import table
from srsgd_ray.typed import typed


def doctor_verb(given: argparse.Namespace) -> int:
    """Print all findings, and the cures below; 1 if an error was found."""
    folder = Path(given.folder or "results")
    if given.folder is not None and not (folder / RECORD).is_file():
        raise ValueError(f"no study here: expected {folder / RECORD}. Name a folder with one.")
    if given.mend:
        print(_mended(given.folder and folder))
    looks = [
        *machine.looks(folder, given.storage),
        Look("Ray", left.leftovers, 30.0),
        *places.looks(given.address, given.storage),
        *(study.looks(folder) if given.folder is not None else ()),
    ]
    found = list(examined(looks))
    print(_shown(found))
    return 1 if any(finding.level == ERROR for finding in found) else 0


def _mended(folder: Path | None) -> str:
    if folder is None:
        raise ValueError("--mend needs the folder of a study. Name it.")
    if not examine(folder / RECORD)[0]:
        return f"{folder}: no line of {RECORD} is damaged, and nothing was changed."
    return f"{folder}: {mend(folder)} Go on with: {typed('srsgd-ray', 'resume', folder)}"


def _shown(found: list[Finding]) -> str:
    rows = pd.DataFrame(
        [(each.level, each.what, each.value) for each in found],
        columns=["", "what", "found"],
    )
    lines = [table(rows, align="l", header=False)]
    for each in found:
        if each.cure:
            lines += [f"\n{each.level}, {each.what}: {each.value}", f"  {each.cure}"]
    counts = {level: sum(each.level == level for each in found) for level in LEVELS}
    lines.append("\n" + ", ".join(f"{count} {level}" for level, count in counts.items()))
    return "\n".join(lines)
