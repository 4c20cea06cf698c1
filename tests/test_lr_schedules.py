"""Learning-rate schedules: torch's where torch has them, warm-up, stages, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from srsgd_ray.config import TrainConfig
from srsgd_ray.lr_schedules import SCHEDULES, make_factor, stages
from srsgd_ray.optim import build_lr_schedule, build_optimizer


def factors(name: str, total: int, **options: Any) -> list[float]:
    factor = make_factor(name, options, total=total)
    return [factor(step) for step in range(total)]


def of_torch(kind: Any, total: int, **arguments: Any) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = kind(optimizer, **arguments)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("total", [10, 37, 400])
def test_cosine_and_one_cycle_are_torchs(total: int) -> None:
    theirs = of_torch(CosineAnnealingLR, total, T_max=total)
    assert factors("cosine", total) == pytest.approx(theirs, abs=1e-12)
    theirs = of_torch(OneCycleLR, total - 1, max_lr=1.0, total_steps=total, cycle_momentum=False)
    assert factors("one_cycle", total)[:-1] == pytest.approx(theirs, abs=1e-12)
    assert factors("one_cycle", total)[-1] == pytest.approx(4e-6)


def test_wsd_by_hand() -> None:
    assert factors("wsd", 10, decay=0.4) == pytest.approx([1] * 7 + [0.75, 0.5, 0.25])
    assert factors("wsd", 4, decay=0.5, final=0.5) == pytest.approx([1, 1, 1, 0.75])
    assert stages("wsd", {"decay": 0.4}, total=10) == [6]


def test_a_warm_up_goes_before_any_schedule() -> None:
    """Steps s of W rise by (s + 1)/(W + 1) to the first factor; the schedule has what is left."""
    for name in ("cosine", "wsd", "own_parts:halving"):
        with_warmup = make_factor(name, {}, total=50, warmup=4)
        without = make_factor(name, {}, total=46)
        assert [with_warmup(s) for s in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
        assert [with_warmup(s) for s in range(4, 50)] == [without(s) for s in range(46)]
    steps = make_factor("steps", {}, total=50, warmup=4, milestones=[10, 20], gamma=0.1)
    found = [steps(s) for s in (0, 3, 4, 9, 10, 19, 20)]
    assert found == pytest.approx([0.2, 0.8, 1, 1, 0.1, 0.1, 0.01])


def test_restarts_follow_the_schedule_or_milestones_of_their_own() -> None:
    config = TrainConfig(epochs=10, restart_f1=30, restart_kind="linear")
    assert config.replace(lr_milestones=(4, 8)).restart_stages(9) == [36, 72]
    assert config.replace(lr_schedule="cosine").restart_stages(9) == []
    assert config.replace(lr_schedule="wsd").restart_stages(9) == [72]
    assert config.replace(lr_schedule="one_cycle").restart_stages(9) == [27]
    late = config.replace(lr_schedule="wsd", warmup_epochs=1.0, restart_decay=False)
    assert late.restart_stages(10) == [10 + 72]
    own = config.replace(lr_schedule="cosine", restart_milestones=(3, 6)).check()
    assert own.restart_schedule(9).periods == (30, 60, 90)
    assert own.restart_schedule(9).starts == (0, 27, 54)
    both = config.replace(lr_milestones=(4,), restart_milestones=(3, 6))
    assert both.restart_stages(9) == [27, 54]


def test_one_cycle_leaves_the_momentum_of_srsgd_alone() -> None:
    config = TrainConfig(epochs=4, lr_schedule="one_cycle", restart_f1=5)
    steady = TrainConfig(epochs=4, restart_milestones=(1,), restart_f1=5)
    used = []
    for c in (config, steady.replace(restart_milestones=[])):
        w = nn.Parameter(torch.ones(1))
        optimizer = build_optimizer([w], c.check(), 10)
        schedule = build_lr_schedule(optimizer, c, 10)
        momenta = []
        for step in range(12):  # before the peak: one stage
            schedule.before(step)
            w.grad = torch.ones(1)
            optimizer.step()
            momenta.append(optimizer.param_groups[0]["momentum_used"])
        used.append(momenta)
    assert used[0] == used[1] == [k / (k + 3) for k in (0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1)]


def test_the_rate_of_a_step_is_a_function_of_the_step_alone() -> None:
    config = TrainConfig(optimizer="sgd", lr=0.5, epochs=4, lr_schedule="cosine", warmup_epochs=0.5)
    optimizer = build_optimizer([nn.Parameter(torch.ones(1))], config, 10)
    schedule = build_lr_schedule(optimizer, config, 10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 / 6)
    for step in (7, 39, 0, 7):
        schedule.before(step)
        assert optimizer.param_groups[0]["lr"] == 0.5 * config.lr_factor(10)(step)
    assert schedule.state_dict() == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr_schedule": "cosin"}, "unknown lr_schedule 'cosin'. Valid: steps, cosine, wsd"),
        ({"lr_schedule_options": {"final": 0.1}}, "lr_schedule='steps' takes no lr_schedule_op"),
        (
            {"lr_schedule": "wsd", "lr_schedule_options": {"decya": 0.1}},
            "unknown option 'decya' of lr_schedule='wsd'. Valid: decay, final. Did you mean",
        ),
        (
            {"lr_schedule": "wsd", "lr_schedule_options": {"decay": "long"}},
            "0 < decay <= 1 must hold, but got lr_schedule_options with decay='long'",
        ),
        (
            {"lr_schedule": "one_cycle", "lr_schedule_options": {"rise": 1.0}},
            "0 < rise < 1 must hold",
        ),
        ({"lr_schedule": "cosine", "lr_milestones": (3,)}, "belong to lr_schedule='steps'"),
        ({"lr_schedule": "wsd", "restart_decay": True}, "Give restart_milestones, in epochs"),
        (
            {"lr_schedule": "wsd", "restart_kind": "explicit", "restart_list": (5.0,)},
            "one frequency a stage, 2 for lr_schedule='wsd', but got 1",
        ),
        (
            {"restart_milestones": (2, 4), "restart_kind": "explicit", "restart_list": (5.0,)},
            "one frequency a stage, 3 for restart_milestones=(2, 4), but got 1",
        ),
        ({"restart_milestones": (4, 2)}, "0 < restart_milestones < epochs must hold and increase"),
        ({"warmup_epochs": 12.0}, "warmup_epochs < epochs must hold, but got warmup_epochs=12.0"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        TrainConfig().replace(**changes).check()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_parts:negative", "must give a number from 0, the factor of the learning rate, but"),
        ("own_parts:halvin", "does not exist: own_parts has no 'halvin'. Did you mean 'halving'?"),
        ("operator:eq", "but gave False at step 0"),
    ],
)
def test_schedules_of_the_user_that_are_none(name: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make_factor(name, {}, total=50)
    assert message in str(error.value)


def test_every_schedule_ends_finite_and_needs_no_torch() -> None:
    for name in SCHEDULES:
        for total in (1, 2, 3):
            assert all(math.isfinite(f) and 0 <= f <= 1 for f in factors(name, total))
    code = "import sys, srsgd_ray.lr_schedules; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
