"""SRSGD's step against torch.optim.SGD's and against the literal loop: time, memory, rounding.

    python benchmarks/optimizer.py [--rounds 15] [--processes 20] [--model resnet50|both]

All are run in turn, in one process, on one thread, on the same gradients; a number is the median
over the rounds of the ratio within a round, with its quartiles. Where the tensors of an optimizer
lie in memory counts for a few percent, and stays as it is for a whole process. So the fused pair of
a ResNet-50 is compared again in processes of its own, each with another order of making, beside
torch's with itself, which says what a ratio without a difference is like.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torchvision
from rows import ratios, row
from torch import Tensor, nn

from srsgd_ray.config import TrainConfig
from srsgd_ray.models import build_model
from srsgd_ray.optim import SRSGD

LR, DECAY, RESTART = 0.1, 1e-4, 40


class Literal:
    """The paper's two lines for each tensor, with its temporaries, as the reference does it."""

    def __init__(self, params: Iterable[Tensor]) -> None:
        self.params = list(params)
        self.v = [p.detach().clone() for p in self.params]
        self.k = 0

    @torch.no_grad()
    def step(self) -> None:
        """One step at the settings of this benchmark."""
        m = self.k / (self.k + 3)
        for i, p in enumerate(self.params):
            assert p.grad is not None
            v = p - LR * (p.grad + DECAY * p)
            p.copy_(v + m * (v - self.v[i]))
            self.v[i] = v
        self.k = 0 if self.k + 1 >= RESTART else self.k + 1


def shapes(model: str) -> list[torch.Size]:
    """Shapes of the parameters of a ResNet-50 or a PreResNet-110."""
    with torch.device("meta"):
        if model == "resnet50":
            net: nn.Module = torchvision.models.resnet50()
            return [p.shape for p in net.parameters()]
    config = TrainConfig(depth=110, block="bottleneck")
    return [p.shape for p in build_model(config, channels=3, classes=10).parameters()]


