"""Running a study: check everything, start or join what trials run on, search, confirm."""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO
from zlib import crc32

from srsgd_ray.backends import Backend, Job, NotMeasured, Plan, make_backend
from srsgd_ray.backends.probe import check_storage
from srsgd_ray.backends.store import absolute, forgetter, join
from srsgd_ray.export.live import following
from srsgd_ray.knobs import one_of
from srsgd_ray.progress import all_output_to, watched
from srsgd_ray.results import Record, columns_to_plain, provenance, read_record
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.log import OUTPUT, logged
from srsgd_ray.results.place import check_idle, of_place
from srsgd_ray.results.reading import frame
from srsgd_ray.results.record import FILE_NAME, check_free
from srsgd_ray.study.ahead import Ahead
from srsgd_ray.study.arm import check_name
from srsgd_ray.study.controller import Controller
from srsgd_ray.study.database import Database
from srsgd_ray.study.display import Display, numbers
from srsgd_ray.study.estimate import HoursLimit, cost, plan_line, said_of, spent_hours
from srsgd_ray.study.extend import Growth, extended, grown
from srsgd_ray.study.options import Options
from srsgd_ray.study.prior import in_header, prior_said, read_prior
from srsgd_ray.study.requests import Attended
from srsgd_ray.study.result import FINISHED, INTERRUPTED, OUT_OF_BUDGET, PLANNED, StudyResult
from srsgd_ray.study.searches import searches_of
from srsgd_ray.study.spec import Study
from srsgd_ray.study.start import check_data, check_options, copied, fresh_folder, job_of, plan_of
from srsgd_ray.study.writer import Writer

STOPPED = 130  # exit status, as after Ctrl-C


def run(
    study: Study,
    *,
    results: Path | str = "results",
    name: str | None = None,
    resume: bool = False,
    extend: bool = False,
    changed_space: bool = False,
    **options: Any,
) -> StudyResult:
    """Run, resume or extend a study; prints nothing and redirects nothing.

    Args:
        study: the study.
        results: folder that holds a folder for each study.
        name: of its folder; None: the study's.
        resume: resume the study that is there.
        extend: resume it with all that it asks for now: more trials, searches, seeds or arms than
            it had, also after its confirmation began.
        changed_space: let it continue in another space, with those trials that fit it.
        options: fields of :class:`Options`, such as ``backend="local"`` or ``slots=2``.

    Returns:
        The result; its ``status`` says whether the study is finished. Ctrl-C ends it in order.

    Raises:
        ValueError: for anything that cannot work, before anything is written.
    """
    for option in options:
        one_of("option", option, [f.name for f in fields(Options) if f.name != "results"])
    where, name = Options(**{"plan": "no", **options, "results": Path(results)}), name or study.name
    how: dict[str, Any] = {"resume": resume, "extend": extend, "changed_space": changed_space}
    status = execute(study, where, name=name, **how)
    return StudyResult((where.results / name).resolve(), status)


def execute(
    study: Study,
    options: Options,
    *,
    name: str,
    resume: bool,
    extend: bool = False,
    changed_space: bool = False,
    script: Mapping[str, Any] | None = None,
    quiet: bool = True,
    lost: Callable[[TextIO, str], object] | None = None,
    ended: Callable[[str], object] = lambda status: None,
) -> str:
    """Run, resume or extend ``study`` in the folder ``options.results / name``.

    Args:
        study: the study.
        options: where and on what.
        name: of its folder.
        resume, extend, changed_space: see :func:`run`.
        script: the study as its script has it, without options, for the record.
        quiet: print nothing and redirect nothing; else the plan and the progress are shown, and all
            other output goes to ``output.txt`` in the folder.
        lost: called, in another thread, with the standard output and a sentence, if what trials
            run on is gone for good; the process ends then as after an interruption.
        ended: called with what is returned, once all is written and before Ray is left.

    Returns:
        How it ended, a constant of ``study.result``.

    Raises:
        ValueError: for anything that cannot work, before any work is done.
    """
    # A folder that is there may have been given any name.
    resume = resume or extend
    folder = (options.results / (name if resume else check_name(name))).resolve()
    growth = Growth(study)
    if resume:
        there = read_record(folder)
        check_idle(folder / FILE_NAME)
        growth = extended(study, there, folder, extend, extend and changed_space)
        study = growth.study
    study.check()
    check_options(study, options)
    ray = {"address": options.address, "quiet": quiet} if options.backend == "ray" else {}
    backend, job = make_backend(options.backend, **ray), job_of(study, options)
    if backend.here:
        check_data(study)
    if not resume:
        check_free(folder)
    prior = [] if resume else read_prior(study)
    with fresh_folder(folder) as keep:
        if options.storage is not None:
            check_storage(absolute(options.storage))
        left = backend.tidied()
        if not quiet:
            lines = [f"{name}: {study.question}", f"Results in {folder}"]
            lines += [f"Taken in: {line}" for line in growth.taken]
            lines += [f"Prior of the search: {line}" for line in prior_said(prior)]
            print(*lines, *growth.remarks, *left, sep="\n", flush=True)
        known = growth.foreseen(read_record(folder)) if resume else None
        opened = nullcontext(None) if quiet else all_output_to(folder / OUTPUT)
        ahead = Ahead(study, options, job, known, backend)
        with opened as screen, backend.open() as nodes:
            free, grows = backend.free(), backend.autoscaler() if options.autoscaling else None
            plan = plan_of(study, options, nodes, grows, free)
            if options.plan != "only":
                backend.check_shared(absolute(options.storage or str(folder)))
            session = _Session(study, options, backend, job, plan, screen, lost)
            session.say(*said_of(plan, options, grows, free))
            backend.lost = session.end
            session.show_plan(known, ahead)
            if options.plan == "only":
                return PLANNED
            with _record(growth, folder, name, resume, script, options, prior) as record:
                keep()
                with following(folder, options.tensorboard):
                    status = session.conduct(record)
            ended(status)
            return status


