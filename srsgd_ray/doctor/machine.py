"""This machine: versions, processors, memory, disks, ports, file descriptors, GPUs."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from srsgd_ray.doctor.finding import ERROR, OK, WARNING, Finding, Look, gigabytes
from srsgd_ray.typed import typed

OURS = "srsgd-ray"
NAMED = ("torch", "torchvision", "ray", "optuna", OURS)
FREE = 5e9  # bytes of a disk, below which a study may fill it
NEEDED = 2e8  # bytes without which nothing should begin
MEMORY = 2e9  # bytes that a driver and a worker need
FILES = 4096  # open files that Ray asks for
STORE_SHARE = 0.3  # of the memory, which Ray's object store takes by default
PORTS = {
    6379: "`ray start --head`: give it --port",
    8265: "Ray's dashboard, which takes the next port",
    8080: "`srsgd-ray watch`: give it --port",
    10001: "Ray's clients (ray://): give `ray start` --ray-client-server-port",
}
CUDA = "import torch; print(torch.cuda.device_count(), torch.version.cuda)"


def looks(folder: Path, storage: str | None) -> list[Look]:
    """Looks at this machine, for results in ``folder`` and checkpoints in ``storage``."""
    places = {"results": folder, "temporary files": Path(tempfile.gettempdir())}
    if storage is not None and "://" not in storage:
        places["checkpoints"] = Path(storage)
    return [
        Look("versions", versions),
        Look("processors", processors),
        Look("memory", memory),
        Look("shared memory", shared_memory),
        *(Look(f"disk of {name}", partial(disk, name, path)) for name, path in places.items()),
        Look("ports", ports),
        Look("open files", open_files),
        Look("GPUs", gpus, 60.0),
    ]


def versions() -> list[Finding]:
    """Installed packages against the bounds of ours, and torchvision against torch."""
    bounds = [Requirement(text) for text in requires(OURS) or ()]
    bounds = [each for each in bounds if each.marker is None or each.marker.evaluate({"extra": ""})]
    pairs = [Requirement(text) for text in _requires("torchvision")]
    bounds += [each for each in pairs if each.name == "torch"]
    wrong = []
    for each in bounds:
        have = _version(each.name)
        if have is None or not each.specifier.contains(have, prereleases=True):
            wrong.append(f"{each.name}{each.specifier} must hold, but {have or 'none'} is there")
    python = str(metadata(OURS)["Requires-Python"] or "")
    if not SpecifierSet(python).contains(platform.python_version(), prereleases=True):
        wrong.append(f"Python {python} must hold")
    have_all = ", ".join(f"{name} {_version(name)}" for name in NAMED)
    value = f"Python {platform.python_version()}, {have_all}"
    if not wrong:
        return [Finding(OK, "versions", value)]
    cure = typed("python", "-m", "pip", "install", *(f"{b.name}{b.specifier}" for b in bounds))
    return [Finding(ERROR, "versions", f"{'; '.join(wrong)} ({value})", cure)]


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _control_group(*names: str) -> list[str]:
    """Words of the first of these files of the control group that is there."""
    for name in names:
        path = Path("/sys/fs/cgroup", name)
        if path.is_file():
            return path.read_text(encoding="utf-8").split()
    return []


def processors() -> list[Finding]:
    """CPUs that this process may use, against those that Ray will count."""
    own, there = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    limit = _control_group("cpu.max") or _control_group("cpu/cpu.cfs_quota_us")
    period = limit[1:] or _control_group("cpu/cpu.cfs_period_us")
    quota = float(limit[0]) / float(period[0]) if limit and limit[0] not in ("max", "-1") else own
    load = os.getloadavg()[0]
    value = f"{own} of {there}, load {load:.1f}"
    if quota < own:
        cure = f"Fewer trials at a time: --slots {max(1, int(quota))} --cpus-per-worker 1."
        value += f", but the container may use {quota:g}"
        return [Finding(WARNING, "processors", value, cure)]
    if load > 1.5 * own:
        cure = "The times of a plan will be too short: see what runs with `top`."
        return [Finding(WARNING, "processors", value, cure)]
    return [Finding(OK, "processors", value)]


def memory() -> list[Finding]:
    """Memory that is free, also within a container's limit."""
    found = psutil.virtual_memory()
    free, total = found.available, found.total
    limit = _control_group("memory.max", "memory/memory.limit_in_bytes")
    used = _control_group("memory.current", "memory/memory.usage_in_bytes")
    if limit and used and limit[0].isdecimal() and int(limit[0]) < total:
        total = int(limit[0])
        free = min(free, total - int(used[0]))
    value = f"{gigabytes(free)} of {gigabytes(total)} free"
    if free > MEMORY:
        return [Finding(OK, "memory", value)]
    cure = "Ray ends workers where memory runs out: end other programs, or take fewer --slots."
    return [Finding(WARNING, "memory", value, cure)]