def parameters(model: str, dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    """Parameters of those shapes with small random gradients."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for shape in shapes(model):
        p = nn.Parameter(torch.randn(shape, generator=generator).to(dtype))
        p.grad = torch.randn(shape, generator=generator).mul_(1e-3).to(dtype)
        made.append(p)
    return made


def sgd(params: list[nn.Parameter], **how: Any) -> torch.optim.Optimizer:
    """torch's SGD with Nesterov momentum."""
    return torch.optim.SGD(params, LR, momentum=0.9, nesterov=True, weight_decay=DECAY, **how)


def srsgd(params: list[nn.Parameter], **how: Any) -> SRSGD:
    """Ours."""
    return SRSGD(params, LR, restart=RESTART, weight_decay=DECAY, **how)


KINDS: dict[str, Callable[[list[nn.Parameter]], Any]] = {
    "SRSGD fused": lambda p: srsgd(p, fused=True),
    "SGD fused": lambda p: sgd(p, fused=True),
    "SRSGD foreach": lambda p: srsgd(p, foreach=True),
    "SGD foreach": lambda p: sgd(p, foreach=True),
    "literal loop": Literal,
}
RATIOS = (
    ("SRSGD fused", "SGD fused"),
    ("SRSGD foreach", "SGD foreach"),
    ("literal loop", "SRSGD fused"),
)


def timed(optimizer: Any, steps: int) -> float:
    """Seconds of the processor a step, which other work on the machine changes least."""
    began = time.process_time()
    for _ in range(steps):
        optimizer.step()
    return (time.process_time() - began) / steps


def speed(model: str, rounds: int) -> None:
    """Print the ratios of the times of a step."""
    optimizers = {name: make(parameters(model)) for name, make in KINDS.items()}
    steps = 2 * RESTART if model == "preresnet110" else RESTART // 2
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for round_ in range(rounds + 1):
        order = list(optimizers.items())
        for name, optimizer in order if round_ % 2 else reversed(order):
            took = timed(optimizer, steps)
            if round_:  # the first round warms up
                seconds[name].append(took)
    count = sum(s.numel() for s in shapes(model))
    print(f"\n{model}: {len(shapes(model))} tensors, {count:,} parameters, n = {rounds} rounds")
    for name, taken in seconds.items():
        print(f"  {name:14} {1e3 * statistics.median(taken):8.3f} ms a step")
    for over, under in RATIOS:
        row(f"{over} against {under}, {model}", ratios(seconds[over], seconds[under]))


def pair(model: str, place: int, rounds: int) -> None:
    """Print two ratios of this process: SRSGD's step over SGD's, and SGD's over SGD's own."""
    names = list(itertools.permutations(("SRSGD fused", "SGD fused", "SGD fused again")))[place % 6]
    optimizers = [(n, KINDS[n.removesuffix(" again")](parameters(model))) for n in names]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(rounds + 1):
        for name, optimizer in optimizers if round_ % 2 else reversed(optimizers):
            took = timed(optimizer, RESTART // 4)
            if round_:
                seconds[name].append(took)
    own = seconds["SGD fused"]
    for name in ("SRSGD fused", "SGD fused again"):
        print(statistics.median(a / b for a, b in zip(seconds[name], own, strict=True)))


def pairs(model: str, processes: int, rounds: int) -> None:
    """Print the ratios of the fused pair over processes."""
    found = []
    for place in range(processes):
        command = [sys.executable, __file__, "--place", str(place), "--model", model]
        command += ["--rounds", str(rounds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(list(map(float, done.stdout.split())))
    for name, ratios_ in zip(("SRSGD", "SGD again"), zip(*found, strict=True), strict=True):
        row(f"{name} fused over SGD fused, {model}, processes of their own", ratios_)


def peak(model: str, name: str) -> None:
    """Print the bytes by which this process grows at most while it makes and runs an optimizer."""
    params = parameters(model)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _highest()
    optimizer = KINDS[name](params)
    for _ in range(3):
        optimizer.step()
    print(_highest() - before)


def _highest() -> int:
    """Largest resident size of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def memory(model: str) -> None:
    """Print the most memory held above parameters and gradients, each in a process of its own."""
    peaks = {}
    for name in KINDS:
        command = [sys.executable, __file__, "--peak", name, "--model", model]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = int(done.stdout)
    print("  most memory above parameters and gradients, buffers included")
    for name, size in peaks.items():
        print(f"    {name:14} {size / 1e6:8.1f} MB")
    for over, under in RATIOS[:2]:
        row(f"most memory of {over} against {under}, {model}", [peaks[over] / peaks[under]])


def rounding(model: str) -> None:
    """Print the distance of the float32 paths from the float64 one after 100 steps."""
    exact = parameters(model, torch.float64)
    paths = {name: parameters(model) for name in ("SRSGD fused", "SRSGD foreach", "literal loop")}
    reference = Literal(exact)
    optimizers = {name: KINDS[name](params) for name, params in paths.items()}
    for _ in range(100):
        reference.step()
        for optimizer in optimizers.values():
            optimizer.step()
    print("  distance of the float32 path from the float64 one after 100 steps")
    for name, params in paths.items():
        square = sum(
            float((p.detach().double() - e.detach()).square().sum())
            for p, e in zip(params, exact, strict=True)
        )
        print(f"    {name:14} {square**0.5:.3e}")


def main() -> None:
    """Run all three on one or both lists of parameters."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--place", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--model", default="both", choices=("resnet50", "preresnet110", "both"))
    parser.add_argument("--peak", choices=KINDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        return peak(given.model, given.peak)
    if given.place is not None:
        return pair(given.model, given.place, given.rounds)
    for model in ("resnet50", "preresnet110") if given.model == "both" else (given.model,):
        speed(model, given.rounds)
        if model == "resnet50":  # the other's 4.6 MB would drown in the process's own
            if given.processes:
                pairs(model, given.processes, 8)
            memory(model)
        rounding(model)
    return None


if __name__ == "__main__":
    main()
