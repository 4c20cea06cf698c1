"""Commands that a message gives to be typed: they run as they are printed."""

from __future__ import annotations

import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

__all__ = ["typed"]

PYTHON, OURS = "python", "srsgd-ray"


def typed(program: str, *words: object, anywhere: bool = False) -> str:
    """A command for a shell in the folder of this process.

    Args:
        program: ``python``, or a program that is installed beside it, such as ``srsgd-ray``. It
            gets the path that it has in this environment, unless the bare word means that one.
        words: what follows, as it is: quoted where a shell would read it as more than a text.
        anywhere: the shell may be in another folder by then.
    """
    return shlex.join([*_program(program, anywhere), *map(str, words)])


def _program(name: str, anywhere: bool) -> list[str]:
    python = Path(sys.executable or PYTHON)
    if name == PYTHON:
        bare = next((w for w in (PYTHON, "python3") if _found(w) == _place(python)), None)
        return [bare or _shown(python, anywhere)]
    user = sysconfig.get_preferred_scheme("user")
    installed = (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", user))
    for folder in (python.parent, *installed):
        own = Path(folder, name)
        if own.is_file():
            return [name if _found(name) == _place(own) else _shown(own, anywhere)]
    return [*_program(PYTHON, anywhere), "-m", "srsgd_ray"] if name == OURS else [name]


def _found(word: str) -> tuple[Path, Path] | None:
    """What the shell of this process runs for a bare word."""
    there = shutil.which(word)
    return None if there is None else _place(Path(there))


def _place(path: Path) -> tuple[Path, Path]:
    """What distinguishes programs: two environments have the same Python, in other folders."""
    return path.parent.resolve(), path.resolve()


def _shown(path: Path, anywhere: bool) -> str:
    path = path.absolute()  # not resolved: the link to Python leads out of its environment
    near = not anywhere and path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd()) if near else path)
