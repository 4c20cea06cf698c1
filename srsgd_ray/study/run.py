"""Running a study: check everything, start or join Ray, tune, confirm, write, draw, say."""

from __future__ import annotations

import datetime
import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from srsgd_ray.results import Record, RecordError, provenance, read_record
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.cluster import gentle_stop, ray_cluster, stop_now
from srsgd_ray.study.conductor import Conductor
from srsgd_ray.study.estimate import Budget, NotMeasured, cost, measure_on, spent_hours
from srsgd_ray.study.progress import Display, all_output_to, open_log
from srsgd_ray.study.search import Search, open_storage
from srsgd_ray.study.spec import Study, check_name
from srsgd_ray.trainables import (
    ACTOR_SHARE,
    Plan,
    SlotOptions,
    WarmTrainable,
    check_counts,
    plan_slots,
)

__all__ = ["INTERRUPTED", "OUT_OF_BUDGET", "Options", "run_study"]

INTERRUPTED = 130
OUT_OF_BUDGET = 3


@dataclass(frozen=True)
class Options:
    """Where and on what a study runs; nothing here changes what it finds.

    Attributes:
        results: folder that holds a folder for each study.
        storage: folder or URI for checkpoints that every node sees; None: in the study's folder.
        address: of a Ray cluster (``auto`` or a URL); ``local`` starts one on this machine.
        slots: trials at a time; None: as many as fit.
        workers_per_trial: worker processes of a trial; None: as published, if all arms agree.
        cpus_per_worker: None: an equal share.
        gpus_per_worker: whole GPUs or a fraction; None: one, if the cluster has GPUs.
        autoscaling: the cluster adds nodes by itself; needs ``slots``.
        silence_limit: seconds that a trial may wait for its workers or for a sign of life of them.
        figures: draw the figures at the end.
        plan: estimate the cost first; ``only`` ends after that, ``no`` does not estimate.
        budget_hours: worker-hours (GPU-hours) after which the study stops, in order; None: none.
    """

    results: Path = Path("results")
    storage: str | None = None
    address: str = "local"
    slots: int | None = None
    workers_per_trial: int | None = None
    cpus_per_worker: float | None = None
    gpus_per_worker: float | None = None
    autoscaling: bool = False
    silence_limit: float = 900.0
    figures: bool = True
    plan: str = "yes"
    budget_hours: float | None = None


def run_study(
    study: Study, options: Options, *, name: str, resume: bool, say: Callable[[str], None] = print
) -> int:
    """Run or resume ``study`` in the folder ``options.results / name``.

    Returns:
        The exit status: 0 when the study is finished (or was only planned), 130 when it was
        interrupted, 3 when its budget is spent.

    Raises:
        ValueError: for anything that cannot work, before any work is done.
    """
    study.check()
    if options.budget_hours is not None and not options.budget_hours > 0:
        raise ValueError(f"budget_hours > 0 must hold, but got {options.budget_hours}.")
    workers = _workers(study, options)
    check_counts(options.slots, workers)  # before Ray is started for it
    if options.address == "local":
        check_data(study)
    folder = (options.results / check_name(name)).resolve()
    _check_folder(study, folder, resume)
    say(f"{name}: {study.question}")
    say(f"Results in {folder}")
    with all_output_to(folder / "log.txt") as screen, ray_cluster(options.address) as nodes:
        plan = plan_slots(
            nodes,
            slots=options.slots,
            workers=workers,
            cpus_per_worker=options.cpus_per_worker,
            gpus_per_worker=_gpus(options, nodes),
            growing=options.autoscaling,
        )
        for line in _changes(study, plan):
            print(line, file=screen)
        if options.plan != "no":
            known = read_record(folder) if resume else None
            try:
                found = cost(study, plan, known, measure_on(plan))
                print(found.text(datetime.datetime.now()), file=screen)
            except NotMeasured as reason:
                if options.plan == "only":
                    raise ValueError(f"no plan can be made: {reason}") from reason
                print(f"No plan: {reason}", file=screen)
            if options.plan == "only":
                return 0
        header = {"study": name, "id": uuid.uuid4().hex[:8], "spec": study.to_dict()}
        record = Record.reopen(folder) if resume else Record.create(folder, header)
        try:
            before = spent_hours(record.contents)
            record.session(**provenance(), held_workers=plan.slots * plan.workers)
            return _conduct(study, options, plan, record, screen, before)
        finally:
            record.pause()
            record.close()


def _check_folder(study: Study, folder: Path, resume: bool) -> None:
    """Refuse a folder that cannot take this study, before anything is started."""
    if resume:
        theirs = read_record(folder).header["spec"]
        differ = [key for key, mine in study.to_dict().items() if theirs.get(key) != mine]
        if differ:
            raise RecordError(
                f"{folder} holds another study: {', '.join(differ)} differ. Resume it with the "
                f"script and options it was started with, or choose another --name."
            )
    elif (folder / RECORD).exists():
        raise RecordError(
            f"{folder} already holds a study. Go on with it by --resume, or choose another "
            f"name with --name."
        )
    open_log(folder)


