"""SRSGD through torch.distributed.checkpoint, FSDP2 and ZeRO: what is loaded goes on as if uncut.

The cases for two processes share one spawn: :func:`ranks` runs all and returns what each found.
"""

from __future__ import annotations

import copy
import functools
import itertools
import os
import pickle
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from srsgd_ray.optim import SRSGD
from srsgd_ray.restarts import linear

MODES: dict[str, dict[str, Any]] = {
    "plain": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "default": {},
    "adaptive": {"adaptive": True},
}
SCHEDULE = linear(3, 2, [7])  # step 5 is within a cycle, and the schedule has two stages
pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.distributed:UserWarning", "ignore:.*TypedStorage:UserWarning"
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.LayerNorm(3))


def groups(model: nn.Module) -> list[dict[str, Any]]:
    params = dict(model.named_parameters())
    flat = [p for p in params.values() if p.ndim < 2]
    deep = [p for p in params.values() if p.ndim >= 2]
    return [{"params": deep, "weight_decay": 0.01, "lr_scale": 0.5}, {"params": flat, "lr": 0.05}]


def optimizer_of(model: nn.Module, **mode: Any) -> SRSGD:
    return SRSGD(groups(model), restart=SCHEDULE, **mode)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        draw = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 4, generator=draw), torch.randn(8, 3, generator=draw)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


def values(model: nn.Module) -> list[Tensor]:
    whole = (p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters())
    return [p.detach().clone() for p in whole]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def round_trip(
    folder: Path,
    make: Callable[[], nn.Module],
    options: StateDictOptions,
    mode: dict[str, Any],
    at: int = 5,
) -> tuple[bool, list[int]]:
    """Whether a run cut after some steps and saved by DCP equals an uncut one, and its counts."""
    model = make()
    optimizer = optimizer_of(model, **mode)
    train(model, optimizer, range(at))
    weights, state = get_state_dict(model, optimizer, options=options)
    if not options.full_state_dict:
        dcp.save({"model": weights, "optim": state}, checkpoint_id=folder, no_dist=not parallel())
    train(model, optimizer, range(at, 11))
    wanted = values(model)

    model = make()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    optimizer = optimizer_of(model, **mode)
    if not options.full_state_dict:
        new_weights, new_state = get_state_dict(model, optimizer, options=options)
        both = {"model": new_weights, "optim": new_state}
        dcp.load(both, checkpoint_id=folder, no_dist=not parallel())
        weights, state = both["model"], both["optim"]
    # In two calls: set_state_dict takes a rank's empty dict as "no model is meant", and waits.
    set_model_state_dict(model, weights, options=options)
    set_optimizer_state_dict(model, optimizer, state, options=options)
    train(model, optimizer, range(at, 11))
    return same(values(model), wanted), [group["step"] for group in optimizer.param_groups]


def parallel() -> bool:
    return dist.is_initialized()


KINDS = {"nested": {}, "flattened": {"flatten_optimizer_state_dict": True}}


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_checkpoint_of_one_process(kind: str, mode: str, tmp_path: Path) -> None:
    options = StateDictOptions(**KINDS[kind])
    assert round_trip(tmp_path, network, options, MODES[mode]) == (True, [11, 11])


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_checkpoint_before_and_right_after_the_first_step_and_at_a_restart(
    at: int, tmp_path: Path
) -> None:
    assert round_trip(tmp_path, network, StateDictOptions(), {}, at) == (True, [11, 11])


@pytest.mark.parametrize("mode", list(MODES))
def test_several_tools_may_probe_a_new_optimizer(mode: str) -> None:
    model, twin = network(), network()
    probed, other = optimizer_of(model, **MODES[mode]), optimizer_of(twin, **MODES[mode])
    rates = [group["lr"] for group in probed.param_groups]
    for _ in range(3):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        for group in probed.param_groups:
            group["lr"] = 0.0
        probed.step()
    for group, lr in zip(probed.param_groups, rates, strict=True):
        group["lr"] = lr
    train(model, probed, range(5))
    train(twin, other, range(5))
    assert [group["step"] for group in probed.param_groups] == [5, 5]
    assert same(values(model), values(twin))


@pytest.mark.parametrize("mode", list(MODES))
def test_asking_for_the_state_of_a_new_optimizer_counts_no_step(mode: str) -> None:
    model, twin = network(), network()
    asked, other = optimizer_of(model, **MODES[mode]), optimizer_of(twin, **MODES[mode])
    before = copy.deepcopy(asked.param_groups)
    state = get_optimizer_state_dict(model, asked)
    assert set(state["state"]) == {name for name, _ in model.named_parameters()}
    for old, new in zip(before, asked.param_groups, strict=True):
        assert {k: v for k, v in old.items() if k != "params"} == {
            k: v for k, v in new.items() if k != "params"
        }
    train(model, asked, range(7))
    train(twin, other, range(7))
    assert same(values(model), values(twin))


def test_a_state_without_buffers_is_not_counted_further_by_asking_for_it() -> None:
    """Version 0.1 made buffers in the second step: its state after the first has none."""
    model = network()
    optimizer = optimizer_of(model)
    train(model, optimizer, range(1))
    state = optimizer.state_dict()
    state["state"] = {}
    optimizer = optimizer_of(model)
    optimizer.load_state_dict(state)
    optimizer.zero_grad()
    get_optimizer_state_dict(model, optimizer)
    assert [group["step"] for group in optimizer.param_groups] == [1, 1]
    assert [group["count"] for group in optimizer.param_groups] == [1, 1]


