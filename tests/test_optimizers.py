"""The optimizers of other packages, SAM around any, and the two modes of schedule-free ones."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from conftest import small
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from srsgd_ray.cli import main as cli
from srsgd_ray.config import OPTIMIZERS, TrainConfig
from srsgd_ray.models import build_model
from srsgd_ray.optim import SRSGD, baselines, build_lr_schedule, build_optimizer
from srsgd_ray.optim.sam import Sam
from srsgd_ray.optim.together import Together, set_mode
from srsgd_ray.testing import play
from srsgd_ray.trainables.image import IMAGE
from srsgd_ray.training import StopTraining, train
from srsgd_ray.training.checkpoint import load_checkpoint
from srsgd_ray.training.device import Precision
from srsgd_ray.training.step import Step
from srsgd_ray.training.timing import measure

ARMS: dict[str, dict[str, Any]] = {
    "adaptive_restart": {"lr": 0.05},
    "srsgd, adaptive": {"optimizer": "srsgd", "optimizer_options": {"adaptive": True}, "lr": 0.2},
    "schedule_free_sgd": {"lr": 1.0},
    "schedule_free_adamw": {"lr": 0.01, "warmup_epochs": 0.5},
    "muon": {"lr": 0.02},
    "muon, sgd": {"optimizer": "muon", "optimizer_fallback": "sgd", "fallback_lr": 0.1, "lr": 0.02},
    "sam, srsgd": {"optimizer": "srsgd", "sam_rho": 0.02, "lr": 0.2, "accumulate": 2},
    "sam, schedule_free_sgd": {"optimizer": "schedule_free_sgd", "sam_rho": 0.02, "lr": 3.0},
    "sam, muon": {"optimizer": "muon", "sam_rho": 0.05, "lr": 0.01, "clip_grad_norm": 1.0},
}  # fmt: skip
CLOCKS = {"train_seconds", "eval_seconds", "images_per_second", "time"}


def of(arm: str) -> TrainConfig:
    return small().replace(**{"optimizer": arm, "batch_size": 48, **ARMS[arm]}).check()


def numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


class Killed(Exception):
    pass


@pytest.mark.parametrize("arm", ARMS)
def test_each_trains_and_resumes_bit_for_bit(tmp_path: Path, arm: str) -> None:
    """After an epoch, and within one; a checkpoint within an epoch changes no number."""
    config = of(arm)
    whole = play(IMAGE, config)
    assert whole.state == "complete"
    losses = [row["train_loss"] for row in whole.rows]
    assert losses[-1] < 0.9 * losses[0]
    cut = play(IMAGE, config, folder=tmp_path / "a", cut_after=1)
    assert (len(cut.rows), cut.state) == (1, None)
    resumed = play(IMAGE, config, folder=tmp_path / "a")
    assert numbers(resumed.rows) == numbers(whole.rows)

    def progress(step: int) -> None:
        if step == 35:
            raise Killed

    rows: list[dict[str, Any]] = []
    within = config.replace(checkpoint_steps=5, seed=0)  # epochs of 24 steps
    folder = tmp_path / "b"
    with pytest.raises(Killed):
        train(within, lambda row, save: None, progress=progress, keep=lambda save: save(folder))
    train(within, lambda row, save: rows.append(row), resume_from=folder)
    assert numbers(rows) == numbers(whole.rows)


# Schedule-free.


def train_once(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """The checkpoint after the first epoch."""

    def report(row: dict[str, Any], save: Any) -> None:
        save(folder)
        raise StopTraining

    train(config, report)
    return load_checkpoint(folder, config)


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_what_is_evaluated_and_stored_is_the_average(tmp_path: Path, name: str) -> None:
    """The state is in eval mode: the parameters are x, with batch norm's statistics of x."""
    config = of(name)
    state = train_once(config, tmp_path)
    assert [group["train_mode"] for group in state["optimizer"]["param_groups"]] == [False]
    # x is the average of z, and z alone is stored: y of the next step follows from both.
    model = build_model(config, channels=1, classes=10)
    model.load_state_dict(state["model"])
    stored = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    from srsgd_ray.data import BatchFormat, load_dataset

    batches = load_dataset(config).train_batches(config, BatchFormat(torch.device("cpu")))
    update_bn((images for images, *_ in batches.epoch(0, 0, config.batch_size)), model)
    assert stored
    for key, value in stored.items():
        torch.testing.assert_close(value, model.state_dict()[key])
    optimizer = build_optimizer(model.named_parameters(), config, 9)
    optimizer.load_state_dict(state["optimizer"])
    before = [p.detach().clone() for p in model.parameters()]
    assert set_mode(optimizer, training=True)
    beta = config.momentum if name.endswith("sgd") else config.beta1
    for x, p in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), x.lerp(optimizer.state[p]["z"], 1 - beta))
    assert any((x != p).any() for x, p in zip(before, model.parameters(), strict=True))


