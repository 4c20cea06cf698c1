"""What sessions of Ray left on this machine: processes without a raylet, and folders.

A process belongs to a session if its command line names the session's folder or if it has a file
open there: Ray's workers and agents change their names, and others may carry the same ones.
"""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from pathlib import Path

import psutil

from srsgd_ray.backends.ray.left import ray_folder
from srsgd_ray.doctor.finding import OK, WARNING, Finding, gigabytes

SESSION = re.compile(r"session_\d{4}-\d\d-\d\d_[\d-]+_\d+_\d+")
MOST = 2e9  # bytes of old sessions that are no trouble
YOUNG = 60.0  # seconds within which a session's agents leave by themselves
HEADS = ("raylet", "gcs_server")


def sessions() -> dict[str, list[psutil.Process]]:
    """The living processes of each session of Ray, by its folder's name."""
    found: dict[str, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            marks = [*process.cmdline(), *(file.path for file in process.open_files())]
        except (psutil.Error, OSError):  # it ended, or is another user's
            continue
        names = {m[0] for mark in marks if (m := SESSION.search(mark))}
        if len(names) == 1:
            found[names.pop()].append(process)
    return dict(found)


def leftovers() -> list[Finding]:
    """Sessions that run, processes whose session has ended, and what old sessions hold on disk."""
    alive = sessions()
    findings = []
    for name, processes in sorted(alive.items()):
        if any(_runs(process, HEADS) for process in processes):
            findings.append(Finding(OK, "Ray", f"{name} runs, {len(processes)} processes"))
        elif orphans := [p for p in processes if _orphan(p)]:
            pids = " ".join(str(p.pid) for p in orphans)
            value = f"{len(orphans)} processes of {name}, whose raylet is gone"
            findings.append(Finding(WARNING, "Ray", value, f"kill {pids}"))
    folder = ray_folder()
    old = [p for p in folder.glob("session_*") if p.is_dir() and not p.is_symlink()]
    old = [path for path in old if path.name not in alive]
    size = sum(used(path) for path in old)
    value = f"{len(old)} ended sessions in {folder}, {gigabytes(size)}"
    cure = f"find {folder} -maxdepth 1 -name 'session_*' -mtime +0 -exec rm -r {{}} +"
    if size > MOST:
        findings.append(Finding(WARNING, "Ray", f"{value} (those of the last day stay)", cure))
    else:
        findings.append(Finding(OK, "Ray", value))
    return findings


def _runs(process: psutil.Process, names: tuple[str, ...]) -> bool:
    try:
        return Path(process.cmdline()[0]).name in names
    except (psutil.Error, IndexError):
        return False


def _orphan(process: psutil.Process) -> bool:
    """Whether nobody waits for a process of Ray any more: its parent is gone, and for long."""
    try:
        ours = process.name().startswith("ray::") or "site-packages/ray/" in " ".join(
            process.cmdline()
        )
        return ours and process.ppid() == 1 and time.time() - process.create_time() > YOUNG
    except psutil.Error:
        return False


def used(folder: Path) -> int:
    """Bytes of the files below a folder."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(where, name)).st_size
            except OSError:
                continue
    return total
