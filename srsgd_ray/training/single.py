"""One training run, alone or under torchrun, whose rows are recorded as a study's are."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist

from srsgd_ray.config import TrainConfig
from srsgd_ray.knobs import machine_knobs
from srsgd_ray.results import (
    Record,
    RecordError,
    provenance,
    write_predictions,
    write_tables,
)
from srsgd_ray.results.place import put_in_place
from srsgd_ray.training.checkpoint import FILE_NAME
from srsgd_ray.training.device import choose_device, threads_of
from srsgd_ray.training.distributed import rank_and_size
from srsgd_ray.training.loop import train
from srsgd_ray.training.outcome import Save

TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def run_once(
    config: TrainConfig,
    out: Path,
    resume: bool,
    study: Mapping[str, Any],
    attended: Callable[[Record], AbstractContextManager[object]],
) -> bool:
    """Train once and record it in ``out``; prints a line for each epoch.

    Args:
        config: what is trained.
        out: folder of the results; a start that is refused leaves nothing there.
        resume: continue the run in that folder after its last epoch.
        study: the header of its record: the study of one trial that it is to all who read it. Its
            ``phase`` is the trial's.
        attended: a context in which the run's record is written, such as one that hears requests.

    Returns:
        Whether the run came to its end; False if it diverged.

    Raises:
        ValueError: for anything that cannot work, before anything is written.
    """
    with _process_group(config):
        return _run(config, out, resume, study, attended)


@contextmanager
def _process_group(config: TrainConfig) -> Iterator[None]:
    """The process group that torchrun asks for, if it does."""
    if "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    missing = [name for name in TORCHRUN if not os.environ.get(name)]
    if missing:
        raise ValueError(
            f"RANK={os.environ['RANK']} asks for one process of several, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set. Start it by torchrun, or unset RANK "
            f"for a run alone."
        )
    if not dist.is_torchelastic_launched():  # of a cluster's script, or left over in this shell
        rank, size, *place = (os.environ[name] for name in TORCHRUN)
        print(
            f"Process {rank} of {size}: waiting for the others at {':'.join(place)}. "
            f"For a run alone, unset RANK.",
            flush=True,
        )
    gpu = config.device != "cpu" and torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def _run(
    config: TrainConfig,
    out: Path,
    resume: bool,
    study: Mapping[str, Any],
    attended: Callable[[Record], AbstractContextManager[object]],
) -> bool:
    rank, size = rank_and_size()
    stack = ExitStack()
    record: Record | None = None
    phase, arm, trial = study["phase"], study["spec"]["arms"][0]["name"], ""
    resume_from = out if resume and (out / FILE_NAME).is_file() else None

    def ready(parameters: int) -> None:
        nonlocal record, trial
        if size > 1:
            dist.barrier()  # nothing is written before every rank has found all that it needs
        if rank == 0:
            threads, gpus = threads_of(config), float(choose_device(config).type == "cuda")
            record = _reopened(config, out) if resume else _begun(out, study, size, threads)
            record.session(**provenance(), held_workers=size, threads=threads, gpus_per_worker=gpus)
            trial = next(iter(record.trials), f"{phase}-{arm}-000")
            record.begin(trial, phase, arm, 0, config.to_dict())
            stack.enter_context(attended(record))

    def report(row: dict[str, Any], save: Save | None) -> None:
        if record is not None:
            record.epoch(trial, row)
            if save is not None:
                keep(save)
            write_tables(out, record.contents)
            print(_line(row, config), flush=True)

    def keep(save: Save) -> None:
        with TemporaryDirectory(prefix=".", dir=out) as aside:
            save(Path(aside))
            put_in_place(Path(aside), out)

    def predicted(labels: list[int], classes: list[int]) -> None:
        if record is not None:
            write_predictions(out, trial, {"label": labels, "predicted": classes})

    try:
        outcome = train(
            config,
            report,
            resume_from=resume_from,
            keep=keep,
            ready=ready,
            predictions=predicted if config.evaluate_test else None,
        )
        if record is not None:
            facts: dict[str, Any] = {"parameters": outcome.parameters, "workers": size}
            facts["host"] = platform.node()
            if outcome.diverged_step is not None:
                facts["diverged_step"] = outcome.diverged_step
            record.end(trial, outcome.state, outcome.reason, **facts)
            write_tables(out, record.contents)
            if outcome.reason:
                print(outcome.reason)
    finally:
        stack.close()
        if record is not None:
            record.pause()
            record.close()
    return outcome.state == "complete"


def _begun(out: Path, study: Mapping[str, Any], size: int, threads: int) -> Record:
    """The record of a new run; its study's trial can be run by the engine, too."""
    on = {"backend": "ray" if size > 1 else "local", "workers_per_trial": size}
    options = {**on, "cpus_per_worker": float(threads)}
    return Record.create(out, {**study, "options": options}, place="--out", name="--out")


def _reopened(config: TrainConfig, out: Path) -> Record:
    record = Record.reopen(out)
    if "config" not in record.contents.header:
        record.close()
        raise RecordError(f"{out} holds a study, but no single run. Choose another --out.")
    # A knob that came later had its default then.
    mine, theirs = config.to_dict(), {**TrainConfig().to_dict(), **record.contents.header["config"]}
    kept = set(mine) - machine_knobs(TrainConfig)
    differ = [
        f"{key}={theirs[key]!r} (now {mine[key]!r})"
        for key in mine
        if key in kept and mine[key] != theirs[key]
    ]
    if differ:
        record.close()
        raise RecordError(
            f"{out} holds another run: {', '.join(differ)}. `srsgd-ray resume {out}` "
            f"goes on as it was started; or choose another --out."
        )
    return record


def _line(row: dict[str, Any], config: TrainConfig) -> str:
    held = (
        "" if row["val_error"] is None else f"  val {row['val_loss']:.4f} {row['val_error']:.2f}%"
    )
    test = "" if row["test_error"] is None else f"  test {row['test_error']:.2f}%"
    return (
        f"epoch {row['epoch']}/{config.epochs}  lr {row['epoch_lr']:.4g}  "
        f"train {row['train_loss']:.4f} {row['train_error']:.2f}%{held}{test}  "
        f"{row['train_seconds']:.2f} s"
    )