def test_no_drop_of_the_learning_rate_reaches_a_schedule_free_optimizer() -> None:
    values = {"optimizer": "schedule_free_sgd", "epochs": 12, "lr_drops": (0.5, 0.75)}
    assert IMAGE.configure(values).lr_milestones == ()
    assert IMAGE.configure({**values, "optimizer": "sgd"}).lr_milestones == (6, 9)
    assert IMAGE.configure({**values, "lr_milestones": [3]}).lr_milestones == (3,)


def test_modes_reach_the_parts_of_a_joint_optimizer_and_are_not_needed() -> None:
    free = small().replace(optimizer="muon", optimizer_fallback="schedule_free_adamw")
    model = build_model(free, channels=1, classes=10)
    joint = build_optimizer(model.named_parameters(), free, 9)
    assert set_mode(joint, training=True)
    assert joint.param_groups[1]["train_mode"] is True
    assert not set_mode(SRSGD(model.parameters()), training=True)


def test_a_plan_can_time_them() -> None:
    for arm in ("schedule_free_sgd", "sam, muon"):
        assert measure(of(arm), limit=0.0).epoch > 0


# Muon.


class Net(nn.Module):
    """Input layer, hidden convolution and matrix, head; a vector in the shape of a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.stem = nn.Conv2d(1, 8, 3)
        self.mid = nn.Conv2d(8, 12, 3)
        self.wide = nn.Linear(12, 20)
        self.head = nn.Linear(20, 10)


def names_of(model: nn.Module, group: dict[str, Any]) -> set[str]:
    ids = {id(p) for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in ids}


def test_muon_takes_hidden_matrices_and_the_second_the_rest() -> None:
    model, config = Net(), TrainConfig(optimizer="muon", lr=0.02, fallback_lr=0.003, epochs=4)
    config = config.replace(lr_milestones=[1], weight_decay=0.1)
    joint = build_optimizer(model.named_parameters(), config, 9)
    assert isinstance(joint, Together)
    assert [type(part).__name__ for part in joint.parts] == ["Muon", "AdamW"]
    muon, adamw = joint.param_groups
    assert names_of(model, muon) == {"mid.weight", "wide.weight"}
    assert len(adamw["params"]) == 7
    assert (muon["lr"], adamw["lr"], muon["weight_decay"], adamw["weight_decay"]) == (
        0.02, 0.003, 0.1, 0.1)  # fmt: skip
    schedule = build_lr_schedule(joint, config, 9)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    joint.step()
    schedule.step()
    assert [group["lr"] for group in joint.param_groups] == pytest.approx([0.002, 0.0003])
    named = config.replace(optimizer_options={"rest": ["stem.*", "mid.*", "head.*"]})
    chosen = build_optimizer(model.named_parameters(), named, 9)
    assert names_of(model, chosen.param_groups[0]) == {"wide.weight"}
    one = build_optimizer(model.named_parameters(), config.replace(fallback_lr=0.0), 9)
    assert [group["lr"] for group in one.param_groups] == [0.02, 0.02]


@pytest.mark.parametrize("adjusted", [True, False])
def test_a_convolution_is_the_matrix_that_torchs_muon_would_be_given(adjusted: bool) -> None:
    """Kernels (out, in, h, w) as (out, in h w), by torch's own Muon, which takes matrices only."""
    torch.manual_seed(0)
    model = Net()
    config = TrainConfig(
        optimizer="muon",
        lr=0.1,
        weight_decay=0.1,
        optimizer_options={} if adjusted else {"use_adjusted_lr": False},
    )
    ours = build_optimizer(model.named_parameters(), config, 9)
    flat = nn.Parameter(model.mid.weight.detach().flatten(1).clone())
    theirs = torch.optim.Muon(
        [flat], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw" if adjusted else None
    )
    for _ in range(3):
        for p in model.parameters():
            p.grad = torch.randn_like(p)
        assert model.mid.weight.grad is not None
        flat.grad = model.mid.weight.grad.flatten(1).clone()
        before = flat.detach().clone()
        ours.step()
        theirs.step()
        moved = (flat.detach() - before).abs().max()
        # Both iterate in bfloat16.
        error = (model.mid.weight.detach().flatten(1) - flat.detach()).abs().max()
        assert error < 0.02 * moved
        flat.data.copy_(model.mid.weight.detach().flatten(1))


