"""The optimizer and learning-rate schedule that a config names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam
from torch.optim.lr_scheduler import MultiStepLR

from srsgd_ray.config import OPTIMIZERS, TrainConfig, one_of
from srsgd_ray.optim._buckets import fusable
from srsgd_ray.optim.srsgd import SRSGD

__all__ = ["build_lr_schedule", "build_optimizer"]

Build = Callable[[list[torch.nn.Parameter], TrainConfig, int], Optimizer]


def build_optimizer(
    params: Iterable[torch.nn.Parameter], config: TrainConfig, steps_per_epoch: int
) -> Optimizer:
    """The optimizer of ``config`` for ``params``; all but SRSGD are torch's own.

    Args:
        params: the network's parameters.
        config: its optimizer fields are read.
        steps_per_epoch: optimizer steps an epoch, which place SRSGD's stages.

    Raises:
        UnknownNameError: if there is no such optimizer.
    """
    one_of("optimizer", config.optimizer, OPTIMIZERS)
    return _BUILD[config.optimizer](list(params), config, steps_per_epoch)


def build_lr_schedule(
    optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int
) -> MultiStepLR:
    """The learning rate times ``lr_gamma`` at each milestone; step it once an epoch."""
    return MultiStepLR(optimizer, list(config.lr_milestones), gamma=config.lr_gamma)


def _fused(params: list[torch.nn.Parameter]) -> bool | None:
    """True if torch's fused kernels can update all of ``params``; None lets torch choose."""
    return True if all(map(fusable, params)) else None


def _srsgd(params: list[torch.nn.Parameter], config: TrainConfig, steps: int) -> Optimizer:
    schedule = config.restart_schedule(steps)
    return SRSGD(params, config.lr, restart=schedule, weight_decay=config.weight_decay)


def _sgd(momentum: bool, nesterov: bool) -> Build:
    def build(params: list[torch.nn.Parameter], config: TrainConfig, steps: int) -> Optimizer:
        return SGD(
            params,
            config.lr,
            momentum=config.momentum if momentum else 0.0,
            # torch refuses Nesterov without momentum, which is plain SGD.
            nesterov=nesterov and config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=_fused(params),
        )

    return build


def _adam(kind: type[Adam] | type[AdamW] | type[RAdam]) -> Build:
    def build(params: list[torch.nn.Parameter], config: TrainConfig, steps: int) -> Optimizer:
        more: dict[str, Any] = {} if kind is RAdam else {"fused": _fused(params)}
        betas = (config.beta1, config.beta2)
        return kind(params, config.lr, betas=betas, weight_decay=config.weight_decay, **more)

    return build


_BUILD: dict[str, Build] = {
    "srsgd": _srsgd,
    "nesterov_no_restart": _srsgd,
    "sgd": _sgd(momentum=True, nesterov=False),
    "sgd_nesterov": _sgd(momentum=True, nesterov=True),
    "sgd_plain": _sgd(momentum=False, nesterov=False),
    "adam": _adam(Adam),
    "adamw": _adam(AdamW),
    "radam": _adam(RAdam),
}
