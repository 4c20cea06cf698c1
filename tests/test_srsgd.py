"""SRSGD against golden vectors, against a literal twin, and as an optimizer among torch's."""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR

from srsgd_ray import restarts
from srsgd_ray.config import TrainConfig
from srsgd_ray.optim import SRSGD
from srsgd_ray.restarts import RestartSchedule

GOLDEN = json.loads((Path(__file__).parent / "data" / "optimizer_trajectories.json").read_text())
CASES = {case["name"]: case for case in GOLDEN["cases"]}
A = torch.tensor(GOLDEN["problems"]["quad5"]["A"], dtype=torch.float64)
B = torch.tensor(GOLDEN["problems"]["quad5"]["b"], dtype=torch.float64)
MODES: dict[str, dict[str, Any]] = {
    "plain": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
modes = pytest.mark.parametrize("mode", list(MODES))


class LiteralSRSGD:
    """The paper's two lines, tensor by tensor, with v stored: slow and plain."""

    def __init__(
        self, params: Sequence[Tensor], schedule: RestartSchedule, weight_decay: float
    ) -> None:
        self.params, self.schedule, self.weight_decay = list(params), schedule, weight_decay
        self.v = [p.detach().clone() for p in self.params]
        self.t = self.k = 0

    def step(self, lr: float) -> None:
        s = self.schedule
        if s.begins_stage(self.t):
            if s.buffer == "drop":
                self.v = [p.detach().clone() for p in self.params]
            if s.count == "reset":
                self.k = 0
        m = self.k / (self.k + 3)
        for i, p in enumerate(self.params):
            assert p.grad is not None
            w = p.detach().clone()
            v = w - lr * (p.grad + self.weight_decay * w)
            p.data.copy_(v + m * (v - self.v[i]))
            self.v[i] = v
        self.k = 0 if self.k + 1 >= s.period(self.t) else self.k + 1
        self.t += 1


def parameter(start: Sequence[float]) -> nn.Parameter:
    return nn.Parameter(torch.tensor(start, dtype=torch.float64))


def distance(a: Tensor, b: Any) -> float:
    return float((a - torch.as_tensor(b, dtype=torch.float64)).detach().abs().max())


def schedule_of(case: dict[str, Any]) -> RestartSchedule:
    if "restarting_iter" in case:
        return restarts.as_published(restarts.constant(case["restarting_iter"]))
    steps = case["steps_per_epoch"]
    milestones = [epoch * steps for epoch in case["lr_milestones"]]
    schedule = restarts.explicit(case["restart_schedule"], milestones)
    if case["name"] == "imagenet_decay":
        schedule = restarts.decay_to_one(schedule, epochs=case["epochs"], steps_per_epoch=steps)
    return restarts.as_published(schedule)


@modes
@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith("two_")])
def test_golden_vectors(name: str, mode: str) -> None:
    case, expected = CASES[name], CASES[name]["expected"]
    rosenbrock = case["problem"] == "rosenbrock"
    w = parameter(case["start"])
    optimizer = SRSGD(
        [w],
        case["lr"],
        restart=schedule_of(case),
        weight_decay=case["weight_decay"],
        **MODES[mode],
    )
    group = optimizer.param_groups[0]
    milestones = [e * case["steps_per_epoch"] for e in case.get("lr_milestones", [])]
    for t in range(case["steps"]):
        group["lr"] = case["lr"] * case.get("gamma", 1.0) ** sum(t >= m for m in milestones)
        if rosenbrock:
            x, y = w.detach()
            w.grad = torch.stack([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])
        else:
            w.grad = A @ w.detach() - B
            if "noise" in case:
                w.grad += torch.tensor(case["noise"][t], dtype=torch.float64)
        counted = group["count"]
        optimizer.step()
        bar = 1e-10 if rosenbrock else 1e-12
        assert distance(w, expected["params"][t]) < bar
        ((_, v),) = optimizer.base_iterates()
        assert distance(v, expected["momentum_buffer"][t]) < bar
        assert counted + 1 == expected["iter_count_used"][t]
        assert group["count"] + 1 == expected["iter_count_after"][t]
        assert group["momentum_used"] == pytest.approx(expected["momentum_used"][t], abs=1e-15)