# SAM.


def one_step(**changes: Any) -> tuple[list[Tensor], nn.Module, Tensor, Tensor]:
    """Parameters before a step of plain SGD of length 1, the network after it, and the batch."""
    config = TrainConfig(
        model="own_parts:Tiny", optimizer="sgd_plain", lr=1.0, weight_decay=0.0, batch_size=48
    ).replace(**changes)
    model = build_model(config, channels=1, classes=10)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = build_optimizer(model.parameters(), config, 9)
    step = Step(config, model, optimizer, Precision(config, torch.device("cpu")))
    made = torch.Generator().manual_seed(1)
    images = torch.randn(48, 1, 8, 8, generator=made)
    labels = torch.randint(10, (48,), generator=made)
    step(images, labels, 1 / 48)
    return before, model, images, labels


@pytest.mark.parametrize("changes", [{}, {"accumulate": 5}, {"clip_grad_norm": 0.05}], ids=str)
def test_sam_takes_the_gradient_of_where_the_batch_leads_uphill(changes: dict[str, Any]) -> None:
    """Foret et al., equations 2 and 3: w - lr g(w + rho g(w) / |g(w)|)."""
    before, after, images, labels = one_step(sam_rho=0.5, **changes)
    config = TrainConfig(model="own_parts:Tiny")
    model = build_model(config, channels=1, classes=10)

    def gradient() -> list[Tensor]:
        loss = nn.functional.cross_entropy(model(images), labels)
        return list(torch.autograd.grad(loss, list(model.parameters())))

    first = gradient()
    norm = torch.stack([g.norm() for g in first]).norm()
    with torch.no_grad():
        for p, g in zip(model.parameters(), first, strict=True):
            p += 0.5 * g / norm
    second = gradient()
    length = torch.stack([g.norm() for g in second]).norm()
    scale = min(1.0, changes.get("clip_grad_norm", 9.0) / float(length))
    for start, p, g in zip(before, after.parameters(), second, strict=True):
        torch.testing.assert_close(p.detach(), start - scale * g, rtol=0, atol=1e-5)
    plain, *_ = [one_step(**changes)[1]]
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(
        after.parameters(), plain.parameters(), strict=True))  # fmt: skip


def test_sams_second_pass_leaves_batch_norms_statistics_alone() -> None:
    found = []
    for rho in (0.0, 0.5):
        config = small().replace(sam_rho=rho)
        model = build_model(config, channels=1, classes=10)
        optimizer = build_optimizer(model.parameters(), config, 9)
        step = Step(config, model, optimizer, Precision(config, torch.device("cpu")))
        made = torch.Generator().manual_seed(1)
        labels = torch.randint(10, (48,), generator=made)
        step(torch.randn(48, 1, 8, 8, generator=made), labels, 1 / 48)
        found.append({k: v for k, v in model.state_dict().items() if "running" in k})
    assert found[0]
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), key


def test_parameters_are_put_back_after_an_error() -> None:
    model = nn.Linear(3, 2)
    start = model.weight.detach().clone()
    model.weight.grad = torch.ones(2, 3)
    with pytest.raises(Killed), Sam(model, 0.5).uphill():
        assert not torch.equal(model.weight, start)
        raise Killed
    assert torch.equal(model.weight, start)


# Two processes.


