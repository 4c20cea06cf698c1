"""Residual networks for small images (He et al. 2015, arXiv 1512.03385)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from srsgd_ray.config import BLOCKS, check_depth
from srsgd_ray.models.network import Block, Network, check_sizes, stack

__all__ = ["ResNet"]


class ResNet(Network):
    """ResNet of three stages, for images of 4 pixels a side and more.

    A 3x3 convolution, batch norm and ReLU, then stages of ``width``, ``2 width`` and ``4 width``
    channels (bottleneck blocks put out four times as many) that begin with strides 1, 2 and 2, then
    the mean over the image and a linear layer. Where a block changes the shape, its shortcut is a
    1x1 convolution and batch norm; He et al. pad with zeros, for no parameters.

    Shapes: input (N, channels, H, W), output (N, classes).

    Args:
        depth: number of layers, 6n + 2 (basic) or 9n + 2 (bottleneck).
        block: ``"basic"`` (two 3x3 convolutions) or ``"bottleneck"`` (1x1, 3x3, 1x1).
        width: channels of the first stage.
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for an unknown block, a depth it cannot make, or a size below 1.
    """

    def __init__(
        self, depth: int, block: str, *, width: int = 16, channels: int = 3, classes: int = 10
    ) -> None:
        super().__init__()
        check_depth(depth, block)
        check_sizes(width=width, channels=channels, classes=classes)
        make = _Basic if block == "basic" else _Bottleneck
        widths = (width, 2 * width, 4 * width)
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.stages, wide = stack(make, width, widths, (depth - 2) // BLOCKS[block])
        self.head = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        return self.classify(self.stages(F.relu(self.norm(self.stem(images)))))


class _Basic(Block):
    """Two 3x3 convolutions with batch norm; the second ReLU comes after the sum."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.wide = width
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(channels, self.wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(self.shortcut(x) + y)


class _Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolutions with batch norm; puts out ``4 width``."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.wide = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, self.wide, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(self.wide)
        self.shortcut = _shortcut(channels, self.wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return F.relu(self.shortcut(x) + y)


def _shortcut(channels: int, wide: int, stride: int) -> nn.Module:
    if stride == 1 and channels == wide:
        return nn.Identity()
    conv = nn.Conv2d(channels, wide, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(wide))
