"""Image classification as a trainable: the knobs of TrainConfig, the loop of ``training``.

Importing this needs no torch: results and plans of a study can be read where there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from srsgd_ray.config import GENERATED, SCHEDULE_FREE, TrainConfig
from srsgd_ray.knobs import affecting
from srsgd_ray.parts import data_sets
from srsgd_ray.trainable import PREDICTIONS, Budget, Diverged, Metric, Run, StopTraining, Trainable

LR_DROPS = (0.5, 0.75)  # where the learning rate falls unless a study says else
SMOKE_BATCH = 25
SMOKE_PIXELS = 32


class ImageClassification(Trainable):
    """Train a network of a config on one of the data sets; see :class:`TrainConfig`.

    Network, data set, optimizer and learning-rate schedule may be the user's own.
    """

    name = "image"
    path = "image"
    Config = TrainConfig
    budget = Budget("epochs", "epochs")
    search_metric = "val_error"
    confirm_metric = "test_error"
    tie_break = "val_loss"
    metrics = (
        Metric("step", "optimizer steps finished", "steps", kind=int),
        Metric("epoch_lr", "learning rate at the epoch's first step"),
        Metric("restart_period", "steps between restarts at the epoch's end", "steps"),
        Metric("restarts", "momentum restarts so far", "restarts", kind=int),
        Metric("train_loss", "mean cross entropy over the epoch's training batches", "nats",
               "lower", "train"),
        Metric("train_error", "training error while training, on augmented images", "%",
               "lower", "train"),
        Metric("val_loss", "mean cross entropy on the validation split", "nats",
               "lower", "validation"),
        Metric("val_error", "top-1 error on the validation split", "%",
               "lower", "validation", best_at="best_epoch"),
        Metric("test_loss", "mean cross entropy on the test set; where evaluated", "nats",
               "lower", "test"),
        Metric("test_error", "top-1 error on the test set; where evaluated", "%",
               "lower", "test", best_at="best_test_epoch"),
        Metric("train_seconds", "wall time of the epoch's training", "s"),
        Metric("eval_seconds", "wall time of the epoch's evaluation", "s"),
        Metric("images_per_second", "training images a second, all workers together", "1/s"),
        Metric("skipped_images", "images left out as unreadable, of all parts", "images", kind=int),
    )  # fmt: skip

    def configure(self, values: Mapping[str, Any]) -> TrainConfig:
        """Milestones follow from ``lr_drops``, fractions of the epochs, unless they are given.

        A schedule other than ``steps`` has none, and a schedule-free optimizer has no schedule.
        """
        known = dict(values)
        drops = known.pop("lr_drops", LR_DROPS)
        if not isinstance(drops, (tuple, list)) or any(
            isinstance(part, (str, bool)) or not 0 < part < 1 for part in drops
        ):
            raise ValueError(
                f"lr_drops must lie between 0 and 1, but got {drops!r}. Give the fractions of the "
                f"training at which the learning rate falls, such as (0.5, 0.75), or () for none."
            )
        stepped = known.get("lr_schedule", "steps") == "steps"
        free = known.get("optimizer") in SCHEDULE_FREE
        if "lr_milestones" not in known and stepped and not free:
            epochs = TrainConfig.from_dict(
                {"epochs": known.get("epochs", TrainConfig.epochs)}
            ).epochs
            known["lr_milestones"] = sorted({round(part * epochs) for part in drops} - {0, epochs})
        return TrainConfig.from_dict(known)

    def check_data(self, config: TrainConfig) -> None:
        """Read the data set once; build what is not of this package, and try it on an image."""
        images = data_sets().get(config.dataset)
        there = images is not None and not images.files and not config.has_parts_to_try()
        if there and config.device in ("auto", "cpu"):
            return  # without torch, which a study of workers alone need not wait for
        from srsgd_ray.training.checks import check_parts
        from srsgd_ray.training.device import choose_device

        choose_device(config)
        check_parts(config)

    def check_metric(self, config: TrainConfig, metric: str) -> None:
        """What is measured on the validation split needs one."""
        held_out = config.train_on == "train" and config.validation_fraction > 0
        if metric.startswith("val_") and not held_out:
            raise ValueError(
                f"metric={metric!r} needs a validation split, but got "
                f"train_on={config.train_on!r} with "
                f"validation_fraction={config.validation_fraction}."
            )

    def confirmed(self, config: TrainConfig, seed: int, on: str) -> TrainConfig:
        """With the test set evaluated at the end."""
        return config.replace(seed=seed, train_on=on, evaluate_test=True)

    def lengthened(self, config: TrainConfig, epochs: int) -> dict[str, Any]:
        """All that is counted in epochs (milestones, warm-up) scales with them."""
        changes: dict[str, Any] = {}
        for name in (field.name for field in fields(config) if field.metadata["unit"] == "epochs"):
            value = getattr(config, name)
            if isinstance(value, tuple):
                changes[name] = [round(item * epochs / config.epochs) for item in value]
            else:
                changes[name] = value * (epochs / config.epochs)
        return {**changes, "epochs": epochs}

    def smoke(self, config: TrainConfig) -> dict[str, Any]:
        """Stages of one epoch, on generated data where the real ones lie in files."""
        drops, stages = len(config.lr_milestones), len(config.restart_milestones)
        # A decay of the restarts needs two epochs.
        epochs = max(drops, stages) + 1 + config.restart_decay
        made = self.lengthened(config, epochs) | {
            "lr_milestones": list(range(1, drops + 1)),
            "restart_milestones": list(range(1, stages + 1)),
        }
        images = data_sets().get(config.dataset)
        if images is not None and images.files:
            made |= {"data_dir": GENERATED, "batch_size": SMOKE_BATCH, "image_size": SMOKE_PIXELS}
        return made

    def family(self, config: TrainConfig) -> str:
        """One arm for each optimizer and each part of the user's is enough of a smoke test."""
        own = (config.model, config.dataset, config.lr_schedule, config.optimizer_fallback)
        return " ".join((config.optimizer, *(part for part in own if ":" in part)))

    def seconds(self, config: TrainConfig, workers: int, threads: int) -> float | None:
        """A few steps and an evaluation on made-up images, and arithmetic."""
        from srsgd_ray.training.timing import UnknownSizeError, measure

        try:
            found = measure(config.replace(threads=threads), workers)
        except UnknownSizeError:
            return None
        tests = 1.0 if config.test_every_epoch else 1 / config.epochs
        return found.epoch + (tests * found.test if config.evaluate_test else 0.0)

    def remarks(self, config: TrainConfig, workers: int, published: int) -> str:
        """What another number of workers means for the batch statistics."""
        if published == workers or config.sync_batch_norm:
            return ""
        ours, theirs = config.batch_size // workers, config.batch_size // published
        return (
            f"batch norm sees {ours} images a worker, {theirs} in the published run ({published} "
            f"GPUs); the global batch of {config.batch_size}, the learning rate and the steps are "
            f"the same."
        )

    def train(self, config: TrainConfig, run: Run) -> None:
        """The training loop, with its own rows and checkpoints."""
        from srsgd_ray.data import load_dataset
        from srsgd_ray.training import train

        config = config.replace(threads=run.threads)
        if config.device == "auto":
            config = config.replace(device=run.device)
        read = affecting(TrainConfig, "data")
        key = json.dumps({name: config.to_dict()[name] for name in read}, sort_keys=True)

        def load(key: str) -> Any:
            return load_dataset(TrainConfig.from_dict(json.loads(key)))

        def store(labels: list[int], classes: list[int]) -> None:
            run.artifact(PREDICTIONS, label=labels, predicted=classes)

        with run.stored() as folder:
            outcome = train(
                config,
                run.report_row,
                resume_from=folder,
                progress=run.alive,
                load=lambda config: run.cached(load, key),
                keep=run.save,
                ready=lambda parameters: setattr(run, "parameters", parameters),
                predictions=store if run.final else None,
            )
        if outcome.state == "stopped":
            raise StopTraining(outcome.reason)
        if outcome.state == "diverged":
            raise Diverged(outcome.reason or "diverged", outcome.diverged_step)


IMAGE = ImageClassification()
