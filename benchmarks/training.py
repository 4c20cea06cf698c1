"""A step of training: what it calls, what the loop adds to a bare one, and what the options give.

    python benchmarks/training.py [--rounds 30] [--only calls|loop|options|layouts] [--compile]

``calls`` counts the operators that a step dispatches, each of which is about one launch on a GPU.
The bare loop is what one would write by hand, without any metric: zero_grad, forward pass, mean
cross-entropy, backward pass, SRSGD's step, over the same batches. All are run in turn in one
process on one thread; times are of the processor, which other work on the machine changes least. A
ratio is the median over the rounds of the ratio within a round, with its quartiles. ``layouts`` is
what channels_last gives each kind of network, on made-up images, as the loop trains it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rows import ratios, row
from torch.utils._python_dispatch import TorchDispatchMode

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import load_dataset
from srsgd_ray.training.loop import _Run
from srsgd_ray.training.outcome import Sums

EPOCHS = 4  # of the digits for each round of the others; each is a round of its own
WITHOUT = {"channels_last": "off"}
LAYOUTS: dict[str, dict[str, Any]] = {
    "without": WITHOUT,
    "channels_last=on": {"channels_last": "on"},
}
OPTIONS: dict[str, dict[str, Any]] = {
    **LAYOUTS,
    "precision=bfloat16": {**WITHOUT, "precision": "bfloat16"},
    "both": {"channels_last": "on", "precision": "bfloat16"},
}
COMPILED: dict[str, dict[str, Any]] = {
    "compile=default": {**WITHOUT, "compile": "default"},
    "compile and both": {"compile": "default", **OPTIONS["both"]},
}
SMALL: dict[str, dict[str, Any]] = {
    "digits, PreResNet-8": {"dataset": "digits", "batch_size": 64},
    "PreResNet-20": {"depth": 20, "batch_size": 128},
}
KINDS: dict[str, dict[str, Any]] = {  # those without a size have images of 32 pixels
    **SMALL,
    "PreResNet-29, bottleneck": {"depth": 29, "block": "bottleneck"},
    "ResNet-20": {"model": "resnet", "depth": 20},
    "Wide ResNet-16-4": {"model": "wide_resnet", "depth": 16, "batch_size": 32},
    "ResNeXt-29, 4x64d": {"model": "resnext", "depth": 29, "cardinality": 4, "batch_size": 16},
    "DenseNet-40": {"model": "densenet", "depth": 40},
    "DenseNet-BC-40": {"model": "densenet", "depth": 40, "block": "bottleneck"},
    "VGG-11": {"model": "vgg", "depth": 11},
    "VGG-16, batch norm": {"model": "vgg_bn", "depth": 16},
    "AlexNet": {"model": "alexnet", "batch_size": 128},
    "ResNet-18, 64 pixels": {"model": "torchvision.models:resnet18", "batch_size": 32},
    "ResNet-50, 64 pixels": {"model": "torchvision.models:resnet50", "batch_size": 16},
    "ResNeXt-50, 64 pixels": {"model": "torchvision.models:resnext50_32x4d", "batch_size": 16},
    "DenseNet-121, 64 pixels": {"model": "torchvision.models:densenet121", "batch_size": 16},
    "ResNet-50, 224 pixels": {"model": "torchvision.models:resnet50", "batch_size": 4},
}


class Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is dispatched; a view launches nothing and does not count."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func is not torch.ops.aten.detach.default:
            self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Loops:
    """Twice the same network over the same batches: by the loop, and by hand."""

    def __init__(self, config: TrainConfig) -> None:
        self.ours, self.hand = _Run(config, load_dataset), _Run(config, load_dataset)

    def loop(self) -> None:
        """An epoch of the loop, without the evaluation after it."""
        run = self.ours
        run._train_epoch(0, lambda step: None, None)
        run.step, run.sums = 0, Sums()

    def bare(self) -> None:
        """An epoch by hand."""
        run = self.hand
        run.model.train()
        for images, labels, _ in run._batches(0):
            run.optimizer.zero_grad()
            F.cross_entropy(run.model(images), labels).backward()  # type: ignore[no-untyped-call]
            run.optimizer.step()


def calls() -> None:
    """Print the operators of a step, by hand and by the loop."""
    small = TrainConfig(epochs=1, threads=1)
    cifar: dict[str, Any] = {"dataset": "cifar10", "data_dir": "generated", "batch_size": 16}
    large = TrainConfig(depth=110, block="bottleneck", epochs=1, threads=1, **cifar)
    for name, config in (("digits, PreResNet-8", small), ("PreResNet-110", large)):
        loops = Loops(config)
        steps = loops.ours.steps_per_epoch
        found = {}
        for way in (loops.bare, loops.loop):
            way()  # the optimizer makes its state at its first step
            with Calls() as seen:
                way()
            found[way.__name__] = seen.found.total() / steps
        row(f"operators of a step, {name}, bare loop", [found["bare"]], "calls")
        row(f"operators that the loop adds, {name}", [found["loop"] - found["bare"]], "calls")


def loop(rounds: int) -> None:
    """Print the time of the loop over that of the bare one, on the digits."""
    loops = Loops(TrainConfig(epochs=1))
    steps = loops.ours.steps_per_epoch
    ways: dict[str, Callable[[], None]] = {"bare": loops.bare, "loop": loops.loop}
    ways["bare again"] = loops.bare
    took = in_turn(ways, EPOCHS * rounds)
    row("loop over a bare loop, digits", ratios(took["loop"], took["bare"]), goal=1.01)
    row("bare loop over itself, digits", ratios(took["bare again"], took["bare"]))
    print(f"{1e3 * statistics.median(took['bare']) / steps:.2f} ms a bare step")


def options(rounds: int, ways: dict[str, dict[str, Any]], networks: dict[str, Any]) -> None:
    """Print what number format, memory format and the compiler give networks on this CPU."""
    for name, knobs in networks.items():
        made = {key: two_steps(name, {**knobs, **how}) for key, how in ways.items()}
        many = 10 if name.startswith("digits") else 1
        took = in_turn({key: repeated(way, many) for key, way in made.items()}, rounds)
        usual = took.pop("without")
        for key, values in took.items():
            row(f"step without over with {key}, {name}", ratios(usual, values))
        print(f"{1e3 * statistics.median(usual) / many / 2:.1f} ms a step without")


def two_steps(name: str, knobs: dict[str, Any]) -> Callable[[], object]:
    """Two steps of the loop, its batches included."""
    pixels = int(name.split()[-2]) if name.endswith(" pixels") else 32
    knobs = {"batch_size": 64, "lr": 0.01, **knobs}
    if "dataset" not in knobs:
        size = {"pixels": pixels, "count": 3 * knobs["batch_size"]}
        knobs |= {"dataset": f"{Path(__file__).stem}:pictures", "dataset_options": size}
    run = _Run(TrainConfig.from_dict(knobs).check(), load_dataset)
    run.model.train()

    def steps() -> None:
        for batch in islice(run._batches(0), 2):
            run.one_step(*batch)

    return steps


def pictures(pixels: int, count: int) -> tuple[Any, ...]:
    """A data set of noise in ten classes."""
    images = np.random.default_rng(0).integers(0, 256, (count, 3, pixels, pixels), np.uint8)
    labels = np.arange(count) % 10
    return images, labels, images[:10], labels[:10]


def repeated(way: Callable[[], object], times: int) -> Callable[[], None]:
    """``way`` some times over."""

    def many() -> None:
        for _ in range(times):
            way()

    return many


def in_turn(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, a round each, in turned order every other time; the first warms up."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        order = list(ways.items())
        for name, way in order if turn % 2 else reversed(order):
            began = time.process_time()
            way()
            if turn:
                took[name].append(time.process_time() - began)
    return took


def main() -> None:
    """Run all, or one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", choices=("calls", "loop", "options", "layouts"))
    parser.add_argument("--compile", action="store_true", help="compiled steps, too: a minute more")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {torch.backends.cpu.get_cpu_capability()}")
    if given.only in (None, "calls"):
        calls()
    if given.only in (None, "loop"):
        loop(given.rounds)
    if given.only in (None, "options"):
        options(given.rounds, {**OPTIONS, **(COMPILED if given.compile else {})}, SMALL)
    if given.only == "layouts":
        options(given.rounds, LAYOUTS, KINDS)


if __name__ == "__main__":
    main()
