"""From the name in a config to its network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from srsgd_ray.config import MODELS, TrainConfig
from srsgd_ray.models.densenet import DenseNet
from srsgd_ray.models.imagenet import build_imagenet_model
from srsgd_ray.models.network import Network
from srsgd_ray.models.own import build_own_model
from srsgd_ray.models.preresnet import PreResNet
from srsgd_ray.models.resnet import ResNet
from srsgd_ray.models.resnext import ResNeXt
from srsgd_ray.models.vgg import VGG, AlexNet
from srsgd_ray.models.wide_resnet import WideResNet
from srsgd_ray.network_rules import check_network
from srsgd_ray.parts import path_of_part

__all__ = ["SMALL", "build_model"]

# Of a config, the channels of an image and the number of classes: the networks for small images.
SMALL: dict[str, Callable[[TrainConfig, int, int], Network]] = {
    "preresnet": lambda c, channels, classes: PreResNet(
        c.depth, c.block, width=c.width, channels=channels, classes=classes
    ),
    "resnet": lambda c, channels, classes: ResNet(
        c.depth, c.block, width=c.width, channels=channels, classes=classes
    ),
    "wide_resnet": lambda c, channels, classes: WideResNet(
        c.depth,
        widen_factor=c.widen_factor,
        dropout=c.dropout,
        channels=channels,
        classes=classes,
    ),
    "resnext": lambda c, channels, classes: ResNeXt(
        c.depth,
        cardinality=c.cardinality,
        widen_factor=c.widen_factor,
        channels=channels,
        classes=classes,
    ),
    "densenet": lambda c, channels, classes: DenseNet(
        c.depth,
        c.block,
        growth_rate=c.growth_rate,
        compression=c.compression,
        dropout=c.dropout,
        channels=channels,
        classes=classes,
    ),
    "vgg": lambda c, channels, classes: VGG(c.depth, channels=channels, classes=classes),
    "vgg_bn": lambda c, channels, classes: VGG(
        c.depth, batch_norm=True, channels=channels, classes=classes
    ),
    "alexnet": lambda c, channels, classes: AlexNet(channels=channels, classes=classes),
}


def build_model(config: TrainConfig, *, channels: int, classes: int) -> nn.Module:
    """The network that ``config`` names, on the CPU, initialised from ``config.seed`` alone.

    Reads ``model``, ``model_options``, ``dataset`` (for its images' size) and ``seed``, and the
    fields that the model has: see ``config.MODELS``. Global random state is neither used nor
    changed.

    Args:
        config: the run.
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for an unknown name, a depth that the network cannot have, images that it does
            not take, an option that it has not, or a size below 1.
    """
    check_network(
        model=config.model, depth=config.depth, block=config.block, dataset=config.dataset
    )
    path = path_of_part("model", config.model, MODELS)
    if path:
        return build_own_model(
            path, config.model_options, channels=channels, classes=classes, seed=config.seed
        )
    if config.model not in SMALL:
        return build_imagenet_model(
            config.model.removeprefix("imagenet_"),
            channels=channels,
            classes=classes,
            seed=config.seed,
            options=config.model_options,
        )
    # On the meta device torch's own initialisation draws nothing and costs nothing.
    with torch.device("meta"):
        model = SMALL[config.model](config, channels, classes)
    model.to_empty(device="cpu")
    model.initialise(torch.Generator().manual_seed(config.seed))
    return model
