"""SRSGD where its fast path could go wrong without a word: memory layouts, odd numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srsgd_ray.optim import SRSGD
from srsgd_ray.optim._update import numbers_of_step

MODES: dict[str, dict[str, Any]] = {
    "plain": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "default": {},
}
modes = pytest.mark.parametrize("mode", list(MODES))


def follow(w: Tensor, grads: Sequence[Tensor], rates: Sequence[float], period: float) -> Tensor:
    """The paper's two lines in float64: w after the steps."""
    w, k = w.detach().double(), 0
    v = w
    for grad, lr in zip(grads, rates, strict=True):
        new = w - lr * grad.double()
        w, v = new + k / (k + 3) * (new - v), new
        k = 0 if k + 1 >= period else k + 1
    return w


def gap(a: Tensor, b: Tensor) -> float:
    return float((a.detach() - b.detach()).abs().max())


def draws(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


@modes
def test_a_gradient_laid_out_unlike_its_parameter(mode: str) -> None:
    start, *grads = draws(6, 2, 3)
    w = nn.Parameter(start.t().contiguous().t())
    optimizer = SRSGD([w], lr=0.1, restart=4, **MODES[mode])
    for grad in grads:
        w.grad = grad
        optimizer.step()
    assert w.stride() != grads[0].stride()
    assert gap(w, follow(start, grads, [0.1] * 5, 4)) < 1e-12


@modes
def test_layouts_are_distinguished_by_parameter_not_by_place(mode: str) -> None:
    start, grad = draws(2, 2, 3)
    rows, columns = nn.Parameter(start.clone()), nn.Parameter(start.t().contiguous().t())
    optimizer = SRSGD([rows, columns], lr=0.1, **MODES[mode])
    for w, other in ((rows, columns), (columns, rows)):
        w.grad, other.grad = grad, None
        optimizer.step()
    assert gap(rows, start - 0.1 * grad) < 1e-12
    assert gap(columns, start - 0.1 * (1 + 1 / 4) * grad) < 1e-12


@modes
def test_a_restart_forgets_a_buffer_that_is_no_number(mode: str) -> None:
    w = nn.Parameter(torch.ones(3))
    optimizer = SRSGD([w], lr=0.1, restart=3, **MODES[mode])
    for step in range(5):
        if step == 3:  # the restart step itself does not look at the buffer
            optimizer.state[w]["momentum_buffer"].fill_(math.nan)
        w.grad = torch.ones_like(w)
        optimizer.step()
    assert w.isfinite().all()


@pytest.mark.parametrize("mode", ["plain", "foreach", "default"])
def test_a_parameter_with_holes_in_memory(mode: str) -> None:
    start, *grads = draws(6, 3)
    base = torch.zeros(6, dtype=torch.float64)
    base[::2] = start
    w = nn.Parameter(base[::2])
    optimizer = SRSGD([w], lr=0.1, restart=4, **MODES[mode])
    for grad in grads:
        w.grad = grad
        optimizer.step()
    assert gap(w, follow(start, grads, [0.1] * 5, 4)) < 1e-12
    assert base[1::2].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="without holes in memory"):
        SRSGD([w], fused=True)


@modes
@pytest.mark.parametrize("when", ["loaded", "running"])
def test_a_change_of_memory_format_between_steps(mode: str, when: str) -> None:
    start, *grads = draws(9, 2, 3, 4, 5)
    w = nn.Parameter(start.clone())
    optimizer = SRSGD([w], lr=0.1, restart=30, **MODES[mode])
    for step, grad in enumerate(grads):
        if step == 4 and when == "running":
            w.data = w.data.to(memory_format=torch.channels_last)
        if step == 4 and when == "loaded":
            state = copy.deepcopy(optimizer.state_dict())
            w = nn.Parameter(w.detach().to(memory_format=torch.channels_last))
            optimizer = SRSGD([w], **MODES[mode])
            optimizer.load_state_dict(state)
        w.grad = torch.empty_like(w).copy_(grad).detach()
        optimizer.step()
    assert gap(w, follow(start, grads, [0.1] * 8, 30)) < 1e-12


