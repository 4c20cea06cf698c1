"""What a user would bring: networks, data sets, an optimizer, learning-rate schedules."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import load_dataset


class Tiny(nn.Module):
    """Two layers, without batch norm."""

    def __init__(self, channels: int, classes: int, width: int = 8, size: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(channels * size * size, width)
        self.last = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images.flatten(1)).relu())  # type: ignore[no-any-return]


def from_shapes(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def looks_at_numbers(channels: int, classes: int) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(channels * 64, classes)

        def forward(self, images: Tensor) -> Tensor:
            if float(images.sum()) > 1e9:  # cannot be told of a tensor without numbers
                raise RuntimeError("too bright")
            return self.last(images.flatten(1))  # type: ignore[no-any-return]

    return Net()


def two_outputs(channels: int, classes: int) -> nn.Module:
    class Net(Tiny):
        def forward(self, images: Tensor) -> Any:
            found = super().forward(images)
            return found, found

    return Net(channels, classes)


def no_network() -> int:
    return 3


a_network = nn.Linear(64, 10)


def made(classes: int = 3, size: int = 8, count: int = 90, **more: Any) -> dict[str, Any]:
    """Images whose brightness is their class; grey, without a dimension for channels."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    images = rng.integers(0, 60, (count, size, size)) + 60 * labels[:, None, None]
    images = images.astype(np.uint8)
    return {
        "train_images": images[:60],
        "train_labels": labels[:60],
        "test_images": images[60:],
        "test_labels": labels[60:],
        **more,
    }


def as_tuple(classes: int = 3) -> tuple[Any, ...]:
    found = made(classes)
    return tuple(torch.from_numpy(value) for value in found.values())


def wrong(what: str) -> Any:
    found = made()
    images, labels = found["train_images"], found["train_labels"]
    return {
        "floats": {**found, "train_images": images / 255},
        "flat": {**found, "train_images": images.reshape(60, -1)},
        "channels_last": {**found, "train_images": np.zeros((60, 8, 8, 3), np.uint8)},
        "few_labels": {**found, "train_labels": labels[:10]},
        "names": {**found, "train_labels": labels.astype(float)},
        "negative": {**found, "test_labels": found["test_labels"] - 1},
        "sizes": {**found, "test_images": found["test_images"][:, :4]},
        "classes": {**found, "classes": 2},
        "mean": {**found, "mean": (0.1, 0.2)},
        "key": {**found, "train_image": images},
        "missing": {k: v for k, v in found.items() if k != "test_labels"},
        "nothing": None,
        "list": {**found, "train_images": "images"},
    }[what]


def digits(data_dir: str = "", split_seed: int = 0) -> Any:
    """The digits, as a Dataset that is not split yet."""
    return load_dataset(TrainConfig(validation_fraction=0.0, data_dir=data_dir))


class Signs(torch.optim.Optimizer):
    """A step of fixed length against the sign of the gradient; ``used`` are the rates so far."""

    used: ClassVar[list[float]] = []

    def __init__(self, params: Any, lr: float, scale: float = 1.0) -> None:
        super().__init__(params, {"lr": lr, "scale": scale})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.used.append(self.param_groups[0]["lr"])
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * group["scale"] * p.grad.sign()


def halving(step: int, total_steps: int, every: int = 10) -> float:
    return float(0.5 ** (step // every))


def negative(step: int, total_steps: int) -> float:
    return 1.0 - step
