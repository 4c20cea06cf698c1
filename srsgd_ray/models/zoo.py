"""Networks for ImageNet: torchvision's, by the names ``imagenet_NAME``, and ResNet-200."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from srsgd_ray.parts import network

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = (
    "alexnet", "densenet121", "densenet161", "densenet169", "densenet201", "resnet18",
    "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "wide_resnet50_2", "wide_resnet101_2",
)  # fmt: skip


def resnet200(num_classes: int, **options: Any) -> nn.Module:
    """ResNet-200: stages of 3, 24, 36 and 3 bottleneck blocks; options are torchvision's."""
    from torchvision.models import resnet

    return resnet.ResNet(resnet.Bottleneck, [3, 24, 36, 3], num_classes=num_classes, **options)  # type: ignore[no-any-return]


network(
    "imagenet_resnet200", "ResNet-200, stages of 3, 24, 36 and 3 bottleneck blocks", small=False
)(f"{__name__}:resnet200")
for _name in TORCHVISION:
    _declare = network(f"imagenet_{_name}", f"torchvision's {_name}", small=False)
    _declare(f"torchvision.models:{_name}")