def shared_memory() -> list[Finding]:
    """/dev/shm against what Ray's object store takes."""
    path = Path("/dev/shm")
    if not path.is_dir():
        return [Finding(WARNING, "shared memory", "no /dev/shm", "Mount a tmpfs there.")]
    room = shutil.disk_usage(path)
    wanted = STORE_SHARE * psutil.virtual_memory().total
    value = f"{gigabytes(room.free)} of {gigabytes(room.total)} free in /dev/shm"
    if room.free >= min(wanted, 2e9):
        return [Finding(OK, "shared memory", value)]
    size = f"{max(2, round(wanted / 1e9))}g"
    cure = f"mount -o remount,size={size} /dev/shm, or in Docker: docker run --shm-size {size}"
    return [Finding(WARNING, "shared memory", f"{value}; Ray puts objects on disk", cure)]


def disk(name: str, folder: Path) -> list[Finding]:
    """Room on the disk of a folder, or of the folder that it will be made in."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    room = shutil.disk_usage(there)
    value = f"{gigabytes(room.free)} free at {there}"
    level = OK if room.free > FREE else WARNING if room.free > NEEDED else ERROR
    if not os.access(there, os.W_OK):
        level, value = ERROR, f"{there} cannot be written"
    option = {"results": "--results", "checkpoints": "--storage"}.get(name, "TMPDIR")
    cure = f"Make room, or choose another with {option}: du -xsh {there}/* | sort -h | tail"
    return [Finding(level, f"disk of {name}", value, "" if level == OK else cure)]


def ports() -> list[Finding]:
    """Who listens on the ports that Ray and the live page take by default."""
    heard = {c.laddr.port: c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN"}
    taken = []
    for port in PORTS.keys() & heard.keys():
        pid = heard[port]
        who = f"process {pid} ({psutil.Process(pid).name()})" if pid else "another user's process"
        taken.append((port, who))
    if not taken:
        return [Finding(OK, "ports", f"{', '.join(map(str, PORTS))}: nobody listens")]
    return [
        Finding(WARNING, "ports", f"{port} is taken by {who}", f"It matters to {PORTS[port]}.")
        for port, who in sorted(taken)
    ]


def open_files() -> list[Finding]:
    """The limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= FILES:
        return [Finding(OK, "open files", f"{soft} a process")]
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    return [Finding(WARNING, "open files", f"{soft} a process", f"ulimit -n {most}")]


def gpus() -> list[Finding]:
    """GPUs by the driver, and by torch, each in a process of its own."""
    driver = ""
    if program := shutil.which("nvidia-smi"):
        query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        driver = _said(query)
    seen, _, built = _said([sys.executable, "-c", CUDA]).partition(" ")
    if not driver and seen == "0":
        return [Finding(OK, "GPUs", "none: trials run on CPUs")]
    value = f"{seen} for torch (CUDA {built}); driver: {driver or 'no nvidia-smi'}"
    if seen.isdecimal() and int(seen) == len(driver.splitlines()):
        return [Finding(OK, "GPUs", value.replace("\n", ", "))]
    cure = (
        "torch and the driver must agree: look at CUDA_VISIBLE_DEVICES, compare the driver's CUDA "
        "in `nvidia-smi` with torch's, and install a newer driver or an older torch."
    )
    return [Finding(ERROR, "GPUs", value.replace("\n", ", "), cure)]


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"failed: {error}"
    return done.stdout.strip()
