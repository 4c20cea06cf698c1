"""SRSGD's step in a CUDA graph; without a GPU its calls are noted and played again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srsgd_ray import restarts
from srsgd_ray.config import TrainConfig
from srsgd_ray.models import build_model
from srsgd_ray.optim import SRSGD, CapturableStep, build_optimizer
from srsgd_ray.training.device import Precision
from srsgd_ray.training.graphed import GraphedStep, make_step
from srsgd_ray.training.step import Step

SCHEDULES = {
    "constant": restarts.constant(4),
    "stages": restarts.linear(3, 2, milestones=[7, 15]),
    "as published": restarts.as_published(restarts.linear(3, 2, milestones=[7, 15])),
}
STEPS = 24
CLOSE = {torch.float64: 1e-14, torch.float32: 2e-6}


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes calls with their tensors, as a CUDA graph does, and can take them again."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(func), "it waits for the device"
        result = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """The calls again; what they return is where it was."""
        for func, args, kwargs, result in self._calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def gradients(step: int, params: list[nn.Parameter]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in params]


def made(dtype: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(99)
    shapes = ((3, 4), (5,), ())
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def groups(params: list[nn.Parameter], name: str) -> SRSGD:
    """Two groups with numbers of their own."""
    some = {"params": params[:2], "weight_decay": 0.01}
    rest = {"params": params[2:], "lr": 0.03, "maximize": True}
    return SRSGD([some, rest], lr=0.1, restart=SCHEDULES[name])


def trained(
    params: list[nn.Parameter], optimizer: SRSGD, step: Callable[[int], object]
) -> list[Tensor]:
    """The parameters after all steps, with learning rates that change, and are 0 once."""
    for n in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + n % 5) if n != 12 else 0.0
        for p, grad in zip(params, gradients(n, params), strict=True):
            if p.grad is None:
                p.grad = torch.empty_like(p)
            p.grad.copy_(grad)
        step(n)
    return [p.detach() for p in params]


@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
@pytest.mark.parametrize("name", list(SCHEDULES))
def test_calls_played_again_are_the_steps_of_the_optimizer(name: str, dtype: torch.dtype) -> None:
    plain, other = made(dtype), made(dtype)
    usual, optimizer = groups(plain, name), groups(other, name)
    expected = trained(plain, usual, lambda n: usual.step())
    halves, tape = CapturableStep(optimizer), Tape()

    def step(n: int) -> None:
        halves.advance()
        if n == 0:
            halves.apply()  # makes the buffers
        elif n == 1:
            with tape:
                halves.apply()
        else:
            tape.replay()

    found = trained(other, optimizer, step)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    for mine, theirs in zip(optimizer.param_groups, usual.param_groups, strict=True):
        for key in ("step", "count", "restarts", "momentum_used"):
            assert mine[key] == theirs[key]
    assert usual.param_groups[0]["restarts"] > 3


def test_steps_of_either_kind_may_follow_each_other_and_a_checkpoint() -> None:
    plain, other = made(torch.float64), made(torch.float64)
    usual, optimizer = groups(plain, "stages"), groups(other, "stages")
    expected = trained(plain, usual, lambda n: usual.step())
    halves = CapturableStep(optimizer)

    def step(n: int) -> None:
        if n == 10:
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        if n % 3:
            optimizer.step()
        else:
            halves.advance()
            halves.apply()

    for a, b in zip(trained(other, optimizer, step), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-14, atol=1e-14)


def test_what_a_graph_cannot_do_is_refused() -> None:
    params = made(torch.float32)
    with pytest.raises(ValueError, match="adaptive=False"):
        CapturableStep(SRSGD(params, adaptive=True))
    halves = CapturableStep(SRSGD(params))
    halves.advance()
    with pytest.raises(RuntimeError, match="3 have none"):
        halves.apply()


class Played(Tape):
    """As a CUDA graph, which runs nothing while it is captured: its first replay is that run."""

    def replay(self) -> None:
        if self.__dict__.setdefault("captured", True):
            self.captured = False
        else:
            super().replay()


KNOBS: dict[str, Any] = {
    "width": 4, "restart_f1": 3.0, "clip_grad_norm": 0.5, "accumulate": 2, "precision": "float32",
}  # fmt: skip


def steps_of(device: str = "cpu", **knobs: Any) -> tuple[list[Tensor], list[Tensor], int]:
    """Weights and losses of some steps, of batches of two sizes, and the restarts."""
    config = TrainConfig(**KNOBS, **knobs).check()
    model = build_model(config, channels=1, classes=10).to(device)
    optimizer = build_optimizer(model.named_parameters(), config, 10)
    step = make_step(config, model, optimizer, Precision(config, torch.device(device)))
    generator, losses = torch.Generator().manual_seed(0), []
    for n in range(24):
        count = 5 if n % 4 == 3 else 16
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + n % 5)
        images = torch.randn(count, 1, 8, 8, generator=generator).to(device)
        labels = torch.randint(10, (count,), generator=generator).to(device)
        loss, wrong = step(images, labels, 1 / count)
        assert wrong.shape == (count,)
        losses.append(loss)
    restarts = int(optimizer.param_groups[0]["restarts"])
    return [p.detach() for p in model.parameters()], losses, restarts


def alike(found: Any, expected: Any) -> None:
    for a, b in zip(found[0] + found[1], expected[0] + expected[1], strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)
    assert found[2] == expected[2] == 7


@pytest.mark.parametrize("captured", [False, True], ids=["call by call", "as captured"])
def test_a_whole_step_in_a_graph_is_the_step(
    monkeypatch: pytest.MonkeyPatch, captured: bool
) -> None:
    """Two graphs, of batches of either size, and steps outside of them before."""
    tapes: list[Played] = []
    if captured:
        monkeypatch.setattr(GraphedStep, "_aside", Step.__call__)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: tapes.append(Played()) or tapes[-1])
        monkeypatch.setattr(torch.cuda, "graph", lambda graph, **how: graph)
        made = GraphedStep.__init__

        def on_gpu(self: GraphedStep, *parts: Any) -> None:
            made(self, *parts)
            self._on_gpu = True

        monkeypatch.setattr(GraphedStep, "__init__", on_gpu)
    alike(steps_of(compile="cuda-graph"), steps_of())
    assert len(tapes) == 2 * captured


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_whole_step_in_a_cuda_graph_is_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # pragma: no cover
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    alike(steps_of("cuda", compile="cuda-graph"), steps_of("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_of_the_step_is_the_step() -> None:  # pragma: no cover
    params = [nn.Parameter(torch.ones(7, device="cuda")) for _ in range(2)]
    usual, optimizer = SRSGD(params[:1], restart=3), SRSGD(params[1:], restart=3)
    halves, graph = CapturableStep(optimizer), torch.cuda.CUDAGraph()
    for p in params:
        p.grad = torch.full_like(p, 0.5)
    for n in range(10):
        usual.step()
        halves.advance()
        if n == 0:
            halves.apply()
        elif n == 1:
            with torch.cuda.graph(graph):
                halves.apply()
        if n:
            graph.replay()
    assert torch.allclose(params[0], params[1])
