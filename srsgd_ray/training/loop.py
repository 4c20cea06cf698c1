"""One training run, from a config to its rows: the same code alone, under torchrun and in Ray."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import BatchFormat, Data, DataError, load_dataset
from srsgd_ray.optim import SRSGD, build_lr_schedule, build_optimizer
from srsgd_ray.optim.together import set_mode
from srsgd_ray.trainable import RankError, StopTraining
from srsgd_ray.training import checkpoint
from srsgd_ray.training.checks import check_share_of_batch, fitting_model
from srsgd_ray.training.device import (
    Precision,
    choose_device,
    kernels,
    memory_format,
)
from srsgd_ray.training.distributed import parallel, rank_and_size, total
from srsgd_ray.training.evaluation import Evaluation
from srsgd_ray.training.graphed import make_step
from srsgd_ray.training.outcome import Keep, Outcome, Progress, Report, Row, Sums, means
from srsgd_ray.training.predictions import Predictions

CHECK_EVERY = 50  # steps between two checks of the loss: each check waits for the device


def train(
    config: TrainConfig,
    report: Report,
    *,
    resume_from: Path | None = None,
    progress: Progress | None = None,
    load: Callable[[TrainConfig], Data] = load_dataset,
    keep: Keep | None = None,
    ready: Callable[[int], object] | None = None,
    predictions: Predictions | None = None,
) -> Outcome:
    """Train one network as ``config`` says, reporting every finished epoch.

    If a process group exists, every rank calls this; images are divided among ranks, gradients
    are averaged by DistributedDataParallel, and the metrics are those of all ranks together.

    Args:
        config: the run; checked first.
        report: called as ``report(row, save)`` on every rank after each epoch. ``save(folder)``
            writes a checkpoint and returns its path (call it on one rank). A run that resumes first
            reports its earlier rows again, with ``save=None``, so that none can be lost. Raise
            :class:`StopTraining` to stop.
        resume_from: folder of a checkpoint of the same run.
        progress: called with the number of finished steps after each step.
        load: reads the data set; a long-lived worker passes a cached one.
        keep: called on the first rank as ``keep(save)`` every ``checkpoint_steps`` steps within an
            epoch; a run that resumes from there begins at the very next sample.
        ready: called on every rank with the number of trainable parameters, once all is checked and
            built, before the first step.
        predictions: called on every rank with the labels and the predicted classes of the test
            images, in order, before the last epoch is reported; not if one was unreadable.

    Raises:
        ValueError: for a config, data set or checkpoint that breaks a rule.
        RankError: a ValueError, for data that this rank cannot read, or a batch that it cannot
            train on, while the others know nothing of it.
    """
    try:
        run = _Run(config.check(), load)
        run.predictions = predictions
    except DataError as error:
        raise RankError(str(error)) from error
    try:
        if ready is not None:
            ready(run.parameters)
        with kernels(config):
            return run(report, resume_from, progress or (lambda step: None), keep)
    except checkpoint.CheckpointError:
        raise
    except ValueError as error:
        raise RankError(str(error)) from error
    finally:
        run.close()


class _Run:
    """The state of one run; what a checkpoint holds is what :meth:`_state` returns."""

    def __init__(self, config: TrainConfig, load: Callable[[TrainConfig], Data]) -> None:
        self.config = config
        self.predictions: Predictions | None = None
        self.rank, self.size = rank_and_size()
        check_share_of_batch(config, self.size)
        self.device = choose_device(config)
        self.precision = Precision(config, self.device)
        self.data = data = load(config)
        model = fitting_model(config, data)
        self.layout = memory_format(config, self.device, model)
        layout = BatchFormat(self.device, self.layout == torch.channels_last)
        self.batches = data.train_batches(config, layout)
        self.validation = data.eval_batches("validation", layout)
        self.test = data.eval_batches("test", layout) if config.evaluate_test else None
        self.steps_per_epoch = self.batches.steps_per_epoch(config.batch_size, self.size)
        # Module.to(memory_format=...) is right but missing from torch's own annotations.
        self.model: nn.Module = model.to(device=self.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.optimizer = build_optimizer(model.named_parameters(), config, self.steps_per_epoch)
        self.lr_schedule = build_lr_schedule(self.optimizer, config, self.steps_per_epoch)
        ddp = (config.sync_batch_norm, config.static_graph)
        self.wrapped = parallel(self.model, self.device, *ddp)
        self.one_step = make_step(config, self.wrapped, self.optimizer, self.precision)
        self.evaluate = Evaluation(self.model, data, self.precision)
        self.restarts: list[int] = []
        self.period: Callable[[int], float | None] = lambda step: None
        if isinstance(self.optimizer, SRSGD):
            schedule = self.optimizer.schedule()
            self.restarts = schedule.restarts(config.epochs * self.steps_per_epoch)
            self.period = schedule.period
        self.epoch = self.step = 0
        self.sums = Sums()
        self.history: list[Row] = []

    def close(self) -> None:
        """Let go of the DDP wrapper's hooks before the next run in this process."""
        self.wrapped = self.model
        self.one_step.close(self.model)

    def _total(self) -> Tensor:
        """The sums of the epoch so far over all ranks."""
        return total(torch.tensor(self.sums.values, dtype=torch.float64, device=self.device))

    def __call__(
        self, report: Report, resume_from: Path | None, progress: Progress, keep: Keep | None
    ) -> Outcome:
        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # Only dropout draws from here; each worker drops other activations.
            torch.manual_seed(self.config.seed + 1_000_003 * self.rank)
            if resume_from is not None:
                self._restore(checkpoint.load_checkpoint(resume_from, self.config))
            try:
                for row in self.history:
                    report(dict(row), None)
                while self.epoch < self.config.epochs:
                    row, bad = self._one_epoch(progress, keep)
                    if bad is not None:
                        return self._outcome("diverged", f"diverged at step {bad}", bad)
                    self.history.append(row)
                    report(dict(row), self._save)
            except StopTraining as stop:
                return self._outcome("stopped", str(stop) or "stopped")
        return self._outcome("complete", None)

    def _outcome(self, state: str, reason: str | None, bad: int | None = None) -> Outcome:
        return Outcome(state, reason, bad, self.parameters, len(self.history))

    def _one_epoch(self, progress: Progress, keep: Keep | None) -> tuple[Row, int | None]:
        """Train and evaluate one epoch: its row, or the step at which the loss broke down."""
        self.lr_schedule.before(self.epoch * self.steps_per_epoch)
        lr = float(self.optimizer.param_groups[0]["lr"])
        began = time.perf_counter()
        first = self.step - self.epoch * self.steps_per_epoch
        bad = self._train_epoch(first, progress, keep)
        if bad is not None:
            return {}, bad
        trained = time.perf_counter()
        sums, self.sums = self._total(), Sums()
        loss, error, images = means(sums)
        # An epoch that was broken off is timed by what was trained after it.
        images *= (self.steps_per_epoch - first) / self.steps_per_epoch
        self.lr_schedule.step()
        self.epoch += 1
        last = self.epoch == self.config.epochs
        test = self.test if last or self.config.test_every_epoch else None
        if set_mode(self.optimizer, training=False) and (test, self.validation) != (None, None):
            self.evaluate.renew_statistics(self._batches(self.epoch - 1))
        val_loss, val_error, val_skipped = self.evaluate(self.validation)
        if val_loss is not None and not math.isfinite(val_loss):
            return {}, self.step - 1
        told = self.predictions if last else None
        test_loss, test_error, test_skipped = self.evaluate(test, told)
        ended = time.perf_counter()
        row = {
            "epoch": self.epoch,
            "step": self.step,
            "epoch_lr": lr,
            "restart_period": self.period(self.step - 1),
            "restarts": self._restarts(),
            "train_loss": loss,
            "train_error": error,
            "val_loss": val_loss,
            "val_error": val_error,
            "test_loss": test_loss,
            "test_error": test_error,
            "train_seconds": trained - began,
            "eval_seconds": ended - trained,
            "images_per_second": images / (trained - began),
            "skipped_images": int(sums[3].item()) + val_skipped + test_skipped,
            "time": time.time(),
        }
        return row, None

    def _restarts(self) -> int:
        """Momentum restarts so far: as scheduled, or where the gradient said so besides."""
        group = self.optimizer.param_groups[0]
        if isinstance(self.optimizer, SRSGD) and group["adaptive"]:
            return int(group["restarts"])
        return bisect_right(self.restarts, self.step - 1)

    def _train_epoch(self, first: int, progress: Progress, keep: Keep | None) -> int | None:
        """Train the epoch from its step ``first`` on; the step at which the loss broke down."""
        config = self.config
        self.wrapped.train()
        set_mode(self.optimizer, training=True)
        skipped = self.data.skipped()
        batches = self._batches(self.epoch, first)
        seen = 0
        for index, (images, labels, share) in enumerate(batches, start=first + 1):
            self.lr_schedule.before(self.step)
            self.sums.add(*self.one_step(images, labels, share))
            seen += len(labels)
            self.step += 1
            last = index == self.steps_per_epoch
            between = bool(config.checkpoint_steps) and index % config.checkpoint_steps == 0
            look = index % CHECK_EVERY == 0 or last or between
            if look and (broken := self.sums.settle(self.step)) is not None:
                return broken
            if last or between:
                self.sums.values[2] += seen
                self.sums.values[3] += self.data.skipped() - skipped
                seen, skipped = 0, self.data.skipped()
            if keep is not None and between and not last:
                self._keep(keep)
            progress(self.step)
        return None

    def _batches(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor, float]]:
        """This rank's part of each batch of an epoch, from a step on."""
        return self.batches.epoch(
            seed=self.config.seed,
            epoch=epoch,
            batch_size=self.config.batch_size,
            rank=self.rank,
            world_size=self.size,
            first_step=first,
        )

    def _keep(self, keep: Keep) -> None:
        """Write a checkpoint within an epoch; the first rank holds the sums of all from then on."""
        sums = self._total().tolist()
        self.sums = Sums(sums) if self.rank == 0 else Sums()
        if self.rank == 0:
            keep(self._save)

    def _save(self, folder: Path) -> Path:
        return checkpoint.save_checkpoint(folder, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "world_size": self.size,
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums.values if self.step > self.epoch * self.steps_per_epoch else None,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_schedule": self.lr_schedule.state_dict(),
            "scaler": self.precision.state_dict(),
            "rng": checkpoint.rng_state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state["world_size"] != self.size:
            raise checkpoint.CheckpointError(
                f"the checkpoint was written by {state['world_size']} workers, but there are "
                f"{self.size} now. Resume with as many workers."
            )
        self.epoch, self.step = state["epoch"], state["step"]
        if state.get("sums") is not None and self.rank == 0:
            self.sums = Sums(state["sums"])
        self.history = list(state["history"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.lr_schedule.load_state_dict(state["lr_schedule"])
        self.precision.load_state_dict(state["scaler"])
        checkpoint.set_rng_state(state["rng"])