@modes
def test_golden_two_tensors_in_one_group(mode: str) -> None:
    case = CASES["two_params_one_group"]
    parts = [parameter(start) for start in case["start"]]
    optimizer = SRSGD(
        parts,
        case["lr"],
        restart=schedule_of(case),
        weight_decay=case["weight_decay"],
        **MODES[mode],
    )
    for t in range(case["steps"]):
        gradient = A @ torch.cat([p.detach() for p in parts]) - B
        parts[0].grad, parts[1].grad = gradient[:3].clone(), gradient[3:].clone()
        optimizer.step()
        for part, expected in zip(parts, case["expected"]["params"][t], strict=True):
            assert distance(part, expected) < 1e-12


@modes
def test_both_groups_accelerate_where_the_reference_fails(mode: str) -> None:
    case = CASES["two_param_groups_bug"]
    parts = [parameter(start) for start in case["start"]]
    twins = [parameter(start) for start in case["start"]]
    options = case["groups"]
    optimizer = SRSGD(
        [
            {
                "params": [part],
                "lr": o["lr"],
                "weight_decay": o["weight_decay"],
                "restart": restarts.as_published(restarts.constant(o["restarting_iter"])),
            }
            for part, o in zip(parts, options, strict=True)
        ],
        **MODES[mode],
    )
    literal = [
        LiteralSRSGD([twin], optimizer.schedule(i), o["weight_decay"])
        for i, (twin, o) in enumerate(zip(twins, options, strict=True))
    ]
    used = []
    for _ in range(case["steps"]):
        for pair in (parts, twins):
            gradient = A @ torch.cat([p.detach() for p in pair]) - B
            pair[0].grad, pair[1].grad = gradient[:3].clone(), gradient[3:].clone()
        optimizer.step()
        for twin, o in zip(literal, options, strict=True):
            twin.step(o["lr"])
        used.append([g["momentum_used"] for g in optimizer.param_groups])
        assert max(distance(p, q) for p, q in zip(parts, twins, strict=True)) < 1e-12
    assert used[:6] == [[0, 0], [0.25, 0.25], [0.4, 0.4], [0.5, 0.5], [4 / 7, 0], [0.625, 0.25]]
    assert distance(parts[1], case["expected"]["params"][-1][1]) > 1e-3


