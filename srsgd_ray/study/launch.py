"""The command line of every study script."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srsgd_ray import analysis
from srsgd_ray.results import read_trials
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.check import place_of
from srsgd_ray.study.flags import command, make_parser, resolve
from srsgd_ray.study.progress import all_output_to
from srsgd_ray.study.result import FINISHED, INTERRUPTED, OUT_OF_BUDGET, PLANNED, barren
from srsgd_ray.study.run import Options, draw_figures, execute
from srsgd_ray.study.spec import Study

__all__ = ["STATUS", "launch", "shown"]

STATUS = {FINISHED: 0, PLANNED: 0, OUT_OF_BUDGET: 3, INTERRUPTED: 130}


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
    try:
        script = _as_written(study)
        parser = make_parser(study, prog)
    except ValueError as told:
        error = _in_full(study, told)
        place = place_of(error, getattr(study, "place", ""))
        print(f"{prog or command()}: {shown(place)}{error}", file=sys.stderr)
        return 2
    given = parser.parse_args(argv)
    name = given.name or study.name + ("-smoke" if given.smoke else "")
    options = Options(
        results=Path(given.results),
        storage=given.storage,
        backend=given.backend,
        address=given.address,
        slots=_default(given.slots, 1 if given.smoke else None),
        workers_per_trial=_default(given.workers_per_trial, 1 if given.smoke else None),
        cpus_per_worker=given.cpus_per_worker,
        gpus_per_worker=given.gpus_per_worker,
        autoscaling=given.autoscaling,
        silence_limit=given.silence_limit,
        figures=not given.no_figures,
        plan="only" if given.plan else "no" if given.smoke else "yes",
        budget_hours=given.budget_hours,
    )
    folder = options.results / name
    try:
        chosen = resolve(study, given, folder)
        status = execute(
            chosen,
            options,
            name=name,
            resume=given.resume,
            script=script,
            say=_say,
            redirect=all_output_to,
        )
    except KeyboardInterrupt:
        status = INTERRUPTED
    except ValueError as error:
        print(f"{parser.prog}: {_where(study, error)}{error}", file=sys.stderr)
        return 2
    resume = _resume_command(parser.prog, sys.argv[1:] if argv is None else argv)
    if resume_by_folder:
        resume = parser.prog
    if status == PLANNED:
        return 0
    if status in (INTERRUPTED, OUT_OF_BUDGET):
        begun = (folder / RECORD).exists()
        more = ", and a larger --budget-hours if you like," if status == OUT_OF_BUDGET else ""
        _say(f"\nStopped. Go on{more} with:\n  {resume}" if begun else "\nStopped before it began.")
        return STATUS[status]
    if finish is not None:
        finish(folder)
    _finish(folder, options, chosen)
    return _failures(folder) or STATUS[status]


def _as_written(study: object) -> dict[str, Any]:
    """The study as its script has it; raises ValueError for what is no study at all."""
    if not isinstance(study, Study):
        raise ValueError(
            f"launch takes a Study, but got {study!r}. A comma at the end of `STUDY = Study(...),` "
            f"makes a tuple of it."
        )
    from srsgd_ray.study.check import check_types

    check_types(study)
    return study.to_dict()


def _in_full(study: object, error: ValueError) -> ValueError:
    """What a whole check of the study says, which knows the arm; else the error itself."""
    try:
        if isinstance(study, Study):
            study.check()
    except ValueError as own:
        return own
    return error


def _where(study: Study, error: ValueError) -> str:
    """The line of the script, if the study is wrong as it stands there, whatever the options."""
    try:
        study.check()
    except ValueError as own:
        if str(own) == str(error):
            return shown(place_of(own, study.place))
    return ""


def shown(place: str) -> str:
    """``FILE:LINE: `` with the file as seen from here, to begin a message; "" for nothing."""
    file, _, line = place.rpartition(":")
    if not file:
        return ""
    path = Path(file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{line}: "


def _failures(folder: Path) -> int:
    """Say which arms came to nothing; 1 if there are any, else 0."""
    found = barren(folder)
    for arm, reason in found.items():
        print(f"Every trial of arm {arm!r} failed. The first, {reason}", file=sys.stderr)
    return 1 if found else 0


def _default(given: int | None, otherwise: int | None) -> int | None:
    return otherwise if given is None else given


def _say(text: str) -> None:
    print(text, flush=True)


def _resume_command(prog: str, argv: Sequence[str]) -> str:
    gone = ("--resume", "--smoke")
    words = [w for w in argv if w not in gone and not w.startswith("--budget-hours=")]
    if "--budget-hours" in words:
        at = words.index("--budget-hours")
        del words[at : at + 2]
    if "--smoke" in argv and "--name" not in argv:
        words = ["--smoke", *words]
    return shlex.join([*prog.split(), *words, "--resume"])


def _finish(folder: Path, options: Options, study: Study) -> None:
    """The table, where everything lies, and what to do next."""
    _say("\n" + analysis.render(read_trials(folder)))
    if options.figures:
        for line in draw_figures(folder):
            _say(line)
    _say(f"\nTables:    {folder}/trials.parquet, {folder}/epochs.parquet")
    _say(f"Log:       {folder}/log.txt")
    if (folder / "optuna.db").exists():
        _say(f"Trials:    optuna-dashboard sqlite:///{folder}/optuna.db")
    _say("More seeds: the same command with --resume and a larger --confirm-seeds")
