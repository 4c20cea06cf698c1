"""ResNeXt for small images (Xie et al. 2016, arXiv 1611.05431)."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srsgd_ray.models.network import Block, Network, check_sizes, stack
from srsgd_ray.network_rules import check_layers

__all__ = ["ResNeXt"]


class ResNeXt(Network):
    """ResNeXt of three stages, for images of 4 pixels a side and more.

    A 3x3 convolution to 64 channels, batch norm and ReLU, then stages that put out 64, 128 and 256
    times ``widen_factor`` channels and begin with strides 1, 2 and 2, then the mean over the image
    and a linear layer. Each of the ``cardinality`` groups of a block has 64, 128 and 256 channels
    in the three stages: depth 29, cardinality 8 and widen_factor 4 is ResNeXt-29, 8x64d.

    Shapes: input (N, channels, H, W), output (N, classes).

    Args:
        depth: number of layers, 9n + 2.
        cardinality: groups of the 3x3 convolutions.
        widen_factor: factor of the channels that a block puts out.
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for a depth that cannot be made, or a size below 1.
    """

    def __init__(
        self,
        depth: int,
        *,
        cardinality: int = 8,
        widen_factor: int = 4,
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_layers("resnext", depth)
        check_sizes(
            cardinality=cardinality, widen_factor=widen_factor, channels=channels, classes=classes
        )
        self.stem = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(64)
        make = partial(_Grouped, groups=cardinality, widen=widen_factor)
        self.stages, wide = stack(make, 64, (64, 128, 256), (depth - 2) // 9)
        self.head = nn.Linear(wide, classes)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """As :meth:`Network.initialise`, but linear: normal, deviation sqrt(2 / inputs), bias 0."""
        super().initialise(generator)
        deviation = math.sqrt(2.0 / self.head.in_features)
        self.head.weight.normal_(0.0, deviation, generator=generator)
        self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        return self.classify(self.stages(F.relu(self.norm(self.stem(images)))))


class _Grouped(Block):
    """1x1, grouped 3x3 and 1x1 convolutions with batch norm, ``width`` channels a group."""

    def __init__(self, channels: int, width: int, stride: int, groups: int, widen: int) -> None:
        super().__init__()
        self.wide = widen * width
        inner = groups * width
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, self.wide, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(self.wide)
        self.shortcut: nn.Module = nn.Identity()
        if channels != self.wide:
            conv = nn.Conv2d(channels, self.wide, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(self.wide))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return F.relu(self.shortcut(x) + y)
