"""VGG (arXiv 1409.1556) and AlexNet (Krizhevsky et al. 2012) for images of 32 pixels a side.

Each has one linear layer, where the papers have three, takes images (N, channels, 32, 32), puts out
logits (N, classes), and raises ValueError for a depth that it cannot have or a size below 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from srsgd_ray.parts import check_sizes, network

if TYPE_CHECKING:
    from torch import nn

    from srsgd_ray.models._blocks import Network

# Convolutions of each of the five stages, by depth; with the linear layers of the paper they add up
# to the depth.
CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)


def _depth(depth: int, model: str) -> None:
    if depth not in CONVOLUTIONS:
        raise ValueError(
            f"depth must be one of {', '.join(map(str, CONVOLUTIONS))} for model={model!r}, but "
            f"got depth={depth}. The nearest is {min(CONVOLUTIONS, key=lambda d: abs(d - depth))}."
        )


@network("vgg", "VGG for images of 32 pixels (depth 11, 13, 16 or 19)", rule=_depth, pixels=32)
def vgg(depth: int, *, channels: int = 3, classes: int = 10) -> Network:
    """VGG: five stages of 3x3 convolutions, each with a bias and a ReLU.

    After each stage stands the maximum of 2x2 pixels.

    Args:
        depth: 11, 13, 16 or 19.
        channels: channels of an image.
        classes: number of outputs.
    """
    return _vgg("vgg", depth, channels, classes)


@network(
    "vgg_bn",
    "VGG with batch norm for images of 32 pixels (depth 11, 13, 16 or 19)",
    rule=_depth,
    pixels=32,
)
def vgg_bn(depth: int, *, channels: int = 3, classes: int = 10) -> Network:
    """:func:`vgg` with batch norm after every convolution."""
    return _vgg("vgg_bn", depth, channels, classes)


def _vgg(model: str, depth: int, channels: int, classes: int) -> Network:
    from torch import nn

    from srsgd_ray.models._blocks import Network

    _depth(depth, model)
    check_sizes(channels=channels, classes=classes)
    parts: list[nn.Module] = []
    for width, convolutions in zip(WIDTHS, CONVOLUTIONS[depth], strict=True):
        for _ in range(convolutions):
            parts.append(nn.Conv2d(channels, width, 3, padding=1))
            if model == "vgg_bn":
                parts.append(nn.BatchNorm2d(width))
            parts.append(nn.ReLU())
            channels = width
        parts.append(nn.MaxPool2d(2))
    features = {"features": nn.Sequential(*parts)}
    return Network(features, nn.Linear(channels, classes), head_deviation=0.01)


@network("alexnet", "AlexNet for images of 32 pixels", pixels=32)
def alexnet(*, channels: int = 3, classes: int = 10) -> Network:
    """AlexNet: five convolutions with a bias and a ReLU, initialised as torch would.

    After the first, the second and the last stands the maximum of 2x2 pixels.

    Args:
        channels: channels of an image.
        classes: number of outputs.
    """
    from torch import nn

    from srsgd_ray.models._blocks import TorchDefault

    check_sizes(channels=channels, classes=classes)
    features = nn.Sequential(
        nn.Conv2d(channels, 64, 11, stride=4, padding=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    return TorchDefault({"features": features}, nn.Linear(256, classes))
