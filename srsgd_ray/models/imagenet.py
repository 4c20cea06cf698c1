"""Networks for ImageNet, from torchvision."""

from __future__ import annotations

import torch
from torch import nn

from srsgd_ray.models.network import check_sizes

__all__ = ["build_imagenet_model"]


def build_imagenet_model(name: str, *, channels: int, classes: int, seed: int) -> nn.Module:
    """torchvision's network ``name`` (or resnet200), on the CPU, initialised by torchvision.

    ``seed`` alone decides the parameters; global random state is neither used nor changed.

    Raises:
        ValueError: unless ``channels`` is 3 and ``classes`` 1 or more.
    """
    if channels != 3:
        raise ValueError(
            f"channels must be 3 for model='imagenet_{name}', but got channels={channels}. "
            f"Give images in colour, or a network for small images, for example preresnet."
        )
    check_sizes(classes=classes)
    from torchvision import models  # slow, and only these networks need it

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: it would seed the generators of the GPUs too, for good.
        torch.default_generator.manual_seed(seed)
        if name == "resnet200":
            blocks = [3, 24, 36, 3]
            return models.ResNet(models.resnet.Bottleneck, blocks, num_classes=classes)  # type: ignore[no-any-return]
        return getattr(models, name)(weights=None, num_classes=classes)  # type: ignore[no-any-return]
