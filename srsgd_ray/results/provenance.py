"""Where results come from: code version, library versions and machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import srsgd_ray
from srsgd_ray.results.columns import SCHEMA_VERSION


def provenance() -> dict[str, Any]:
    """The columns of ``results.columns.PROVENANCE`` that the driver knows."""
    return {
        "schema_version": SCHEMA_VERSION,
        "commit": _commit(),
        "host": platform.node(),
        "hardware": processor(),
        "python_version": platform.python_version(),
        "srsgd_ray_version": srsgd_ray.__version__,
        **{f"{name}_version": _version(name) for name in ("torch", "ray", "optuna")},
    }


def ran_on(workers: int, parameters: int | None) -> dict[str, Any]:
    """The same columns of a trial that runs in this process, and how large it is."""
    found = {"parameters": parameters, "workers": workers, "host": platform.node()}
    found["hardware"] = _hardware()
    return {name: value for name, value in found.items() if value is not None}


def _hardware() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return processor()


@cache
def processor() -> str:
    """Model name of this machine's processor."""
    try:
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """Commit of the checkout that holds this package.

    Without one (Ray uploads a job's files without .git), what SRSGD_RAY_COMMIT says, or "".
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return os.environ.get("SRSGD_RAY_COMMIT", "")

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""
