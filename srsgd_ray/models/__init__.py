"""Networks that a config can name.

Each module here declares networks: functions whose parameters are their options, with a name, a
line about it and the rule of its depth (:func:`srsgd_ray.parts.network`). A new file is found by
itself. Names, options and rules need no torch, which a function imports when it is called.
In comes a config and the data's channels and classes; out goes a network on the CPU, whose
parameters the config's seed alone decides. The user's own networks are made here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from srsgd_ray.models.residual import densenet, preresnet, resnet, resnext, wide_resnet
from srsgd_ray.models.vgg import alexnet, vgg, vgg_bn

if TYPE_CHECKING:
    from srsgd_ray.models._build import adapt_channels, build_model, check_fit, materialise

__all__ = [
    "adapt_channels",
    "alexnet",
    "build_model",
    "check_fit",
    "densenet",
    "materialise",
    "preresnet",
    "resnet",
    "resnext",
    "vgg",
    "vgg_bn",
    "wide_resnet",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from srsgd_ray.models import _build

    return getattr(_build, name)
