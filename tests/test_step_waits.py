"""A step waits for the device nowhere, and copies no number to it from the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from srsgd_ray.config import TrainConfig
from srsgd_ray.data import load_dataset
from srsgd_ray.training import loop
from srsgd_ray.training.outcome import Sums

ARMS = [{"optimizer": "srsgd"}, {"optimizer": "sgd", "accumulate": 2}]
WAIT, COPY = "aten._local_scalar_dense.default", "aten.lift_fresh.default"


class Crossings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what would wait for a GPU (``item``), or copy a number to it (``new_tensor``)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) in (WAIT, COPY):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def epoch_of(run: loop._Run) -> None:
    """Train an epoch, and forget that it was one."""
    run._train_epoch(0, lambda step: None, None)
    run.step, run.sums = 0, Sums()


@pytest.mark.parametrize("knobs", ARMS, ids=str)
def test_an_epoch_waits_once_however_many_steps_it_has(
    knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Crossings() as seen:
        torch.ones(1).new_tensor(3)
        torch.ones(1).item()
    assert seen.found == [COPY, WAIT]
    config = TrainConfig(width=4, threads=1, epochs=2, batch_size=400, **knobs).check()
    run = loop._Run(config, load_dataset)
    epoch_of(run)  # the optimizer makes its state at its first step
    assert run.steps_per_epoch == 3
    read, waits = torch.Tensor.tolist, []
    monkeypatch.setattr(torch.Tensor, "tolist", lambda own: waits.append(own.shape) or read(own))
    with Crossings() as seen:
        epoch_of(run)
    assert seen.found == []
    assert waits == [(4,)]  # where the losses are looked at: one a step, and the errors


class Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is dispatched, views apart."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view and func is not torch.ops.aten.detach.default
        return func(*args, **(kwargs or {}))


def test_the_loop_dispatches_three_calls_a_step_more_than_a_bare_one() -> None:
    """Sum of the losses, and the answers that are wrong; what an epoch has once is little."""
    run = loop._Run(TrainConfig(width=4, threads=1, batch_size=40), load_dataset)
    epoch_of(run)
    with Calls() as ours:
        epoch_of(run)
    with Calls() as bare:
        for images, labels, _ in run._batches(0):
            run.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(run.model(images), labels).backward()
            run.optimizer.step()
    more = ours.count - bare.count
    assert run.steps_per_epoch == 29 and 0 < more <= 3 * 29


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_cuda_itself_finds_no_wait() -> None:  # pragma: no cover
    run = loop._Run(TrainConfig(width=4, epochs=2).check(), load_dataset)
    epoch_of(run)
    images, labels, share = next(run._batches(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss, _ = run.one_step(images, labels, share)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