def test_a_checkpoint_of_a_version_that_lacked_options_is_loaded_in_part(tmp_path: Path) -> None:
    model = network()
    optimizer = optimizer_of(model)
    train(model, optimizer, range(5))
    state = get_optimizer_state_dict(model, optimizer)
    for group in state["param_groups"]:
        del group["adaptive"], group["restarts"]  # as version 0.1
    dcp.save({"optim": state}, checkpoint_id=tmp_path, no_dist=True)
    other = network()
    other.load_state_dict(model.state_dict())
    fresh = SRSGD(groups(other), restart=77)
    both = {"optim": get_optimizer_state_dict(other, fresh)}
    planner = DefaultLoadPlanner(allow_partial_load=True)
    dcp.load(both, checkpoint_id=tmp_path, no_dist=True, planner=planner)
    set_optimizer_state_dict(other, fresh, both["optim"])
    for net, each in ((model, optimizer), (other, fresh)):
        train(net, each, range(5, 11))
    assert same(values(model), values(other))


def test_a_warm_up_that_begins_at_zero_counts_and_a_step_without_gradients_does_not() -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = SRSGD([w], lr=0.0)
    optimizer.step()  # as one does to quiet a learning-rate schedule
    assert (optimizer.param_groups[0]["step"], len(optimizer.state)) == (0, 0)
    w.grad = torch.ones(2)
    optimizer.step()
    assert optimizer.param_groups[0]["step"] == 1
    w.grad.zero_()
    optimizer.step()  # not the first any more
    assert optimizer.param_groups[0]["step"] == 2


def sharded(ignored: bool = False) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params={model[2].bias} if ignored else None)
    return model


def replicated() -> nn.Module:
    return nn.parallel.DistributedDataParallel(network())


def sharded_equals_whole(mode: dict[str, Any], ignored: bool = False) -> bool:
    model, twin = sharded(ignored), network()
    for net in (model, twin):
        train(net, optimizer_of(net, **mode), range(9))
    return all(
        torch.allclose(a, b, rtol=0, atol=1e-6)
        for a, b in zip(values(model), values(twin), strict=True)
    )


def zero_redundancy(mode: dict[str, Any]) -> bool:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model, twin = replicated(), network()
    params = [*model.parameters()]
    optimizer = ZeroRedundancyOptimizer(
        params, optimizer_class=SRSGD, lr=0.1, restart=SCHEDULE, weight_decay=0.01, **mode
    )
    other = SRSGD(twin.parameters(), lr=0.1, restart=SCHEDULE, weight_decay=0.01, **mode)
    train(model, optimizer, range(5))
    optimizer.consolidate_state_dict(to=0)
    saved = [copy.deepcopy(optimizer.state_dict()) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(saved, src=0)
    optimizer = ZeroRedundancyOptimizer(params, optimizer_class=SRSGD, lr=0.1, **mode)
    optimizer.load_state_dict(saved[0])
    train(model, optimizer, range(5, 9))
    train(twin, other, range(9))
    return same(values(model), values(twin))


FULL = {"full_state_dict": True}
IN_TWO: dict[str, Callable[[Path], Any]] = {
    **{
        f"{where.__name__} {kind} {mode}": functools.partial(
            round_trip, make=where, options=StateDictOptions(**KINDS[kind]), mode=MODES[mode]
        )
        for where, kind, mode in itertools.product((sharded, replicated), KINDS, MODES)
        if where is sharded or mode == "default"  # the others: in one process, above
    },
    **{
        f"full {mode}": functools.partial(
            round_trip, make=sharded, options=StateDictOptions(**FULL), mode=MODES[mode]
        )
        for mode in ("foreach", "fused")
    },
    "full, to the CPU, from rank 0": functools.partial(
        round_trip,
        make=sharded,
        options=StateDictOptions(**FULL, cpu_offload=True, broadcast_from_rank0=True),
        mode={},
    ),
    **{
        f"FSDP2 {mode}": lambda _, mode=mode: (sharded_equals_whole(MODES[mode]), [11, 11])
        for mode in MODES
    },
    **{  # DTensors and plain tensors in one group
        f"FSDP2 but for one parameter, {name}": lambda _, mode=mode: (
            sharded_equals_whole(mode, ignored=True),
            [11, 11],
        )
        for name, mode in {
            "foreach": MODES["foreach"],
            "adaptive, fused": {**MODES["fused"], **MODES["adaptive"]},
            "adaptive, plain": {**MODES["plain"], **MODES["adaptive"]},
        }.items()
    },
    **{
        f"ZeRO {mode}": lambda _, mode=mode: (zero_redundancy(MODES[mode]), [11, 11])
        for mode in MODES
        if mode != "adaptive"  # sums over the parameters of a process, which are not all
    },
}


def rank(number: int, port: int, folder: str, found: str) -> None:
    """One of the two processes: run all cases, write what came out."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=number, world_size=2)
    results: dict[str, Any] = {}
    for index, (name, case) in enumerate(IN_TWO.items()):
        try:
            results[name] = case(Path(folder) / str(index))
        except Exception:
            results[name] = traceback.format_exc()
    dist.destroy_process_group()
    Path(found).write_bytes(pickle.dumps(results))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the two processes found, case by case."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [folder / f"rank{number}" for number in (0, 1)]
    here = Path(__file__)
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as it; "
                f"it.rank({number}, {port}, {str(folder)!r}, {str(file)!r})",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, file in enumerate(files)
    ]
    try:
        for process in started:
            _, errors = process.communicate(timeout=200)
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()
    return [pickle.loads(file.read_bytes()) for file in files]


@pytest.mark.parametrize("name", list(IN_TWO))
def test_in_two_processes(name: str, ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert found[name] == (True, [11, 11]), found[name]
