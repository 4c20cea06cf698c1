"""Everything that can be refused before a study writes its first line."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from srsgd_ray.backends import Autoscaler, Job, Plan, check_counts, plan_slots, slots_in
from srsgd_ray.backends.store import check_keys
from srsgd_ray.export.place import library
from srsgd_ray.knobs import affecting, machine_knobs, one_of, plain
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.log import OUTPUT
from srsgd_ray.results.place import RecordError, check_writable
from srsgd_ray.results.record import holds_line, read_record
from srsgd_ray.study.check import check_fields
from srsgd_ray.study.options import Options
from srsgd_ray.study.prices import check_price
from srsgd_ray.study.spec import Study
from srsgd_ray.trainable import find, path_of


def check_options(study: Study, options: Options) -> None:
    """Raise ValueError for options that can never work."""
    check_fields(options)
    one_of("plan", options.plan, ("yes", "no", "only"))
    check_keys(options.storage or "")
    if options.price is not None:
        check_price(options.price)
    if options.tensorboard:
        library("tensorboard")
    workers = _workers(study, options)
    if options.backend == "local" and workers > 1:
        raise ValueError(
            f"workers_per_trial=1 must hold for backend='local', but got {workers}. "
            f"Use backend='ray' for trials of several workers."
        )
    check_counts(options.slots, workers)  # before Ray is started for it


def _workers(study: Study, options: Options) -> int:
    """Workers of a trial: as asked, or as published if all arms agree, or one."""
    if options.workers_per_trial is not None:
        return options.workers_per_trial
    published = {arm.workers for arm in study.arms}
    return published.pop() if len(published) == 1 and options.backend == "ray" else 1


def plan_of(
    study: Study,
    options: Options,
    nodes: Sequence[Mapping[str, float]],
    autoscaler: Autoscaler | None = None,
    free: Sequence[Mapping[str, float]] | None = None,
) -> Plan:
    """How many trials at a time, and what each gets; as many as are free now, if not asked."""
    gpus = options.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0.0) >= 1 for node in nodes) else 0.0
    plan = plan_slots(
        nodes,
        slots=1 if options.backend == "local" and options.slots is None else options.slots,
        workers=_workers(study, options),
        cpus_per_worker=options.cpus_per_worker,
        gpus_per_worker=gpus,
        growing=options.autoscaling,
        autoscaler=autoscaler,
    )
    if options.slots is not None or free is None:
        return plan
    # The share of a machine stays that of an empty cluster: with other threads rows would differ.
    return replace(plan, slots=max(1, slots_in(free, plan)))


def job_of(study: Study, options: Options) -> Job:
    """What the backend must know; other processes must be able to import the work."""
    path, folder = path_of(study.work)
    alone = options.backend == "local" and options.slots in (None, 1)
    if path.startswith("__main__:") and not alone:
        raise ValueError(
            f"a trainable must be importable by the workers, but {path} was typed at a prompt or "
            f"in a notebook. Put it into a file, or use backend='local' with one slot."
        )
    if not alone:
        _check_module(path, folder)
    return Job(
        study.work, path, folder or study.folder, study.metric, "", options.silence_limit,
        wait_limit=options.wait_hours * 3600,
    )  # fmt: skip


def _check_module(path: str, folder: str) -> None:
    """The name under which the workers import a script must be that script."""
    find(path, folder)
    module = sys.modules.get(path.partition(":")[0])
    main = getattr(sys.modules["__main__"], "__file__", None)
    if module is None or main is None or Path(main).stem != module.__name__:
        return
    file = getattr(module, "__file__", None)
    if file is None or Path(file).resolve() != Path(main).resolve():
        raise ValueError(
            f"workers import {Path(main).name} as the module {module.__name__!r}, but that name "
            f"is taken by {file}. Rename the script."
        )


def check_data(study: Study) -> None:
    """Find the data of each arm once, so that missing data stop it before it begins."""
    seen = set()
    config_type = study.work.Config
    fields = sorted({*affecting(config_type, "data"), *machine_knobs(config_type)})
    for arm in study.arms:
        config = study.config(arm.name, {})
        # What is imported by a path may fail by itself, whatever the data.
        own = [v for v in plain(config).values() if isinstance(v, str) and ":" in v]
        key = (*(str(getattr(config, name)) for name in fields), *own)
        if key not in seen:
            seen.add(key)
            study.work.check_data(config)


def copied(contents: Contents, folder: Path) -> bool:
    """Whether a study's folder is a copy of the one that it began in, and was not only moved.

    Its checkpoints in a common place are then the other's. From another machine nobody can tell.
    """
    first = contents.sessions[0] if contents.sessions else {}
    home = Path(first.get("folder", folder))
    if home == folder:
        return False
    try:
        there = read_record(home).header.get("id") if holds_line(home) else None
    except (OSError, RecordError):  # damaged, or no longer to be read
        return True
    return first.get("host") != platform.node() or there == contents.header["id"]


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Callable[[], None]]:
    """Make the folder; what was made is deleted again unless the function given is called.

    Raises:
        RecordError: if it cannot be written.
    """
    check_writable(folder, "results", "--results")
    made = [p for p in (folder / OUTPUT, folder, *folder.parents) if not p.exists()]
    kept: list[bool] = []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield lambda: kept.append(True)
    finally:
        if folder in made and not kept:
            shutil.rmtree(folder, ignore_errors=True)
        for path in made if not kept else ():
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.is_file():
                path.unlink()
