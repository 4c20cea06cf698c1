"""The command line of every study script."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from srsgd_ray import analysis
from srsgd_ray.cli.guard import Terminated, guarded, last_words
from srsgd_ray.cli.pages import report_written, watching
from srsgd_ray.cli.parser import new_parser, parse
from srsgd_ray.cli.study_options import add_options, describe, options_of, resolve
from srsgd_ray.results import read_predictions, read_trials
from srsgd_ray.results.log import logged
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.check import check_types
from srsgd_ray.study.result import FINISHED, INTERRUPTED, OUT_OF_BUDGET, PLANNED, barren
from srsgd_ray.study.run import execute
from srsgd_ray.study.spec import Study
from srsgd_ray.typed import typed


def launch(
    study: Study,
    argv: Sequence[str] | None = None,
    *,
    command: Sequence[str] | None = None,
    finish: Callable[[Path], object] | None = None,
    resume: Callable[[], str] | None = None,
    script: Mapping[str, Any] | None = None,
) -> int:
    """Run ``study`` as the command line says; returns the exit status.

    0: finished. 1: all trials of an arm failed. 2: refused, with one message. 3: budget spent,
    130: interrupted while it ran, both with the command that resumes. 129 and 143: SIGHUP and
    SIGTERM before that.

    Args:
        study: the study.
        argv: words of the command line; None: of this process.
        command: the words before ``argv``, such as ``python studies/mine.py``; None: the script.
        finish: called with the study's folder when it is finished, before its figures are drawn.
        resume: makes the command that resumes it; None: ``command`` and ``argv`` do.
        script: what its script has, of a study that is made from its record; None: ``study``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    command = command or _command()
    prog = shlex.join(command)
    again = resume or (lambda: resume_command(command, words))
    return guarded(prog, lambda: _launch(study, words, prog, again, finish, script))


def _launch(
    study: Study,
    words: Sequence[str],
    prog: str,
    resume: Callable[[], str],
    finish: Callable[[Path], object] | None,
    script: Mapping[str, Any] | None,
) -> int:
    if not isinstance(study, Study):
        raise ValueError(
            f"launch takes a Study, but got {study!r}. A comma at the end of "
            f"`STUDY = Study(...),` makes a tuple of it."
        )
    with _placed(study, of_script=True):
        check_types(study)
        parser = new_parser(prog, describe(study))
        add_options(parser, study)
        said = script or study.to_dict()
    given = parse(parser, words)
    options = options_of(given)
    name = given.name or study.name + ("-smoke" if given.smoke else "")
    folder = options.results / name
    try:
        live = watching(options.results) if given.watch else nullcontext()
        with live, _placed(study, of_script=False), _Pictures(folder, options.figures) as pictures:
            status = execute(
                resolve(study, given, folder, as_recorded=script is not None),
                options,
                name=name,
                resume=given.resume,
                extend=given.extend,
                changed_space=given.changed_space,
                script=said,
                quiet=False,
                lost=partial(_print_lost, folder, resume),
                ended=lambda status: None if finish else pictures.begin(status),
            )
            if status == FINISHED:
                if finish is not None:
                    finish(folder)
                    pictures.begin(status)
                _report(folder, pictures)
                return _failures(folder)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
    except (KeyboardInterrupt, Terminated, OSError) as end:  # such as a disk that is full
        gone = isinstance(end, FileNotFoundError) and str(end.filename).startswith(
            str(folder.resolve())
        )
        with last_words():
            _print_stopped(folder, resume, begun=gone)
        raise
    if status == OUT_OF_BUDGET:
        _print_stopped(folder, resume, ", and a larger --budget-hours if you like,")
        return 3
    assert status == PLANNED
    return 0


def _print_stopped(
    folder: Path, resume: Callable[[], str], more: str = "", begun: bool = False
) -> None:
    if not begun and not (folder / RECORD).exists():
        print("\nStopped: not begun.")
        return
    print(f"\nStopped. Resume{more} with:\n  {resume()}")
    logged(folder, f"resume with: {resume()}")  # for whoever has closed the terminal


