"""SRSGD under others' training loops: each ends where a plain loop with the same batches ends.

ZeRO and FSDP2 are in ``test_optim_checkpoints.py``, ``torch.compile`` in ``test_srsgd.py``. What is
not installed is skipped: all of them are in the extra ``dev``.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from srsgd_ray.optim import SRSGD
from srsgd_ray.restarts import linear

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
STEPS, BATCH = 8, 4
OPTIONS: dict[str, Any] = {"lr": 0.1, "restart": linear(3, 2, [5]), "weight_decay": 0.01}


class Net(nn.Module):
    """What all of them take: Trainer wants a dict with the loss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": nn.functional.cross_entropy(self.net(x), labels)}


def data() -> TensorDataset:
    draw = torch.Generator().manual_seed(1)
    rows = STEPS * BATCH
    return TensorDataset(
        torch.randn(rows, 4, generator=draw), torch.randint(3, (rows,), generator=draw)
    )


def batches() -> DataLoader[Any]:
    return DataLoader(data(), BATCH)


def rate(step: int) -> float:
    return min(1.0, step / 3)  # a warm-up that begins at 0, as Trainer's does


def plain() -> list[Tensor]:
    """The plain loop: one epoch with a warm-up."""
    model = Net()
    optimizer = SRSGD(model.parameters(), **OPTIONS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for x, labels in batches():
        optimizer.zero_grad()
        model(x, labels)["loss"].backward()
        optimizer.step()
        schedule.step()
    return weights(model)


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def check(found: list[Tensor], wanted: list[Tensor] | None = None) -> None:
    for a, b in zip(found, wanted or plain(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("cut", [False, True])
def test_hugging_face_trainer(cut: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")

    class InOrder(transformers.Trainer):  # type: ignore[misc, name-defined]
        def get_train_dataloader(self) -> DataLoader[Any]:
            def rows(batch: list[Any]) -> dict[str, Tensor]:
                x, labels = zip(*batch, strict=True)
                return {"x": torch.stack(x), "labels": torch.stack(labels)}

            return DataLoader(data(), BATCH, collate_fn=rows)

    def trainer(stop: bool) -> Any:
        model = Net()
        optimizer = SRSGD(model.parameters(), **OPTIONS)
        arguments = transformers.TrainingArguments(
            str(tmp_path), num_train_epochs=1, save_steps=5, save_strategy="steps" if cut else "no",
            max_grad_norm=0, report_to="none", use_cpu=True, disable_tqdm=True,
            logging_strategy="no",
        )  # fmt: skip
        made = InOrder(
            model, arguments, train_dataset=data(),
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)),
        )  # fmt: skip
        made.remove_callback(transformers.PrinterCallback)
        if stop:
            made.add_callback(Stop())
        return made

    class Stop(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = state.global_step >= 5

    runner = trainer(stop=cut)
    runner.train()
    if cut:
        runner = trainer(stop=False)
        runner.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    check(weights(runner.model))


@pytest.mark.parametrize("cut", [False, True])
def test_lightning(cut: bool, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = Net()

        def configure_optimizers(self) -> Any:
            optimizer = SRSGD(self.model.parameters(), **OPTIONS)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

        def training_step(self, batch: Any, _: int) -> Tensor:
            return self.model(*batch)["loss"]  # type: ignore[no-any-return]

    def trainer(steps: int) -> Any:
        return Trainer(
            max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    module = Module()
    first = trainer(5 if cut else STEPS)
    first.fit(module, batches())
    if cut:
        first.save_checkpoint(tmp_path / "cut.ckpt")
        module = Module()
        # Lightning goes on at batch 5 but begins the loader anew: rows that are left come first.
        rows = TensorDataset(*(part.roll(-5 * BATCH, 0) for part in data().tensors))
        trainer(STEPS).fit(module, DataLoader(rows, BATCH), ckpt_path=tmp_path / "cut.ckpt")
    check(weights(module.model))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_accelerate(accumulation: int, tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    model = Net()
    optimizer = SRSGD(model.parameters(), **OPTIONS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    twin = Net()
    ours = SRSGD(twin.parameters(), **OPTIONS)
    theirs = torch.optim.lr_scheduler.LambdaLR(ours, rate)
    model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, batches(), schedule)
    for number, (x, labels) in enumerate(loader):
        with accelerator.accumulate(model):
            accelerator.backward(model(x, labels)["loss"])
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        (twin(x, labels)["loss"] / accumulation).backward()
        if (number + 1) % accumulation == 0:
            ours.step()
            ours.zero_grad()
            theirs.step()
        if number == 3:
            accelerator.save_state(tmp_path)
            with torch.no_grad():
                for p in model.parameters():
                    p.zero_()
            optimizer.optimizer.state.clear()
            accelerator.load_state(tmp_path)
    check(weights(model), weights(twin))
    if accumulation == 1:
        check(weights(model))


def test_timm_factory_layer_decay_and_schedule() -> None:
    timm = pytest.importorskip("timm")
    from timm.optim import OptimInfo, create_optimizer_v2
    from timm.optim._optim_factory import default_registry
    from timm.scheduler import CosineLRScheduler

    default_registry.register(OptimInfo("srsgd", SRSGD, has_eps=False))
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=3)
    twin = copy.deepcopy(model)
    optimizer = create_optimizer_v2(
        model, "srsgd", lr=0.1, weight_decay=0.01, layer_decay=0.5, restart=3
    )
    groups = optimizer.param_groups
    assert isinstance(optimizer, SRSGD)
    assert len({group["lr_scale"] for group in groups}) > 3
    assert {group["weight_decay"] for group in groups} == {0.0, 0.01}
    schedule = CosineLRScheduler(optimizer, t_initial=6, warmup_t=2, warmup_lr_init=0.01)
    named = dict(twin.named_parameters())
    by_id = {id(p): named[name] for name, p in model.named_parameters()}
    ours = SRSGD(
        [
            {"params": [by_id[id(p)] for p in g["params"]], "weight_decay": g["weight_decay"]}
            for g in groups
        ],
        restart=3,
    )
    x, y = torch.randn(2, 3, 160, 160), torch.tensor([0, 2])
    for step in range(4):
        schedule.step(step)
        for group, other in zip(groups, ours.param_groups, strict=True):
            other["lr"] = schedule._get_lr(step)[0] * group["lr_scale"]
        for net, each in ((model, optimizer), (twin, ours)):
            each.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            each.step()
    check(weights(model), weights(twin))
    other = create_optimizer_v2(model, "lookahead_srsgd", lr=0.1, restart=3)
    model(x).sum().backward()
    other.step()
    assert other.param_groups[0]["step"] == 1
