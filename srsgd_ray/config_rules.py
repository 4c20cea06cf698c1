"""The rules that every knob of a training run must keep. Imports no torch, and nothing it names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from srsgd_ray.lr_schedules import SCHEDULES
from srsgd_ray.names import (
    BLOCKS,
    DATASETS,
    MODELS,
    OPTIMIZERS,
    PRECISIONS,
    RESTART_CONVENTIONS,
    RESTART_KINDS,
    one_of,
)
from srsgd_ray.network_rules import check_network
from srsgd_ray.parts import check_options, path_of_part

if TYPE_CHECKING:
    from srsgd_ray.config import TrainConfig

__all__ = ["check_config"]

# Least value, and whether it is too small itself.
LEAST = {
    "lr": (0.0, True),
    "lr_gamma": (0.0, True),
    "weight_decay": (0.0, False),
    "restart_growth": (0.0, True),
    "restart_f1": (1.0, False),
    "epochs": (1, False),
    "batch_size": (1, False),
    "accumulate": (1, False),
    "width": (1, False),
    "widen_factor": (1, False),
    "cardinality": (1, False),
    "growth_rate": (1, False),
    "compression": (1, False),
    "image_size": (1, False),
    "effective_lr": (0.0, False),
    "fallback_lr": (0.0, False),
    "warmup_epochs": (0.0, False),
    "clip_grad_norm": (0.0, False),
    "decode_threads": (0, False),
    "checkpoint_steps": (0, False),
    "threads": (0, False),
    "seed": (0, False),
    "split_seed": (0, False),
}
SHARES = ("momentum", "beta1", "beta2", "validation_fraction", "dropout", "label_smoothing")
FINE = 1000  # steps an epoch, for rules that hold for any number of them


def check_config(config: TrainConfig) -> None:
    """Raise ValueError (rule, value, cure) for the first rule that ``config`` breaks."""
    _check_parts(config)
    one_of("restart kind", config.restart_kind, RESTART_KINDS)
    one_of("restart convention", config.restart_convention, RESTART_CONVENTIONS)
    one_of("bad_images", config.bad_images, ("stop", "skip"))
    one_of("train_on", config.train_on, ("train", "train+validation"))
    one_of("restart_buffer", config.restart_buffer, ("keep", "drop"))
    one_of("restart_count", config.restart_count, ("reset", "carry"))
    one_of("precision", config.precision, PRECISIONS)
    one_of("channels_last", config.channels_last, ("auto", "on", "off"))
    one_of("normalisation", config.normalisation, ("dataset", "as_published"))
    one_of("block", config.block, BLOCKS)
    check_network(
        model=config.model, depth=config.depth, block=config.block, dataset=config.dataset
    )
    _check_numbers(config)
    if config.dataset in DATASETS and config.dataset != "digits" and not config.data_dir:
        raise ValueError(
            f"dataset={config.dataset!r} needs data_dir, the folder that holds its files."
        )
    _check_stages(config)


def _check_parts(config: TrainConfig) -> None:
    own = not path_of_part("dataset", config.dataset, DATASETS)
    check_options("dataset", config.dataset_options, ("data_dir",))
    if own and config.dataset_options:
        raise ValueError(
            f"dataset={config.dataset!r} takes no dataset_options, but got "
            f"{config.dataset_options}. Its knobs are data_dir, augment and normalisation."
        )
    small = not path_of_part("model", config.model, MODELS)
    check_options("model", config.model_options, ("seed",))
    if small and config.model_options and not config.model.startswith("imagenet_"):
        raise ValueError(
            f"model={config.model!r} takes no model_options, but got {config.model_options}. "
            f"Its knobs are depth, block, width and so on: see config.MODELS."
        )
    path_of_part("optimizer", config.optimizer, OPTIMIZERS)
    check_options("optimizer", config.optimizer_options, ("lr", "weight_decay", "params"))
    if config.optimizer_fallback:
        path_of_part("optimizer", config.optimizer_fallback, OPTIMIZERS)
    path_of_part("lr_schedule", config.lr_schedule, SCHEDULES)
    check_options("lr_schedule", config.lr_schedule_options)
    if config.lr_schedule == "steps" and config.lr_schedule_options:
        raise ValueError(
            f"lr_schedule='steps' takes no lr_schedule_options, but got "
            f"{config.lr_schedule_options}. Its knobs are lr_milestones and lr_gamma."
        )


def _check_numbers(config: TrainConfig) -> None:
    for name, (low, strict) in LEAST.items():
        value = getattr(config, name)
        if not (low < value if strict else low <= value) or math.isinf(value):
            sign = "<" if strict else "<="
            raise ValueError(f"{low:g} {sign} {name} < inf must hold, but got {name}={value}.")
    for name in SHARES:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise ValueError(f"0 <= {name} < 1 must hold, but got {name}={value}.")
    if config.accumulate > config.batch_size:
        raise ValueError(
            f"accumulate <= batch_size must hold, but got accumulate={config.accumulate} with "
            f"batch_size={config.batch_size}. batch_size counts all images of a step."
        )
    if config.warmup_epochs >= config.epochs:
        raise ValueError(
            f"warmup_epochs < epochs must hold, but got warmup_epochs={config.warmup_epochs} with "
            f"epochs={config.epochs}. Give a shorter warm-up."
        )


def _check_stages(config: TrainConfig) -> None:
    for name in ("lr_milestones", "restart_milestones"):
        found = getattr(config, name)
        if any(a >= b for a, b in zip((0, *found), (*found, config.epochs), strict=True)):
            raise ValueError(
                f"0 < {name} < epochs must hold and increase, but got "
                f"{name}={found} with epochs={config.epochs}."
            )
    if config.lr_milestones and config.lr_schedule != "steps":
        raise ValueError(
            f"lr_milestones belong to lr_schedule='steps', but got lr_milestones="
            f"{config.lr_milestones} with lr_schedule={config.lr_schedule!r}. Leave them out; "
            f"restarts can have restart_milestones of their own."
        )
    if config.lr_schedule in SCHEDULES:
        config.lr_factor(steps_per_epoch=FINE)
    if config.optimizer != "srsgd":
        return
    following = config.lr_schedule in ("wsd", "one_cycle") and not config.restart_milestones
    if config.restart_decay and following:
        raise ValueError(
            f"restart_decay needs stages that begin with an epoch, but those of lr_schedule="
            f"{config.lr_schedule!r} begin within one. Give restart_milestones, in epochs."
        )
    schedule = config.restart_stages(steps_per_epoch=FINE)
    if config.restart_kind == "explicit" and len(config.restart_list) != len(schedule) + 1:
        where = "restart_milestones" if config.restart_milestones else "lr_milestones"
        at = f"{where}={getattr(config, where)}"
        if following:
            at = f"lr_schedule={config.lr_schedule!r}"
        raise ValueError(
            f"restart_list needs one frequency a stage, {len(schedule) + 1} for {at}, but got "
            f"{len(config.restart_list)}: {config.restart_list}."
        )
    config.restart_schedule(steps_per_epoch=FINE)