def as_rank(rank: int, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    sys.path.append(str(Path(__file__).parent))
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    told = {name: tiny_rows(config) for name, config in TINY.items()}
    told["sharded"] = list(sharded())
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.barrier()
    # At once: a process that took its leave in order was once aborted by a thread of torch's
    # ("terminate called without an active exception").
    os._exit(0)


TINY = {
    name: TrainConfig(
        model="own_parts:Tiny", epochs=2, batch_size=64, threads=1, evaluate_test=True
    ).replace(**changes)
    for name, changes in {
        "sam": {"sam_rho": 0.2, "accumulate": 2, "restart_f1": 5},
        "free": {"optimizer": "schedule_free_sgd", "lr": 1.0},
        "adaptive": {"optimizer": "adaptive_restart", "lr": 0.2, "epochs": 4},
    }.items()
}


def tiny_rows(config: TrainConfig) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    train(config, lambda row, save: rows.append(row))
    return numbers(rows)


def sharded() -> Iterator[float]:
    """Steps of a small quadratic, whose adaptive restarts are decided over all shards."""
    shard = dist.is_initialized()
    w: Tensor = torch.ones(40, dtype=torch.float64)
    curvature: Tensor = torch.logspace(-4, 0, 40, dtype=torch.float64)
    if shard:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Shard, distribute_tensor

        place = partial(distribute_tensor, device_mesh=init_device_mesh("cpu", (2,)))
        w, curvature = (place(t, placements=[Shard(0)]) for t in (w, curvature))
    p = nn.Parameter(w)
    optimizer = SRSGD([p], lr=1.0, restart=float("inf"), adaptive=True)
    for _ in range(1200):
        p.grad = curvature * p.detach()
        optimizer.step()
    yield optimizer.param_groups[0]["restarts"]
    value = (curvature * p.detach() ** 2).sum()
    yield float(value.full_tensor() if shard else value)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(as_rank, (folder,), nprocs=2)  # type: ignore[no-untyped-call]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", TINY)
def test_two_processes_train_as_one(of_two: list[dict[str, Any]], name: str) -> None:
    """SAM's first gradient is of the whole batch, exchanged once a pass; no batch norm here."""
    for rows in (found[name] for found in of_two):
        for mine, theirs in zip(tiny_rows(TINY[name]), rows, strict=True):
            assert theirs["restarts"] == mine["restarts"]
            assert theirs["train_loss"] == pytest.approx(mine["train_loss"], rel=1e-3)
            assert theirs["val_loss"] == pytest.approx(mine["val_loss"], rel=1e-3)


def test_shards_of_a_parameter_decide_together(of_two: list[dict[str, Any]]) -> None:
    restarts, value = sharded()
    assert restarts > 0
    for found in of_two:
        assert found["sharded"] == [restarts, pytest.approx(value, rel=1e-6)]


# What cannot be.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "muon", "model": "own_parts:Tiny"},
         "optimizer='muon' needs a hidden matrix, but the network's are first.weight, last.weight"),
        ({"optimizer": "muon", "optimizer_options": {"momentumm": 1}},
         "unknown option 'momentumm' of optimizer='muon'"),
        ({"optimizer": "muon", "optimizer_options": {"adamw_lr": 1}},
         "unknown option 'adamw_lr' of optimizer='muon'"),
        ({"optimizer": "muon", "optimizer_options": {"rest": ["*"]}}, "needs a hidden matrix"),
        ({"optimizer": "muon", "optimizer_options": {"rest": ["no.such"]}},
         "optimizer_options.rest must name matrices of the network, but 'no.such' names none"),
        ({"optimizer": "schedule_free_sgd", "momentum": 0.0}, "Momentum must be between 0 and 1"),
        ({"optimizer": "schedule_free_sgd", "optimizer_options": {"momentum": 0.5}},
         "has its momentum from other knobs"),
        ({"optimizer": "adaptive_restart", "optimizer_options": {"adaptive": False}},
         "has its adaptive from other knobs"),
        ({"optimizer": "muon", "optimizer_fallback": "muno"}, "unknown optimizer 'muno'"),
        ({"sam_rho": 0.1, "precision": "float16"}, "sam_rho needs precision float32 or bfloat16"),
        ({"sam_rho": -0.1}, "sam_rho"),
        ({"optimizer": "adaptive_restart", "effective_lr": 0.1}, "effective_lr needs an optimizer"),
    ],
)  # fmt: skip
def test_bad_input(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        IMAGE.check_data(small().replace(**changes).check())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("words", "package"),
    [
        (["--optimizer", "schedule_free_adamw"], "schedulefree"),
        (["--optimizer", "muon"], "pytorch_optimizer"),
        (["--sam-rho", "0.1"], "pytorch_optimizer"),
    ],
)
def test_a_package_that_is_not_there(
    words: list[str], package: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Said in one line before anything is written, with what to install."""
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    assert cli(["train", *words, "--threads", "1", "--out", str(tmp_path / "new")]) == 2
    told = capsys.readouterr().err
    assert f"needs the package {package}, which is not installed here" in told
    assert "Run pip install 'srsgd-ray[optimizers]', on every node." in told
    assert not (tmp_path / "new").exists()
    changes = {"sam_rho": 0.1} if words[0] == "--sam-rho" else {"optimizer": words[1]}
    with pytest.raises(ValueError, match=package):
        IMAGE.check_data(small().replace(**changes))


def test_every_named_arm_is_tried_here_or_with_the_baselines() -> None:
    mine = {ARMS[arm].get("optimizer", arm) for arm in ARMS}
    assert {"adaptive_restart", "schedule_free_sgd", "schedule_free_adamw", "muon"} <= mine
    assert mine <= set(OPTIMIZERS)