SCHEDULES = {
    "constant": restarts.constant(7),
    "one": restarts.constant(1),
    "two": restarts.constant(2),
    "never": restarts.never(),
    "linear": restarts.linear(5, 2, [11, 23]),
    "published": restarts.as_published(restarts.linear(5, 2, [11, 23])),
    "keep, carry": RestartSchedule((5, 9, 4), (0, 11, 23), count="carry"),
    "drop, reset": RestartSchedule((5, 9, 4), (0, 11, 23), buffer="drop"),
}
RATES: dict[str, Callable[[int], float]] = {
    "constant": lambda t: 0.05,
    "falling": lambda t: 0.05 * 0.1 ** (t // 11),
    "warm-up": lambda t: 0.05 * min(1.0, t / 9),
    "to zero": lambda t: 0.05 * abs(math.cos(t / 6.3)) * (t % 10 != 7),
}


@modes
@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("rate", list(RATES))
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
def test_agrees_with_the_literal_twin(
    mode: str, schedule: str, rate: str, weight_decay: float
) -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    ours = [nn.Parameter(noise(3, 4)), nn.Parameter(noise(5)), nn.Parameter(noise())]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizer = SRSGD(ours, restart=SCHEDULES[schedule], weight_decay=weight_decay, **MODES[mode])
    literal = LiteralSRSGD(theirs, SCHEDULES[schedule], weight_decay)
    for t in range(45):
        optimizer.param_groups[0]["lr"] = RATES[rate](t)
        for p, q in zip(ours, theirs, strict=True):
            p.grad, q.grad = p.detach() + noise(*p.shape), None
            q.grad = p.grad + (q.detach() - p.detach())
        optimizer.step()
        literal.step(RATES[rate](t))
        for p, q, (_, v), u in zip(ours, theirs, optimizer.base_iterates(), literal.v, strict=True):
            assert distance(p, q) < 1e-12
            assert distance(v, u) < 1e-12


@modes
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_gradients_are_left_as_they_were_and_parameters_in_place(
    mode: str, maximize: bool, weight_decay: float
) -> None:
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(2))]
    twins = [nn.Parameter(p.detach().clone()) for p in params]
    optimizer = SRSGD(
        params, restart=3, maximize=maximize, weight_decay=weight_decay, **MODES[mode]
    )
    flipped = SRSGD(twins, restart=3, weight_decay=weight_decay)
    places = [p.data_ptr() for p in params]
    for _ in range(8):
        for p, q in zip(params, twins, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = -p.grad if maximize else p.grad.clone()
        kept = [p.grad.clone() for p in params if p.grad is not None]
        optimizer.step()
        flipped.step()
        assert all(
            torch.equal(p.grad, g) for p, g in zip(params, kept, strict=True) if p.grad is not None
        )
        assert [p.data_ptr() for p in params] == places
        for p, q in zip(params, twins, strict=True):
            torch.testing.assert_close(p, q)
    for p in params:
        assert list(optimizer.state[p]) == ["momentum_buffer"]
        assert optimizer.state[p]["momentum_buffer"].shape == p.shape


def small() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return net, torch.randn(8, 6), torch.randint(3, (8,))


def train_steps(
    net: nn.Module, optimizer: SRSGD, x: Tensor, y: Tensor, steps: int, **more: Any
) -> list[Tensor]:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if "schedule" in more:
            more["schedule"].step()
    return [p.detach().clone() for p in net.parameters()]


@modes
@pytest.mark.parametrize("how", ["weights_only", "deepcopy", "pickle"])
def test_a_state_dict_from_mid_cycle_continues_bit_for_bit(mode: str, how: str) -> None:
    schedule = restarts.as_published(restarts.linear(5, 2, [9, 14]))
    net, x, y = small()
    optimizer = SRSGD(net.parameters(), restart=schedule, weight_decay=0.01, **MODES[mode])
    train_steps(net, optimizer, x, y, 7)
    net2, _, _ = small()
    net2.load_state_dict(net.state_dict())
    fresh = SRSGD(net2.parameters(), lr=0.3, restart=99, **MODES[mode])
    state: dict[str, Any] = optimizer.state_dict()
    if how == "weights_only":
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
    else:
        state = copy.deepcopy(state) if how == "deepcopy" else pickle.loads(pickle.dumps(state))
    fresh.load_state_dict(state)
    whole, resumed = (train_steps(n, o, x, y, 15) for n, o in ((net, optimizer), (net2, fresh)))
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert fresh.schedule() == schedule


def test_the_optimizer_itself_can_be_copied_and_pickled() -> None:
    net, x, y = small()
    optimizer = SRSGD(net.parameters(), restart=5)
    train_steps(net, optimizer, x, y, 7)
    net2, optimizer2 = copy.deepcopy((net, optimizer))
    net3, optimizer3 = pickle.loads(pickle.dumps((net, optimizer)))
    runs = [
        train_steps(n, o, x, y, 9)
        for n, o in ((net, optimizer), (net2, optimizer2), (net3, optimizer3))
    ]
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda o: MultiStepLR(o, [4, 8]),
        lambda o: CosineAnnealingLR(o, 12),
        lambda o: LinearLR(o, start_factor=0.1, total_iters=5),
        lambda o: OneCycleLR(o, 0.2, total_steps=20, cycle_momentum=False),
    ],
)
def test_torch_schedulers_drive_it(make: Callable[[SRSGD], Any]) -> None:
    net, x, y = small()
    twin = copy.deepcopy(net)
    optimizer = SRSGD(net.parameters(), restart=6)
    literal = LiteralSRSGD(list(twin.parameters()), restarts.constant(6), 0.0)
    schedule = make(optimizer)
    for _ in range(15):
        lr = float(optimizer.param_groups[0]["lr"])
        train_steps(net, optimizer, x, y, 1, schedule=schedule)
        twin.zero_grad()
        nn.functional.cross_entropy(twin(x), y).backward()  # type: ignore[no-untyped-call]
        literal.step(lr)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_grad_scaler_skips_without_counting() -> None:
    w = nn.Parameter(torch.ones(3))
    optimizer = SRSGD([w], lr=0.1, restart=9)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor, counted in ((1.0, 1), (math.inf, 1), (1.0, 2)):
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        assert optimizer.param_groups[0]["count"] == counted
        assert w.isfinite().all()
    torch.testing.assert_close(w.detach(), torch.full((3,), 1 - 0.1 - 0.1 * 1.25))


