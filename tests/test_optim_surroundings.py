"""SRSGD when others change data, groups, state or number formats under it, and as a scaler's."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_srsgd_edges import MODES, draws, follow, gap, modes
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from srsgd_ray.optim import SRSGD
from srsgd_ray.optim.srsgd import _OPTIONS
from srsgd_ray.optim.together import Together

OLD = Path(__file__).parent / "data" / "srsgd_states"


def moved(w: nn.Parameter, optimizer: SRSGD, grads: list[Tensor]) -> None:
    for grad in grads:
        w.grad = grad.to(w.dtype)
        optimizer.step()


EXCHANGES: dict[str, Callable[[nn.Parameter], None]] = {
    "double": lambda w: w.data.double(),  # type: ignore[misc]
    "clone": lambda w: w.data.clone(),  # type: ignore[misc]
    "transposed": lambda w: w.data.t().contiguous().t(),  # type: ignore[misc]
}


@modes
@pytest.mark.parametrize("way", list(EXCHANGES))
def test_data_exchanged_under_the_same_parameter(mode: str, way: str) -> None:
    start, *grads = draws(9, 3, 3)
    w, other = nn.Parameter(start.float()), nn.Parameter(start.float())
    optimizer = SRSGD([other, w], lr=0.1, restart=30, **MODES[mode])
    for step, grad in enumerate(grads):
        if step == 4:
            w.data = EXCHANGES[way](w)
        w.grad, other.grad = grad.to(w.dtype), grad.float()
        optimizer.step()
        for p in (w, other):
            buffer = optimizer.state[p]["momentum_buffer"]
            assert (buffer.dtype, buffer.stride()) == (p.dtype, p.stride())
    assert gap(w, follow(start, grads, [0.1] * 8, 30)) < 1e-6
    assert gap(w, other) < 1e-6


@modes
def test_a_transposed_view_of_the_same_memory(mode: str) -> None:
    """Its address is the old one; its gradients, made by autograd, are laid out as it is."""
    start, *grads = draws(9, 3, 3)
    w = nn.Parameter(start.clone())
    optimizer = SRSGD([w], lr=0.1, restart=30, **MODES[mode])
    moved(w, optimizer, grads[:4])
    w.data = w.data.t()
    for grad in grads[4:]:
        w.grad = grad.t()
        optimizer.step()
    # The velocity keeps its indices: it is the parameter that was turned.
    assert w.isfinite().all()
    assert optimizer.state[w]["momentum_buffer"].shape == w.shape


@modes
@pytest.mark.parametrize("change", ["bfloat16", "half", "double", "float"])
def test_a_model_that_changes_its_number_format(mode: str, change: str) -> None:
    start, *grads = draws(9, 5)
    w = nn.ParameterList([start.float()])
    optimizer = SRSGD(w.parameters(), lr=0.1, restart=30, **MODES[mode])
    for step, grad in enumerate(grads):
        if step == 4:
            getattr(w, change)()
        w[0].grad = grad.to(w[0].dtype)
        optimizer.step()
    bar = {"bfloat16": 0.1, "half": 0.01}.get(change, 1e-5)
    assert gap(w[0].double(), follow(start, grads, [0.1] * 8, 30)) < bar


def test_a_changed_default_number_format_changes_nothing() -> None:
    ends = []
    for change in (False, True):
        start, *grads = draws(9, 5)
        w = nn.Parameter(start.float())
        optimizer = SRSGD([w], lr=torch.tensor(0.1), restart=3)
        try:
            for step, grad in enumerate(grads):
                if change and step == 4:
                    torch.set_default_dtype(torch.float64)
                moved(w, optimizer, [grad])
        finally:
            torch.set_default_dtype(torch.float32)
        ends.append(w.detach())
    assert torch.equal(*ends)


@modes
def test_gradients_of_another_number_format_than_their_parameter(mode: str) -> None:
    start, *grads = draws(9, 5)
    w, twin = (nn.Parameter(start.bfloat16()) for _ in range(2))
    w.grad_dtype = torch.float32
    pair = [SRSGD([p], lr=0.1, restart=30, **MODES[mode]) for p in (w, twin)]
    for grad in grads:
        w.grad, twin.grad = grad.bfloat16().float(), grad.bfloat16()
        for optimizer in pair:
            optimizer.step()
    assert torch.equal(w, twin)


@modes
@pytest.mark.parametrize("way", ["replaced", "moved", "removed", "cleared", "all cleared"])
def test_velocities_exchanged_from_outside(mode: str, way: str) -> None:
    start, *grads = draws(9, 5)
    w, other = (nn.Parameter(start.clone()) for _ in range(2))
    optimizer = SRSGD([other, w], lr=0.1, restart=30, **MODES[mode])
    for step, grad in enumerate(grads):
        if step == 4:
            velocity = optimizer.state[w]["momentum_buffer"]
            if way == "replaced":
                optimizer.state[w]["momentum_buffer"] = torch.zeros_like(velocity)
            elif way == "moved":  # as Lightning does, with a dict made anew
                optimizer.state[w] = {"momentum_buffer": velocity.clone()}
            elif way == "removed":
                del optimizer.state[w]
            elif way == "cleared":
                optimizer.state[w] = {}
            else:
                optimizer.state.clear()
            before = w.detach().clone()
        w.grad, other.grad = grad, grad
        optimizer.step()
        if step == 4 and way != "moved":  # from rest
            assert gap(w, before - 0.1 * (1 + 4 / 7) * grad) < 1e-12
        velocity = optimizer.state[w]["momentum_buffer"]
        carry = optimizer.param_groups[0]["carry"]
        ((_, _), (_, v)) = optimizer.base_iterates()
        assert gap(v, w + carry * velocity) < 1e-12
    whole = follow(start, grads, [0.1] * 8, 30)
    for p, kept in ((w, way == "moved"), (other, way != "all cleared")):
        assert (gap(p, whole) < 1e-12) == kept


def test_a_parameter_of_a_new_shape_is_refused_and_nothing_is_changed() -> None:
    good, w = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    optimizer = SRSGD([{"params": [good]}, {"params": [w]}])
    for _ in range(3):
        good.grad, w.grad = torch.ones(2), torch.ones(3)
        optimizer.step()
    w.grad = None
    w.data = torch.ones(4)
    w.grad, before = torch.ones(4), good.detach().clone()
    with pytest.raises(ValueError, match=r"got \(4,\) and \(3,\). Delete optimizer.state"):
        optimizer.step()
    assert torch.equal(good, before)
    del optimizer.state[w]
    optimizer.step()
    assert gap(w, torch.full((4,), 1 - 0.1 * 1.5)) < 1e-6


@modes
def test_parameters_frozen_unfrozen_and_added_while_it_runs(mode: str) -> None:
    start, *grads = draws(9, 5)
    a, b, c = (nn.Parameter(start.clone()) for _ in range(3))
    b.requires_grad_(False)
    optimizer = SRSGD([a, b], lr=0.1, restart=30, **MODES[mode])
    for step, grad in enumerate(grads):
        if step == 2:
            b.requires_grad_(True)
            optimizer.add_param_group({"params": [c], "lr_mult": 3})
        if step == 5:
            a.requires_grad_(False)
            a.grad = None
        for p in (a, b, c):
            p.grad = grad.clone() if p.requires_grad else None
        optimizer.step()
        if step == 1:
            assert set(optimizer.state) == {a}  # a frozen one needs no buffer
    assert gap(a, follow(start, grads[:5], [0.1] * 5, 30)) < 1e-12
    assert gap(c, follow(start, grads[2:], [0.1] * 6, 30)) < 1e-12
    w, u = start.clone(), torch.zeros_like(start)
    for k, grad in enumerate(grads[2:], 2):  # from rest, at the count of its group
        u = ((k - 1) / (k + 2) if k > 2 else 0) * u - 0.1 * grad
        w += k / (k + 3) * u - 0.1 * grad
    assert gap(b, w) < 1e-12
    assert [g["step"] for g in optimizer.param_groups] == [8, 6]
    assert set(optimizer.state) == {a, b, c}


class Wrapper(torch.optim.Optimizer):
    """As SAM, Lookahead and others: own default options, the inner optimizer's groups."""

    def __init__(self, params: Any, base: Any, **options: Any) -> None:
        super().__init__(params, {"rho": 0.05, **options})
        self.base = base(self.param_groups, **options)