RATES = {
    "first zero": [0.0] * 4 + [0.1] * 12,
    "zero between": [0.1] * 4 + [0.0] * 3 + [0.1] * 9,
    "tiny between": [0.1] * 4 + [1e-20] * 3 + [0.1] * 9,
    "smallest between": [0.1] * 4 + [5e-324] * 3 + [0.1] * 9,
    "from tiny": [1e-20] * 4 + [0.1] * 12,
    "from smallest": [5e-324] * 4 + [0.1] * 12,
    "down": [10.0**-i for i in range(16)],
    "up": [10.0 ** (i - 15) for i in range(16)],
}


@modes
@pytest.mark.parametrize("rates", list(RATES))
def test_odd_learning_rates(mode: str, rates: str) -> None:
    start, *grads = draws(17, 50)
    w = nn.Parameter(start.clone())
    single = nn.Parameter(start.float())
    pair = [SRSGD([p], restart=1000, **MODES[mode]) for p in (w, single)]
    for grad, lr in zip(grads, RATES[rates], strict=True):
        w.grad, single.grad = grad, grad.float()
        for optimizer in pair:
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
    exact = follow(start, grads, RATES[rates], 1000)
    assert gap(w, exact) < 1e-12
    assert gap(single.double(), exact) < 3e-5


@modes
def test_a_state_loaded_into_a_step_with_learning_rate_zero(mode: str) -> None:
    start, *grads = draws(7, 5)
    rates = [0.1] * 3 + [0.0] * 2 + [0.1]
    w = nn.Parameter(start.clone())
    optimizer = SRSGD([w], restart=30, **MODES[mode])
    for grad, lr in zip(grads, rates, strict=True):
        fresh = SRSGD([w], restart=2, **MODES[mode])
        fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        optimizer = fresh
        optimizer.param_groups[0]["lr"] = lr
        w.grad = grad
        optimizer.step()
    assert gap(w, follow(start, grads, rates, 30)) < 1e-12


def test_one_group_of_fused_and_other_parameters_shares_its_numbers() -> None:
    start, *grads = draws(12, 4)
    real = nn.Parameter(start.clone())
    both = nn.Parameter(torch.complex(start, -start))
    optimizer = SRSGD([real, both], lr=0.1, restart=5)
    for grad in grads:
        real.grad, both.grad = grad, torch.complex(grad, grad).conj()
        optimizer.step()
    exact = follow(start, grads, [0.1] * 11, 5)
    assert gap(real, exact) < 1e-12
    assert gap(both, torch.complex(exact, -exact)) < 1e-12


def test_learning_rate_as_a_tensor_is_read_at_each_step() -> None:
    w, lr = nn.Parameter(torch.ones(2)), torch.tensor(0.5)
    optimizer = SRSGD([w], lr=lr, restart=1)
    for value in (0.5, 0.25):
        lr.fill_(value)
        w.grad = torch.ones_like(w)
        optimizer.step()
    assert w.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("fused", [False, True])
def test_the_numbers_of_a_step_make_the_velocity_recursion(fused: bool) -> None:
    """u_t = m_{t-1} u_{t-1} - s d_t, and w moves by m_t u_t - s d_t."""
    generator = torch.Generator().manual_seed(1)
    rates = [0.1 * 10 ** float(6 * torch.rand((), generator=generator) - 3) for _ in range(40)]
    carry = buffer = u = previous = 0.0
    for t, lr in enumerate(rates):
        m, d = (t % 9) / (t % 9 + 3), math.sin(t)
        numbers = numbers_of_step(m, lr, carry, fused=fused)
        buffer, carry = numbers.decay * buffer + numbers.gain * d, numbers.carry
        u = previous * u - lr * d
        assert -lr * d - carry * buffer == pytest.approx(-lr * d + m * u, rel=1e-9, abs=1e-14)
        if numbers.kernel:
            assert carry == pytest.approx(lr * numbers.kernel, rel=1e-12)
        previous = m
    assert numbers_of_step(0.5, 0.0, 0.0, fused=fused).carry == 0


@pytest.mark.parametrize("lr", [0.0, 5e-324, 1e-310, 1e-100, 1e-20, 0.1, 1e100])
@pytest.mark.parametrize("carry", [0.0, 5e-324, 1e-310, 1e-100, 1e-20, 0.1, 1e100])
def test_the_kernel_is_given_moderate_numbers_only(lr: float, carry: float) -> None:
    for m in (0.25, 0.999):
        numbers = numbers_of_step(m, lr, carry, fused=True)
        assert all(math.isfinite(number) for number in numbers)
        if numbers.kernel:
            assert numbers.carry > 0
            assert 1e-4 < numbers.kernel < 1e4
