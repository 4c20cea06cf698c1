"""Densely connected networks for small images (Huang et al. 2016, arXiv 1608.06993)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srsgd_ray.models.network import Network, check_sizes
from srsgd_ray.network_rules import check_layers

__all__ = ["DenseNet"]


class DenseNet(Network):
    """DenseNet of three stages, for images of 4 pixels a side and more.

    A 3x3 convolution to ``2 growth_rate`` channels, then three stages of blocks that each add
    ``growth_rate`` channels to what they get. Between stages batch norm, ReLU, a 1x1 convolution
    that divides the channels by ``compression``, and the mean of 2x2 pixels; after the last, batch
    norm, ReLU, the mean over the image, and a linear layer. DenseNet-BC is ``"bottleneck"`` with
    compression 2, the first DenseNet is ``"basic"`` with compression 1.

    Shapes: input (N, channels, H, W), output (N, classes).

    Args:
        depth: number of layers, 3n + 4 (basic) or 6n + 4 (bottleneck).
        block: ``"basic"`` (a 3x3 convolution) or ``"bottleneck"`` (1x1 to ``4 growth_rate``, 3x3).
        growth_rate: channels that a block adds.
        compression: channels before over after a transition, rounded down.
        dropout: share dropped of what a block adds.
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for an unknown block, a depth it cannot make, a size below 1, or a compression
            that leaves no channel.
    """

    def __init__(
        self,
        depth: int,
        block: str,
        *,
        growth_rate: int = 12,
        compression: float = 2.0,
        dropout: float = 0.0,
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_layers("densenet", depth, block)
        check_sizes(
            growth_rate=growth_rate, compression=compression, channels=channels, classes=classes
        )
        bottleneck = block == "bottleneck"
        blocks_a_stage = (depth - 4) // (6 if bottleneck else 3)
        wide = 2 * growth_rate
        self.stem = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
        parts: list[nn.Module] = []
        for stage in range(3):
            if stage > 0:
                left = math.floor(wide / compression)
                if left < 1:
                    raise ValueError(
                        f"compression <= {wide}, the channels at a transition, must hold, but got "
                        f"compression={compression:g}."
                    )
                parts.append(_Transition(wide, left))
                wide = left
            for _ in range(blocks_a_stage):
                parts.append(_Dense(wide, growth_rate, bottleneck, dropout))
                wide += growth_rate
        self.stages = nn.Sequential(*parts)
        self.norm = nn.BatchNorm2d(wide)
        self.head = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        return self.classify(F.relu(self.norm(self.stages(self.stem(images)))))


class _Dense(nn.Module):
    """What it gets, followed by ``growth`` channels more."""

    def __init__(self, channels: int, growth: int, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        inner = 4 * growth if bottleneck else channels
        self.reduce = _NormReluConv(channels, inner, 1) if bottleneck else nn.Identity()
        self.grow = _NormReluConv(inner, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.grow(self.reduce(x))
        if self.dropout > 0:
            y = F.dropout(y, self.dropout, self.training)
        return torch.cat((x, y), 1)


class _Transition(nn.Module):
    """Fewer channels, and half as many pixels a side."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.reduce = _NormReluConv(channels, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.reduce(x), 2)


class _NormReluConv(nn.Module):
    """Batch norm, ReLU, and a convolution that keeps the image's size."""

    def __init__(self, channels: int, wide: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, wide, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))  # type: ignore[no-any-return]