def _conduct(
    study: Study, options: Options, plan: Plan, record: Record, screen: TextIO, before: float
) -> int:
    """Search and confirm; leaves the tables complete, whatever happens."""
    folder, identity = record.folder, record.contents.header["id"]
    storage = options.storage or str(folder)
    if "://" not in storage:
        storage = str(Path(storage).resolve())
    root = f"{storage}/checkpoints-{identity}"
    database = open_storage(folder / "optuna.db")
    searches = {
        arm.name: Search(
            database,
            record.contents.header["study"],
            arm.name,
            arm.space,
            searcher=study.searcher,
            mode=study.mode,
            metric=study.metric,
            trials=study.trials,
            seed=study.seed,
            pareto=study.pareto,
        )
        for arm in study.arms
    }
    conductor = Conductor(study, record, searches, _forgetter(root))
    try:
        if not conductor.finished:
            print(_plan_line(study, plan), file=screen)
            with (
                Budget(options.budget_hours, before, plan, stop_now) as budget,
                Display(conductor, screen),
            ):
                _tune(conductor, options, plan, root, screen)
            if budget.spent and not conductor.finished:
                print(f"\nThe budget is spent: {budget.used:.3g} worker-hours.", file=screen)
    finally:
        conductor.write_tables(force=True)
    if not conductor.finished:
        return OUT_OF_BUDGET if budget.spent else INTERRUPTED
    _forgetter(storage)(f"checkpoints-{identity}")
    return 0


def _workers(study: Study, options: Options) -> int:
    """Workers of a trial: as asked, or as published if all arms agree, or one."""
    if options.workers_per_trial is not None:
        return options.workers_per_trial
    published = {arm.workers for arm in study.arms}
    return published.pop() if len(published) == 1 else 1


def _gpus(options: Options, nodes: list[dict[str, float]]) -> float:
    if options.gpus_per_worker is not None:
        return options.gpus_per_worker
    return 1.0 if any(node.get("GPU", 0.0) >= 1 for node in nodes) else 0.0


def _changes(study: Study, plan: Plan) -> Iterator[str]:
    """What another number of workers than the published one means, arm by arm."""
    for arm in study.arms:
        config = study.config(arm.name, {})
        if arm.workers != plan.workers and not config.sync_batch_norm:
            ours, theirs = config.batch_size // plan.workers, config.batch_size // arm.workers
            yield (
                f"{arm.name}: batch norm sees {ours} images a worker, {theirs} in the published "
                f"run ({arm.workers} GPUs); the global batch of {config.batch_size}, the learning "
                f"rate and the steps are the same."
            )


def check_data(study: Study) -> None:
    """Read each data set of the study once, so that missing data stop it before it begins.

    Raises:
        ValueError: naming the file that was expected.
    """
    from srsgd_ray.data import load_dataset

    seen = set()
    for arm in study.arms:
        config = study.config(arm.name, {})
        where = (config.dataset, config.data_dir)
        if config.dataset != "digits" and where not in seen:
            seen.add(where)
            load_dataset(config)


def _plan_line(study: Study, plan: Plan) -> str:
    each = f"{plan.workers} worker{'s' * (plan.workers > 1)}"
    gpus = f", {plan.gpus_per_worker:g} GPU" if plan.gpus_per_worker else ""
    names = ", ".join(arm.name for arm in study.arms)
    runs = f"{study.trials} trials of each of {names}; then " if study.trials else ""
    what = "the best" if study.trials else names
    if study.pareto:
        what = f"up to {study.confirm_points} points of each front"
    return (
        f"{runs}{study.confirm_seeds} seed{'s' * (study.confirm_seeds != 1)} of {what}. "
        f"{plan.slots} at a time, {each} each with {plan.cpus_per_worker:g} CPU{gpus}."
    )


def _forgetter(root: str) -> Callable[[str], None]:
    """Deletes the checkpoint of a trial that has ended: none is needed any more."""
    from srsgd_ray.trainables.store import CheckpointStore

    def forget(trial: str) -> None:
        try:
            CheckpointStore(f"{root}/{trial}").remove()
        except OSError:
            logging.getLogger(__name__).exception("could not delete the checkpoint of %s", trial)

    return forget


def _tune(conductor: Conductor, options: Options, plan: Plan, root: str, screen: TextIO) -> None:
    """One Tune run over all trials that are left; returns early on SIGINT or SIGTERM."""
    from ray import tune

    from srsgd_ray.study.tuning import Asker, PerArmScheduler, Teller

    slot = SlotOptions(
        workers=plan.workers,
        cpus_per_worker=plan.cpus_per_worker,
        gpus_per_worker=plan.gpus_per_worker,
        threads=plan.threads,
        storage=f"{root}/ray",
        start_limit=options.silence_limit,
        silence_limit=options.silence_limit,
    )
    tuner = tune.Tuner(
        tune.with_resources(WarmTrainable, {"CPU": ACTOR_SHARE}),
        param_space={"_slot": WarmTrainable.options_dict(slot)},
        tune_config=tune.TuneConfig(
            search_alg=Asker(conductor, root),
            scheduler=PerArmScheduler(conductor),
            num_samples=-1,
            max_concurrent_trials=plan.slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=f"{root}/ray",
            verbose=0,
            callbacks=[Teller(conductor)],
            failure_config=tune.FailureConfig(max_failures=2),
            # The workers keep each trial's checkpoint themselves.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    # Tune looks for log files of its own that are switched off above, and says so in many lines.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    with gentle_stop(screen):
        tuner.fit()


def draw_figures(folder: Path) -> list[str]:
    """Draw the study's figures in a process that knows neither torch nor Ray; what it printed."""
    command = [sys.executable, "-m", "srsgd_ray.figures", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return (done.stdout + (done.stderr if done.returncode else "")).strip().splitlines()
