"""SRSGD's adaptive restart does what O'Donoghue and Candès (2015) say, on every update path."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srsgd_ray import SRSGD

CURVATURES = torch.logspace(-4, 0, 40, dtype=torch.float64)  # condition number 10,000


def gap(w: Tensor) -> float:
    return float((CURVATURES * w * w).sum() / 2)


def descend(steps: int, **options: Any) -> tuple[list[float], list[int]]:
    """Values of f at w and the steps of restarts, on an ill-conditioned quadratic."""
    w = nn.Parameter(torch.ones(40, dtype=torch.float64))
    optimizer = SRSGD([w], lr=1.0, **options)
    values, restarts, before = [], [], 0
    for step in range(steps):
        w.grad = CURVATURES * w.detach()
        values.append(gap(w.detach()))
        optimizer.step()
        if optimizer.param_groups[0]["restarts"] > before:
            before += 1
            restarts.append(step)
    return values, restarts


def test_it_recovers_the_rate_that_knowing_the_curvature_gives() -> None:
    """Their figure 1: without restart the gap ripples and falls as 1/k^2, with it linearly."""
    never, _ = descend(3000, restart=math.inf)
    adaptive, restarts = descend(3000, restart=math.inf, adaptive=True)
    assert 3 <= len(restarts) <= 30
    assert adaptive[-1] < 1e-12 * adaptive[0] and never[-1] > 1e3 * adaptive[-1]
    # Nesterov's constant momentum (1 - sqrt(q)) / (1 + sqrt(q)), the best of them; q = mu / L.
    w = v = torch.ones(40, dtype=torch.float64)
    for _ in range(1500):
        new = w - CURVATURES * w
        w, v = new + (1 - 0.01) / (1 + 0.01) * (new - v), new
    assert adaptive[-1] < gap(w)  # it needs less than twice as many steps, and knows no curvature
    # Where the momentum is not too large (their section 4), nothing is restarted.
    assert not descend(40, restart=math.inf, adaptive=True)[1]


def literal(
    starts: list[Tensor], gradient: Any, steps: int, *, lr: Any, period: float, decay: float
) -> tuple[list[list[Tensor]], int, int]:
    """Two points an iteration, as the paper writes it, without buffers; one decision for all."""
    ws, vs, count, path, uphill, scheduled = list(starts), list(starts), 0, [], 0, 0
    for step in range(steps):
        ds = [g + decay * w for g, w in zip(gradient(ws, step), ws, strict=True)]
        new = [w - lr(step) * d for w, d in zip(ws, ds, strict=True)]
        if sum(float((d * (n - v)).sum()) for d, n, v in zip(ds, new, vs, strict=True)) > 0:
            count, uphill = 0, uphill + 1
        elif count == 0 and step > 0:
            scheduled += 1
        ws = [n + count / (count + 3) * (n - v) for n, v in zip(new, vs, strict=True)]
        vs, count = new, (0 if count + 1 >= period else count + 1)
        path.append(ws)
    return path, uphill, scheduled


def noisy(ws: list[Tensor], step: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(step)
    return [
        2.0**-i * w + 0.01 * torch.randn(w.shape, generator=random, dtype=w.dtype)
        for i, w in enumerate(ws)
    ]


@pytest.mark.parametrize("mode", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str)
@pytest.mark.parametrize("period", [math.inf, 25])
@pytest.mark.parametrize("groups", [1, 2])
def test_each_step_is_the_literal_one(mode: dict[str, Any], period: float, groups: int) -> None:
    """The decision is one for the whole model; lr changes; a loaded state goes on alike."""
    starts = [torch.linspace(-1, 2, n, dtype=torch.float64) for n in (5, 6, 4)]
    ps = [nn.Parameter(start.clone()) for start in starts]
    parts = [{"params": ps[:2]}, {"params": ps[2:]}] if groups == 2 else ps
    options = {"restart": period, "adaptive": True, "weight_decay": 0.01}
    optimizer = SRSGD(parts, lr=0.5, **options, **mode)

    def lr(step: int) -> float:
        return 0.5 if step < 60 else 0.1

    expected, uphill, scheduled = literal(starts, noisy, 120, lr=lr, period=period, decay=0.01)
    for step, there in enumerate(expected):
        for p, grad in zip(ps, noisy([p.detach() for p in ps], step), strict=True):
            p.grad = grad
        for group in optimizer.param_groups:
            group["lr"] = lr(step)
        if step == 50:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = SRSGD(parts, lr=0.5, **mode)
            optimizer.load_state_dict(state)
        optimizer.step()
        for p, where in zip(ps, there, strict=True):
            torch.testing.assert_close(p.detach(), where, rtol=0, atol=1e-12)
    assert uphill > 1 and (scheduled > 1 or period == math.inf)
    assert {group["restarts"] for group in optimizer.param_groups} == {uphill + scheduled}


def test_a_group_without_the_option_neither_decides_nor_restarts() -> None:
    ps = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = SRSGD([{"params": ps[:1], "adaptive": True}, {"params": ps[1:]}], restart=math.inf)
    for scale in (1.0, 1.0, -0.01):  # the last gradient says that the velocity leads uphill
        ps[0].grad, ps[1].grad = torch.full((3,), scale), -torch.full((3,), scale)
        optimizer.step()
    first, second = optimizer.param_groups
    assert (first["restarts"], first["momentum_used"], first["count"]) == (1, 0.0, 1)
    assert (second["restarts"], second["momentum_used"]) == (0, 2 / 5)


def test_complex_numbers_ascent_and_missing_gradients() -> None:
    """Complex parameters are pairs of real ones; ascent mirrors descent; no gradient counts 0."""

    def train(maximize: bool, is_complex: bool, idle: bool) -> tuple[Tensor, int]:
        start = torch.ones(6, 2, dtype=torch.float64)
        w = nn.Parameter(torch.view_as_complex(start) if is_complex else start)
        more = [nn.Parameter(torch.ones(2, dtype=torch.float64))] if idle else []
        optimizer = SRSGD([w, *more], lr=0.9, restart=math.inf, adaptive=True, maximize=maximize)
        for _ in range(400):
            here = torch.view_as_real(w.detach()) if is_complex else w.detach()
            grad = torch.logspace(-3, 0, 12, dtype=torch.float64).view(6, 2) * here
            grad = -grad if maximize else grad
            w.grad = torch.view_as_complex(grad) if is_complex else grad
            optimizer.step()
        found = torch.view_as_real(w.detach()) if is_complex else w.detach()
        return found, optimizer.param_groups[0]["restarts"]

    expected, restarts = train(False, False, False)
    assert restarts > 0
    for maximize, is_complex, idle in ((True, False, True), (False, True, False)):
        found, again = train(maximize, is_complex, idle)
        assert again == restarts
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_state_of_version_0_1_loads_without_it() -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = SRSGD([w], lr=0.1)
    w.grad = torch.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["adaptive"], group["restarts"]
    other = SRSGD([w], lr=0.1, adaptive=True)
    other.load_state_dict(state)
    assert (other.param_groups[0]["adaptive"], other.param_groups[0]["restarts"]) == (False, 0)


def test_what_it_may_be() -> None:
    with pytest.raises(ValueError, match="adaptive must be True or False, but got 'yes'"):
        SRSGD([nn.Parameter(torch.ones(2))], adaptive="yes")  # type: ignore[arg-type]
