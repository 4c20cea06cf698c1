"""Paths of SRSGD and SGD over the loss of a small network, in the plane that holds them best.

In the manner of the appendix figure of the paper that shows the trajectories of optimizers over a
"minefield" of bad minima. Which network and which settings that figure had is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from srsgd_ray import restarts
from srsgd_ray.config import one_of
from srsgd_ray.optim import SRSGD

__all__ = [
    "ARMS",
    "Plane",
    "Settings",
    "Spirals",
    "draw_spirals",
    "logits",
    "plane_of",
    "scores",
    "train",
]

ARMS = ("srsgd", "sgd")
MOMENTUM = 0.9  # of sgd
GAMMA = 0.1  # factor of the learning rate at each milestone
GROWTH = 2.0  # of SRSGD's restart frequency
TURNS = 1.0  # of each spiral
HELD = 1000  # points of the validation and of the test set
AT_ONCE = 500  # networks that are evaluated together


@dataclass(frozen=True)
class Settings:
    """One comparison. Call :meth:`check` before use; :func:`run` does.

    Attributes:
        seed: of the data.
        first: seed of the first run.
        runs: runs of each optimizer, with seeds from ``first`` on.
        points: training points of the two spirals together.
        noise: standard deviation that is added to each coordinate.
        width: units of each of the two hidden layers.
        steps: optimizer steps; the learning rate falls after 1/2 and 3/4 of them.
        batch_size: points a step.
        every: steps between two recorded points of a path.
        restart_f1: SRSGD's restart frequency in its first stage, not tuned.
        weight_decay: of both.
        grid: points of the surface along each axis.
    """

    seed: int = 0
    first: int = 0
    runs: int = 20
    points: int = 200
    noise: float = 0.06
    width: int = 16
    steps: int = 2000
    batch_size: int = 20
    every: int = 10
    restart_f1: int = 30
    weight_decay: float = 5e-4
    grid: int = 81

    @property
    def milestones(self) -> tuple[int, int]:
        """Steps before which the learning rate falls."""
        return self.steps // 2, self.steps * 3 // 4

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of weights and biases of each layer."""
        w = self.width
        return 2 * w, w, w * w, w, w, 1

    def check(self) -> Settings:
        """Return self if every rule holds; otherwise raise ValueError naming rule, value, cure."""
        for name, least in (
            ("seed", 0), ("runs", 1), ("points", 4), ("width", 1), ("steps", 4),
            ("batch_size", 1), ("every", 1), ("restart_f1", 1), ("grid", 2), ("first", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} >= {least} must hold, but got {getattr(self, name)}.")
        for name in ("noise", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"0 <= {name} < inf must hold, but got {getattr(self, name)}.")
        if self.batch_size > self.points:
            raise ValueError(
                f"batch_size <= points must hold, but got batch_size={self.batch_size} for "
                f"points={self.points}."
            )
        if self.steps % self.every:
            raise ValueError(
                f"every must divide steps, but got every={self.every} for steps={self.steps}."
            )
        return self


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

    @classmethod
    def of(cls, settings: Settings) -> Spirals:
        """The problem of the settings' seed."""
        generator = torch.Generator().manual_seed(settings.seed)
        sizes = (settings.points, HELD, HELD)
        return cls(*(draw_spirals(size, settings.noise, generator) for size in sizes))


def logits(flat: Tensor, x: Tensor, settings: Settings) -> Tensor:
    """Outputs (networks, points) of the networks whose parameters are the rows of ``flat``."""
    w = settings.width
    w1, b1, w2, b2, w3, b3 = torch.split_with_sizes(flat, settings.sizes, 1)
    hidden = torch.tanh(x @ w1.view(-1, 2, w) + b1.unsqueeze(1))
    hidden = torch.tanh(hidden @ w2.view(-1, w, w) + b2.unsqueeze(1))
    return (hidden @ w3.unsqueeze(2)).squeeze(2) + b3


def scores(flat: Tensor, data: tuple[Tensor, Tensor], settings: Settings) -> tuple[Tensor, Tensor]:
    """Mean cross entropy (nats) and error (%) of each row's network on ``data``."""
    x, labels = data
    parts = math.ceil(len(flat) / AT_ONCE)
    with torch.no_grad():
        out = torch.cat([logits(part, x, settings) for part in torch.tensor_split(flat, parts)])
    wanted = labels.expand_as(out)
    loss = binary_cross_entropy_with_logits(out, wanted, reduction="none").mean(1)
    return loss, 100 * ((out > 0) != (wanted > 0.5)).double().mean(1)


def train(
    arm: str, lr: float, seeds: Sequence[int], data: tuple[Tensor, Tensor], settings: Settings
) -> Tensor:
    """Train one network a seed, all at once; their parameters at each recorded step.

    A seed decides the initial point and the order of the data, whatever the optimizer. The networks
    share nothing: each of an optimizer's operations works on every number by itself. A network is
    the same bit for bit, whatever is trained beside it.

    Returns:
        Parameters (records, seeds, numbers); the first record is the initial point.

    Raises:
        UnknownNameError: unless ``arm`` is one of ``ARMS``.
    """
    one_of("optimizer", arm, ARMS)
    if len(seeds) == 1:
        # torch multiplies one matrix in another order than several, and paths feel the last digit.
        return train(arm, lr, [*seeds, *seeds], data, settings)[:, :1]
    starts, batches = zip(*(_start_and_order(seed, settings) for seed in seeds), strict=True)
    flat = torch.stack(starts).requires_grad_()
    order = torch.stack(batches, 1)
    optimizer = _optimizer(arm, flat, lr, settings)
    x, labels = data
    path = [flat.detach().clone()]
    for step in range(settings.steps):
        if step in settings.milestones:
            for group in optimizer.param_groups:
                group["lr"] *= GAMMA
        chosen = order[step]
        out = logits(flat, x[chosen], settings)
        loss = binary_cross_entropy_with_logits(out, labels[chosen], reduction="none").mean(1)
        flat.grad = torch.autograd.grad(loss.sum(), flat)[0]
        optimizer.step()
        if (step + 1) % settings.every == 0:
            path.append(flat.detach().clone())
    return torch.stack(path)


def _optimizer(arm: str, flat: Tensor, lr: float, settings: Settings) -> torch.optim.Optimizer:
    decay = settings.weight_decay
    if arm == "sgd":
        return torch.optim.SGD([flat], lr=lr, momentum=MOMENTUM, weight_decay=decay)
    schedule = restarts.linear(settings.restart_f1, GROWTH, settings.milestones)
    return SRSGD([flat], lr=lr, restart=schedule, weight_decay=decay)


def _start_and_order(seed: int, settings: Settings) -> tuple[Tensor, Tensor]:
    """Initial parameters, and the points (steps, batch) of each step: passes without repeats."""
    generator = torch.Generator().manual_seed(seed)
    fans = (2, 2, settings.width, settings.width, settings.width, settings.width)
    parts = [
        (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1) / math.sqrt(fan)
        for size, fan in zip(settings.sizes, fans, strict=True)
    ]
    per_pass = settings.points // settings.batch_size
    passes = math.ceil(settings.steps / per_pass)
    order = torch.cat(
        [
            torch.randperm(settings.points, generator=generator)[: per_pass * settings.batch_size]
            for _ in range(passes)
        ]
    )
    return torch.cat(parts), order.view(-1, settings.batch_size)[: settings.steps]


@dataclass(frozen=True)
class Plane:
    """A plane in the space of parameters.

    Attributes:
        centre: its origin, the midpoint of the paths' ends.
        axes: two orthonormal directions, in the rows.
        shares: of each direction in the squared distances of all path points from the centre.
    """

    centre: Tensor
    axes: Tensor
    shares: tuple[float, float]

    def project(self, points: Tensor) -> Tensor:
        """Coordinates (points, 2) of the feet of ``points`` on the plane."""
        return (points - self.centre) @ self.axes.T

    def lift(self, coordinates: Tensor) -> Tensor:
        """Parameters at coordinates (points, 2)."""
        return self.centre + coordinates @ self.axes


def plane_of(paths: Sequence[Tensor]) -> Plane:
    """The plane through the midpoint of the paths' ends that lies closest to all their points.

    Its directions are the principal ones about that midpoint (not about the mean): near the ends,
    where the loss is low and feels a small distance most, the plane is then near to both paths.
    Each direction points away from the start of the first path.

    Raises:
        ValueError: if the paths hold no point but the centre, or values that are not finite.
    """
    centre = torch.stack([path[-1] for path in paths]).mean(0)
    points = torch.cat(list(paths)) - centre
    size = float(points.square().sum())
    if not 0 < size < math.inf:
        raise ValueError(
            f"paths need a finite length above 0 for a plane, but got a sum of squares {size}. "
            f"Use a smaller learning rate, or more steps."
        )
    _, values, directions = torch.linalg.svd(points, full_matrices=False)
    axes = directions[:2]
    signs = torch.where((paths[0][0] - centre) @ axes.T > 0, -1.0, 1.0)
    one, two = (values[:2].square() / size).tolist()
    return Plane(centre, axes * signs.double().unsqueeze(1), (one, two))
