"""Which depth, block and data set a network can have. Imports no torch."""

from __future__ import annotations

from srsgd_ray.names import BLOCKS, DATASETS, MODELS, check_depth, one_of
from srsgd_ray.parts import path_of_part

__all__ = ["VGG_DEPTHS", "check_layers", "check_network"]

VGG_DEPTHS = (11, 13, 16, 19)
_NEEDS_32_PIXELS = ("vgg", "vgg_bn", "alexnet")


def check_network(*, model: str, depth: int, block: str, dataset: str) -> None:
    """Raise ValueError unless ``model`` can be built so and takes the images of ``dataset``.

    Only what a name tells is looked at; whether another network takes the images of a data set,
    the training shows when it begins (:func:`srsgd_ray.models.check_fit`). ``depth`` and ``block``
    are looked at only where the network has them.

    Raises:
        UnknownNameError: for a model, block or data set that there is not.
        ValueError: for a data set of other images, or a depth that cannot be made; the message
            names the nearest depth.
    """
    path_of_part("dataset", dataset, DATASETS)
    if path_of_part("model", model, MODELS):
        return
    if not model.startswith("imagenet_") and dataset == "imagenet":
        raise ValueError(
            f"model={model!r} is for small images, but got dataset='imagenet'. "
            f"Give a model whose name begins with imagenet_, for example imagenet_resnet50."
        )
    if model in _NEEDS_32_PIXELS and dataset == "digits":
        raise ValueError(
            f"model={model!r} needs images of 32 pixels a side, but got dataset='digits', which "
            f"has 8. Give cifar10 or cifar100, or another model, for example preresnet."
        )
    check_layers(model, depth, block)


def check_layers(model: str, depth: int, block: str = "basic") -> None:
    """Raise ValueError unless ``model`` exists with this depth and block."""
    if model in ("preresnet", "resnet"):
        check_depth(depth, block)
    elif model == "wide_resnet":
        _check_groups(depth, 6, 4, "model='wide_resnet'")
    elif model == "resnext":
        _check_groups(depth, 9, 2, "model='resnext'")
    elif model == "densenet":
        one_of("block", block, BLOCKS)
        each = 3 if block == "basic" else 6
        _check_groups(depth, each, 4, f"model='densenet' with block={block!r}")
    elif model in ("vgg", "vgg_bn") and depth not in VGG_DEPTHS:
        raise ValueError(
            f"depth must be one of {', '.join(map(str, VGG_DEPTHS))} for model={model!r}, but got "
            f"depth={depth}. The nearest is {min(VGG_DEPTHS, key=lambda d: abs(d - depth))}."
        )


def _check_groups(depth: int, each: int, rest: int, where: str) -> None:
    if depth < each + rest or (depth - rest) % each:
        near = max(1, round((depth - rest) / each))
        raise ValueError(
            f"depth must be {each}n + {rest} for {where}, but got depth={depth}. "
            f"The nearest is {each * near + rest}."
        )