def test_closures_run_with_gradients_on() -> None:
    w = nn.Parameter(torch.tensor([2.0]))
    optimizer = SRSGD([w], lr=0.1)

    def closure() -> float:
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    with torch.no_grad():
        assert optimizer.step(closure) == 4.0
    assert w.item() == pytest.approx(1.6)


def test_compiled_steps_are_right_and_not_compiled_again() -> None:
    net, x, y = small()
    twin = copy.deepcopy(net)
    optimizer, other = (SRSGD(n.parameters(), restart=5) for n in (net, twin))
    torch._dynamo.reset()

    def one_step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    compiled = torch.compile(one_step, backend="eager")
    torch._dynamo.utils.counters.clear()
    for _ in range(3):
        compiled()
    frames = torch._dynamo.utils.counters["frames"]["total"]
    for _ in range(9):
        compiled()
    assert torch._dynamo.utils.counters["frames"]["total"] == frames
    train_steps(twin, other, x, y, 12)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    assert optimizer.param_groups[0]["step"] == 12


@modes
def test_a_parameter_without_gradient_skips_and_starts_from_rest(mode: str) -> None:
    a, b = parameter([1.0, 2.0]), parameter([3.0])
    optimizer = SRSGD([a, b], lr=0.1, restart=50, **MODES[mode])
    velocity = torch.zeros(1, dtype=torch.float64)
    for t in range(12):
        a.grad = torch.ones_like(a)
        b.grad = None if t in (5, 6) else torch.ones_like(b)
        before = b.detach().clone()
        optimizer.step()
        if t in (5, 6):
            assert torch.equal(b.detach(), before)
            velocity.zero_()
        else:
            previous = (t - 1) / (t + 2) if t else 0.0
            velocity = previous * velocity - 0.1
            assert distance(b - before, -0.1 + t / (t + 3) * velocity) < 1e-12


def test_options_hold_for_their_group_only() -> None:
    a, b, c = (parameter([1.0]) for _ in range(3))
    optimizer = SRSGD(
        [{"params": [a], "lr": 1.0, "maximize": True}, {"params": [b], "restart": 1}], lr=0.5
    )
    optimizer.add_param_group({"params": [c], "weight_decay": 1.0, "foreach": True})
    for _ in range(2):
        for p in (a, b, c):
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert a.item() == pytest.approx(1 + 1 + 1.25)
    assert b.item() == pytest.approx(1 - 0.5 - 0.5)
    # c: w1 = 1 - 0.5 * 2 = 0; then d = 1, u = -0.5, w2 = 0 - 0.5 + 0.25 * -0.5
    assert c.item() == pytest.approx(-0.625)
    assert [g["count"] for g in optimizer.param_groups] == [2, 0, 2]


def test_mixed_number_formats_share_a_group() -> None:
    params = [nn.Parameter(torch.ones(2, dtype=d)) for d in (torch.float32, torch.float64)]
    optimizer = SRSGD(params, lr=0.1, restart=9)
    for _ in range(3):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    torch.testing.assert_close(params[0].double(), params[1])


