"""``srsgd-ray run | resume | plan | check``: studies and trainables by file, path or folder."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from srsgd_ray.backends.ends import said_by
from srsgd_ray.knobs import load, plain
from srsgd_ray.results import read_record
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.check import without_defaults
from srsgd_ray.study.launch import launch, shown
from srsgd_ray.study.spec import Study
from srsgd_ray.trainable import Trainable

__all__ = ["check_command", "load_study", "plan_command", "resume_command", "run_command"]

HELP = "FILE (a study script) or package.module:STUDY"


def run_command(argv: Sequence[str]) -> int:
    """Run the study of a file or an import path; the rest as its script takes it."""
    what, rest = _first(argv, "run", HELP)
    return launch(load_study(what), rest, prog=f"srsgd-ray run {what}")


def plan_command(argv: Sequence[str]) -> int:
    """Say what a study will cost, or what is left of one that has begun."""
    what, rest = _first(argv, "plan", f"{HELP}, or FOLDER of a study that has begun")
    if (Path(what) / RECORD).is_file():
        study, words = _recorded(Path(what))
        return launch(study, [*words, *rest, "--plan"], prog=f"srsgd-ray plan {what}")
    return launch(load_study(what), [*rest, "--plan"], prog=f"srsgd-ray plan {what}")


def resume_command(argv: Sequence[str]) -> int:
    """Go on with the study in a folder, as it was started."""
    what, rest = _first(argv, "resume", "FOLDER, such as results/NAME")
    study, words = _recorded(Path(what))
    return launch(study, [*words, *rest], prog=f"srsgd-ray resume {what}", resume_by_folder=True)


def _first(argv: Sequence[str], verb: str, what: str) -> tuple[str, list[str]]:
    words = list(argv)
    if not words or words[0].startswith("-"):
        parser = argparse.ArgumentParser(prog=f"srsgd-ray {verb}")
        parser.add_argument("what", help=what)
        parser.parse_known_args(words)
        raise ValueError(f"srsgd-ray {verb} takes first {what}, but got {' '.join(words)!r}.")
    return words[0], words[1:]


def _recorded(folder: Path) -> tuple[Study, list[str]]:
    """The study of a folder, and the options that it was started with, as words."""
    header = read_record(folder).header
    words = ["--resume", "--results", str(folder.resolve().parent), "--name", folder.resolve().name]
    for name, value in header.get("options", {}).items():
        if name in ("results", "figures", "plan", "budget_hours") or value in (None, False):
            continue
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    return Study.from_dict(header["spec"]), words


def load_study(what: str) -> Study:
    """The study that a file holds, or that an import path names.

    Raises:
        ValueError: if there is none, or the file cannot be run; with the line.
    """
    if what.endswith(".py"):
        module = load_file(Path(what))
        studies = {n: v for n, v in vars(module).items() if isinstance(v, Study)}
        if "STUDY" in studies:
            return studies["STUDY"]
        if len(studies) != 1:
            found = ", ".join(studies) or "none"
            raise ValueError(
                f"{what} must hold one Study, best called STUDY, but holds {found}. Name one: "
                f"srsgd-ray run {Path(what).stem}:NAME."
            )
        return next(iter(studies.values()))
    found = load(what, "study")
    if not isinstance(found, Study):
        raise ValueError(f"{what} must be a Study, but is {type(found).__name__}.")
    return found


def load_file(path: Path) -> ModuleType:
    """Run a Python file as a module that other processes can import by its name."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{shown(f'{error.filename}:{error.lineno}')}{error.msg}.") from error
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if _is(f, path)]
        place = f"{path.resolve()}:{lines[-1]}" if lines else ""
        raise ValueError(f"{shown(place)}{said_by(error)}") from error
    return module


def _is(frame: traceback.FrameSummary, path: Path) -> bool:
    return Path(frame.filename).resolve() == path.resolve()


def check_command(argv: Sequence[str]) -> int:
    """Put the trainables of a file to the contract that the engine relies on."""
    parser = argparse.ArgumentParser(
        prog="srsgd-ray check",
        description="Runs each trainable of a study for some seconds, in its smallest version, and "
        "says what of the contract it keeps.",
    )
    parser.add_argument(
        "what", metavar="FILE|MODULE:NAME", help="a file with studies or trainables"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="that must agree [2]")
    parser.add_argument("--set", nargs="+", default=[], metavar="KNOB=VALUE", help="knobs to try")
    given = parser.parse_args(argv)
    from srsgd_ray.study.flags import settings
    from srsgd_ray.testing import check_trainable

    knobs = settings(given.set)
    failures = 0
    for name, work, values in _found(given.what):
        print(f"{name}")
        failures += check_trainable(
            work, {**values, **knobs}, lambda line: print(f"  {line}"), given.workers
        )
    print(f"{failures} broken" if failures else "All kept.")
    return 1 if failures else 0


def _found(what: str) -> list[tuple[str, Trainable, dict[str, Any]]]:
    """Name, trainable and knobs of what is to be checked: the arms of studies, or trainables."""
    if what.endswith(".py"):
        held = {n: v for n, v in vars(load_file(Path(what))).items() if not n.startswith("_")}
    else:
        held = {what: load(what, "what to check")}
    found = []
    for study in {id(v): v for v in held.values() if isinstance(v, Study)}.values():
        study.check()
        for arm in study.arms:
            values = study.config(arm.name, without_defaults(study, arm))
            found.append((f"{study.name}, arm {arm.name}", study.work, plain(values)))
    known = {id(work) for _, work, _ in found}
    found += [
        (name, work, {})
        for name, work in held.items()
        if isinstance(work, Trainable) and id(work) not in known
    ]
    if not found:
        raise ValueError(
            f"{what} must hold a Study or a trainable, but holds neither. Decorate the function "
            f"with @as_trainable, or name a class of Trainable."
        )
    return found
