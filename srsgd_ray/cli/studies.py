"""``srsgd-ray run | resume | extend | plan | check``: studies by file, import path or folder."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from srsgd_ray.backends.ends import said_by
from srsgd_ray.cli.launch import launch, shown
from srsgd_ray.cli.parser import given_of, pairs
from srsgd_ray.import_path import load
from srsgd_ray.knobs import plain
from srsgd_ray.results import read_record
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.larger import lengthened, with_more
from srsgd_ray.study.options import Options
from srsgd_ray.study.spec import Study
from srsgd_ray.trainable import Trainable
from srsgd_ray.typed import typed


def run_verb(given: argparse.Namespace) -> int:
    """Run the study of a file, an import path or a folder; the other words are its script's."""
    command = ("srsgd-ray", "run", given.what)
    if (Path(given.what) / RECORD).is_file():  # again, on what it ran on, in another folder
        study, started = recorded(Path(given.what))
        started.remove("--resume")
        return launch(study, [*started, *given.words], command=command)
    return launch(load_study(given.what), given.words, command=command)


def plan_verb(given: argparse.Namespace) -> int:
    """Say what a study will cost, or what is left of one that has begun."""
    command, words = ("srsgd-ray", "plan", given.what), [*given.words, "--plan"]
    if (Path(given.what) / RECORD).is_file():
        study, started = recorded(Path(given.what))
        return launch(study, [*started, *words], command=command)
    return launch(load_study(given.what), words, command=command)


def resume_verb(given: argparse.Namespace) -> int:
    """Resume the study in a folder, or its training run, as it was started."""
    if "config" in read_record(Path(given.what)).header:
        from srsgd_ray.cli.train import resume_training

        return resume_training(Path(given.what), given.words)
    study, words = recorded(Path(given.what))
    command, script = ("srsgd-ray", "resume", given.what), _script(Path(given.what))
    return launch(
        study,
        [*words, *given.words],
        command=command,
        resume=lambda: typed(*command),
        script=script,
    )


def _script(folder: Path) -> Mapping[str, Any]:
    """What the script of a study had when it was recorded last."""
    header = read_record(folder).header
    script: Mapping[str, Any] = header.get("script") or header["spec"]
    return script


def extend_verb(given: argparse.Namespace) -> int:
    """Add trials, searches or seeds to the study in a folder."""
    folder = Path(given.folder)
    study, words = recorded(folder)
    more = {name: getattr(given, name) for name in ("trials", "searches", "confirm_seeds")}
    if any(more.values()) == (given.epochs is not None):
        raise ValueError(
            "an extension needs --trials, --searches or --confirm-seeds, and how many more; or "
            "--epochs alone. Other arms stand in the study's script, which takes --extend."
        )
    places = given_of(given, [f for f in dataclasses.fields(Options) if f.metadata])
    words += [*_as_words(places), *(["--plan"] if given.plan else [])]
    before, command = study.to_dict(), ("srsgd-ray", "extend", given.folder)
    if given.epochs is not None:
        longer = lengthened(study, read_record(folder), given.epochs)
        other = folder.with_name(f"{folder.resolve().name}-{given.epochs}-epochs")
        begin = [word for word in words if word != "--resume"] + [f"--name={other.name}"]
        again = typed("srsgd-ray", "resume", str(other))
        return launch(longer, begin, command=command, resume=lambda: again)
    words = ["--extend" if word == "--resume" else word for word in words]

    def resume() -> str:
        if read_record(folder).header["spec"] == before:  # nothing of it has begun
            asked = {name: number for name, number in more.items() if number is not None}
            return typed(*command, *_as_words({**asked, **places}))
        return typed("srsgd-ray", "resume", given.folder)

    longer = with_more(study, **more)
    return launch(longer, words, command=command, resume=resume, script=_script(folder))


def _as_words(options: Mapping[str, Any]) -> list[str]:
    """Options as the words that give them; without those that have no value."""
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words.append(f"--{flag}={value}")
    return words


def recorded(folder: Path) -> tuple[Study, list[str]]:
    """The study of a folder, and the options that it was started with, as words."""
    header = read_record(folder).header
    if not header["spec"]["arms"]:
        raise ValueError(
            f"{folder} holds a training run of an older version, and no study. Train again: "
            f"{typed('srsgd-ray', 'train', '--out')} DIR."
        )
    whole = folder.resolve()
    words = ["--resume", f"--results={whole.parent}", f"--name={whole.name}"]
    not_kept = ("results", "figures", "plan", "budget_hours")
    options = header.get("options", {}).items()
    # By identity: 0 GPUs are not the default.
    kept = {n: value for n, value in options if n not in not_kept and value is not False}
    words += _as_words(kept)
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
                f"{typed('srsgd-ray', 'run', f'{Path(what).stem}:NAME')}."
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
    found = importlib.util.find_spec(path.stem) if "." not in path.stem else None
    library = path.stem in sys.stdlib_module_names
    if library or "." in path.stem or "site-packages" in str(found and found.origin):
        taken = "has a dot" if "." in path.stem else "is that of a library"
        raise ValueError(
            f"a script is imported by its name, but that of {path.name} {taken}. Rename it, for "
            f"example to my_study.py."
        )
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


def check_verb(given: argparse.Namespace) -> int:
    """Test the trainables of a file against the contract that the engine relies on."""
    from srsgd_ray.testing import check_trainable

    knobs = pairs("--set", given.set, "lr=0.1")
    failures = 0
    for name, work, values in _found(given.what):
        print(name)
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
            values = study.config(arm.name, {})
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
