"""Running a study: check everything, start or join what trials run on, search, confirm."""

from __future__ import annotations

import datetime
import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from srsgd_ray.backends import Backend, Job, NotMeasured, Plan, check_counts
from srsgd_ray.backends.store import CheckpointStore, check_storage, join, trial_folder
from srsgd_ray.results import Record, RecordError, columns_to_plain, provenance, read_record
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.controller import Controller
from srsgd_ray.study.estimate import Budget, cost, spent_hours
from srsgd_ray.study.extend import extended
from srsgd_ray.study.options import Options
from srsgd_ray.study.progress import Display
from srsgd_ray.study.result import FINISHED, INTERRUPTED, OUT_OF_BUDGET, PLANNED, StudyResult
from srsgd_ray.study.search import Search, open_storage
from srsgd_ray.study.spec import Study, check_name
from srsgd_ray.study.start import (
    absolute,
    backend_of,
    check_data,
    check_options,
    fresh_folder,
    job_of,
    plan_of,
    workers_of,
)

__all__ = ["Options", "draw_figures", "execute", "run"]


def run(
    study: Study,
    *,
    results: Path | str = "results",
    name: str | None = None,
    resume: bool = False,
    **options: Any,
) -> StudyResult:
    """Run or resume a study; prints nothing and redirects nothing.

    Args:
        study: the study.
        results: folder that holds a folder for each study.
        name: of its folder; None: the study's.
        resume: go on with the study that is there.
        options: fields of :class:`Options`, such as ``backend="local"`` or ``slots=2``.

    Returns:
        The result; its ``status`` says whether the study is finished. Ctrl-C ends it in order.

    Raises:
        ValueError: for anything that cannot work, before anything is written.
    """
    chosen = Options(**{"plan": "no", **options, "results": Path(results)})
    folder = chosen.results / (name or study.name)
    status = execute(study, chosen, name=name or study.name, resume=resume, quiet=True)
    return StudyResult(folder.resolve(), status)


def execute(
    study: Study,
    options: Options,
    *,
    name: str,
    resume: bool,
    script: Mapping[str, Any] | None = None,
    quiet: bool = False,
    say: Callable[[str], None] | None = None,
    redirect: Callable[[Path], AbstractContextManager[TextIO | None]] | None = None,
) -> str:
    """Run or resume ``study`` in the folder ``options.results / name``.

    Args:
        study: the study.
        options: where and on what.
        name: of its folder.
        resume: go on with the study that is there.
        script: the study as its script has it, without options, for the record.
        quiet: Ray says nothing.
        say: takes the first lines; None: nobody.
        redirect: sends all output to a log and gives what the user sees; None: nothing is sent
            anywhere, and nothing is shown.

    Returns:
        How it ended, a constant of ``study.result``.

    Raises:
        ValueError: for anything that cannot work, before any work is done.
    """
    tell = say or (lambda text: None)
    if resume:
        folder = (options.results / check_name(name)).resolve()
        study, new = extended(study, read_record(folder), folder)
    study.check()
    check_options(study, options)
    workers = workers_of(study, options)
    check_counts(options.slots, workers)  # before Ray is started for it
    backend = backend_of(options, quiet)
    job = job_of(study, options)
    if backend.here:
        check_data(study)
    folder = (options.results / check_name(name)).resolve()
    if not resume and (folder / RECORD).exists():
        raise RecordError(
            f"{folder} already holds a study. Go on with it by --resume, or choose another "
            f"name with --name."
        )
    with fresh_folder(folder) as keep:
        if options.storage is not None:
            check_storage(absolute(options.storage))
        tell(f"{name}: {study.question}")
        tell(f"Results in {folder}")
        if resume:
            for line in new:
                tell(f"Taken in: {line}")
        opened = redirect(folder / "log.txt") if redirect is not None else nullcontext(None)
        with opened as screen, backend.open() as nodes:
            plan = plan_of(options, nodes, workers)
            if not _show_plan(study, options, plan, job, backend, folder, resume, screen):
                return PLANNED
            with _open_record(study, folder, name, resume, script, options) as record:
                keep()
                before = spent_hours(record.contents)
                record.session(**provenance(), held_workers=plan.slots * plan.workers)
                try:
                    return _conduct(study, options, backend, job, plan, record, screen, before)
                finally:
                    record.pause()


def _show_plan(
    study: Study,
    options: Options,
    plan: Plan,
    job: Job,
    backend: Backend,
    folder: Path,
    resume: bool,
    screen: TextIO | None,
) -> bool:
    """Say what it will cost; False if that was all that was asked for."""

    def show(text: str) -> None:
        if screen is not None:
            print(text, file=screen)

    for line in _remarks(study, plan):
        show(line)
    if options.plan == "no":
        return True
    known = read_record(folder) if resume else None
    try:
        show(cost(study, plan, known, backend.measure(job, plan)).text(datetime.datetime.now()))
    except NotMeasured as reason:
        if options.plan == "only":
            raise ValueError(f"no plan can be made: {reason}") from reason
        show(f"No plan: {reason}")
    return options.plan != "only"


