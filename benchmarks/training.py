"""A step of training: what it calls, what the loop adds to a bare one, and what the options give.

    python benchmarks/training.py [--rounds 30] [--only calls|loop|options] [--compile]

``calls`` counts the operators that a step dispatches, each of which is about one launch on a GPU.
The bare loop is what one would write by hand, without any metric: zero_grad, forward pass, mean
cross-entropy, backward pass, SRSGD's step, over the same batches. All are run in turn in one
process on one thread; times are of the processor, which other work on the machine changes least. A
ratio is the median over the rounds of the ratio within a round, with its quartiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from rows import ratios, row
from torch.utils._python_dispatch import TorchDispatchMode

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import load_dataset
from srsgd_ray.models import build_model, materialise
from srsgd_ray.optim import build_optimizer
from srsgd_ray.training.device import Precision, memory_format
from srsgd_ray.training.loop import _Run
from srsgd_ray.training.outcome import Sums
from srsgd_ray.training.step import Step

EPOCHS = 4  # of the digits, a round
OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "channels_last=on": {"channels_last": "on"},
    "precision=bfloat16": {"precision": "bfloat16"},
    "both": {"channels_last": "on", "precision": "bfloat16"},
}
COMPILED: dict[str, dict[str, Any]] = {
    "compile=default": {"compile": "default"},
    "compile and both": {"compile": "default", **OPTIONS["both"]},
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
    took = in_turn({name: repeated(way, EPOCHS) for name, way in ways.items()}, rounds)
    row("loop over a bare loop, digits", ratios(took["loop"], took["bare"]), goal=1.01)
    row("bare loop over itself, digits", ratios(took["bare again"], took["bare"]))
    print(f"{1e3 * statistics.median(took['bare']) / EPOCHS / steps:.2f} ms a bare step")


def options(rounds: int, compiled: bool) -> None:
    """Print what the number format, the memory format and the compiler give on this CPU."""
    named = {"digits, PreResNet-8": TrainConfig(width=16), "PreResNet-20": TrainConfig(depth=20)}
    for name, config in named.items():
        shape = (1, 8, 8) if name.startswith("digits") else (3, 32, 32)
        wanted = {**OPTIONS, **(COMPILED if compiled else {})}
        ways = {key: stepper(config.replace(**how), shape) for key, how in wanted.items()}
        many = 10 if name.startswith("digits") else 1
        took = in_turn({key: repeated(way, many) for key, way in ways.items()}, rounds)
        usual = took.pop("as it is")
        for key, values in took.items():
            row(f"step without over with {key}, {name}", ratios(usual, values))
        print(f"{1e3 * statistics.median(usual) / many:.1f} ms a step without")


def stepper(config: TrainConfig, shape: tuple[int, int, int]) -> Callable[[], object]:
    """A step of ``config`` on made-up images."""
    device = torch.device("cpu")
    layout = memory_format(config, device)
    model = build_model(config, channels=shape[0], classes=10)
    materialise(model, shape, 0)
    model = model.to(memory_format=layout)
    optimizer = build_optimizer(model.named_parameters(), config, 10)
    step = Step(config, model, optimizer, Precision(config, device))
    images = torch.randn(config.batch_size, *shape).to(memory_format=layout)
    labels = torch.randint(10, (config.batch_size,))
    return lambda: step(images, labels, 1 / config.batch_size)


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
    parser.add_argument("--only", choices=("calls", "loop", "options"))
    parser.add_argument("--compile", action="store_true", help="compiled steps, too: a minute more")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {torch.backends.cpu.get_cpu_capability()}")
    if given.only in (None, "calls"):
        calls()
    if given.only in (None, "loop"):
        loop(given.rounds)
    if given.only in (None, "options"):
        options(given.rounds, given.compile)


if __name__ == "__main__":
    main()
