"""What the networks for small images share: initialisation, stages, checks of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Block", "Network", "check_sizes", "stack"]


class Network(nn.Module):
    """A network that can be built on the meta device and then draws its own parameters."""

    head: nn.Linear

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Set every parameter and buffer, in place, drawing from ``generator`` only.

        Convolution: weight normal, mean 0, standard deviation sqrt(2 / (k * k * out)), bias 0.
        Batch norm: weight 1, bias 0, running mean 0 and variance 1. Linear: weight and bias uniform
        within +-1 / sqrt(inputs), which is torch's default.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_out), generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                bound = 1.0 / math.sqrt(module.in_features)
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.uniform_(-bound, bound, generator=generator)

    def classify(self, maps: Tensor) -> Tensor:
        """Logits (N, classes) of the last maps (N, C, H, W): their mean, through ``head``."""
        # A mean, not adaptive pooling: its CUDA gradient is deterministic.
        return self.head(maps.mean((2, 3)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A part of a stage; ``wide`` is the number of channels that it puts out."""

    wide: int


def stack(
    make: Callable[[int, int, int], Block], channels: int, widths: Sequence[int], blocks: int
) -> tuple[nn.Sequential, int]:
    """Stages of ``blocks`` blocks ``make(channels, width, stride)``, and the channels put out.

    The first block of every stage but the first has stride 2, the others have stride 1.
    """
    stages = []
    for stage, width in enumerate(widths):
        made = []
        for index in range(blocks):
            made.append(make(channels, width, 2 if stage > 0 and index == 0 else 1))
            channels = made[-1].wide
        stages.append(nn.Sequential(*made))
    return nn.Sequential(*stages), channels


def check_sizes(**sizes: float) -> None:
    """Raise ValueError unless every size is 1 or more."""
    for name, size in sizes.items():
        if not size >= 1:
            raise ValueError(f"{name} >= 1 must hold, but got {name}={size}.")
