"""Every knob of one training run, with its default and its check. Imports neither torch nor Ray.

A field's name is also the Tune key, the Optuna parameter and the Parquet column.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srsgd_ray import restarts
from srsgd_ray.knobs import knob, make, plain
from srsgd_ray.names import (
    BLOCKS,
    DATASETS,
    GENERATED,
    MODELS,
    OPTIMIZERS,
    PRECISIONS,
    RESTART_CONVENTIONS,
    RESTART_KINDS,
    UnknownNameError,
    check_depth,
    one_of,
)
from srsgd_ray.network_rules import check_network

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

    dataset: str = knob("digits", "data set: " + ", ".join(DATASETS), affects="data cost outcome")
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
    model: str = knob("preresnet", "network: one of config.MODELS", affects="cost outcome")
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
    optimizer: str = knob("srsgd", "optimizer: " + ", ".join(OPTIMIZERS))
    lr: float = knob(0.1, "learning rate of the first stage")
    effective_lr: float = knob(
        0.0, "if not 0, sets lr: mean step of the first stage on a constant gradient of 1"
    )
    lr_milestones: tuple[int, ...] = knob(
        (), "epochs (0-based) before which the learning rate is multiplied by lr_gamma", "epochs"
    )
    lr_gamma: float = knob(0.1, "factor of the learning rate at each milestone")
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
        milestones = [epoch * steps_per_epoch for epoch in self.lr_milestones]
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

    def check(self) -> TrainConfig:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        one_of("data set", self.dataset, DATASETS)
        one_of("model", self.model, MODELS)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("restart kind", self.restart_kind, RESTART_KINDS)
        one_of("restart convention", self.restart_convention, RESTART_CONVENTIONS)
        one_of("bad_images", self.bad_images, ("stop", "skip"))
        one_of("train_on", self.train_on, ("train", "train+validation"))
        one_of("restart_buffer", self.restart_buffer, ("keep", "drop"))
        one_of("restart_count", self.restart_count, ("reset", "carry"))
        one_of("precision", self.precision, PRECISIONS)
        one_of("channels_last", self.channels_last, ("auto", "on", "off"))
        one_of("normalisation", self.normalisation, ("dataset", "as_published"))
        one_of("block", self.block, BLOCKS)
        check_network(model=self.model, depth=self.depth, block=self.block, dataset=self.dataset)
        self._check_numbers()
        if self.dataset != "digits" and not self.data_dir:
            raise ValueError(
                f"dataset={self.dataset!r} needs data_dir, the folder that holds its files."
            )
        self._check_stages()
        return self

    def _check_numbers(self) -> None:
        for name, low, strict in (
            ("lr", 0.0, True),
            ("lr_gamma", 0.0, True),
            ("weight_decay", 0.0, False),
            ("restart_growth", 0.0, True),
            ("restart_f1", 1.0, False),
            ("epochs", 1, False),
            ("batch_size", 1, False),
            ("width", 1, False),
            ("widen_factor", 1, False),
            ("cardinality", 1, False),
            ("growth_rate", 1, False),
            ("compression", 1, False),
            ("image_size", 1, False),
            ("effective_lr", 0.0, False),
            ("decode_threads", 0, False),
            ("checkpoint_steps", 0, False),
            ("threads", 0, False),
            ("seed", 0, False),
            ("split_seed", 0, False),
        ):
            value = getattr(self, name)
            if not (low < value if strict else low <= value) or math.isinf(value):
                sign = "<" if strict else "<="
                raise ValueError(f"{low:g} {sign} {name} < inf must hold, but got {name}={value}.")
        for name in ("momentum", "beta1", "beta2", "validation_fraction", "dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"0 <= {name} < 1 must hold, but got {name}={value}.")

    def _check_stages(self) -> None:
        milestones = self.lr_milestones
        if any(a >= b for a, b in zip((0, *milestones), (*milestones, self.epochs), strict=True)):
            raise ValueError(
                f"0 < lr_milestones < epochs must hold and increase, but got "
                f"lr_milestones={milestones} with epochs={self.epochs}."
            )
        if self.optimizer != "srsgd":
            return
        if self.restart_kind == "explicit" and len(self.restart_list) != len(milestones) + 1:
            raise ValueError(
                f"restart_list needs one frequency a stage, {len(milestones) + 1} for "
                f"lr_milestones={milestones}, but got {len(self.restart_list)}: "
                f"{self.restart_list}."
            )
        self.restart_schedule(steps_per_epoch=1)
