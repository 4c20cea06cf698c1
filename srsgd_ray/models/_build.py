"""From the name in a config to its network, and whether that takes the images of a data set."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedParameter

from srsgd_ray.config import TrainConfig
from srsgd_ray.parts import call, check_sizes, find_part, networks, parameters, path_of_part

CHANNELS = ("channels", "in_channels", "in_chans")
CLASSES = ("classes", "num_classes", "n_classes")


def build_model(config: TrainConfig, *, channels: int, classes: int) -> nn.Module:
    """The network that ``config`` names, on the CPU, initialised from ``config.seed`` alone.

    Reads ``model``, ``model_options``, ``dataset`` (for its images' size) and ``seed``, and the
    knobs that the network's function has as parameters. Global random state is neither used nor
    changed. One that an import path names is called with its options, and with channels and classes
    under those of the names ``CHANNELS`` and ``CLASSES`` that it takes; one that takes any keyword,
    as torchvision's, gets ``num_classes``. A network of torchvision for 3 channels is adapted to
    ``channels``.

    Args:
        config: the run.
        channels: channels of an image.
        classes: number of outputs.

    Raises:
        ValueError: for an unknown name, a depth that the network cannot have, images that it does
            not take, an option that it has not, or a size below 1; if there is nothing of that
            name, or it makes no module.
    """
    config.check_network()
    check_sizes(channels=channels, classes=classes)
    name, options, seed = config.model, config.model_options, config.seed
    found = networks().get(name)
    make = found.make if found is not None else path_of_part("model", name, networks())
    if isinstance(make, str):
        return _imported(name, make, options, channels, classes, seed)
    sizes = {"channels": channels, "classes": classes}
    # On the meta device torch's own initialisation draws nothing and costs nothing.
    with torch.device("meta"):
        model = call("model", name, make, options=options, offered={**vars(config), **sizes})
    model.to_empty(device="cpu")
    model.initialise(torch.Generator().manual_seed(seed))
    return model  # type: ignore[no-any-return]


def _imported(
    name: str, path: str, options: Mapping[str, Any], channels: int, classes: int, seed: int
) -> nn.Module:
    make = find_part("model", path)
    names, takes_any = parameters(make)
    given = dict(options)
    if takes_any and not {*CLASSES} & {*names, *given}:
        given = {"num_classes": classes, **options}
    offered = {**dict.fromkeys(CHANNELS, channels), **dict.fromkeys(CLASSES, classes)}
    if isinstance(make, nn.Module):
        raise ValueError(
            f"model must name a function or class that makes a network, but {name!r} is a network "
            f"already, whose parameters would go from run to run. Name its class."
        )
    with _seeded(seed):
        model = call("model", name, make, options=given, offered=offered)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model={name!r} must make a torch.nn.Module, but made a {type(model).__name__}. "
            f"Return the network."
        )
    if type(model).__module__.startswith("torchvision."):
        adapt_channels(model, channels)
    return model


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
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
        with _seeded(seed):
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
