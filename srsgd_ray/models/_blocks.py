"""What the networks for small images are made of: layers in a row, residual and dense blocks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mean(nn.Module):
    """The mean over an image's pixels: (N, C, H, W) to (N, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        # A mean, not adaptive pooling: its CUDA gradient is deterministic.
        return maps.mean((2, 3))


class Network(nn.Sequential):
    """Named layers, the mean over the image, and the linear layer ``head``.

    It can be built on the meta device and then draws its own parameters.

    Args:
        layers: by name, in order.
        head: the linear layer.
        head_deviation: of its weights, which then are normal; None: uniform, as torch's.
        head_bias: whether its bias is drawn too; else it is 0.
    """

    head: nn.Linear

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        head: nn.Linear,
        *,
        head_deviation: float | None = None,
        head_bias: bool = False,
    ) -> None:
        super().__init__(OrderedDict({**layers, "mean": Mean(), "head": head}))
        self._head_deviation, self._head_bias = head_deviation, head_bias

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Set every parameter and buffer, in place, drawing from ``generator`` only.

        Convolution: weight normal, mean 0, standard deviation sqrt(2 / (k * k * out)), bias 0.
        Batch norm: weight 1, bias 0, running mean 0 and variance 1. Linear: weight and bias uniform
        within +-1 / sqrt(inputs), which is torch's default, unless the network has it otherwise.
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
                _as_torch(module, generator)
        if self._head_deviation is not None:
            self.head.weight.normal_(0.0, self._head_deviation, generator=generator)
        if not self._head_bias:
            self.head.bias.zero_()


class TorchDefault(Network):
    """A network that begins as torch would have it."""

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw every weight and bias uniform within +-1 / sqrt(inputs of an output)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _as_torch(module, generator)


def _as_torch(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    bound = 1.0 / math.sqrt(module.weight[0].numel())
    for parameter in module.parameters():
        parameter.uniform_(-bound, bound, generator=generator)


class Block(nn.Module):
    """Convolutions and batch norms ``conv1``, ``norm1``, ``conv2``, ... around a ``shortcut``.

    Args:
        channels: put in.
        layers: kernel size and channels put out of each convolution.
        stride: of the first 3x3 convolution, and of the shortcut.
        groups: of the 3x3 convolutions.

    Attributes:
        wide: channels put out.
    """

    norm_first = False
    norm1: nn.Module
    norm2: nn.Module
    conv1: nn.Module
    conv2: nn.Module

    def __init__(
        self, channels: int, layers: Sequence[tuple[int, int]], stride: int, groups: int = 1
    ) -> None:
        super().__init__()
        self.wide, self._convolutions = layers[-1][1], len(layers)
        same = stride == 1 and channels == self.wide
        shortcut = nn.Identity() if same else self._shortcut(channels, stride)
        for number, (kernel, width) in enumerate(layers, start=1):
            spatial = kernel > 1
            step, split = (stride, groups) if spatial else (1, 1)
            conv = nn.Conv2d(
                channels, width, kernel, step, padding=kernel // 2, groups=split, bias=False
            )
            norm = nn.BatchNorm2d(channels if self.norm_first else width)
            pair = {f"conv{number}": conv, f"norm{number}": norm}
            for name in reversed(pair) if self.norm_first else pair:
                self.add_module(name, pair[name])
            stride = 1 if spatial else stride
            channels = width
        self.shortcut = shortcut

    def _shortcut(self, channels: int, stride: int) -> nn.Module:
        return nn.Conv2d(channels, self.wide, 1, stride, bias=False)


class PreActivation(Block):
    """Each convolution after batch norm and ReLU; the shortcut is of the *raw* input."""

    norm_first = True

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for n in range(1, self._convolutions + 1):
            y = getattr(self, f"conv{n}")(F.relu(getattr(self, f"norm{n}")(y)))
        return self.shortcut(x) + y  # type: ignore[no-any-return]


class PostActivation(Block):
    """Batch norm after each convolution, ReLU between them and after the sum."""

    def _shortcut(self, channels: int, stride: int) -> nn.Module:
        return nn.Sequential(super()._shortcut(channels, stride), nn.BatchNorm2d(self.wide))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x))
        for n in range(2, self._convolutions + 1):
            y = getattr(self, f"norm{n}")(getattr(self, f"conv{n}")(F.relu(y)))
        return F.relu(self.shortcut(x) + y)


class WideBlock(Block):
    """Two pre-activation convolutions, dropout between; the shortcut is of the activated input."""

    norm_first = True

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__(channels, ((3, width), (3, width)), stride)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        y = F.relu(self.norm2(self.conv1(active)))
        if self.dropout > 0:
            y = F.dropout(y, self.dropout, self.training)
        around = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(active)
        return around + self.conv2(y)  # type: ignore[no-any-return]


class Dense(nn.Module):
    """What it gets, followed by ``growth`` channels more."""

    def __init__(self, channels: int, growth: int, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        inner = 4 * growth if bottleneck else channels
        self.reduce = _norm_relu_conv(channels, inner, 1) if bottleneck else nn.Identity()
        self.grow = _norm_relu_conv(inner, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.grow(self.reduce(x))
        if self.dropout > 0:
            y = F.dropout(y, self.dropout, self.training)
        return torch.cat((x, y), 1)


def _norm_relu_conv(channels: int, wide: int, kernel: int) -> nn.Sequential:
    """Batch norm, ReLU, and a convolution that keeps the image's size."""
    conv = nn.Conv2d(channels, wide, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(channels), relu=nn.ReLU(), conv=conv))


def transition(channels: int, wide: int) -> nn.Sequential:
    """Fewer channels, and half as many pixels a side."""
    reduce = _norm_relu_conv(channels, wide, 1)
    return nn.Sequential(OrderedDict(reduce=reduce, pool=nn.AvgPool2d(2)))


def staged(
    make: Callable[[int, int, int], Block],
    channels: int,
    first: int,
    widths: Sequence[int],
    blocks: int,
    classes: int,
    **head: Any,
) -> Network:
    """A 3x3 convolution, then stages of ``blocks`` blocks, and batch norm and ReLU once.

    These come before the stages or, of pre-activation blocks, after them. The first block of every
    stage but the first has stride 2, the others have stride 1.

    Args:
        make: a block, of (channels, width, stride).
        channels: of an image.
        first: channels that the first convolution puts out.
        widths: of the stages, for ``make``.
        blocks: of a stage.
        classes: number of outputs.
        head: see :class:`Network`.
    """
    stem = nn.Conv2d(channels, first, 3, padding=1, bias=False)
    stages, wide = [], first
    for stage, width in enumerate(widths):
        made = []
        for index in range(blocks):
            made.append(make(wide, width, 2 if stage > 0 and index == 0 else 1))
            wide = made[-1].wide
        stages.append(nn.Sequential(*made))
    late = made[-1].norm_first
    act = {"norm": nn.BatchNorm2d(wide if late else first), "relu": nn.ReLU()}
    inner: dict[str, nn.Module] = {"stages": nn.Sequential(*stages)}
    inner = {**inner, **act} if late else {**act, **inner}
    return Network({"stem": stem, **inner}, nn.Linear(wide, classes), **head)
