"""The checks of torch's own optimizer suite, by their names there, for SRSGD in each mode.

The suite is ``TestOptimRenewed`` of pytorch's ``test/test_optim.py``, which torch does not install.
The sentences of each check are held here in our own code; ``NOT_HERE`` says why some are not.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_srsgd_edges import MODES, modes
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from srsgd_ray.optim import SRSGD

NOT_HERE = {
    "test_optim_infos_do_not_specify_global_cliquey_kwargs": "is about the suite's own tables",
    "test_forloop_goes_right_direction_multigpu": "needs two GPUs",
    "test_mixed_device_dtype": "needs two GPUs; formats alone: test_mixed_number_formats_share_a_"
    "group in test_srsgd.py",
    "test_rosenbrock_sparse": "sparse gradients are refused: test_sparse_gradients_are_refused",
    "test_foreach_large_tensor": "needs a GPU with 72 GB",
    "test_fused_large_tensor": "needs 64 GB",
    "test_peak_memory_foreach": "needs a GPU's counters; on a CPU: benchmarks/optimizer.py",
    "test_cpu_load_state_dict": "needs a GPU; SRSGD keeps no counter on one, and no capturable",
    "test_state_dict_with_cuda_params": "needs a GPU",
    "test_fused_cpu_matches_cuda": "needs a GPU",
    "test_load_nontensor_step": "the counters are plain numbers, in the groups",
    "test_second_order_optims_return_consistent_types": "is about LBFGS",
    "test_defaults_changed_to_foreach": "the default is fused: test_default_is_fused here",
    "TestDifferentiableOptimizer": "differentiable=True is refused: test_unknown_keywords_are_"
    "refused in test_optim_surroundings.py",
}
# The names of the suite's checks, as of torch 2.6 (the newest file that could be read).
SUITE = """
test_optim_infos_do_not_specify_global_cliquey_kwargs test_errors test_forloop_goes_right_direction
test_forloop_goes_right_direction_multigpu test_param_group_with_lrscheduler_goes_right_direction
test_tensor_lr test_rosenbrock_sparse test_complex test_complex_2d test_foreach_matches_forloop
test_mixed_device_dtype test_set_default_dtype_works_with_foreach test_foreach_large_tensor
test_peak_memory_foreach test_fused_matches_forloop test_fused_error_on_params_on_meta
test_fused_large_tensor test_fused_does_not_step_if_foundinf test_cpu_load_state_dict
test_param_groups_weight_decay test_param_groups_lr test_step_is_noop_when_params_have_no_grad
test_step_is_noop_for_zero_grads test_optimizer_can_be_printed test_state_dict_deterministic
test_can_load_older_state_dict test_can_load_from_to_named_state_dict
test_save_load_equality_with_weights_only test_load_nontensor_step test_state_dict_with_cuda_params
test_state_dict_pre_hook test_state_dict_post_hook test_state_dict_pre_post_hook
test_load_state_dict_pre_hook_and_prepend test_load_state_dict_post_hook
test_load_state_dict_pre_post_hook test_step_post_hook test_step_pre_hook test_step_all_hooks
test_deepcopy_copies_all_public_attrs test_second_order_optims_return_consistent_types
test_fused_cpu_matches_cuda test_defaults_changed_to_foreach test_non_empty_state
TestDifferentiableOptimizer
"""
INPUTS: dict[str, dict[str, Any]] = {  # as optim_inputs_func_sgd has them
    "default": {},
    "lr=0.01": {"lr": 0.01},
    "tensor lr": {"lr": torch.tensor(0.001)},
    "weight_decay": {"lr": 0.01, "weight_decay": 0.1},
    "maximize": {"lr": 0.001, "weight_decay": 0.1, "maximize": True},
    "restart": {"lr": 0.01, "restart": 3},
    "adaptive": {"lr": 0.01, "adaptive": True},
}
inputs = pytest.mark.parametrize("given", list(INPUTS))
SCHEDULES: dict[str, Callable[[SRSGD], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, gamma=0.9, step_size=10),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o),
    "warm-up": lambda o: lr_scheduler.LinearLR(o, start_factor=0.4, total_iters=4),
    "none": lambda o: None,
}


def made(params: Any, mode: str, given: str = "lr=0.01", **more: Any) -> SRSGD:
    return SRSGD(params, **copy.deepcopy(INPUTS[given]), **MODES[mode], **more)


def tensors(contiguous: bool = True) -> tuple[nn.Parameter, nn.Parameter, Tensor]:
    torch.manual_seed(0)
    if contiguous:
        return nn.Parameter(torch.randn(10, 5)), nn.Parameter(torch.randn(10)), torch.randn(5)
    weight, bias = torch.randn(10, 5, 2)[..., 0], torch.randn(10, 2)[..., 0]
    return nn.Parameter(weight), nn.Parameter(bias), torch.randn(5)


def descend(
    optimizer: SRSGD, weight: Tensor, bias: Tensor, x: Tensor, schedule: Any = None, steps: int = 20
) -> list[float]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = (weight.mv(x) + bias).pow(2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    losses = []
    for _ in range(steps):
        losses.append(float(optimizer.step(closure)))  # type: ignore[arg-type]
        if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
            schedule.step(losses[-1])
        elif schedule is not None:
            schedule.step()
    return losses


@modes
@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("contiguous", [True, False])
@inputs
def test_forloop_goes_right_direction(
    mode: str, given: str, contiguous: bool, schedule: str
) -> None:
    weight, bias, x = tensors(contiguous)
    if mode == "fused" and not contiguous:
        with pytest.raises(ValueError, match="without holes"):
            made([weight, bias], mode, given)
        return
    optimizer = made([weight, bias], mode, given)
    if given == "default":
        optimizer.param_groups[0]["lr"] = 0.001
    losses = descend(optimizer, weight, bias, x, SCHEDULES[schedule](optimizer))
    assert (losses[-1] > losses[0]) == (given == "maximize")


@modes
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_param_group_with_lrscheduler_goes_right_direction(mode: str, schedule: str) -> None:
    weight, bias, x = tensors()
    optimizer = made([{"params": [weight]}, {"params": [bias], "lr": 0.001}], mode)
    losses = descend(optimizer, weight, bias, x, SCHEDULES[schedule](optimizer))
    assert losses[-1] < losses[0]


@modes
@pytest.mark.parametrize("shape", [(), (1,)])
def test_tensor_lr(mode: str, shape: tuple[int, ...]) -> None:
    ends = []
    for lr in (0.001, torch.full(shape, 0.001)):
        weight, bias, x = tensors()
        optimizer = SRSGD([weight, bias], lr=lr, **MODES[mode])
        descend(optimizer, weight, bias, x, steps=5)
        ends.append(weight.detach())
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("mode", ["plain", "foreach", "default"])
@inputs
def test_complex(mode: str, given: str) -> None:
    torch.manual_seed(0)
    whole = [torch.randn(10, 5, dtype=torch.complex64), torch.randn(10, dtype=torch.complex64)]
    params = [nn.Parameter(p) for p in (*whole, torch.randn(10, 5))]
    real = [
        nn.Parameter((torch.view_as_real(p) if p.is_complex() else p).detach().clone())
        for p in params
    ]
    pair = made(params, mode, given), made(real, mode, given)
    for _ in range(5):
        for p, r in zip(params, real, strict=True):
            p.grad = torch.randn_like(p)
            r.grad = torch.view_as_real(p.grad) if p.is_complex() else p.grad.clone()
        for optimizer in pair:
            optimizer.step()
        for p, r in zip(params, real, strict=True):
            torch.testing.assert_close(torch.view_as_real(p) if p.is_complex() else p, r)


@pytest.mark.parametrize("mode", ["plain", "foreach", "default"])
@inputs
def test_complex_2d(mode: str, given: str) -> None:
    torch.manual_seed(0)
    z = nn.Parameter(torch.randn(2, dtype=torch.complex64))
    parts = [nn.Parameter(z.real.detach().clone()), nn.Parameter(z.imag.detach().clone())]
    pair = made([z], mode, given), made(parts, mode, given)
    for _ in range(5):
        z.grad = torch.randn_like(z)
        parts[0].grad, parts[1].grad = z.grad.real.clone(), z.grad.imag.clone()
        for optimizer in pair:
            optimizer.step()
        torch.testing.assert_close(z, torch.complex(*parts))


def matches_forloop(mode: str, given: str, dtype: torch.dtype, **bar: float) -> None:
    """A layer is frozen at 3, free again at 5; step 2 has no gradients; one tensor is scalar."""
    runs = []
    for how in ("plain", mode):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid()).to(dtype)
        scalar = torch.rand((), dtype=dtype, requires_grad=True)
        params = [*net.parameters(), scalar, nn.Parameter(torch.empty(0, dtype=dtype))]
        optimizer, x = made(params, how, given), torch.arange(6.0).reshape(3, 2).to(dtype) / 10
        seen = []
        for step in range(9):
            optimizer.zero_grad()
            if step in (3, 5):
                net[2].requires_grad_(step == 5)
            if step != 2:
                (net(x).sum() + scalar.square()).backward()
            optimizer.step()
            # The buffer's scale is a mode's own; the points v say what the state means.
            seen += [t.detach().clone() for pair in optimizer.base_iterates() for t in pair]
        runs.append(seen)
    for a, b in zip(*runs, strict=True):
        torch.testing.assert_close(a, b, **bar)


@inputs
def test_foreach_matches_forloop(given: str) -> None:
    matches_forloop("foreach", given, torch.float64)


@inputs
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str
)
def test_fused_matches_forloop(given: str, dtype: torch.dtype) -> None:
    low = dtype in (torch.bfloat16, torch.float16)
    matches_forloop("fused", given, dtype, **({"rtol": 0.03, "atol": 0.03} if low else {}))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_set_default_dtype_works_with_foreach(dtype: torch.dtype) -> None:
    try:
        torch.set_default_dtype(dtype)
        matches_forloop("foreach", "weight_decay", torch.float64)
    finally:
        torch.set_default_dtype(torch.float32)


def test_default_is_fused() -> None:
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2)
    with torch.profiler.profile() as profile:
        SRSGD([w]).step()
    assert "aten::_fused_sgd_" in {event.key for event in profile.key_averages()}


def test_fused_error_on_params_on_meta() -> None:
    with torch.device("meta"):
        net = nn.Linear(2, 3)
    optimizer = SRSGD(net.parameters(), fused=True)
    for p in net.parameters():
        p.grad = torch.rand_like(p)
    with pytest.raises(ValueError, match=r"fused=True needs floating point .* device=meta"):
        optimizer.step()
    optimizer.zero_grad()
    net.to_empty(device="cpu")
    for p in net.parameters():
        nn.init.ones_(p)
        p.grad = torch.ones_like(p)
    optimizer = SRSGD(net.parameters(), fused=True)
    optimizer.step()
    assert float(net.bias.detach().sum()) == pytest.approx(2.7)


@modes
@pytest.mark.parametrize("scale", [None, torch.ones(())])
def test_fused_does_not_step_if_foundinf(mode: str, scale: Tensor | None) -> None:
    params = [nn.Parameter(torch.ones(1)) for _ in range(5)]
    optimizer = made(params, mode)
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.grad_scale, optimizer.found_inf = scale, torch.ones(())  # type: ignore[attr-defined]
    optimizer.step()
    assert [p.item() for p in params] == [1.0] * 5
    assert optimizer.param_groups[0]["step"] == 0


@modes
@inputs
def test_param_groups_weight_decay(mode: str, given: str) -> None:
    weight, bias, x = tensors()
    options = {"lr": 0.001, **INPUTS[given]}
    optimizer = SRSGD(
        [{"params": [weight], **options}, {"params": [bias], **options, "weight_decay": 0.0}],
        **MODES[mode],
    )
    losses = descend(optimizer, weight, bias, x)
    assert (losses[-1] > losses[0]) == (given == "maximize")


@modes
@inputs
def test_param_groups_lr(mode: str, given: str) -> None:
    weight, bias, x = tensors()
    other = nn.Parameter(torch.randn(2))
    kept = other.detach().clone()
    groups = [{"params": [weight, bias], "lr": 0.001, **INPUTS[given]}, {"params": [other]}]
    optimizer = SRSGD(groups, lr=1e-28, **MODES[mode])
    other.grad = torch.rand_like(other)
    losses = descend(optimizer, weight, bias, x)
    assert (losses[-1] > losses[0]) == (given == "maximize")
    assert torch.equal(other, kept)


@modes
@inputs
def test_step_is_noop_when_params_have_no_grad(mode: str, given: str) -> None:
    params = [torch.randn(2, 3) for _ in range(2)]
    kept = [p.clone() for p in params]
    made(params, mode, given).step(lambda: 1.0)
    assert all(torch.equal(a, b) for a, b in zip(params, kept, strict=True))


@modes
@inputs
def test_step_is_noop_for_zero_grads(mode: str, given: str) -> None:
    param = nn.Parameter(torch.randn(5, 1))
    kept = param.detach().clone()
    optimizer = made([param], mode, given)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    for _ in range(3):
        param.grad = torch.zeros_like(param)
        optimizer.step(lambda: 1.0)
    assert torch.equal(param, kept)


@inputs
def test_optimizer_can_be_printed(given: str) -> None:
    assert "restart: {'periods': [" in repr(made([nn.Parameter(torch.ones(2))], "plain", given))


def same_state(a: Any, b: Any) -> bool:
    def plain(state: Any) -> Any:
        state = copy.deepcopy(state)
        for group in state["param_groups"]:
            group.pop("param_names", None)
        buffers = {k: v["momentum_buffer"].tolist() for k, v in state["state"].items()}
        return buffers, state["param_groups"]

    return bool(plain(a) == plain(b))


@modes
@inputs
@pytest.mark.parametrize("named", [(False, False), (True, False), (False, True), (True, True)])
def test_state_dict_deterministic(mode: str, given: str, named: tuple[bool, bool]) -> None:
    weight, bias, x = tensors()

    def of(params: list[nn.Parameter], is_named: bool) -> SRSGD:
        return made(
            [(f"n{i}", p) for i, p in enumerate(params)] if is_named else params, mode, given
        )

    optimizer = of([weight, bias], named[0])
    descend(optimizer, weight, bias, x, steps=10)
    copies = [nn.Parameter(p.detach().clone()) for p in (weight, bias)]
    other = of(copies, named[1])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(10):
        descend(optimizer, weight, bias, x, steps=1)
        descend(other, *copies, x, steps=1)
        assert torch.equal(weight, copies[0]) and torch.equal(bias, copies[1])
    assert same_state(optimizer.state_dict(), other.state_dict())
    other.param_groups.extend(other.param_groups)
    assert (
        same_state(
            {"state": {}, "param_groups": optimizer.state_dict()["param_groups"][-1:]},
            {"state": {}, "param_groups": other.state_dict()["param_groups"][-1:]},
        )
        is True
    )


@modes
@inputs
def test_can_load_older_state_dict(mode: str, given: str) -> None:
    weight, bias, x = tensors()
    optimizer = made([weight, bias], mode, given)
    descend(optimizer, weight, bias, x, steps=3)
    state = copy.deepcopy(optimizer.state_dict())
    for flag in ("maximize", "foreach", "fused", "adaptive", "restarts"):
        del state["param_groups"][0][flag]
    optimizer.load_state_dict(state)
    descend(optimizer, weight, bias, x, steps=1)
    assert optimizer.param_groups[0]["step"] == 4


@inputs
@pytest.mark.parametrize("named", [(False, False), (True, False), (False, True), (True, True)])
def test_can_load_from_to_named_state_dict(given: str, named: tuple[bool, bool]) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(4, 2, 1, stride=2), nn.BatchNorm2d(2))
    first, second = (
        made(net.named_parameters() if is_named else net.parameters(), "default", given)
        for is_named in named
    )
    for _ in range(3):
        net(torch.rand(1, 4, 16, 16)).square().sum().backward()
        first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.step()
    if any(named):
        names = second.state_dict()["param_groups"][0]["param_names"]
        assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]


@inputs
@pytest.mark.parametrize("weights_only", [True, False])
def test_save_load_equality_with_weights_only(given: str, weights_only: bool) -> None:
    weight, bias, x = tensors()
    optimizer = made([weight, bias], "default", given)
    descend(optimizer, weight, bias, x, steps=3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=weights_only)
    assert same_state(loaded, optimizer.state_dict())


def set_test(optimizer: Any) -> None:
    optimizer.state["test"] = 1


def pop_test(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "ran_state_dict_pre_hook": state["state"].pop("test", 0) == 1}


def stepped() -> SRSGD:
    param = nn.Parameter(torch.rand(2, 3))
    optimizer = SRSGD([param])
    param.grad = torch.ones_like(param)
    optimizer.step()
    return optimizer


def test_state_dict_pre_hook() -> None:
    optimizer = stepped()
    optimizer.register_state_dict_pre_hook(set_test)
    assert optimizer.state_dict()["state"]["test"] == 1
    for _ in range(2):  # the entry is no velocity, and disturbs no step
        optimizer.step()
    assert optimizer.param_groups[0]["step"] == 3


def test_state_dict_post_hook() -> None:
    optimizer = stepped()
    optimizer.register_state_dict_post_hook(pop_test)
    assert optimizer.state_dict()["ran_state_dict_pre_hook"] is False


def test_state_dict_pre_post_hook() -> None:
    optimizer = stepped()
    optimizer.register_state_dict_pre_hook(set_test)
    optimizer.register_state_dict_post_hook(pop_test)
    state = optimizer.state_dict()
    assert "test" not in state["state"] and state["ran_state_dict_pre_hook"]


def lr_2(optimizer: Any, state: dict[str, Any]) -> None:
    state["param_groups"][0]["lr"] = 0.002


def lr_3(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
    state = copy.deepcopy(state)
    state["param_groups"][0]["lr"] = 0.003
    return state


def note(optimizer: Any) -> None:
    optimizer.state["ran_pre_hook"] = optimizer.param_groups[0]["lr"] == 0.003
    optimizer.state["ran_post_hook"] = True


def test_load_state_dict_pre_hook_and_prepend() -> None:
    optimizer = stepped()
    optimizer.register_load_state_dict_pre_hook(lr_2)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.002
    optimizer.register_load_state_dict_pre_hook(lr_3, prepend=True)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.002


def test_load_state_dict_post_hook() -> None:
    optimizer = stepped()
    optimizer.register_load_state_dict_post_hook(note)
    optimizer.load_state_dict(optimizer.state_dict())
    assert (optimizer.state["ran_pre_hook"], optimizer.state["ran_post_hook"]) == (False, True)
    optimizer.step()


def test_load_state_dict_pre_post_hook() -> None:
    optimizer = stepped()
    optimizer.register_load_state_dict_pre_hook(lr_3)
    optimizer.register_load_state_dict_post_hook(note)
    optimizer.load_state_dict(optimizer.state_dict())
    assert (optimizer.state["ran_pre_hook"], optimizer.state["ran_post_hook"]) == (True, True)


def test_step_post_hook() -> None:
    optimizer, data = SRSGD([torch.ones(2)]), []
    handle = optimizer.register_step_post_hook(lambda *_: data.append(2))
    optimizer.step()
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert data == [2, 2]


def test_step_pre_hook() -> None:
    optimizer, data = SRSGD([torch.ones(2)]), []
    handle = optimizer.register_step_pre_hook(lambda *_: data.append(2))
    optimizer.step()
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert data == [2, 2]


def test_step_all_hooks() -> None:
    params, data = [torch.ones(2)], list[int]()
    pair = SRSGD(params), torch.optim.SGD(params)
    handles = [
        register_optimizer_step_pre_hook(lambda *_: data.append(0)),
        register_optimizer_step_post_hook(lambda *_: data.append(5)),
        *(o.register_step_pre_hook(lambda *_: data.append(1)) for o in pair),
        *(o.register_step_post_hook(lambda *_: data.append(2)) for o in pair),
    ]
    try:
        for optimizer in (*pair, pair[0]):
            optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    pair[0].step()
    assert data == [0, 1, 2, 5] * 3


@inputs
def test_deepcopy_copies_all_public_attrs(given: str) -> None:
    weight, bias, x = tensors()
    optimizer = made([weight, bias], "default", given)
    descend(optimizer, weight, bias, x, steps=3)

    def public(it: object) -> set[str]:
        return {name for name in vars(it) if not name.startswith("_")}

    assert public(optimizer) == public(copy.deepcopy(optimizer))


@modes
@inputs
def test_non_empty_state(mode: str, given: str) -> None:
    net = nn.Linear(5, 5)
    optimizer = made(net.parameters(), mode, given)
    net(torch.rand(2, 5)).sum().backward()
    optimizer.step()
    assert len(optimizer.state) == 2
    assert all(len(entry) > 0 for entry in optimizer.state.values())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: SRSGD(p[0]), TypeError, "iterable of Tensors or dicts"),
        (lambda p: SRSGD([p[0], p[0]]), UserWarning, "duplicate parameters"),
        (lambda p: SRSGD([{"params": p}, {"params": p}]), ValueError, "more than one parameter"),
        (lambda p: SRSGD([]), ValueError, "empty parameter list"),
        (lambda p: SRSGD(p, lr=torch.ones(2)), ValueError, "0 <= lr < inf"),
        (lambda p: SRSGD(p, lr=-0.5), ValueError, "0 <= lr < inf"),
        (lambda p: SRSGD(p, weight_decay=-0.5), ValueError, "0 <= weight_decay < inf"),
        (lambda p: SRSGD(p, lr=math.nan), ValueError, "0 <= lr < inf"),
        (lambda p: SRSGD([("a", p[0]), p[1]]), ValueError, "with/without names"),
        (lambda p: SRSGD([p[0] * 2]), ValueError, "non-leaf Tensor"),
        (lambda p: SRSGD([{"params": set(p)}]), TypeError, "ordered collections"),
    ],
)
def test_errors(
    make: Callable[[list[nn.Parameter]], Any], error: type[Exception], message: str
) -> None:
    params = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    if issubclass(error, Warning):
        with pytest.warns(error, match=message):
            make(params)
    else:
        with pytest.raises(error, match=message):
            make(params)


def test_each_check_of_the_suite_is_here_or_has_a_reason() -> None:
    assert {name for name in SUITE.split() if name not in globals()} == NOT_HERE.keys()
