"""Every knob of one training run, with its default and its check. Imports neither torch nor Ray.

A field's name is also the Tune key, the Optuna parameter and the Parquet column.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from srsgd_ray import restarts
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


def _knob(default: Any, doc: str, unit: str = "") -> Any:
    return field(default=default, metadata={"doc": doc, "unit": unit})


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Make it, then call :meth:`check` (the training loop does).

    Raises:
        UnknownNameError: from :meth:`from_dict`, for a key that is not a field.
        ValueError: from :meth:`check`, with the rule, the value and the cure.
    """

    dataset: str = _knob("digits", "data set: " + ", ".join(DATASETS))
    data_dir: str = _knob(
        "", "folder of the data, or generated: small made-up data of the real layout"
    )
    validation_fraction: float = _knob(0.2, "share of the training set held out for validation")
    split_seed: int = _knob(0, "seed of the split into training and validation")
    train_on: str = _knob("train", "train, or train+validation (then there is no validation)")
    evaluate_test: bool = _knob(False, "evaluate the test set, once, after the last epoch")
    test_every_epoch: bool = _knob(
        False, "with evaluate_test: after every epoch, as the original did"
    )
    augment: bool = _knob(True, "the data set's usual random crop (and flip, but for digits)")
    normalisation: str = _knob(
        "dataset", "dataset (its own mean and deviation) or as_published (CIFAR only)"
    )
    image_size: int = _knob(224, "ImageNet: pixels a side of a crop", "pixels")
    model: str = _knob("preresnet", "network: one of config.MODELS")
    depth: int = _knob(8, "number of layers, of networks for small images")
    block: str = _knob("basic", "residual or dense block: basic or bottleneck")
    width: int = _knob(16, "channels of the first stage, of preresnet and resnet", "channels")
    widen_factor: int = _knob(4, "width of wide_resnet and resnext, as a factor")
    cardinality: int = _knob(8, "groups of resnext's convolutions", "groups")
    growth_rate: int = _knob(12, "channels that a layer of densenet adds", "channels")
    compression: float = _knob(2.0, "densenet: channels before over after a transition")
    dropout: float = _knob(0.0, "share of activations dropped, of wide_resnet and densenet")
    sync_batch_norm: bool = _knob(
        False, "batch statistics over all workers (GPUs only) instead of each worker's own"
    )
    optimizer: str = _knob("srsgd", "optimizer: " + ", ".join(OPTIMIZERS))
    lr: float = _knob(0.1, "learning rate of the first stage")
    effective_lr: float = _knob(
        0.0, "if not 0, sets lr: mean step of the first stage on a constant gradient of 1"
    )
    lr_milestones: tuple[int, ...] = _knob(
        (), "epochs (0-based) before which the learning rate is multiplied by lr_gamma", "epochs"
    )
    lr_gamma: float = _knob(0.1, "factor of the learning rate at each milestone")
    weight_decay: float = _knob(5e-4, "L2 penalty added to the gradient (AdamW: decoupled)")
    momentum: float = _knob(0.9, "momentum of sgd and sgd_nesterov")
    beta1: float = _knob(0.9, "first moment decay of the Adam family")
    beta2: float = _knob(0.999, "second moment decay of the Adam family")
    restart_kind: str = _knob("linear", "restart schedule: " + ", ".join(RESTART_KINDS))
    restart_f1: float = _knob(30.0, "restart frequency F1 of the first stage", "steps")
    restart_growth: float = _knob(2.0, "growth r of the restart frequency from stage to stage")
    restart_list: tuple[float, ...] = _knob(
        (), "restart frequency of each stage, for restart_kind=explicit", "steps"
    )
    restart_decay: bool = _knob(False, "decay the last stage's frequency to 1 (ImageNet recipe)")
    restart_convention: str = _knob(
        "exact", "exact (F steps between restarts) or as_published (F - 1, buffer dropped, ...)"
    )
    restart_buffer: str = _knob("keep", "momentum buffer at a milestone: keep or drop")
    restart_count: str = _knob("reset", "step count at a milestone: reset or carry")
    epochs: int = _knob(12, "passes over the training set", "epochs")
    batch_size: int = _knob(128, "images a step, over all workers together", "images")
    seed: int = _knob(0, "seed of initialisation, data order and augmentation")
    device: str = _knob("auto", "auto, cpu, cuda or cuda:N")
    precision: str = _knob("auto", "auto (bfloat16 on a GPU that has it), " + ", ".join(PRECISIONS))
    channels_last: str = _knob("auto", "memory format: auto (on for a GPU), on or off")
    deterministic: bool = _knob(False, "only deterministic kernels, on a GPU slower")
    decode_threads: int = _knob(
        0, "ImageNet: threads that decode images, a worker; 0: as many as it has CPUs", "threads"
    )
    bad_images: str = _knob(
        "stop", "ImageNet: at an unreadable image stop, or skip it and count it"
    )
    checkpoint_steps: int = _knob(
        0, "steps between checkpoints within an epoch; 0: after each epoch only", "steps"
    )
    threads: int = _knob(0, "CPU threads of a worker; 0: as many as it was given", "threads")

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
        known = {f.name: f for f in fields(cls)}
        for key in values:
            if key not in known:
                raise UnknownNameError(
                    f"unknown configuration key {key!r}. Valid: {', '.join(known)}."
                )
        hints = get_type_hints(cls)
        return cls(**{key: _convert(key, hints[key], value) for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Flat plain values (tuples become lists), for JSON, Tune and Parquet."""
        plain = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

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


def _convert(key: str, hint: Any, value: Any) -> Any:
    """Turn a value read from JSON, Tune or Optuna into the field's type, or raise ValueError."""
    try:
        if hint == tuple[int, ...]:
            return tuple(_whole(item) for item in value)
        if hint == tuple[float, ...]:
            return tuple(float(item) for item in value)
        if hint is bool:
            if value not in (True, False):
                raise ValueError(value)
            return bool(value)
        if hint is int:
            return _whole(value)
        if hint is float:
            return float(value)
        if not isinstance(value, str):
            raise TypeError(value)
        return value
    except (TypeError, ValueError) as error:
        kind = getattr(hint, "__name__", str(hint)) if "[" not in str(hint) else str(hint)
        raise ValueError(f"{key} must be of type {kind}, but got {key}={value!r}.") from error


def _whole(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError(value)
    return int(value)
