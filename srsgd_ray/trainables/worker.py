"""What a Ray Train worker of a slot does: take the next trial, train it, report, and so on."""

from __future__ import annotations

import platform
import time
import traceback
from functools import lru_cache
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import get_device

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import Data, load_dataset
from srsgd_ray.results.provenance import processor
from srsgd_ray.trainables.mailbox import CLOSE
from srsgd_ray.trainables.store import CheckpointStore
from srsgd_ray.training import RankError, StopTraining, train

__all__ = ["serve"]

POLL = 30.0  # seconds a call to the mailbox may wait before it is made again
TOUCH_EVERY = 5.0  # seconds between two signs of life within an epoch
ANSWER = 60.0  # seconds within which the mailbox must answer beyond the wait asked of it


def serve(settings: dict[str, Any]) -> None:
    """Run trials until told to leave. The function that TorchTrainer starts in each worker.

    Waiting has no limit of its own, but each call has: the mailbox dies with its Tune actor, and
    then the call raises and the worker leaves.
    """
    context = ray.train.get_context()
    worker = _Worker(settings["mailbox"], context.get_world_rank(), settings["threads"])
    if worker.rank == 0:
        worker.call("hello")
    after = 0
    while True:
        found = worker.call("next", after, POLL, wait=POLL)
        if found is None:
            continue
        after, command = found
        if command == CLOSE:
            return
        worker.run(after, command)


class _Worker:
    def __init__(self, mailbox: Any, rank: int, threads: int) -> None:
        self.mailbox, self.rank, self.threads = mailbox, rank, threads
        # A slot's trials nearly always share their data set: keep the last one.
        self.load = lru_cache(maxsize=1)(_load)

    def call(self, method: str, *args: Any, wait: float = 0.0) -> Any:
        return ray.get(getattr(self.mailbox, method).remote(*args), timeout=wait + ANSWER)

    def run(self, serial: int, command: dict[str, Any]) -> None:
        """Train one trial. An error that may pass away is raised, so that Train starts anew."""
        if self.rank == 0:
            self.call("begin", serial)
        try:
            config = TrainConfig.from_dict(command["config"]).replace(threads=self.threads)
            if config.device == "auto":
                config = config.replace(device=str(get_device()))
            store = CheckpointStore(command["checkpoints"])
            with store.fetch() as resume_from:
                outcome = train(
                    config,
                    _Listener(self, serial, config, store),
                    resume_from=resume_from,
                    progress=self._progress(serial),
                    load=lambda config: self.load(*_data_key(config)),
                    keep=store.keep,
                )
        except RankError as error:
            self._tell(serial, "error", from_any=True, error=str(error))
            if ray.train.get_context().get_world_size() > 1:
                raise  # the others wait for this one: the group must begin anew
        except ValueError as error:
            # The config, the data or the checkpoint break a rule: trying again does not help.
            self._tell(serial, "error", error=str(error))
        except Exception:
            self._tell(serial, "trouble", error=traceback.format_exc())
            raise
        else:
            self._tell(
                serial,
                "end",
                state=outcome.state,
                reason=outcome.reason,
                diverged_step=outcome.diverged_step,
                parameters=outcome.parameters,
                host=platform.node(),
                hardware=_hardware(),
            )

    def _tell(self, serial: int, kind: str, *, from_any: bool = False, **content: Any) -> None:
        if self.rank == 0 or from_any or kind == "trouble":
            self.call("put", serial, {"kind": kind, **content})

    def _progress(self, serial: int) -> Any:
        told = time.monotonic()

        def progress(step: int) -> None:
            nonlocal told
            if self.rank == 0 and time.monotonic() - told > TOUCH_EVERY:
                told = time.monotonic()
                self.mailbox.touch.remote(serial, step)

        return progress


class _Listener:
    """The loop's report function: tells the row, keeps a checkpoint, waits for leave to go on."""

    def __init__(
        self, worker: _Worker, serial: int, config: TrainConfig, store: CheckpointStore
    ) -> None:
        self.worker, self.serial, self.config, self.store = worker, serial, config, store

    def __call__(self, row: dict[str, Any], save: Any) -> None:
        worker, serial, epoch = self.worker, self.serial, row["epoch"]
        if worker.rank == 0:
            told = worker.mailbox.put.remote(serial, {"kind": "row", "row": row})
            if save is not None:
                self.store.keep(save)
            # The mailbox handles calls as they come: what follows must not overtake the row.
            ray.get(told, timeout=ANSWER)
        if epoch == self.config.epochs:
            return
        answer = None
        while answer is None:
            answer = worker.call("may_go_on", serial, epoch, POLL, wait=POLL)
        if not answer:
            raise StopTraining("stopped by the scheduler")


def _data_key(config: TrainConfig) -> tuple[tuple[str, Any], ...]:
    names = (
        "dataset", "data_dir", "validation_fraction", "split_seed", "train_on", "normalisation",
        "image_size", "decode_threads", "bad_images",
    )  # fmt: skip
    return tuple((name, getattr(config, name)) for name in names)


def _load(*key: tuple[str, Any]) -> Data:
    return load_dataset(TrainConfig.from_dict(dict(key)))


def _hardware() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
