"""Every optimizer that a config can name is the one it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import schedulefree
import torch
from torch import nn

from srsgd_ray.config import OPTIMIZERS, TrainConfig
from srsgd_ray.optim import SRSGD, build_lr_schedule, build_optimizer

GOLDEN = json.loads((Path(__file__).parent / "data" / "optimizer_trajectories.json").read_text())
A = torch.tensor(GOLDEN["problems"]["quad5"]["A"], dtype=torch.float64)
B = torch.tensor(GOLDEN["problems"]["quad5"]["b"], dtype=torch.float64)
CLASSES = {
    "srsgd": SRSGD,
    "nesterov_no_restart": SRSGD,
    "sgd": torch.optim.SGD,
    "sgd_nesterov": torch.optim.SGD,
    "sgd_plain": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "radam": torch.optim.RAdam,
    "adaptive_restart": SRSGD,
    "schedule_free_sgd": schedulefree.SGDScheduleFree,
    "schedule_free_adamw": schedulefree.AdamWScheduleFree,
}  # and muon, which is two: tests/test_optimizers.py


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "muon"])
def test_names_make_their_optimizer(name: str) -> None:
    config = TrainConfig(optimizer=name, lr=0.03, weight_decay=1e-3).check()
    optimizer = build_optimizer([nn.Parameter(torch.ones(2))], config, 9)
    assert type(optimizer) is CLASSES[name]
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.03, 1e-3)
    if name.startswith("sgd"):
        momentum = 0.0 if name == "sgd_plain" else 0.9
        assert (group["momentum"], group["nesterov"]) == (momentum, name == "sgd_nesterov")


@pytest.mark.parametrize("case", GOLDEN["torch_sgd_baselines"], ids=lambda c: str(c["args"]))
def test_sgd_meets_its_golden_vectors(case: dict) -> None:  # type: ignore[type-arg]
    arguments = case["args"]
    name = "sgd_nesterov" if arguments.get("nesterov") else "sgd"
    if not arguments.get("momentum"):
        name = "sgd_plain"
    config = TrainConfig(
        optimizer=name, lr=case["lr"], weight_decay=arguments.get("weight_decay", 0.0)
    )
    w = nn.Parameter(torch.tensor(case["start"], dtype=torch.float64))
    optimizer = build_optimizer([w], config, 9)
    for expected in case["params"]:
        w.grad = A @ w.detach() - B
        optimizer.step()
        assert float((w.detach() - torch.tensor(expected, dtype=torch.float64)).abs().max()) < 1e-12


def test_srsgd_gets_the_configs_schedule() -> None:
    config = TrainConfig(lr_milestones=(4, 8), restart_convention="as_published")
    optimizer = build_optimizer([nn.Parameter(torch.ones(2))], config, 9)
    assert isinstance(optimizer, SRSGD)
    assert optimizer.schedule() == config.restart_schedule(9)


def test_the_learning_rate_falls_at_its_milestones() -> None:
    config = TrainConfig(optimizer="sgd", lr=1.0, lr_milestones=(2, 3), lr_gamma=0.5)
    w = nn.Parameter(torch.ones(1))
    optimizer = build_optimizer([w], config, 9)
    schedule = build_lr_schedule(optimizer, config, 9)
    seen = []
    for _ in range(5):
        seen.append(optimizer.param_groups[0]["lr"])
        w.grad = torch.zeros_like(w)
        optimizer.step()
        schedule.step()
    assert seen == [1.0, 1.0, 0.5, 0.25, 0.25]
