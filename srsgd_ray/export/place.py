"""Where an export goes, and what it needs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srsgd_ray.typed import typed

EXTRA = "srsgd-ray[export]"


def library(module: str, package: str = "") -> Any:
    """A library that only exports use.

    Args:
        module: to import.
        package: that has it, if it is called otherwise.

    Raises:
        ValueError: if it is not installed; with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = package or module.partition(".")[0]
        command = typed("python", "-m", "pip", "install", EXTRA)
        raise ValueError(f"{name} is needed, but: {error}. Install it with: {command}") from error


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables that a library reads, as they are in the body alone."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def replace(path: Path, data: bytes) -> None:
    """Write a file by an atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_bytes(data)
    partial.replace(path)