def test_float32_is_nearer_to_the_exact_path_than_the_literal_loop() -> None:
    errors = {"ours": 0.0, "literal": 0.0}
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(2000, generator=generator)
        exact = nn.Parameter(start.double())
        ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
        schedule = restarts.constant(60)
        fast = SRSGD([ours], lr=0.02, restart=schedule)
        twins = [LiteralSRSGD([p], schedule, 0.0) for p in (exact, theirs)]
        for _ in range(200):
            noise = torch.randn(2000, generator=generator)
            exact.grad, ours.grad, theirs.grad = noise.double(), noise.clone(), noise.clone()
            fast.step()
            for twin in twins:
                twin.step(0.02)
        errors["ours"] += float((ours.double() - exact).detach().norm())
        errors["literal"] += float((theirs.double() - exact).detach().norm())
    assert errors["ours"] < errors["literal"]


W = [nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SRSGD(W, lr=-0.1), "0 <= lr < inf must hold, but got lr=-0.1"),
        (lambda: SRSGD(W, lr=math.nan), "0 <= lr < inf must hold, but got lr=nan"),
        (lambda: SRSGD(W, weight_decay=-1), "0 <= weight_decay < inf must hold"),
        (lambda: SRSGD(W, restart=0), "restart frequency F >= 1 must hold"),
        (lambda: SRSGD(W, restart=math.nan), "restart frequency F >= 1 must hold"),
        (lambda: SRSGD(W, foreach=True, fused=True), "foreach and fused exclude each other"),
        (lambda: SRSGD([{"params": W, "lr": -1}]), "0 <= lr < inf must hold"),
        (
            lambda: SRSGD([nn.Parameter(torch.ones(2, dtype=torch.complex64))], fused=True),
            "fused=True needs floating point parameters",
        ),
    ],
)
def test_bad_options(make: Callable[[], SRSGD], message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_sparse_gradients_are_refused() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = SRSGD(table.parameters())
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(RuntimeError, match="needs dense gradients"):
        optimizer.step()


def test_complex_parameters_move_like_their_two_parts() -> None:
    z = nn.Parameter(torch.tensor([1 + 2j], dtype=torch.complex128))
    parts = nn.Parameter(torch.view_as_real(z.detach()).clone())
    pair = [SRSGD([z], restart=4, weight_decay=0.1), SRSGD([parts], restart=4, weight_decay=0.1)]
    for t in range(9):
        z.grad = torch.tensor([t - 3j], dtype=torch.complex128)
        parts.grad = torch.view_as_real(z.grad).clone()
        for optimizer in pair:
            optimizer.step()
        torch.testing.assert_close(torch.view_as_real(z.detach()), parts.detach())


@pytest.mark.parametrize("period", [1, 2, 3, 7, 29, 50])
def test_a_constant_gradient_is_amplified_as_the_formula_says(period: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SRSGD([weight], lr=0.5, restart=period)
    ends = []
    for _ in range(4):
        for _ in range(period):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        ends.append(weight.item())
    moved = [-(b - a) / (0.5 * period) for a, b in zip([0.0, *ends], ends, strict=False)]
    assert moved == pytest.approx([restarts.amplification(period)] * 4, rel=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "more", "lr"),
    [
        ("srsgd", {"restart_f1": 33.0, "restart_kind": "constant"}, 0.2),
        ("srsgd", {"restart_f1": 34.0, "restart_convention": "as_published"}, 0.2),
        ("sgd", {"momentum": 0.8}, 0.2),
        ("sgd_nesterov", {"momentum": 0.8}, 0.2),
        ("sgd_plain", {}, 1.0),
    ],
)
def test_the_effective_rate_sets_the_rate(optimizer: str, more: dict[str, Any], lr: float) -> None:
    config = TrainConfig(optimizer=optimizer, effective_lr=1.0, **more)
    assert config.lr == pytest.approx(lr)
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("optimizer", ["adamw", "nesterov_no_restart"])
def test_the_effective_rate_is_refused_where_there_is_none(optimizer: str) -> None:
    with pytest.raises(ValueError, match="effective_lr needs an optimizer with a bounded momentum"):
        TrainConfig(optimizer=optimizer, effective_lr=1.0)
