"""Residual and densely connected networks of three stages, for images of 4 pixels a side and more.

Each takes images (N, channels, H, W) in any memory format and puts out logits (N, classes). Stages
begin with strides 1, 2 and 2; at the end stand the mean over the image and a linear layer. Each
raises ValueError for a depth that it cannot have, an unknown block, or a size below 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from srsgd_ray.knobs import one_of
from srsgd_ray.parts import check_sizes, network

if TYPE_CHECKING:
    from srsgd_ray.models._blocks import Block, Network

BLOCKS = {"basic": 6, "bottleneck": 9}  # layers that a block in every stage adds


def _layers(depth: int, each: int, rest: int, where: str) -> None:
    if depth < each + rest or (depth - rest) % each:
        near = max(1, round((depth - rest) / each))
        raise ValueError(
            f"depth must be {each}n + {rest} for {where}, but got depth={depth}. "
            f"The nearest is {each * near + rest}."
        )


def _by_block(depth: int, block: str) -> None:
    one_of("block", block, BLOCKS)
    _layers(depth, BLOCKS[block], 2, f"block={block!r}")


def _of_wide(depth: int) -> None:
    _layers(depth, 6, 4, "model='wide_resnet'")


def _of_resnext(depth: int) -> None:
    _layers(depth, 9, 2, "model='resnext'")


def _of_densenet(depth: int, block: str) -> None:
    one_of("block", block, BLOCKS)
    each = 3 if block == "basic" else 6
    _layers(depth, each, 4, f"model='densenet' with block={block!r}")


@network(
    "preresnet", "pre-activation ResNet for small images (depth, block, width)", rule=_by_block
)
def preresnet(
    depth: int, block: str, *, width: int = 16, channels: int = 3, classes: int = 10
) -> Network:
    """Pre-activation ResNet (He et al. 2016, arXiv 1603.05027).

    A 3x3 convolution, then stages of ``width``, ``2 width`` and ``4 width`` channels (bottleneck
    blocks put out four times as many), then batch norm and ReLU. Where a block changes the shape,
    its shortcut is a 1x1 convolution of the block's *raw* input, as in the code behind the
    published numbers; He et al. apply it after the first batch norm and ReLU.

    Args:
        depth: number of layers, 6n + 2 (basic) or 9n + 2 (bottleneck).
        block: ``"basic"`` (two 3x3 convolutions) or ``"bottleneck"`` (1x1, 3x3, 1x1).
        width: channels of the first stage.
        channels: channels of an image.
        classes: number of outputs.
    """
    from srsgd_ray.models._blocks import PreActivation

    return _resnet(PreActivation, depth, block, width, channels, classes)


@network("resnet", "ResNet for small images (depth, block, width)", rule=_by_block)
def resnet(
    depth: int, block: str, *, width: int = 16, channels: int = 3, classes: int = 10
) -> Network:
    """ResNet (He et al. 2015, arXiv 1512.03385).

    As :func:`preresnet`, but each convolution comes before its batch norm and ReLU. Where a block
    changes the shape, its shortcut is a 1x1 convolution and batch norm; He et al. pad with zeros,
    for no parameters.
    """
    from srsgd_ray.models._blocks import PostActivation

    return _resnet(PostActivation, depth, block, width, channels, classes)


def _resnet(
    kind: type[Block], depth: int, block: str, width: int, channels: int, classes: int
) -> Network:
    from srsgd_ray.models._blocks import staged

    _by_block(depth, block)
    check_sizes(width=width, channels=channels, classes=classes)

    def make(channels: int, width: int, stride: int) -> Block:
        shape: tuple[tuple[int, int], ...] = ((3, width), (3, width))
        if block == "bottleneck":
            shape = ((1, width), (3, width), (1, 4 * width))
        return kind(channels, shape, stride)

    widths, blocks = (width, 2 * width, 4 * width), (depth - 2) // BLOCKS[block]
    return staged(make, channels, width, widths, blocks, classes, head_bias=True)


@network(
    "wide_resnet", "Wide ResNet for small images (depth, widen_factor, dropout)", rule=_of_wide
)
def wide_resnet(
    depth: int,
    *,
    widen_factor: int = 4,
    dropout: float = 0.0,
    channels: int = 3,
    classes: int = 10,
) -> Network:
    """Wide ResNet (Zagoruyko and Komodakis 2016, arXiv 1605.07146).

    A 3x3 convolution to 16 channels, then stages of 16, 32 and 64 times ``widen_factor`` channels,
    then batch norm and ReLU. Blocks are pre-activation; where one changes the number of channels,
    its shortcut is a 1x1 convolution of the activated input.

    Args:
        depth: number of layers, 6n + 4.
        widen_factor: factor of the channels.
        dropout: share of activations dropped between the two convolutions of a block.
        channels: channels of an image.
        classes: number of outputs.
    """
    from srsgd_ray.models._blocks import WideBlock, staged

    _of_wide(depth)
    check_sizes(widen_factor=widen_factor, channels=channels, classes=classes)

    def make(channels: int, width: int, stride: int) -> Block:
        return WideBlock(channels, width * widen_factor, stride, dropout)

    return staged(make, channels, 16, (16, 32, 64), (depth - 4) // 6, classes)


@network("resnext", "ResNeXt for small images (depth, cardinality, widen_factor)", rule=_of_resnext)
def resnext(
    depth: int,
    *,
    cardinality: int = 8,
    widen_factor: int = 4,
    channels: int = 3,
    classes: int = 10,
) -> Network:
    """ResNeXt (Xie et al. 2016, arXiv 1611.05431).

    A 3x3 convolution to 64 channels, batch norm and ReLU, then stages that put out 64, 128 and 256
    times ``widen_factor`` channels. Each of the ``cardinality`` groups of a block has 64, 128 and
    256 channels in the three stages: depth 29, cardinality 8, widen_factor 4 is ResNeXt-29, 8x64d.

    Args:
        depth: number of layers, 9n + 2.
        cardinality: groups of the 3x3 convolutions.
        widen_factor: factor of the channels that a block puts out.
        channels: channels of an image.
        classes: number of outputs.
    """
    from srsgd_ray.models._blocks import PostActivation, staged

    _of_resnext(depth)
    check_sizes(
        cardinality=cardinality, widen_factor=widen_factor, channels=channels, classes=classes
    )

    def make(channels: int, width: int, stride: int) -> Block:
        inner = cardinality * width
        shape = ((1, inner), (3, inner), (1, widen_factor * width))
        return PostActivation(channels, shape, stride, cardinality)

    deviation = math.sqrt(2.0 / (256 * widen_factor))
    blocks = (depth - 2) // 9
    return staged(make, channels, 64, (64, 128, 256), blocks, classes, head_deviation=deviation)


@network(
    "densenet",
    "DenseNet for small images (depth, block, growth_rate, compression, dropout)",
    rule=_of_densenet,
)
def densenet(
    depth: int,
    block: str,
    *,
    growth_rate: int = 12,
    compression: float = 2.0,
    dropout: float = 0.0,
    channels: int = 3,
    classes: int = 10,
) -> Network:
    """DenseNet (Huang et al. 2016, arXiv 1608.06993).

    A 3x3 convolution to ``2 growth_rate`` channels, then stages of blocks that each add
    ``growth_rate`` channels to what they get. Between stages batch norm, ReLU, a 1x1 convolution
    that divides the channels by ``compression``, and the mean of 2x2 pixels; after the last, batch
    norm and ReLU. DenseNet-BC is ``"bottleneck"`` with compression 2, the first DenseNet is
    ``"basic"`` with compression 1.

    Args:
        depth: number of layers, 3n + 4 (basic) or 6n + 4 (bottleneck).
        block: ``"basic"`` (a 3x3 convolution) or ``"bottleneck"`` (1x1 to ``4 growth_rate``, 3x3).
        growth_rate: channels that a block adds.
        compression: channels before over after a transition, rounded down.
        dropout: share dropped of what a block adds.
        channels: channels of an image.
        classes: number of outputs.
    """
    from torch import nn

    from srsgd_ray.models._blocks import Dense, Network, transition

    _of_densenet(depth, block)
    check_sizes(
        growth_rate=growth_rate, compression=compression, channels=channels, classes=classes
    )
    bottleneck = block == "bottleneck"
    wide = 2 * growth_rate
    stem = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
    parts: list[nn.Module] = []
    for stage in range(3):
        if stage > 0:
            left = math.floor(wide / compression)
            if left < 1:
                raise ValueError(
                    f"compression <= {wide}, the channels at a transition, must hold, but got "
                    f"compression={compression:g}."
                )
            parts.append(transition(wide, left))
            wide = left
        for _ in range((depth - 4) // (6 if bottleneck else 3)):
            parts.append(Dense(wide, growth_rate, bottleneck, dropout))
            wide += growth_rate
    stages = nn.Sequential(*parts)
    layers = {"stem": stem, "stages": stages, "norm": nn.BatchNorm2d(wide), "relu": nn.ReLU()}
    return Network(layers, nn.Linear(wide, classes), head_bias=True)
