"""Every name that a config can hold, with a line about each, and the error for a wrong one."""

from __future__ import annotations

from srsgd_ray.knobs import UnknownNameError, one_of

__all__ = [
    "BLOCKS",
    "DATASETS",
    "GENERATED",
    "MODELS",
    "OPTIMIZERS",
    "PRECISIONS",
    "RESTART_CONVENTIONS",
    "RESTART_KINDS",
    "UnknownNameError",
    "check_depth",
    "one_of",
]

OPTIMIZERS: dict[str, str] = {
    "srsgd": "SGD with scheduled restart momentum",
    "nesterov_no_restart": "SRSGD's momentum k/(k+3) that never restarts",
    "sgd": "SGD with heavy-ball momentum (torch.optim.SGD)",
    "sgd_nesterov": "SGD with Nesterov momentum (torch.optim.SGD)",
    "sgd_plain": "SGD without momentum (torch.optim.SGD)",
    "adam": "torch.optim.Adam",
    "adamw": "torch.optim.AdamW",
    "radam": "torch.optim.RAdam",
}
MODELS: dict[str, str] = {
    "preresnet": "pre-activation ResNet for small images (depth, block, width)",
    "resnet": "ResNet for small images (depth, block, width)",
    "wide_resnet": "Wide ResNet for small images (depth, widen_factor, dropout)",
    "resnext": "ResNeXt for small images (depth, cardinality, widen_factor)",
    "densenet": "DenseNet for small images (depth, block, growth_rate, compression, dropout)",
    "vgg": "VGG for images of 32 pixels (depth 11, 13, 16 or 19)",
    "vgg_bn": "VGG with batch norm for images of 32 pixels (depth 11, 13, 16 or 19)",
    "alexnet": "AlexNet for images of 32 pixels",
    "imagenet_resnet200": "ResNet-200, stages of 3, 24, 36 and 3 bottleneck blocks",
    **{
        f"imagenet_{name}": f"torchvision's {name}"
        for name in (
            "alexnet", "densenet121", "densenet161", "densenet169", "densenet201", "resnet18",
            "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d",
            "resnext101_32x8d", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn",
            "vgg19", "vgg19_bn", "wide_resnet50_2", "wide_resnet101_2",
        )
    },
}  # fmt: skip
DATASETS: dict[str, str] = {
    "digits": "1,797 real 8x8 digits bundled with scikit-learn; nothing to download",
    "cifar10": "CIFAR-10, read from data_dir",
    "cifar100": "CIFAR-100, read from data_dir",
    "imagenet": "ImageNet, read from data_dir",
}
GENERATED = "generated"  # a data_dir: small made-up data of the real layout, to try a machine with
RESTART_KINDS = ("constant", "linear", "exponential", "explicit")
RESTART_CONVENTIONS = ("exact", "as_published")
BLOCKS = {"basic": 6, "bottleneck": 9}  # layers a block group adds: depth = 6n + 2 or 9n + 2
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def check_depth(depth: int, block: str) -> None:
    """Raise ValueError unless a ResNet for small images of this depth exists."""
    one_of("block", block, BLOCKS)
    each = BLOCKS[block]
    if depth < each + 2 or (depth - 2) % each:
        near = max(1, round((depth - 2) / each))
        raise ValueError(
            f"depth must be {each}n + 2 for block={block!r}, but got depth={depth}. "
            f"The nearest is {each * near + 2}."
        )
