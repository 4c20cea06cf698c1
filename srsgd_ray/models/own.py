"""A user's own network, by import path, and whether a network takes the images of a data set."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedParameter

from srsgd_ray.models.imagenet import adapt_channels, seeded
from srsgd_ray.models.network import check_sizes
from srsgd_ray.parts import call, find_part, parameters

__all__ = ["build_own_model", "check_fit", "materialise"]

CHANNELS = ("channels", "in_channels", "in_chans")
CLASSES = ("classes", "num_classes", "n_classes")


def build_own_model(
    path: str, options: Mapping[str, Any], *, channels: int, classes: int, seed: int
) -> nn.Module:
    """The network that ``path`` makes, on the CPU; ``seed`` alone decides its parameters.

    It is called with its options, and with channels and classes of the data under those of the
    names ``CHANNELS`` and ``CLASSES`` that it takes; one that takes any keyword, as torchvision's,
    gets ``num_classes``. A network of torchvision for 3 channels is adapted to ``channels``.

    Raises:
        ValueError: if there is nothing of that name, it takes an option not, or makes no module.
    """
    check_sizes(channels=channels, classes=classes)
    make = find_part("model", path)
    names, takes_any = parameters(make)
    given = dict(options)
    if takes_any and not {*CLASSES} & {*names, *given}:
        given["num_classes"] = classes
    offered = {**dict.fromkeys(CHANNELS, channels), **dict.fromkeys(CLASSES, classes)}
    if isinstance(make, nn.Module):
        raise ValueError(
            f"model must name a function or class that makes a network, but {path!r} is a network "
            f"already, whose parameters would go from run to run. Name its class."
        )
    with seeded(seed):
        model = call("model", path, make, options=given, offered=offered)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model={path!r} must make a torch.nn.Module, but made a {type(model).__name__}. "
            f"Return the network."
        )
    if type(model).__module__.startswith("torchvision."):
        adapt_channels(model, channels)
    return model


def check_fit(
    model: nn.Module, name: str, shape: Sequence[int], classes: int, dataset: str
) -> None:
    """Raise ValueError unless ``model`` makes logits (N, classes) of images (N, C, H, W).

    Costs milliseconds: only shapes are computed, on the meta device. A network that does not run
    there (it looks at numbers) makes one pass over two black images, in evaluation mode. Neither
    changes the network nor global random state.

    Args:
        model: the network, on any device.
        name: how the configuration names it.
        shape: (C, H, W) of an image.
        classes: number of classes.
        dataset: name of the data set, for messages.
    """
    size = " x ".join(map(str, shape[1:]))
    where = f"the images of dataset={dataset!r} ({shape[0]} channels, {size} pixels)"
    state = itertools.chain(model.named_parameters(), model.named_buffers())
    hollow = {key: value.to("meta") for key, value in state}
    try:
        with torch.no_grad():
            images = torch.empty(2, *shape, device="meta")
            found = functional_call(model, hollow, (images,), strict=False)
    except Exception:
        try:
            found = _real_pass(model, shape)
        except Exception as error:
            raise ValueError(
                f"model={name!r} must take {where}, but its forward pass fails: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. "
                f"Choose a network for such images, or images of another size."
            ) from error
    if not isinstance(found, Tensor) or tuple(found.shape) != (2, classes):
        got = (
            f"a tensor {tuple(found.shape)}"
            if isinstance(found, Tensor)
            else f"a {type(found).__name__}"
        )
        raise ValueError(
            f"model={name!r} must put out one tensor of logits (N, {classes}) for {where}, but "
            f"for N = 2 it put out {got}. Give it {classes} classes and no other outputs."
        )


def materialise(model: nn.Module, shape: Sequence[int], seed: int) -> None:
    """Let lazy layers, if there are any, learn their sizes from an image; ``seed`` decides them."""
    if any(isinstance(p, UninitializedParameter) for p in model.parameters()):
        with seeded(seed):
            _real_pass(model, shape)


def _real_pass(model: nn.Module, shape: Sequence[int]) -> Any:
    modes = [(module, module.training) for module in model.modules()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    gpus = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(gpus), torch.no_grad():
            return model.eval()(torch.zeros(2, *shape, device=device))
    finally:
        for module, training in modes:
            module.training = training
