"""Every knob of one training run, with its default and its check. Imports neither torch nor Ray.

A field's name is also the Tune key, the Optuna parameter and the Parquet column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from srsgd_ray import restarts
from srsgd_ray.config_rules import check_config
from srsgd_ray.knobs import knob, make, plain
from srsgd_ray.lr_schedules import SCHEDULES, make_factor, stages
from srsgd_ray.names import (
    BLOCKS,
    DATASETS,
    GENERATED,
    MODELS,
    OPTIMIZERS,
    PRECISIONS,
    RESTART_KINDS,
    UnknownNameError,
    check_depth,
    one_of,
)

__all__ = [
    "BLOCKS",
    "DATASETS",
    "GENERATED",
    "MODELS",
    "OPTIMIZERS",
    "TrainConfig",
    "UnknownNameError",
    "check_depth",
    "one_of",
]


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Make it, then call :meth:`check` (the training loop does).

    Raises:
        UnknownNameError: from :meth:`from_dict`, for a key that is not a field.
        ValueError: from :meth:`check`, with the rule, the value and the cure.
    """

    dataset: str = knob(
        "digits",
        "data set: " + ", ".join(DATASETS) + ", or module:function",
        affects="data cost outcome",
    )
    dataset_options: dict[str, Any] = knob(
        {}, "keywords for the data set's function", affects="data cost outcome"
    )
    data_dir: str = knob(
        "",
        "folder of the data, or generated: small made-up data of the real layout",
        affects="data",
        flag="path",
    )
    validation_fraction: float = knob(
        0.2, "share of the training set held out for validation", affects="data cost outcome"
    )
    split_seed: int = knob(
        0, "seed of the split into training and validation", affects="data outcome"
    )
    train_on: str = knob(
        "train",
        "train, or train+validation (then there is no validation)",
        affects="data cost outcome",
    )
    evaluate_test: bool = knob(False, "evaluate the test set, once, after the last epoch")
    test_every_epoch: bool = knob(
        False, "with evaluate_test: after every epoch, as the original did"
    )
    augment: bool = knob(True, "the data set's usual random crop (and flip, but for digits)")
    normalisation: str = knob(
        "dataset",
        "dataset (its own mean and deviation) or as_published (CIFAR only)",
        affects="data outcome",
    )
    image_size: int = knob(
        224, "ImageNet: pixels a side of a crop", "pixels", affects="data cost outcome"
    )
    model: str = knob(
        "preresnet", "network: one of config.MODELS, or module:name", affects="cost outcome"
    )
    model_options: dict[str, Any] = knob(
        {}, "keywords for the network's function or class", affects="cost outcome"
    )
    depth: int = knob(8, "number of layers, of networks for small images", affects="cost outcome")
    block: str = knob(
        "basic", "residual or dense block: basic or bottleneck", affects="cost outcome"
    )
    width: int = knob(
        16,
        "channels of the first stage, of preresnet and resnet",
        "channels",
        affects="cost outcome",
    )
    widen_factor: int = knob(
        4, "width of wide_resnet and resnext, as a factor", affects="cost outcome"
    )
    cardinality: int = knob(8, "groups of resnext's convolutions", "groups", affects="cost outcome")
    growth_rate: int = knob(
        12, "channels that a layer of densenet adds", "channels", affects="cost outcome"
    )
    compression: float = knob(
        2.0, "densenet: channels before over after a transition", affects="cost outcome"
    )
    dropout: float = knob(0.0, "share of activations dropped, of wide_resnet and densenet")
    sync_batch_norm: bool = knob(
        False,
        "batch statistics over all workers (GPUs only) instead of each worker's own",
        flag="value",
    )
    optimizer: str = knob("srsgd", "optimizer: " + ", ".join(OPTIMIZERS) + ", or module:Class")
    optimizer_options: dict[str, Any] = knob({}, "keywords for the optimizer's class")
    optimizer_fallback: str = knob(
        "", "optimizer of those parameters that optimizer refuses, such as adamw; empty: an error"
    )
    fallback_lr: float = knob(0.0, "learning rate of optimizer_fallback; 0: the same as lr")
    lr: float = knob(0.1, "learning rate of the first stage")
    effective_lr: float = knob(
        0.0, "if not 0, sets lr: mean step of the first stage on a constant gradient of 1"
    )
    lr_milestones: tuple[int, ...] = knob(
        (), "epochs (0-based) before which the learning rate is multiplied by lr_gamma", "epochs"
    )
    lr_gamma: float = knob(0.1, "factor of the learning rate at each milestone")
    lr_schedule: str = knob(
        "steps", "schedule of lr: " + ", ".join(SCHEDULES) + ", or module:function"
    )
    lr_schedule_options: dict[str, Any] = knob({}, "keywords for the schedule's function")
    warmup_epochs: float = knob(
        0.0, "linear warm-up of the learning rate before its schedule; 0: none", "epochs"
    )
    weight_decay: float = knob(5e-4, "L2 penalty added to the gradient (AdamW: decoupled)")
    momentum: float = knob(0.9, "momentum of sgd and sgd_nesterov")
    beta1: float = knob(0.9, "first moment decay of the Adam family")
    beta2: float = knob(0.999, "second moment decay of the Adam family")
    restart_kind: str = knob("linear", "restart schedule: " + ", ".join(RESTART_KINDS))
    restart_f1: float = knob(30.0, "restart frequency F1 of the first stage", "steps")
    restart_growth: float = knob(2.0, "growth r of the restart frequency from stage to stage")
    restart_list: tuple[float, ...] = knob(
        (), "restart frequency of each stage, for restart_kind=explicit", "steps"
    )
    restart_milestones: tuple[int, ...] = knob(
        (),
        "epochs at which a stage of the restarts begins; empty: where one of lr_schedule does",
        "epochs",
    )
    restart_decay: bool = knob(False, "decay the last stage's frequency to 1 (ImageNet recipe)")
    restart_convention: str = knob(
        "exact", "exact (F steps between restarts) or as_published (F - 1, buffer dropped, ...)"
    )
    restart_buffer: str = knob("keep", "momentum buffer at a milestone: keep or drop")
    restart_count: str = knob("reset", "step count at a milestone: reset or carry")
    epochs: int = knob(12, "passes over the training set", "epochs")
    batch_size: int = knob(
        128, "images a step, over all workers together", "images", affects="cost outcome"
    )
    accumulate: int = knob(
        1,
        "micro-batches that a worker makes of its part of a step's images; 1: none",
        "micro-batches",
        affects="cost outcome",
    )
    label_smoothing: float = knob(
        0.0, "share of each label that is spread over all classes; train_loss includes it"
    )
    clip_grad_norm: float = knob(
        0.0, "largest norm of the gradient, which is scaled down to it; 0: no limit"
    )
    seed: int = knob(0, "seed of initialisation, data order and augmentation")
    device: str = knob("auto", "auto, cpu, cuda or cuda:N", affects="cost")
    precision: str = knob(
        "auto",
        "auto (bfloat16 on a GPU that has it), " + ", ".join(PRECISIONS),
        affects="cost outcome",
    )
    channels_last: str = knob("auto", "memory format: auto (on for a GPU), on or off")
    deterministic: bool = knob(False, "only deterministic kernels, on a GPU slower")
    decode_threads: int = knob(
        0,
        "ImageNet: threads that decode images, a worker; 0: as many as it has CPUs",
        "threads",
        affects="data",
    )
    bad_images: str = knob(
        "stop",
        "ImageNet: at an unreadable image stop, or skip it and count it",
        affects="data",
        flag="value",
    )
    checkpoint_steps: int = knob(
        0,
        "steps between checkpoints within an epoch; 0: after each epoch only",
        "steps",
        affects="",
        flag="value",
    )
    threads: int = knob(
        0, "CPU threads of a worker; 0: as many as it was given", "threads", affects=""
    )

    def __post_init__(self) -> None:
        if self.effective_lr > 0:
            object.__setattr__(self, "lr", self.effective_lr / self.amplification())

    def amplification(self) -> float:
        """Mean step over the first stage, in units of lr times a constant gradient.

        SRSGD with P steps between restarts: (P + 7)/8. Momentum M: 1/(1 - M). Plain SGD: 1.

        Raises:
            ValueError: for an optimizer whose step has no such factor.
        """
        if self.optimizer in ("sgd", "sgd_nesterov"):
            return 1 / (1 - self.momentum)
        if self.optimizer == "sgd_plain":
            return 1.0
        if self.optimizer != "srsgd":
            raise ValueError(
                f"effective_lr needs an optimizer with a bounded momentum, but got "
                f"optimizer={self.optimizer!r}. Give lr instead."
            )
        return restarts.amplification(self.restart_schedule(steps_per_epoch=1).period(0))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Build a config from flat keys; lists become tuples, whole floats become ints."""
        return make(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Flat plain values (tuples become lists), for JSON, Tune and Parquet."""
        return plain(self)

    def replace(self, **changes: Any) -> TrainConfig:
        """A copy with some fields changed; unknown names raise as in :meth:`from_dict`."""
        return TrainConfig.from_dict({**self.to_dict(), **changes})

    def restart_schedule(self, steps_per_epoch: int) -> restarts.RestartSchedule:
        """The restart schedule of this run, in steps."""
        milestones = self.restart_stages(steps_per_epoch)
        if self.optimizer == "nesterov_no_restart":
            return restarts.never()
        if self.restart_kind == "constant":
            schedule = restarts.explicit([self.restart_f1] * (len(milestones) + 1), milestones)
        elif self.restart_kind == "explicit":
            schedule = restarts.explicit(self.restart_list, milestones)
        else:
            grow = getattr(restarts, self.restart_kind)
            schedule = grow(self.restart_f1, self.restart_growth, milestones)
        if self.restart_decay:
            schedule = restarts.decay_to_one(
                schedule, epochs=self.epochs, steps_per_epoch=steps_per_epoch
            )
        if self.restart_convention == "as_published":
            return restarts.as_published(schedule)
        choices: dict[str, Any] = {"buffer": self.restart_buffer, "count": self.restart_count}
        return dataclasses.replace(schedule, **choices)

    def restart_stages(self, steps_per_epoch: int) -> list[int]:
        """Steps at which a stage of the restarts other than the first begins."""
        if self.restart_milestones:
            return [epoch * steps_per_epoch for epoch in self.restart_milestones]
        return stages(
            self.lr_schedule,
            self.lr_schedule_options,
            total=self.epochs * steps_per_epoch,
            warmup=self.warmup_steps(steps_per_epoch),
            milestones=[epoch * steps_per_epoch for epoch in self.lr_milestones],
        )

    def warmup_steps(self, steps_per_epoch: int) -> int:
        """Steps of the warm-up, rounded."""
        return round(self.warmup_epochs * steps_per_epoch)

    def lr_factor(self, steps_per_epoch: int) -> Callable[[int], float]:
        """What lr is multiplied by at each step."""
        return make_factor(
            self.lr_schedule,
            self.lr_schedule_options,
            total=self.epochs * steps_per_epoch,
            warmup=self.warmup_steps(steps_per_epoch),
            milestones=[epoch * steps_per_epoch for epoch in self.lr_milestones],
            gamma=self.lr_gamma,
        )

    def check(self) -> TrainConfig:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        check_config(self)
        return self