def test_labels_of_others_in_a_group_are_kept_and_ignored() -> None:
    w, twin = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    labels = {"lr_scale": 0.5, "lr_mult": 2, "rho": 0.05, "resart": 3, "use_muon": False}
    optimizer = SRSGD([{"params": [w], **labels}], lr=0.1)
    other = SRSGD([twin], lr=0.1)
    assert optimizer.param_groups[0].items() >= labels.items()
    for p, o in ((w, optimizer), (twin, other)):
        moved(p, o, [torch.ones(2)] * 5)
    assert torch.equal(w, twin)
    fresh = SRSGD([w])
    fresh.load_state_dict(optimizer.state_dict())
    assert fresh.param_groups[0].items() >= labels.items()


def test_a_group_is_the_dict_that_was_given_but_never_that_of_another_srsgd() -> None:
    w = nn.Parameter(torch.ones(2))
    given = {"params": [w], "lr": 0.5}
    outer = Wrapper([given], SRSGD, lr=0.1)
    outer.param_groups[0]["lr"] = 0.25  # as a learning-rate schedule of the wrapper sets it
    moved(w, outer.base, [torch.ones(2)])
    assert w.tolist() == [0.75, 0.75]
    second = SRSGD(outer.base.param_groups, lr=7)
    assert second.param_groups[0]["lr"] == 0.25
    assert (second.param_groups[0]["step"], outer.base.param_groups[0]["step"]) == (0, 1)
    moved(w, second, [torch.ones(2)])
    assert outer.base.param_groups[0]["step"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decy": 1}, "'weight_decy'. Valid: params, lr, restart, .* Did you mean 'weight_"),
        ({"resart": 3}, "Did you mean 'restart'"),
        ({"momentum": 0.9}, "'momentum'. .* say restart=F"),
        ({"nesterov": True}, "always Nesterov's"),
        ({"differentiable": True}, "taken without autograd"),
        ({"capturable": True}, "outside of the CUDA graph"),
    ],
)
def test_unknown_keywords_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        SRSGD([nn.Parameter(torch.ones(2))], **options)
    assert list(inspect.signature(SRSGD).parameters)[:3] == ["params", "lr", "restart"]