def _record(
    growth: Growth,
    folder: Path,
    name: str,
    resume: bool,
    script: Mapping[str, Any] | None,
    options: Options,
    prior: list[dict[str, Any]],
) -> Record:
    """The study's record, begun or reopened; what is new in the study is noted."""
    study = growth.study
    spec, columns = study.to_dict(), columns_to_plain(study.columns())
    if resume:
        growth.note(record := Record.reopen(folder), script or spec)
        return record
    kept = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    header: dict[str, Any] = {"study": name, "id": uuid.uuid4().hex[:8], "columns": columns}
    budget = getattr(study.work.budget, "field", None)
    header |= {"budget": budget, "spec": spec, **in_header(prior)}
    return Record.create(folder, {**header, "script": dict(script or spec), "options": kept})


@dataclass(frozen=True)
class _Session:
    """One process's work on a study, once its backend is there."""

    study: Study
    options: Options
    backend: Backend
    job: Job
    plan: Plan
    screen: TextIO | None
    lost: Callable[[TextIO, str], object] | None

    def say(self, *lines: str) -> None:
        """Print lines, unless all is quiet."""
        if self.screen is not None and lines:
            print(*lines, sep="\n", file=self.screen)

    def show_plan(self, known: Contents | None, ahead: Ahead) -> None:
        """Say what is left to do and what it will cost, after what the trainable remarks."""
        ahead.wait()
        for arm in self.study.arms:
            config = self.study.config(arm.name, {})
            if said := self.study.work.remarks(config, self.plan.workers, arm.workers):
                self.say(f"{arm.name}: {said}")
        if self.options.plan == "no":
            return
        try:
            measure = ahead.or_else(self.plan, self.backend)
            planned, now = cost(self.study, self.plan, known, measure), datetime.datetime.now()
            self.say(planned.text(now, self.options.price))
        except NotMeasured as reason:
            if self.options.plan == "only":
                raise ValueError(f"no plan can be made: {reason}") from reason
            self.say(f"No plan: {reason}")

    def conduct(self, record: Record) -> str:
        """Search and confirm; leaves the tables complete, whatever happens."""
        held = self.plan.slots * self.plan.workers
        # With other threads, a sum over a batch differs in its last bits.
        share = {"threads": self.plan.threads, "gpus_per_worker": self.plan.gpus_per_worker}
        record.session(**provenance(), held_workers=held, **share, folder=str(record.folder))
        storage = absolute(self.options.storage or str(record.folder))
        checkpoints = f"checkpoints-{record.contents.header['id']}"
        if self.options.storage and copied(record.contents, record.folder):
            checkpoints += f"-{crc32(str(record.folder).encode()):08x}"
        job = replace(self.job, root=join(storage, checkpoints), study=record.folder.name)
        try:
            study: Study | None = self.study
            while study is not None:
                if stopped := self._work(study, record, job):
                    return stopped
                study = self._undecided(study, record)
            forgetter(storage)(checkpoints)
            return FINISHED
        except Exception as error:
            if (cause := of_place(error, record.folder)) is error:
                raise
            raise cause from error
        finally:
            record.pause()

    def _work(self, study: Study, record: Record, job: Job) -> str | None:
        """Run what is left of a study; how that was stopped, or None when all is done."""
        spent = spent_hours(record.contents)
        budget = HoursLimit(self.options.budget_hours, spent, self.plan, self.backend.stop)
        searches = searches_of(study, record)
        controller = Controller(study, record, searches, forgetter(job.root))
        attended = Attended(controller, self.backend.stop)

        def say(line: str) -> None:
            self.say(logged(record.folder, line))

        database = Database(record.folder, study, searches, say) if searches else None
        writer = Writer(record, study.columns(), database, say, attended.broke)
        self.backend.numbers = lambda: numbers(study, record.trials.values())
        self.backend.lost = partial(self.end, writer=writer, attended=attended)
        with writer:
            if not controller.finished:
                self.say(plan_line(study, self.plan))
                shown = watched(self.screen, Display(controller)) if self.screen else nullcontext()
                with budget, shown as screen, attended:
                    try:
                        self.backend.run(attended, job, self.plan, screen)
                    finally:
                        attended.check()
        if controller.finished:
            return None
        if attended.gave_up:
            self.say(f"\nNo trial has had workers for {self.options.wait_hours:g} h: --wait-hours.")
        if budget.spent:
            self.say(f"\nThe budget is spent: {budget.used:.3g} worker-hours.")
        return OUT_OF_BUDGET if budget.spent else INTERRUPTED

    def end(self, why: str, writer: Writer | None = None, attended: Attended | None = None) -> None:
        """End this process in order, in a thread, while the main one waits for what is gone."""
        with attended.still() if attended else nullcontext():
            try:
                if writer is not None:
                    writer.write(last=True)
                    writer.record.pause()
            finally:
                if self.lost is not None and self.screen is not None:
                    self.lost(self.screen, why)
                    os._exit(STOPPED)
        self.backend.stop()  # the process is the caller's

    def _undecided(self, study: Study, record: Record) -> Study | None:
        """The study with twice as many pairs, if it asks for them: the record says so, too."""
        seen = partial(frame, record.contents, "trials", study.columns())
        if (more := grown(study, seen)) is not None:
            script = record.contents.header.get("script", study.to_dict())
            record.extend(more.to_dict(), columns_to_plain(more.columns()), script)
            self.say(f"\nUndecided after {study.pairs} pairs: {more.pairs} in all now.")
        return more
