"""What an import path names, and one message for what it does not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from srsgd_ray.knobs import did_you_mean

__all__ = ["load"]


def load(path: str, what: str = "name") -> Any:
    """What an import path ``package.module:name`` names.

    Args:
        path: the import path.
        what: what it is for, as the messages call it.

    Raises:
        ValueError: if there is no such module, or nothing of that name in it.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise ValueError(f"{what} must be an import path such as my_module:name, but got {path!r}.")
    try:
        found: Any = _module(module_name)
    except ImportError as error:
        raise ValueError(
            f"{what} {path!r} cannot be imported here: {error}. Its module must lie where Python "
            f"looks: next to the study script, in the folder of the command, or installed (on a "
            f"cluster: on every node, or under --working-dir of `ray job submit`)."
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            names = [n for n in vars(found) if not n.startswith("_")]
            raise ValueError(
                f"{what} {path!r} does not exist: {module_name} has no {part!r}."
                f"{did_you_mean(part, names)}"
            )
        found = getattr(found, part)
    return found


def _module(name: str) -> Any:
    """The module, from where Python looks or else from the folder of the command."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = str(Path.cwd())
        if here in sys.path or error.name != name.partition(".")[0]:
            raise
        sys.path.append(here)
        importlib.invalidate_caches()
        return importlib.import_module(name)
