"""What a driver that was killed leaves of the Ray that it had started here; the next one ends it.

Ray's processes go with their driver, but for the agents of its node, which wait a minute for a head
that is gone. The driver notes in the session's folder which processes are its Ray, and since when:
the next one takes no other for them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

NOTE = "srsgd_ray.json"
ROOM = 10_000_000  # bytes that a short study's session takes
LEAVE = 5.0  # seconds that a killed process gets to be gone
# Of Ray's own: the autoscaler's monitor, for which Ray waits a second in vain, and the dashboard,
# which leaves at SIGTERM without a word, too, unless one of its nine parts has just died.
SLOW = ("autoscaler/_private/monitor.py", "dashboard/dashboard.py", "ray-dashboard-")


def ray_folder() -> Path:
    """Where Ray keeps its sessions."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR", "/tmp")) / "ray"


def check_room() -> None:
    """Raise ValueError if Ray cannot start for want of room: it waits and does not say for what."""
    folder = next(path for path in (ray_folder(), *ray_folder().parents) if path.exists())
    if (free := shutil.disk_usage(folder).free) < ROOM:
        raise ValueError(
            f"Ray needs {ROOM / 1e6:g} MB for the logs of its session, but {folder} has "
            f"{free / 1e6:.3g} left. Make room, or name another folder with RAY_TMPDIR."
        )


@contextmanager
def noted(session: Path) -> Iterator[None]:
    """Note this process and those of the Ray that it has started in the folder ``session``.

    The note is deleted when the context ends in order; those that leave slowly and keep nothing
    are ended then.
    """
    note, me = session / NOTE, psutil.Process()
    ours = [process for process in me.children(recursive=True) if _has_open(process, session)]
    with suppress(OSError, psutil.Error):  # without it, what is left stays a minute
        known = [[process.pid, process.create_time()] for process in (me, *ours)]
        note.write_text(json.dumps(known), encoding="utf-8")
    try:
        yield
    finally:
        for process in ours:
            with suppress(psutil.Error):
                if any(name in " ".join(process.cmdline()) for name in SLOW):
                    process.kill()
        with suppress(OSError):
            note.unlink()


def end_left() -> list[str]:
    """End what killed drivers of this user have left on this machine; a line for each."""
    said = []
    for note in sorted(ray_folder().glob(f"session_*/{NOTE}")):
        try:
            if note.stat().st_uid != os.getuid():
                continue
            driver, *others = (
                _alive(*each) for each in json.loads(note.read_text(encoding="utf-8"))
            )
            if driver is not None:
                continue
            left = [process for process in others if process is not None]
            for process in left:
                process.kill()
            psutil.wait_procs(left, LEAVE)
            note.unlink()
        except (OSError, ValueError, TypeError, psutil.Error):
            continue  # no whole note, or another driver was quicker
        if left:
            pids = " ".join(str(process.pid) for process in left)
            said.append(f"Ended what a killed driver left of its Ray, {note.parent.name}: {pids}")
    return said


def _has_open(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(Path(file.path).is_relative_to(folder) for file in process.open_files())
    except (psutil.Error, OSError):
        return False


def _alive(pid: int, since: float) -> psutil.Process | None:
    """The process of that number that began at that time, if it is still there."""
    try:
        process = psutil.Process(pid)
        same = process.create_time() == since and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return process if same else None