def _print_lost(folder: Path, resume: Callable[[], str], screen: TextIO, why: str) -> None:
    print(f"\n{why[0].upper()}{why[1:]}", file=screen)
    with redirect_stdout(screen):
        _print_stopped(folder, resume)


def _command() -> list[str]:
    """The command that runs this script."""
    script = Path(sys.argv[0])
    return ["python", str(script)] if script.suffix == ".py" else [script.name]


@contextmanager
def _placed(study: Study, of_script: bool) -> Iterator[None]:
    """A message from within gets its line, if the study is wrong as its script has it.

    It is, if that came up before any option was taken in, or if the study's own check finds it.
    """
    try:
        yield
    except ValueError as error:
        own = error if of_script else None
        try:
            study.check()
        except ValueError as whole:  # which knows the arm
            own = whole if of_script or str(whole) == str(error) else None
        if own is None:
            raise
        raise ValueError(f"{shown(getattr(own, 'place', study.place))}{own}") from error


def shown(place: str) -> str:
    """``FILE:LINE: `` with the file as seen from here, to begin a message; "" for nothing."""
    file, _, line = place.rpartition(":")
    if not file:
        return ""
    path = Path(file)
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{path}:{line}: "


def resume_command(command: Sequence[str], words: Sequence[str]) -> str:
    """The command that resumes the study that a command and its options started."""
    kept = [w for w in words if w != "--resume" and not w.startswith("--budget-hours=")]
    if "--budget-hours" in kept:
        at = kept.index("--budget-hours")
        del kept[at : at + 2]
    return typed(*command, *kept, *(["--resume"] if "--extend" not in kept else []))


class _Pictures(ThreadPoolExecutor):
    """The figures and the page of a finished study, made beside all else: Ray takes time to leave.

    Args:
        folder: of the study.
        wanted: whether there are to be any.
    """

    def __init__(self, folder: Path, wanted: bool) -> None:
        super().__init__(2)
        self._folder, self._wanted = folder, wanted
        self._made: list[Future[list[str]]] = []

    def begin(self, status: str) -> None:
        """Make them from now on, if the study is finished."""
        if self._wanted and status == FINISHED:
            self._made = [self.submit(do, self._folder) for do in (_draw_figures, _write_page)]

    def said(self) -> list[str]:
        """What there is to say of them, once they are there."""
        return [line for made in self._made for line in made.result()]


def _report(folder: Path, pictures: _Pictures) -> None:
    """The table, where everything lies, and what to do next."""
    print("\n" + analysis.render(read_trials(folder), predictions=read_predictions(folder)))
    for line in pictures.said():
        print(line)
    print(f"\nTables:    {folder}/trials.parquet, {folder}/epochs.parquet")
    print(f"Log:       {folder}/log.txt; what Ray and the trials printed: output.txt")
    if (folder / "optuna.db").exists():
        # In the folder, for no escape takes "?" or "%" of its path through the URL.
        place = shlex.quote(str(folder.resolve()))
        shown = typed("optuna-dashboard", "sqlite:///optuna.db", anywhere=True)
        print(f"Trials:    cd {place} && {shown}")
    searched = (folder / "optuna.db").exists()
    more = "--confirm-seeds N" + " | --trials N | --searches N" * searched
    print(f"More of it: {typed('srsgd-ray', 'extend', str(folder))} {more}", flush=True)


def _write_page(folder: Path) -> list[str]:
    return [report_written(folder)]


def _draw_figures(folder: Path) -> list[str]:
    """Draw the study's figures in a process that knows neither torch nor Ray; what it printed."""
    command = [sys.executable, "-m", "srsgd_ray.figures", str(folder)]
    # Whatever this process's settings are: a notebook's backend, another encoding.
    own = {**os.environ, "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env=own, timeout=600, check=False
    )
    return (done.stdout + (done.stderr if done.returncode else "")).strip().splitlines()


def _failures(folder: Path) -> int:
    """Say which arms came to nothing; 1 if there are any, else 0."""
    found = barren(folder)
    for arm, reason in found.items():
        print(f"Every trial of arm {arm!r} failed. The first, {reason}", file=sys.stderr)
    return 1 if found else 0
