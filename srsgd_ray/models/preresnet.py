"""Pre-activation ResNets for small images (He et al. 2016, arXiv 1603.05027)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srsgd_ray.config import BLOCKS, MODELS, TrainConfig, check_depth, one_of

__all__ = ["PreResNet", "build_model"]


def build_model(config: TrainConfig, *, channels: int, classes: int) -> nn.Module:
    """The network that ``config`` names, on the CPU, initialised from ``config.seed`` alone.

    Reads ``model``, ``depth``, ``block``, ``width`` and ``seed``. Global random state is neither
    used nor changed.

    Args:
        config: the run.
        channels: channels of an image, 1 or 3 for the data sets at hand.
        classes: number of outputs.

    Raises:
        ValueError: for an unknown name, a depth that the block cannot make, or a size below 1.
    """
    one_of("model", config.model, MODELS)
    # On the meta device torch's own initialisation draws nothing and costs nothing.
    with torch.device("meta"):
        model = PreResNet(
            config.depth, config.block, width=config.width, channels=channels, classes=classes
        )
    model.to_empty(device="cpu")
    initialise(model, torch.Generator().manual_seed(config.seed))
    return model


class PreResNet(nn.Module):
    """Pre-activation ResNet of three stages, for images of 4 pixels a side and more.

    A 3x3 convolution, then stages of ``width``, ``2 width`` and ``4 width`` channels (bottleneck
    blocks put out four times as many) that begin with strides 1, 2 and 2, then batch norm, ReLU,
    the mean over the image, and a linear layer. Where a block changes the shape, its shortcut is a
    1x1 convolution of the block's *raw* input, as in the code behind the published numbers; He et
    al. apply it after the first batch norm and ReLU.

    Shapes: input (N, channels, H, W) in any memory format, output (N, classes).

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
        for name, size in (("width", width), ("channels", channels), ("classes", classes)):
            if size < 1:
                raise ValueError(f"{name} >= 1 must hold, but got {name}={size}.")
        make = _Basic if block == "basic" else _Bottleneck
        blocks_a_stage = (depth - 2) // BLOCKS[block]
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        wide = width
        stages = []
        for stage in range(3):
            blocks = []
            for index in range(blocks_a_stage):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(make(wide, width * 2**stage, stride))
                wide = blocks[-1].wide
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(wide)
        self.head = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        x = F.relu(self.norm(self.stages(self.stem(images))))
        # A mean, not adaptive pooling: its CUDA gradient is deterministic.
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class _Basic(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice; ``wide`` is the number of channels put out."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.wide = width
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = _shortcut(channels, self.wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        return self.shortcut(x) + y  # type: ignore[no-any-return]


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each after batch norm and ReLU; puts out ``4 width``."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.wide = 4 * width
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, self.wide, 1, bias=False)
        self.shortcut = _shortcut(channels, self.wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        y = self.conv3(F.relu(self.norm3(y)))
        return self.shortcut(x) + y  # type: ignore[no-any-return]


def _shortcut(channels: int, wide: int, stride: int) -> nn.Module:
    if stride == 1 and channels == wide:
        return nn.Identity()
    return nn.Conv2d(channels, wide, 1, stride, bias=False)


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Set every parameter and buffer of ``model``, in place, drawing from ``generator`` only.

    Convolution: normal, mean 0, standard deviation sqrt(2 / (k * k * out)). Batch norm: weight 1,
    bias 0, running mean 0 and variance 1. Linear: weight and bias uniform within
    +-1 / sqrt(inputs), which is torch's default.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            module.weight.normal_(0.0, math.sqrt(2.0 / fan_out), generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(module.in_features)
            module.weight.uniform_(-bound, bound, generator=generator)
            module.bias.uniform_(-bound, bound, generator=generator)
