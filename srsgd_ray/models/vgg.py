"""VGG (arXiv 1409.1556) and AlexNet (Krizhevsky et al. 2012) for images of 32 pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from srsgd_ray.models.network import Network, check_sizes
from srsgd_ray.network_rules import check_layers

__all__ = ["VGG", "AlexNet"]

# Convolutions of each of the five stages, by depth; with the linear layers of the paper, of which
# one is left here, they add up to the depth.
_CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(Network):
    """VGG with one linear layer, for images of 32 pixels a side.

    Five stages of 3x3 convolutions, each with a bias and a ReLU; after each stage the maximum of
    2x2 pixels.

    Shapes: input (N, channels, 32, 32), output (N, classes).

    Args:
        depth: 11, 13, 16 or 19.
        batch_norm: whether batch norm follows every convolution.
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for another depth, or a size below 1.
    """

    def __init__(
        self, depth: int, *, batch_norm: bool = False, channels: int = 3, classes: int = 10
    ) -> None:
        super().__init__()
        check_layers("vgg_bn" if batch_norm else "vgg", depth)
        check_sizes(channels=channels, classes=classes)
        parts: list[nn.Module] = []
        for width, convolutions in zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True):
            for _ in range(convolutions):
                parts.append(nn.Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    parts.append(nn.BatchNorm2d(width))
                parts.append(nn.ReLU())
                channels = width
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)
        self.head = nn.Linear(channels, classes)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """As :meth:`Network.initialise`, but linear: normal, deviation 0.01, bias 0."""
        super().initialise(generator)
        self.head.weight.normal_(0.0, 0.01, generator=generator)
        self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, 32, 32)."""
        return self.classify(self.features(images))


class AlexNet(Network):
    """AlexNet with one linear layer, for images of 32 pixels a side.

    Five convolutions with a bias and a ReLU; after the first, the second and the last the maximum
    of 2x2 pixels.

    Shapes: input (N, channels, 32, 32), output (N, classes).

    Args:
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for a size below 1.
    """

    def __init__(self, *, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        check_sizes(channels=channels, classes=classes)
        self.features = nn.Sequential(
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
        self.head = nn.Linear(256, classes)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Torch's default: every weight and bias uniform within +-1 / sqrt(inputs of an output)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bound = 1.0 / math.sqrt(module.weight[0].numel())
                for parameter in module.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, 32, 32)."""
        return self.classify(self.features(images))
