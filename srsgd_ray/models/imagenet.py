"""Networks for ImageNet, from torchvision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from srsgd_ray.models.network import check_sizes
from srsgd_ray.parts import call

__all__ = ["adapt_channels", "build_imagenet_model", "seeded"]


def build_imagenet_model(
    name: str,
    *,
    channels: int,
    classes: int,
    seed: int,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """torchvision's network ``name`` (or resnet200), on the CPU, initialised by torchvision.

    ``seed`` alone decides the parameters; global random state is neither used nor changed. For
    images of other than 3 channels see :func:`adapt_channels`.

    Raises:
        ValueError: unless ``channels`` and ``classes`` are 1 or more, or for an unknown option.
    """
    check_sizes(channels=channels, classes=classes)
    from torchvision import models  # slow, and only these networks need it

    given = {"num_classes": classes, **(options or {})}
    with seeded(seed):
        if name == "resnet200":
            blocks = [3, 24, 36, 3]
            model = models.ResNet(models.resnet.Bottleneck, blocks, **given)
        else:
            make = getattr(models, name)
            model = call("model", f"imagenet_{name}", make, options=given, offered={})
    return adapt_channels(model, channels)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context in which torch's global generator of the CPU is seeded; put back after it."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: it would seed the generators of the GPUs too, for good.
        torch.default_generator.manual_seed(seed)
        yield


def adapt_channels(model: nn.Module, channels: int) -> nn.Module:
    """Make the first convolution of a network for 3 channels take ``channels`` instead, in place.

    Its weights become the sum over the colours for one channel, so that the network puts out what
    it would for a grey image repeated in all three; for other numbers they are repeated in turn,
    times 3 / channels. A network whose first convolution does not take 3 is left alone.
    """
    for old in model.modules():
        if not isinstance(old, nn.Conv2d):
            continue
        if old.in_channels == 3 != channels:
            turn = torch.arange(channels) % 3
            weight = old.weight.detach()
            grey = weight.sum(1, keepdim=True)
            old.in_channels = channels
            old.weight = nn.Parameter(grey if channels == 1 else weight[:, turn] * (3 / channels))
        break
    return model