def _remarks(study: Study, plan: Plan) -> Iterator[str]:
    from srsgd_ray.study.check import without_defaults

    for arm in study.arms:
        config = study.config(arm.name, without_defaults(study, arm))
        said = study.work.remarks(config, plan.workers, arm.workers)
        if said:
            yield f"{arm.name}: {said}"


@contextmanager
def _open_record(
    study: Study,
    folder: Path,
    name: str,
    resume: bool,
    script: Mapping[str, Any] | None,
    options: Options,
) -> Iterator[Record]:
    """The study's record, begun or gone on with; what is new in the study is noted."""
    spec, columns = study.to_dict(), columns_to_plain(study.columns())
    if resume:
        record = Record.reopen(folder)
        if record.contents.header["spec"] != spec:
            record.extend(spec, columns, dict(script or spec))
    else:
        header = {"study": name, "id": uuid.uuid4().hex[:8], "spec": spec, "columns": columns}
        kept = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
        header |= {"script": dict(script or spec), "options": kept}
        record = Record.create(folder, header)
    try:
        yield record
    finally:
        record.close()


def _conduct(
    study: Study,
    options: Options,
    backend: Backend,
    job: Job,
    plan: Plan,
    record: Record,
    screen: TextIO | None,
    before: float,
) -> str:
    """Search and confirm; leaves the tables complete, whatever happens."""
    folder, identity = record.folder, record.contents.header["id"]
    storage = absolute(options.storage or str(folder))
    root = join(storage, f"checkpoints-{identity}")
    job = Job(job.work, job.path, job.folder, job.judged, root, job.silence_limit)
    controller = Controller(study, record, _searches(study, record), _forgetter(root))
    try:
        if not controller.finished:
            shown = nullcontext() if screen is None else Display(controller, screen)
            if screen is not None:
                print(_plan_line(study, plan), file=screen)
            with Budget(options.budget_hours, before, plan, backend.stop) as budget, shown:
                backend.run(controller, job, plan, screen)
            if budget.spent and not controller.finished and screen is not None:
                print(f"\nThe budget is spent: {budget.used:.3g} worker-hours.", file=screen)
    finally:
        controller.write_tables(force=True)
    if not controller.finished:
        return OUT_OF_BUDGET if budget.spent else INTERRUPTED
    _forgetter(storage)(f"checkpoints-{identity}")
    return FINISHED


def _searches(study: Study, record: Record) -> dict[str, Search]:
    searched = [arm for arm in study.arms if study.trials_of(arm.name)]
    if not searched:
        return {}
    database = open_storage(record.folder / "optuna.db")
    return {
        arm.name: Search(
            database,
            record.contents.header["study"],
            arm.name,
            arm.searched,
            goals=study.goals(),
            searcher=study.searcher,
            trials=study.trials_of(arm.name),
            seed=study.seed,
            fixed={**study.base, **study.protocols.get(study.protocol, {}), **arm.fixed},
            enqueue=arm.enqueue,
        )
        for arm in searched
    }


def _plan_line(study: Study, plan: Plan) -> str:
    each = f"{plan.workers} worker{'s' * (plan.workers > 1)}"
    gpus = f", {plan.gpus_per_worker:g} GPU" if plan.gpus_per_worker else ""
    searched = [arm.name for arm in study.arms if study.trials_of(arm.name)]
    names = ", ".join(searched or [arm.name for arm in study.arms])
    runs = f"{study.trials} trials of each of {names}; then " if searched else ""
    what = "the best" if searched else names
    if len(searched) < len(study.arms) and searched:
        what += " and the fixed ones"
    if study.pareto:
        what = f"up to {study.confirm_points} points of each front"
    return (
        f"{runs}{study.confirm_seeds} seed{'s' * (study.confirm_seeds != 1)} of {what}. "
        f"{plan.slots} at a time, {each} each with {plan.cpus_per_worker:g} CPU{gpus}."
    )


def _forgetter(root: str) -> Callable[[str], None]:
    """Deletes the checkpoint of a trial that has ended: none is needed any more."""

    def forget(trial: str) -> None:
        try:
            CheckpointStore(join(root, trial_folder(trial))).remove()
        except OSError:
            logging.getLogger(__name__).exception("could not delete the checkpoint of %s", trial)

    return forget


def draw_figures(folder: Path) -> list[str]:
    """Draw the study's figures in a process that knows neither torch nor Ray; what it printed."""
    command = [sys.executable, "-m", "srsgd_ray.figures", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return (done.stdout + (done.stderr if done.returncode else "")).strip().splitlines()
