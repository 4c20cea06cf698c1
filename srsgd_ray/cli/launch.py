"""The command line of every study script."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from srsgd_ray import analysis
from srsgd_ray.cli.guard import guarded
from srsgd_ray.cli.parser import parse
from srsgd_ray.cli.study_options import describe, options_of, resolve, study_arguments
from srsgd_ray.results import read_trials
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.check import check_types
from srsgd_ray.study.result import FINISHED, INTERRUPTED, OUT_OF_BUDGET, PLANNED, barren
from srsgd_ray.study.run import execute
from srsgd_ray.study.spec import Study

__all__ = ["launch", "resume_command", "shown"]


def launch(
    study: Study,
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    finish: Callable[[Path], object] | None = None,
    resume_by_folder: bool = False,
) -> int:
    """Run ``study`` as the command line says; returns the exit status.

    0: finished. 1: all trials of an arm failed. 2: refused, with one message. 3: budget spent,
    130: interrupted, both with the command that resumes.

    Args:
        study: the study.
        argv: words of the command line; None: of this process.
        prog: the command, as messages call it; None: the script.
        finish: called with the study's folder when it is finished, before its figures are drawn.
        resume_by_folder: the command that resumes is ``prog`` alone.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    prog = prog or _command()
    folder, script = Path(), None

    def stopped(more: str = "") -> None:
        resume = prog if resume_by_folder else resume_command(prog, words)
        begun = (folder / RECORD).exists()
        print(f"\nStopped. Resume{more} with:\n  {resume}" if begun else "\nStopped: not begun.")

    def work() -> int:
        nonlocal folder, script
        if not isinstance(study, Study):
            raise ValueError(
                f"launch takes a Study, but got {study!r}. A comma at the end of "
                f"`STUDY = Study(...),` makes a tuple of it."
            )
        check_types(study)
        arguments, script = study_arguments(study), study.to_dict()
        given = parse(prog, describe(study), arguments, words)
        options = options_of(given)
        name = given.name or study.name + ("-smoke" if given.smoke else "")
        folder = options.results / name
        status = execute(
            resolve(study, given, folder),
            options,
            name=name,
            resume=given.resume,
            script=script,
            quiet=False,
        )
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        if status == OUT_OF_BUDGET:
            stopped(", and a larger --budget-hours if you like,")
            return 3
        if status == FINISHED:
            if finish is not None:
                finish(folder)
            _report(folder, options.figures)
            return _failures(folder)
        assert status == PLANNED
        return 0

    def placed() -> int:
        try:
            return work()
        except ValueError as error:
            raise _with_place(study, error, script is None) from error

    return guarded(prog, placed, stopped)


def _command() -> str:
    """The command that runs this script."""
    script = Path(sys.argv[0])
    return f"python {script}" if script.suffix == ".py" else script.name


def _with_place(study: Study, error: ValueError, of_script: bool) -> ValueError:
    """The error with its line, if the study is wrong as its script has it, whatever the options."""
    own = error if of_script else None
    try:
        if isinstance(study, Study):
            study.check()
    except ValueError as whole:  # which knows the arm
        own = whole if of_script or str(whole) == str(error) else None
    if own is None:
        return error
    return ValueError(f"{shown(getattr(own, 'place', getattr(study, 'place', '')))}{own}")


def shown(place: str) -> str:
    """``FILE:LINE: `` with the file as seen from here, to begin a message; "" for nothing."""
    file, _, line = place.rpartition(":")
    if not file:
        return ""
    path = Path(file)
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{path}:{line}: "


def resume_command(prog: str, words: Sequence[str]) -> str:
    """The command that resumes the study that these words started."""
    gone = ("--resume", "--smoke")
    kept = [w for w in words if w not in gone and not w.startswith("--budget-hours=")]
    if "--budget-hours" in kept:
        at = kept.index("--budget-hours")
        del kept[at : at + 2]
    if "--smoke" in words and "--name" not in words:
        kept = ["--smoke", *kept]
    return shlex.join([*prog.split(), *kept, "--resume"])


def _report(folder: Path, figures: bool) -> None:
    """The table, where everything lies, and what to do next."""
    print("\n" + analysis.render(read_trials(folder)))
    if figures:
        print(*_draw_figures(folder), sep="\n")
    print(f"\nTables:    {folder}/trials.parquet, {folder}/epochs.parquet")
    print(f"Log:       {folder}/log.txt")
    if (folder / "optuna.db").exists():
        print(f"Trials:    optuna-dashboard sqlite:///{folder}/optuna.db")
    print("More seeds: the same command with --resume and a larger --confirm-seeds", flush=True)


def _draw_figures(folder: Path) -> list[str]:
    """Draw the study's figures in a process that knows neither torch nor Ray; what it printed."""
    command = [sys.executable, "-m", "srsgd_ray.figures", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return (done.stdout + (done.stderr if done.returncode else "")).strip().splitlines()


def _failures(folder: Path) -> int:
    """Say which arms came to nothing; 1 if there are any, else 0."""
    found = barren(folder)
    for arm, reason in found.items():
        print(f"Every trial of arm {arm!r} failed. The first, {reason}", file=sys.stderr)
    return 1 if found else 0