def test_the_defaults_of_a_missing_option_are_those_of_the_constructor() -> None:
    signature = inspect.signature(SRSGD).parameters
    assert {n: p.default for n, p in signature.items() if n != "params"} == _OPTIONS


@pytest.mark.parametrize("option", [*_OPTIONS, "restarts", "momentum_used"])
def test_a_state_that_lacks_an_option_takes_its_default(option: str) -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = SRSGD([w])
    moved(w, optimizer, [torch.ones(2)] * 3)
    state = copy.deepcopy(optimizer.state_dict())
    del state["param_groups"][0][option]
    twin = nn.Parameter(w.detach().clone())
    fresh = SRSGD([twin], lr=0.7, restart=2, weight_decay=1, maximize=True)
    fresh.load_state_dict(state)
    for p, o in ((w, optimizer), (twin, fresh)):
        moved(p, o, [torch.ones(2)] * 3)
    assert torch.equal(w, twin)


@modes
@pytest.mark.parametrize("unscaled_before", [False, True])
def test_a_grad_scaler(mode: str, unscaled_before: bool) -> None:
    """With fused=True the optimizer is given grad_scale and found_inf, as torch's are."""
    w = nn.Parameter(torch.ones(3))
    optimizer = SRSGD([w], lr=0.1, restart=9, weight_decay=0.5, **MODES[mode])
    assert optimizer._step_supports_amp_scaling == (mode == "fused")
    assert copy.deepcopy(optimizer)._step_supports_amp_scaling == (mode == "fused")
    twin = nn.Parameter(torch.ones(3))
    plain = SRSGD([twin], lr=0.1, restart=9, weight_decay=0.5, **MODES[mode])
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (math.inf, 1.0, 2.0, math.nan, 3.0, 0.5):
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()  # type: ignore[no-untyped-call]
        if unscaled_before:
            scaler.unscale_(optimizer)
        before = copy.deepcopy(optimizer.state_dict())
        scaler.step(optimizer)
        scaler.update()
        if math.isfinite(factor):
            moved(twin, plain, [torch.full((3,), factor)])
        else:
            assert repr(optimizer.state_dict()) == repr(before)
    assert torch.equal(w, twin)
    assert optimizer.param_groups[0]["step"] == 4
    assert not hasattr(optimizer, "found_inf")


