"""The minefield: two spirals, and small networks trained on them, many at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from srsgd_ray import restarts
from srsgd_ray.knobs import one_of
from srsgd_ray.optim import SRSGD
from srsgd_ray.trainables.minefield_config import OPTIMIZERS, MinefieldConfig

MOMENTUM = 0.9  # of sgd
GAMMA = 0.1  # factor of the learning rate at each milestone
GROWTH = 2.0  # of SRSGD's restart frequency
TURNS = 1.0  # of each spiral
HELD = 1000  # points of the validation and of the test set
AT_ONCE = 500  # networks that are evaluated together


def draw_spirals(points: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two interleaved spirals in the square of side 2: positions (points, 2) and classes 0 and 1.

    Distances from the centre are spread so that each length of spiral has as many points.
    """
    labels = torch.arange(points, dtype=torch.float64) % 2
    along = torch.rand(points, generator=generator, dtype=torch.float64).sqrt()
    angle = 2 * math.pi * TURNS * along + math.pi * labels
    spiral = torch.stack([along * angle.cos(), along * angle.sin()], 1)
    return spiral + noise * torch.randn(points, 2, generator=generator, dtype=torch.float64), labels


@dataclass(frozen=True)
class Spirals:
    """The training, validation and test set of one problem."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def spirals(seed: int, points: int, noise: float) -> Spirals:
    """The problem of a seed: ``points`` training points, 1,000 each to validate and to test on."""
    generator = torch.Generator().manual_seed(seed)
    return Spirals(*(draw_spirals(size, noise, generator) for size in (points, HELD, HELD)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread, so that a seed gives the same numbers everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def logits(flat: Tensor, x: Tensor, config: MinefieldConfig) -> Tensor:
    """Outputs (networks, points) of the networks whose parameters are the rows of ``flat``."""
    w = config.width
    w1, b1, w2, b2, w3, b3 = torch.split_with_sizes(flat, config.sizes, 1)
    hidden = torch.tanh(x @ w1.view(-1, 2, w) + b1.unsqueeze(1))
    hidden = torch.tanh(hidden @ w2.view(-1, w, w) + b2.unsqueeze(1))
    return (hidden @ w3.unsqueeze(2)).squeeze(2) + b3


def scores(
    flat: Tensor, data: tuple[Tensor, Tensor], config: MinefieldConfig
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy (nats) and error (%) of each row's network on ``data``."""
    x, labels = data
    parts = math.ceil(len(flat) / AT_ONCE)
    with torch.no_grad():
        out = torch.cat([logits(part, x, config) for part in torch.tensor_split(flat, parts)])
    wanted = labels.expand_as(out)
    loss = binary_cross_entropy_with_logits(out, wanted, reduction="none").mean(1)
    return loss, 100 * ((out > 0) != (wanted > 0.5)).double().mean(1)


def train(config: MinefieldConfig, seeds: Sequence[int], data: tuple[Tensor, Tensor]) -> Tensor:
    """Train one network a seed, all at once; their parameters at each recorded step.

    A seed decides the initial point and the order of the data, whatever the optimizer. The networks
    share nothing: each of an optimizer's operations works on every number by itself. A network is
    the same bit for bit, whatever is trained with it.

    Returns:
        Parameters (records, seeds, numbers); the first record is the initial point.

    Raises:
        UnknownNameError: for an optimizer that the configuration does not know.
    """
    one_of("optimizer", config.optimizer, OPTIMIZERS)
    if len(seeds) == 1:
        # torch multiplies one matrix in another order than several, and paths feel the last digit.
        return train(config, [*seeds, *seeds], data)[:, :1]
    starts, batches = zip(*(_start_and_order(seed, config) for seed in seeds), strict=True)
    flat = torch.stack(starts).requires_grad_()
    order = torch.stack(batches, 1)
    optimizer = _optimizer(flat, config)
    x, labels = data
    path = [flat.detach().clone()]
    for step in range(config.steps):
        if step in config.milestones:
            for group in optimizer.param_groups:
                group["lr"] *= GAMMA
        batch = order[step]
        out = logits(flat, x[batch], config)
        loss = binary_cross_entropy_with_logits(out, labels[batch], reduction="none").mean(1)
        flat.grad = torch.autograd.grad(loss.sum(), flat)[0]
        optimizer.step()
        if (step + 1) % config.every == 0:
            path.append(flat.detach().clone())
    return torch.stack(path)


def _optimizer(flat: Tensor, config: MinefieldConfig) -> torch.optim.Optimizer:
    lr, decay = config.lr, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD([flat], lr=lr, momentum=MOMENTUM, weight_decay=decay)
    schedule = restarts.linear(config.restart_f1, GROWTH, config.milestones)
    return SRSGD([flat], lr=lr, restart=schedule, weight_decay=decay)


def _start_and_order(seed: int, config: MinefieldConfig) -> tuple[Tensor, Tensor]:
    """Initial parameters, and the points (steps, batch) of each step: passes without repeats."""
    generator = torch.Generator().manual_seed(seed)
    fans = (2, 2, config.width, config.width, config.width, config.width)
    parts = [
        (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1) / math.sqrt(fan)
        for size, fan in zip(config.sizes, fans, strict=True)
    ]
    per_pass = config.points // config.batch_size
    passes = math.ceil(config.steps / per_pass)
    order = torch.cat(
        [
            torch.randperm(config.points, generator=generator)[: per_pass * config.batch_size]
            for _ in range(passes)
        ]
    )
    return torch.cat(parts), order.view(-1, config.batch_size)[: config.steps]
