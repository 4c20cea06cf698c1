"""Running a study: check everything, start or join Ray, tune, confirm, write, draw, say."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from srsgd_ray.results import Record, RecordError, provenance, read_record
from srsgd_ray.results.record import FILE_NAME as RECORD
from srsgd_ray.study.conductor import Conductor
from srsgd_ray.study.progress import Display, all_output_to
from srsgd_ray.study.search import Search, open_storage
from srsgd_ray.study.spec import Study, check_name
from srsgd_ray.trainables import ACTOR_SHARE, Plan, SlotOptions, WarmTrainable, plan_slots

__all__ = ["Options", "run_study"]

INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """Where and on what a study runs; nothing here changes what it finds.

    Attributes:
        results: folder that holds a folder for each study.
        storage: folder or URI for checkpoints that every node sees; None: in the study's folder.
        address: of a Ray cluster (``auto`` or a URL); ``local`` starts one on this machine.
        slots: trials at a time; None: as many as fit.
        workers_per_trial: worker processes of a trial.
        cpus_per_worker: None: an equal share.
        gpus_per_worker: whole GPUs or a fraction.
        autoscaling: the cluster adds nodes by itself; needs ``slots``.
        silence_limit: seconds that a trial may wait for its workers or for a sign of life of them.
        figures: draw the figures at the end.
    """

    results: Path = Path("results")
    storage: str | None = None
    address: str = "local"
    slots: int | None = None
    workers_per_trial: int = 1
    cpus_per_worker: float | None = None
    gpus_per_worker: float = 0.0
    autoscaling: bool = False
    silence_limit: float = 900.0
    figures: bool = True


def run_study(
    study: Study, options: Options, *, name: str, resume: bool, say: Callable[[str], None] = print
) -> int:
    """Run or resume ``study`` in the folder ``options.results / name``.

    Returns:
        The exit status: 0 when the study is finished, 130 when it was interrupted.

    Raises:
        ValueError: for anything that cannot work, before any work is done.
    """
    study.check()
    folder = (options.results / check_name(name)).resolve()
    _check_folder(study, folder, resume)
    say(f"{name}: {study.question}")
    say(f"Results in {folder}")
    with all_output_to(folder / "log.txt") as screen, _ray(options) as nodes:
        plan = plan_slots(
            nodes,
            slots=options.slots,
            workers=options.workers_per_trial,
            cpus_per_worker=options.cpus_per_worker,
            gpus_per_worker=options.gpus_per_worker,
            growing=options.autoscaling,
        )
        header = {"study": name, "id": uuid.uuid4().hex[:8], "spec": study.to_dict()}
        record = Record.reopen(folder) if resume else Record.create(folder, header)
        try:
            record.session(**provenance())
            return _conduct(study, options, plan, record, screen)
        finally:
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.txt").touch()
    except OSError as error:
        raise RecordError(
            f"the results folder must be writable, but {folder} is not: {error}. "
            f"Choose another with --results."
        ) from error


def _conduct(study: Study, options: Options, plan: Plan, record: Record, screen: TextIO) -> int:
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
            with Display(conductor, screen):
                _tune(conductor, options, plan, root, screen)
    finally:
        conductor.write_tables(force=True)
    if not conductor.finished:
        return INTERRUPTED
    _forgetter(storage)(f"checkpoints-{identity}")
    return 0


def _plan_line(study: Study, plan: Plan) -> str:
    each = f"{plan.workers} worker{'s' * (plan.workers > 1)}"
    gpus = f", {plan.gpus_per_worker:g} GPU" if plan.gpus_per_worker else ""
    return (
        f"{study.trials} trials of {study.epochs} epochs for each of "
        f"{', '.join(arm.name for arm in study.arms)}; then {study.confirm_seeds} seeds of the "
        f"best. {plan.slots} at a time, {each} each with {plan.cpus_per_worker:g} CPU{gpus}."
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


@contextmanager
def _ray(options: Options) -> Iterator[list[dict[str, float]]]:
    """Ray, started here or joined; yields the resources of its nodes."""
    # Nothing may leave this machine, and Ray must not start a Train run of its own address.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    import ray

    if ray.is_initialized():
        yield _nodes()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Without its dashboard, Ray never frees the workers of a stopped Train run.
            own = True if options.address == "local" else None
            ray.init(address=options.address, log_to_driver=True, include_dashboard=own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"no Ray cluster answers at address={options.address!r}: {error}"
            ) from error
    try:
        yield _nodes()
    finally:
        ray.shutdown()


def _nodes() -> list[dict[str, float]]:
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


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
    with _gentle_stop(screen):
        tuner.fit()


@contextmanager
def _gentle_stop(screen: TextIO) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM (a batch system's limit, a spot notice) end the Tune run in order.

    Tune's own handler for Ctrl-C is off: it says nothing while its actors leave, which takes some
    15 s, and a second Ctrl-C then ends in a traceback.
    """
    asked = 0

    def stop(signum: int, frame: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            print("\nStopping; every finished epoch is kept. A moment ...", file=screen)
            signal.raise_signal(signal.SIGUSR1)  # what Tune listens to besides
        elif asked > 2:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def draw_figures(folder: Path) -> list[str]:
    """Draw the study's figures in a process that knows neither torch nor Ray; what it printed."""
    command = [sys.executable, "-m", "srsgd_ray.figures", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return (done.stdout + (done.stderr if done.returncode else "")).strip().splitlines()