@modes
def test_zero_dimensional_and_empty_parameters(mode: str) -> None:
    params = [nn.Parameter(torch.ones(shape)) for shape in ((), (0,), (0, 3), (2, 1))]
    optimizer = SRSGD(params, lr=0.1, restart=5, **MODES[mode])
    for step in range(7):
        if step == 3:
            for p in params:
                p.data = p.data.double()
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert gap(params[0], params[3][0, 0]) < 1e-6
    assert {buffer["momentum_buffer"].dtype for buffer in optimizer.state.values()} == {
        torch.float64
    }


@pytest.mark.parametrize("file", sorted(OLD.glob("*.pt")), ids=lambda file: file.stem)
def test_states_of_released_versions_load_and_go_on(file: Path) -> None:
    """Each file was written by its version; ``then`` are the weights of that version's next steps.

    ``make_old_state.py`` beside them says how they were made.
    """
    old = torch.load(file, weights_only=True)
    params = [nn.Parameter(p) for p in old["weights"]]
    optimizer = SRSGD([{"params": params[:1]}, {"params": params[1:]}])
    optimizer.load_state_dict(old["state"])
    for grads, wanted in zip(old["grads"], old["then"], strict=True):
        for p, grad in zip(params, grads, strict=True):
            p.grad = grad
        optimizer.step()
        for p, want in zip(params, wanted, strict=True):
            torch.testing.assert_close(p.detach(), want)


def test_a_state_of_each_release_is_kept() -> None:
    assert {file.stem for file in OLD.glob("*.pt")} >= {"0.1.0", "0.1.0_after_one_step"}


def joined() -> tuple[nn.ParameterList, Together]:
    params = nn.ParameterList([torch.ones(2) for _ in range(3)])
    one = SRSGD([{"params": [params[0]]}, {"params": [params[2]], "lr": 0.2}], lr=0.1)
    return params, Together(one, torch.optim.SGD([params[1]], lr=0.1, momentum=0.9))


def train_joined(params: nn.ParameterList, optimizer: Together, steps: int) -> list[Tensor]:
    for _ in range(steps):
        for p in params:
            p.grad = p.detach().clone()
        optimizer.step()
    return [p.detach().clone() for p in params]


@pytest.mark.parametrize("how", ["state dict", "version 0.1", "checkpoint", "deepcopy", "pickle"])
def test_joined_optimizers_go_on_from_a_state(how: str) -> None:
    params, optimizer = joined()
    get_optimizer_state_dict(params, optimizer)  # makes the state, counts no step
    train_joined(params, optimizer, 3)
    others, fresh = joined()
    others.load_state_dict(params.state_dict())
    if how == "version 0.1":
        states = [part.state_dict() for part in optimizer.parts]
        fresh.load_state_dict({"parts": copy.deepcopy(states)})
    elif how == "state dict":
        fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    elif how == "checkpoint":
        state = copy.deepcopy(get_optimizer_state_dict(params, optimizer))
        set_optimizer_state_dict(others, fresh, state)
    elif how == "deepcopy":
        others, fresh = copy.deepcopy((params, optimizer))
    else:
        others, fresh = pickle.loads(pickle.dumps((params, optimizer)))
    assert [group.get("step") for group in fresh.param_groups] == [3, 3, None]
    fresh.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] = 0.05  # reaches the part
    wanted = train_joined(params, optimizer, 3)
    assert all(map(torch.equal, train_joined(others, fresh, 3), wanted))
