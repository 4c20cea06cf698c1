"""SRSGD when its state, its groups or its surroundings change between steps; what it refuses."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_srsgd_edges import MODES, draws, follow, gap, modes
from torch import Tensor, nn

from srsgd_ray import restarts
from srsgd_ray.optim import SRSGD
from srsgd_ray.restarts import RestartSchedule


@pytest.mark.parametrize("before", list(MODES))
@pytest.mark.parametrize("after", list(MODES))
def test_a_state_continues_in_another_mode(before: str, after: str) -> None:
    start, *grads = draws(10, 6)
    w = nn.Parameter(start.clone())
    first, second = SRSGD([w], restart=30, **MODES[before]), SRSGD([w], **MODES[after])
    for step, grad in enumerate(grads):
        if step == 5:
            second.load_state_dict(first.state_dict())
        w.grad = grad
        (first if step < 5 else second).step()
    assert gap(w, follow(start, grads, [0.1] * 9, 30)) < 1e-12
    for name in ("foreach", "fused"):
        assert second.param_groups[0][name] is MODES[after].get(name)


@modes
def test_an_optimizer_goes_back_to_its_own_earlier_state(mode: str) -> None:
    start, *grads = draws(10, 6)
    w = nn.Parameter(start.clone())
    optimizer = SRSGD([w], restart=30, **MODES[mode])
    ends = []
    for grad in grads[:3]:
        w.grad = grad
        optimizer.step()
    saved = copy.deepcopy((w.detach(), optimizer.state_dict()))
    for _ in range(2):
        for grad in grads[3:]:
            w.grad = grad
            optimizer.step()
        ends.append(w.detach().clone())
        w.data.copy_(saved[0])
        optimizer.load_state_dict(copy.deepcopy(saved[1]))
    assert torch.equal(*ends)


@modes
def test_velocity_is_forgotten_also_if_the_gradient_is_gone_right_after_loading(mode: str) -> None:
    start, *grads = draws(8, 5)
    w, idle = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    first = SRSGD([w, idle], restart=30, **MODES[mode])
    for grad in grads[:4]:
        w.grad, idle.grad = grad, grad
        first.step()
    second = SRSGD([w, idle], **MODES[mode])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    w.grad, idle.grad = None, None
    second.step()
    before = idle.detach().clone()
    idle.grad = grads[4]
    second.step()
    assert gap(idle, before - 0.1 * (1 + 5 / 8) * grads[4]) < 1e-12


@pytest.mark.parametrize("old_gradient", ["kept", "None"])
def test_a_parameter_exchanged_in_its_group(old_gradient: str) -> None:
    old, new = (nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    optimizer = SRSGD([old], lr=0.1)
    old.grad = torch.ones_like(old)
    optimizer.step()
    optimizer.param_groups[0]["params"][0] = new
    new.grad, old.grad = torch.ones_like(new), old.grad if old_gradient == "kept" else None
    optimizer.step()
    assert gap(old, torch.full((3,), 0.9)) < 1e-7
    assert gap(new, torch.full((3,), 1 - 0.1 * 1.25)) < 1e-7


def test_a_schedule_set_from_outside_counts_at_once() -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = SRSGD([w], restart=30)
    group = optimizer.param_groups[0]
    used = []
    for step in range(9):
        if step == 3:
            group["restart"] = 2
        if step == 6:
            group["restart"] = restarts.constant(3)
        if step == 8:
            group["restart"]["periods"] = [1]
        w.grad = torch.ones_like(w)
        optimizer.step()
        used.append(group["momentum_used"])
    assert used == pytest.approx([0, 1 / 4, 2 / 5, 1 / 2, 0, 1 / 4, 0, 1 / 4, 2 / 5])
    assert group["count"] == 0


@pytest.mark.parametrize("fault", ["sparse", "lr", "capture"])
def test_a_step_that_raises_has_changed_nothing(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = SRSGD([{"params": [good]}, {"params": [bad]}], restart=9)
    for _ in range(3):
        good.grad, bad.grad = torch.ones(3), torch.ones(3)
        optimizer.step()
    if fault == "sparse":
        bad.grad = torch.ones(3).to_sparse()
    elif fault == "lr":
        optimizer.param_groups[1]["lr"] = math.nan
    else:
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        for bucket in optimizer._plans[1].buckets:
            bucket.cuda = True
    before = copy.deepcopy((optimizer.state_dict(), good, bad))
    message = {"sparse": "needs dense gradients", "lr": "got lr=nan", "capture": "CUDA graph"}
    with pytest.raises((ValueError, RuntimeError), match=message[fault]):
        optimizer.step()
    after = (optimizer.state_dict(), good, bad)
    for name in ("step", "count", "carry"):
        for old, new in zip(before[0]["param_groups"], after[0]["param_groups"], strict=True):
            assert old[name] == new[name]
    assert torch.equal(before[1], good) and torch.equal(before[2], bad)
    for index, entry in before[0]["state"].items():
        assert torch.equal(entry["momentum_buffer"], after[0]["state"][index]["momentum_buffer"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graph_capture_is_refused() -> None:
    w = nn.Parameter(torch.ones(3, device="cuda"))
    w.grad = torch.ones_like(w)
    optimizer = SRSGD([w])
    optimizer.step()
    with pytest.raises(RuntimeError, match="CUDA graph"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()


W = nn.Parameter(torch.ones(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SRSGD([W], lr="0.1"), "0 <= lr < inf must hold, but got lr='0.1'"),  # type: ignore[arg-type]
        (lambda: SRSGD([W], lr=torch.ones(2)), "0 <= lr < inf must hold"),
        (lambda: SRSGD([W], lr=math.inf), "0 <= lr < inf must hold, but got lr=inf"),
        (lambda: SRSGD([W], restart=True), "restart must be a number of steps"),
        (lambda: SRSGD([W], restart="30"), "or a RestartSchedule, but got '30'"),  # type: ignore[arg-type]
        (
            lambda: SRSGD([W]).load_state_dict(torch.optim.SGD([W], 0.1).state_dict()),
            "each group of an SRSGD state must hold step, count, carry, but group 0 has only",
        ),
        (lambda: RestartSchedule((), ()), "at least one stage is needed"),
        (lambda: RestartSchedule((3, 4), (0, 2.5)), "in whole steps"),  # type: ignore[arg-type]
        (lambda: RestartSchedule.from_dict({"period": 3}), "unknown key 'period'"),
    ],
)
def test_bad_input(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_a_group_that_is_refused_is_not_added() -> None:
    optimizer = SRSGD([W])
    for bad in ({"lr": -1}, {"fused": True, "params": [nn.Parameter(torch.ones(1) + 1j)]}):
        with pytest.raises(ValueError):
            optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], **bad})
    assert len(optimizer.param_groups) == 1


def test_a_compiled_step_is_never_compiled_again() -> None:
    w, twin = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    pair = [SRSGD([p], restart=4) for p in (w, twin)]
    torch._dynamo.reset()

    def one_step(lr: Tensor) -> Tensor:
        loss = (w * w).sum().detach()
        w.grad = (2 * w).detach()
        pair[0].step()
        return loss * lr

    compiled = torch.compile(one_step, backend="eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(11):
            compiled(torch.tensor(1.0))
            twin.grad = (2 * twin).detach()
            pair[1].step()
            assert gap(w, twin) < 1e-7
    assert pair[0].param_groups[0]["step"] == 11


def test_importing_costs_no_compiler() -> None:
    code = "import sys, srsgd_ray.optim; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
