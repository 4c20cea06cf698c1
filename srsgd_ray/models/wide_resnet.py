"""Wide residual networks for small images (Zagoruyko and Komodakis 2016, arXiv 1605.07146)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srsgd_ray.models.network import Block, Network, check_sizes, stack
from srsgd_ray.network_rules import check_layers

__all__ = ["WideResNet"]


class WideResNet(Network):
    """Wide ResNet of three stages, for images of 4 pixels a side and more.

    A 3x3 convolution to 16 channels, then stages of 16, 32 and 64 times ``widen_factor`` channels
    that begin with strides 1, 2 and 2, then batch norm, ReLU, the mean over the image, and a linear
    layer. Blocks are pre-activation; where one changes the number of channels, its shortcut is a
    1x1 convolution of the activated input.

    Shapes: input (N, channels, H, W), output (N, classes).

    Args:
        depth: number of layers, 6n + 4.
        widen_factor: factor of the channels.
        dropout: share of activations dropped between the two convolutions of a block.
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for a depth that cannot be made, or a size below 1.
    """

    def __init__(
        self,
        depth: int,
        *,
        widen_factor: int = 4,
        dropout: float = 0.0,
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_layers("wide_resnet", depth)
        check_sizes(widen_factor=widen_factor, channels=channels, classes=classes)
        widths = [width * widen_factor for width in (16, 32, 64)]
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        make = partial(_Wide, dropout=dropout)
        self.stages, wide = stack(make, 16, widths, (depth - 4) // 6)
        self.norm = nn.BatchNorm2d(wide)
        self.head = nn.Linear(wide, classes)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """As :meth:`Network.initialise`, but the bias of the linear layer is 0."""
        super().initialise(generator)
        self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        return self.classify(F.relu(self.norm(self.stages(self.stem(images)))))


class _Wide(Block):
    """Batch norm, ReLU, 3x3 convolution, twice, with dropout before the second convolution."""

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.wide = width
        self.dropout = dropout
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = (
            None if channels == width else nn.Conv2d(channels, width, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        y = F.relu(self.norm2(self.conv1(active)))
        if self.dropout > 0:
            y = F.dropout(y, self.dropout, self.training)
        around = x if self.shortcut is None else self.shortcut(active)
        return around + self.conv2(y)  # type: ignore[no-any-return]
