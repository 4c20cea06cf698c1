"""The loop: the same numbers again, after a cut too, with two processes too, and its ends."""

from __future__ import annotations

import io
import json
import math
import os
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_parts
import pytest
import torch
import torch.distributed as dist
from conftest import small
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from srsgd_ray.cli import main as cli
from srsgd_ray.cli.train import study_of
from srsgd_ray.config import OPTIMIZERS, TrainConfig
from srsgd_ray.models import build_model
from srsgd_ray.optim import build_optimizer
from srsgd_ray.results import Record, read_epochs, read_predictions, read_record, write_tables
from srsgd_ray.results.columns import columns_of
from srsgd_ray.study import Study
from srsgd_ray.study.control import end_trial, stop_study
from srsgd_ray.study.rerun import rerun
from srsgd_ray.trainables.image import IMAGE
from srsgd_ray.training import (
    CheckpointError,
    Outcome,
    Save,
    StopTraining,
    distributed,
    load_checkpoint,
    train,
)
from srsgd_ray.training.checkpoint import save_checkpoint
from srsgd_ray.training.device import Precision, memory_format
from srsgd_ray.training.predictions import gathered
from srsgd_ray.training.step import Step

Rows = list[dict[str, Any]]
TIMES = {"train_seconds", "eval_seconds", "images_per_second", "time"}


def run(config: TrainConfig, **more: Any) -> tuple[Rows, Outcome]:
    rows: Rows = []
    outcome = train(config, lambda row, save: rows.append(row), **more)
    return rows, outcome


def numbers(rows: Rows) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def usual() -> Rows:
    """The rows of ``config`` uncut."""
    return numbers(run(small())[0])


def cut_after(config: TrainConfig, epoch: int, folder: Path, **more: Any) -> Rows:
    """Train until a checkpoint of ``epoch`` is written, then stop."""
    rows: Rows = []

    def report(row: dict[str, Any], save: Save | None) -> None:
        rows.append(row)
        if row["epoch"] == epoch:
            assert save is not None
            save(folder)
            raise StopTraining("cut")

    outcome = train(config, report, **more)
    assert (outcome.state, outcome.reason, outcome.epochs_done) == ("stopped", "cut", epoch)
    return rows


def test_rows_are_the_schema_and_training_learns(config: TrainConfig) -> None:
    changes = {"epochs": 6, "evaluate_test": True, "lr_milestones": [4], "batch_size": 32}
    rows, outcome = run(config.replace(**changes))
    assert outcome.state == "complete"
    measured = {"budget", "measure", "metric"}
    names = [c.name for c in columns_of(IMAGE)["epochs"] if c.role in measured]
    assert all(list(row) == names for row in rows)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows] == [36, 72, 108, 144, 180, 216]
    assert [row["epoch_lr"] for row in rows] == pytest.approx([0.1] * 4 + [0.01] * 2)
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"]
    assert rows[-1]["val_error"] < 50
    assert [row["test_error"] is None for row in rows] == [True] * 5 + [False]


def test_the_test_set_can_be_read_after_every_epoch_without_changing_the_run(
    config: TrainConfig,
) -> None:
    last, _ = run(config.replace(evaluate_test=True))
    every, _ = run(config.replace(evaluate_test=True, test_every_epoch=True))
    assert all(row["test_error"] is not None for row in every)
    assert last[-1]["test_error"] == every[-1]["test_error"]
    assert [row["train_loss"] for row in last] == [row["train_loss"] for row in every]
    assert [row["test_error"] for row in run(config.replace(test_every_epoch=True))[0]] == [
        None
    ] * 3


def test_statistics_over_all_workers_need_gpus(
    config: TrainConfig, usual: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, _ = run(config.replace(sync_batch_norm=True))
    assert [row["train_loss"] for row in alone] == [row["train_loss"] for row in usual]
    monkeypatch.setattr(distributed, "rank_and_size", lambda: (0, 2))
    with pytest.raises(ValueError, match="sync_batch_norm=True needs GPUs, but this worker has"):
        distributed.parallel(torch.nn.BatchNorm2d(3), torch.device("cpu"), sync_batch_norm=True)


def test_restarts_are_counted_as_scheduled(config: TrainConfig) -> None:
    rows, _ = run(config.replace(restart_f1=5, restart_growth=2.0))
    # Stage 1: steps 0-17, restarts at 5, 10, 15. Stage 2 from 18 (a restart), period 10.
    assert [row["restarts"] for row in rows] == [1, 3, 4]
    assert [row["restart_period"] for row in rows] == [5, 5, 10]
    rows, _ = run(config.replace(optimizer="sgd"))
    assert [(r["restarts"], r["restart_period"]) for r in rows] == [(0, None)] * 3


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_resumed_is_bit_equal_to_uncut(tmp_path: Path, config: TrainConfig, optimizer: str) -> None:
    config = config.replace(optimizer=optimizer, lr=0.01 if "ad" in optimizer else 0.1)
    whole, _ = run(config)
    cut_after(config, 1, tmp_path)
    cut_after(config, 2, tmp_path, resume_from=tmp_path)
    resumed, outcome = run(config, resume_from=tmp_path)
    assert numbers(resumed) == numbers(whole)
    assert outcome.state == "complete"


class Killed(Exception):
    """A crash in the middle of an epoch."""


@pytest.mark.parametrize(
    ("every", "killed_at", "goes_on_at"), [(5, 16, 14), (7, 17, 16), (6, 13, 9)]
)
def test_a_run_cut_within_an_epoch_goes_on_at_the_next_step(
    tmp_path: Path, config: TrainConfig, usual: Rows, every: int, killed_at: int, goes_on_at: int
) -> None:
    config = config.replace(checkpoint_steps=every)  # epochs of 9 steps
    steps: list[int] = []

    def progress(step: int) -> None:
        steps.append(step)
        if step == killed_at:
            raise Killed

    def report(row: dict[str, Any], save: Save | None) -> None:
        if save is not None:
            save(tmp_path)

    def keep(save: Save) -> None:
        save(tmp_path)

    with pytest.raises(Killed):
        train(config, report, progress=progress, keep=keep)
    steps.clear()
    resumed, outcome = run(config, resume_from=tmp_path, progress=steps.append)
    assert outcome.state == "complete"
    assert steps == list(range(goes_on_at + 1, 28))
    assert numbers(resumed) == usual


@pytest.mark.parametrize(
    "changes",
    [
        {"lr_schedule": "cosine", "warmup_epochs": 0.5},
        {"lr_schedule": "wsd", "lr_schedule_options": {"decay": 0.5}, "restart_f1": 5},
        {"lr_schedule": "one_cycle", "accumulate": 3, "clip_grad_norm": 0.5},
        {"lr_milestones": [2], "warmup_epochs": 1.2, "label_smoothing": 0.1},
        {"lr_schedule": "own_parts:halving", "optimizer": "torch.optim:NAdam", "lr": 0.01},
    ],
    ids=lambda changes: str(changes.get("lr_schedule")),
)
def test_a_rate_that_changes_each_step_goes_on_within_an_epoch(
    tmp_path: Path, config: TrainConfig, changes: dict[str, Any]
) -> None:
    config = config.replace(checkpoint_steps=4, **{"lr_milestones": [], **changes})
    whole, _ = run(config)
    kept = []

    def keep(save: Save) -> None:
        kept.append(save(tmp_path))
        if len(kept) == 4:  # after steps 4, 8, 13 and 17: epochs have 9
            raise Killed

    with pytest.raises(Killed):
        train(config, lambda row, save: save and save(tmp_path), keep=keep)
    steps: list[int] = []
    resumed, _ = run(config, resume_from=tmp_path, progress=steps.append)
    assert steps == list(range(18, 28))
    assert numbers(resumed) == numbers(whole)


def test_the_rate_of_each_step_reaches_the_optimizer(config: TrainConfig) -> None:
    config = config.replace(lr_schedule="cosine", lr_milestones=[], warmup_epochs=1.0)
    rows, _ = run(config)
    factor = config.lr_factor(9)
    assert [row["epoch_lr"] for row in rows] == [0.1 * factor(step) for step in (0, 9, 18)]
    assert rows[0]["epoch_lr"] == pytest.approx(0.01)
    own_parts.Signs.used.clear()
    run(config.replace(optimizer="own_parts:Signs"))
    assert own_parts.Signs.used == [0.1 * factor(step) for step in range(27)]


def one_update(changes: dict[str, Any], images: int = 48) -> tuple[list[torch.Tensor], float]:
    """A step of plain SGD of length 1 on a network without batch norm: what it moved by."""
    config = TrainConfig(
        model="own_parts:Tiny", optimizer="sgd_plain", lr=1.0, weight_decay=0.0
    ).replace(**changes)
    model = build_model(config, channels=1, classes=10)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = build_optimizer(model.parameters(), config, 9)
    step = Step(config, model, optimizer, Precision(config, torch.device("cpu")))
    made = torch.Generator().manual_seed(1)
    batch = torch.randn(images, 1, 8, 8, generator=made)
    labels = torch.randint(10, (images,), generator=made)
    loss, _ = step(batch, labels, 1 / images)
    moved = [a - b.detach() for a, b in zip(before, model.parameters(), strict=True)]
    return moved, float(loss)


@pytest.mark.parametrize("parts", [2, 5, 48, 100])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_micro_batches_have_the_gradient_of_the_batch(parts: int, precision: str) -> None:
    whole, loss = one_update({"precision": precision, "batch_size": 128})
    some, also = one_update({"precision": precision, "batch_size": 128, "accumulate": parts})
    close = {"float32": 1e-6, "float16": 1e-3}[precision]
    assert also == pytest.approx(loss, rel=close)
    for a, b in zip(whole, some, strict=True):
        assert torch.allclose(a, b, atol=close)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_clipped_gradient_has_the_norm(precision: str) -> None:
    free, _ = one_update({"precision": precision})
    clipped, _ = one_update({"precision": precision, "clip_grad_norm": 0.1})
    loose, _ = one_update({"precision": precision, "clip_grad_norm": 1e6})
    norm = torch.stack([m.norm() for m in free]).norm()
    assert norm > 0.2
    assert float(torch.stack([m.norm() for m in clipped]).norm()) == pytest.approx(0.1, rel=1e-3)
    for whole, some, same in zip(free, clipped, loose, strict=True):
        assert torch.allclose(some, whole * 0.1 / norm, atol=1e-4)
        assert torch.equal(same, whole)


def test_smoothed_labels_are_torchs() -> None:
    _, plain = one_update({})
    _, smooth = one_update({"label_smoothing": 0.2})
    config = TrainConfig(model="own_parts:Tiny")
    made = torch.Generator().manual_seed(1)
    logits = build_model(config, channels=1, classes=10)(
        torch.randn(48, 1, 8, 8, generator=made)
    ).log_softmax(1)
    spread = -float(logits.mean(1).sum().detach())
    assert smooth == pytest.approx(0.8 * plain + 0.2 * spread, rel=1e-5)


def test_a_resumed_epoch_is_timed_by_what_was_trained_after_it(
    tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 of 9 steps were done before the cut, so that one batch counts, and not all 1,150 images."""
    config = config.replace(checkpoint_steps=8, epochs=1, lr_milestones=[])

    def keep(save: Save) -> None:
        save(tmp_path)
        raise Killed

    with pytest.raises(Killed):
        train(config, lambda row, save: None, keep=keep)
    rows, _ = run(config, resume_from=tmp_path)
    trained = rows[0]["images_per_second"] * rows[0]["train_seconds"]
    assert trained == pytest.approx(1150 / 9)


def test_the_global_generator_is_left_alone_and_not_read(config: TrainConfig, usual: Rows) -> None:
    torch.manual_seed(2)  # `usual` began with another state
    before = torch.get_rng_state()
    assert numbers(run(config)[0]) == usual
    assert torch.equal(torch.get_rng_state(), before)
    assert numbers(run(config.replace(seed=1))[0]) != usual


def test_paired_seeds_share_initialisation_and_order(config: TrainConfig) -> None:
    """The first step of every optimizer sees the same images and the same network."""
    first = {}
    for optimizer in ("srsgd", "sgd", "sgd_plain"):
        rows, _ = run(config.replace(optimizer=optimizer, lr=1e-30, epochs=1, lr_milestones=[]))
        first[optimizer] = (rows[0]["train_loss"], rows[0]["train_error"])
    assert len(set(first.values())) == 1


def test_divergence_is_a_result(config: TrainConfig) -> None:
    rows, outcome = run(config.replace(lr=1e30))
    assert outcome.state == "diverged"
    # Step 0 still sees the fresh network; its update makes the next loss overflow.
    assert outcome.diverged_step == 1
    assert outcome.reason == "diverged at step 1"
    assert outcome.epochs_done == len(rows) == 0


def test_validation_off_and_larger_training_set(config: TrainConfig) -> None:
    rows, _ = run(config.replace(train_on="train+validation", epochs=1, lr_milestones=[]))
    assert rows[0]["val_error"] is None
    assert rows[0]["step"] == math.ceil(1437 / 128)


def test_a_compiled_step_trains_and_resumes_as_another(
    tmp_path: Path, config: TrainConfig, usual: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend is one that needs no C++ compiler, and calls what the plain step calls."""
    modes: list[str] = []

    def compiled(work: Callable[..., Any], mode: str, **how: Any) -> Callable[..., Any]:
        modes.append(mode)
        return real(work, backend="eager", **how)

    real = torch.compile
    monkeypatch.setattr(torch, "compile", compiled)
    config = config.replace(compile="reduce-overhead")
    assert numbers(cut_after(config, 2, tmp_path)) == usual[:2]
    state = load_checkpoint(tmp_path, config)
    assert not [key for key in state["model"] if "_orig_mod" in key]
    resumed, _ = run(config, resume_from=tmp_path)
    assert numbers(resumed) == usual
    assert modes == 2 * ["reduce-overhead"]


def test_mixed_precision_runs_on_the_cpu(config: TrainConfig, usual: Rows) -> None:
    exact = usual
    for precision in ("bfloat16", "float16"):
        rows, outcome = run(config.replace(precision=precision, epochs=1, lr_milestones=[]))
        assert outcome.state == "complete"
        assert rows[0]["train_loss"] == pytest.approx(exact[0]["train_loss"], rel=0.05)
        assert rows[0]["train_loss"] != exact[0]["train_loss"]


def test_channels_last_and_deterministic_change_no_result(config: TrainConfig) -> None:
    short = config.replace(epochs=1, lr_milestones=[], width=8)
    exact, _ = run(short.replace(channels_last="off"))
    rows, _ = run(short.replace(channels_last="on", deterministic=True))
    assert not torch.are_deterministic_algorithms_enabled()
    assert rows[0]["train_loss"] == pytest.approx(exact[0]["train_loss"], rel=1e-4)


def test_a_run_in_channels_last_resumes_as_the_uncut_one(
    tmp_path: Path, config: TrainConfig
) -> None:
    config = config.replace(epochs=2, lr_milestones=[1], width=8)
    uncut, _ = run(config)
    cut_after(config, 1, tmp_path)
    weight = load_checkpoint(tmp_path, config)["model"]["stages.0.0.conv1.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert numbers(run(config, resume_from=tmp_path)[0]) == numbers(uncut)


@pytest.mark.parametrize(
    ("changes", "faster"),
    [
        ({}, True),
        ({"width": 4}, False),  # torch would abort
        ({"model": "torchvision.models:resnet18"}, True),
        ({"model": "vgg", "depth": 11, "dataset": "cifar10"}, False),
        ({"model": "own_parts:Tiny"}, False),
    ],
)
def test_channels_last_is_on_where_it_is_faster(changes: dict[str, Any], faster: bool) -> None:
    config = TrainConfig(**changes)
    model = build_model(config, channels=3, classes=10)
    for wanted, cpu, gpu in (
        ("where_faster", faster, True),
        ("auto", False, True),
        ("off", False, False),
    ):
        found = [
            memory_format(config.replace(channels_last=wanted), torch.device(name), model)
            for name in ("cpu", "cuda")
        ]
        assert [format is torch.channels_last for format in found] == [cpu, gpu], wanted


def test_channels_last_is_refused_where_torch_would_abort(config: TrainConfig) -> None:
    with pytest.raises(ValueError, match=r"shortcut.* has 4. Use channels_last='off'"):
        run(config.replace(channels_last="on", device="cpu"))


def test_threads_are_put_back(config: TrainConfig) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    train(config.replace(threads=1), lambda row, save: seen.append(torch.get_num_threads()))
    assert seen == [1, 1, 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.2}, "belongs to another run: lr=0.1 (now 0.2)"),
        ({"seed": 4, "epochs": 5}, "epochs=3 (now 5), seed=0 (now 4)"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, config: TrainConfig, changes: dict[str, Any], message: str
) -> None:
    cut_after(config, 1, tmp_path)
    with pytest.raises(CheckpointError) as error:
        run(config.replace(**changes), resume_from=tmp_path)
    assert message in str(error.value)


def test_a_checkpoint_from_before_a_knob_came_goes_on(
    tmp_path: Path, config: TrainConfig, usual: Rows
) -> None:
    cut_after(config, 1, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for name in ("accumulate", "lr_schedule", "model_options"):
        del state["config"][name]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert numbers(run(config, resume_from=tmp_path)[0]) == usual
    with pytest.raises(CheckpointError, match=r"another run: accumulate=1 \(now 2\)"):
        run(config.replace(accumulate=2), resume_from=tmp_path)


def test_an_interruption_while_a_checkpoint_is_written_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch tells of a position instead, so that a run that was stopped ended in a traceback."""

    class Interrupted(io.BytesIO):
        left = 2

        def write(self, data: Any) -> int:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().write(data)

    monkeypatch.setattr(Path, "open", lambda self, mode: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, {"model": torch.ones(3)})


def test_missing_and_damaged_checkpoints_are_refused(tmp_path: Path, config: TrainConfig) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint: expected"):
        run(config, resume_from=tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        run(config, resume_from=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda:7"}, "needs GPU 7, but this process sees"),
        ({"device": "quantum"}, "device must be auto, cpu, cuda or cuda:N"),
        ({"dataset": "cifar10", "data_dir": "/nonexistent"}, "/nonexistent"),
    ],
)
def test_what_is_not_there_is_refused(
    config: TrainConfig, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        run(config.replace(**changes))
    assert message in str(error.value)


def main(words: list[str]) -> int:
    return cli(["train", *words])


ARGUMENTS = ["--epochs", "3", "--lr-milestones", "2", "--width", "4", "--threads", "1", "--out"]


def test_command_line_runs_resumes_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*ARGUMENTS, str(out)]) == 0
    assert "epoch 3/3" in capsys.readouterr().out
    assert read_epochs(out)["epoch"].tolist() == [1, 2, 3]
    assert main([*ARGUMENTS, str(out)]) == 2
    assert "already holds a study. Resume it with --resume, or choose another name with --out." in (
        capsys.readouterr().err
    )
    assert main([*ARGUMENTS, str(out), "--resume", "--lr", "0.3"]) == 2
    error = capsys.readouterr().err
    assert (
        "holds another run: lr=0.1 (now 0.3)." in error
        and f"`srsgd-ray resume {out}` goes on" in error
    )
    assert main([*ARGUMENTS, str(tmp_path / "bad"), "--optimizer", "sdg"]) == 2
    assert "unknown optimizer 'sdg'" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()
    assert main([*ARGUMENTS, str(tmp_path / "hot"), "--lr", "1e30"]) == 1
    assert "diverged at step" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--evaluate-test"]])
def test_a_run_is_a_study_of_one_trial_to_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    out = tmp_path / "run"
    assert main([*ARGUMENTS, str(out), *more]) == 0
    contents = read_record(out)
    (trial,) = contents.trials.values()
    study = Study.from_dict(contents.header["spec"]).check()
    arm = study.arms[0].name
    config = study.plain(arm, {})
    if more:
        config = study.confirmed(config, study.confirmation_seed(0, 0))
    assert (trial.config, trial.phase) == (config, "confirm" if more else "search")
    assert numbers(trial.rows) == numbers(run(TrainConfig.from_dict(trial.config))[0])
    assert rerun(out, trial.trial).equal
    last = trial.rows[-1]
    for verb, said in (
        ("table", f"{last['test_error' if more else 'val_error']:.2f}"),
        ("report", str(out / "report.html")),
        ("columns", "val_error"),
        ("resume", "epoch 3/3"),
    ):
        capsys.readouterr()
        assert cli([verb, str(out)]) == 0
        assert said in capsys.readouterr().out
    log = (out / "log.txt").read_text()
    assert f"{trial.trial} ends complete: val_error {last['val_error']:.6g}" in log
    predicted = read_predictions(out)
    assert len(predicted) == (360 if more else 0)
    if more:
        wrong = (predicted["label"] != predicted["predicted"]).mean()
        assert 100 * wrong == pytest.approx(last["test_error"])
    assert cli(["resume", str(out), "--slots", "2"]) == 2
    assert "goes on as it was started, but got --slots" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7, "train_on": "train+validation"},
        {"optimizer": "schedule_free_sgd", "lr_milestones": []},
        {"lr_schedule": "cosine", "epochs": 5, "lr_milestones": [], "restart_list": [4.0]},
        {
            "evaluate_test": True,
            "validation_fraction": 0.0,
            "optimizer": "adam",
            "optimizer_options": {"eps": 0.001},
        },
    ],
)
def test_the_study_of_a_run_means_its_very_knobs(changes: dict[str, Any]) -> None:
    config = TrainConfig.from_dict(changes)
    study = Study.from_dict(json.loads(json.dumps(study_of(config, "n").to_dict())))
    found = study.check().plain(config.optimizer, {})
    if config.evaluate_test:
        found = study.confirmed(found, study.confirmation_seed(0, 0))
    assert found == config.to_dict()


def test_runs_of_older_versions_stay_readable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small()
    made = {"study": "old", "config": config.to_dict()}
    with Record.create(tmp_path / "old", made) as record:
        record.begin("single-run-000", "single", "srsgd", 0, config.to_dict())
        rows = cut_after(config, 2, tmp_path / "old")
        for row in rows:
            record.epoch("single-run-000", row)
        write_tables(tmp_path / "old", record.contents)
    assert cli(["table", str(tmp_path / "old")]) == 0
    assert cli(["resume", str(tmp_path / "old")]) == 0
    assert "epoch 3/3" in capsys.readouterr().out
    (trial,) = read_record(tmp_path / "old").trials.values()
    assert (trial.state, len(trial.rows)) == ("complete", 3)
    assert (tmp_path / "old" / "report.html").is_file()
    for verb in ("run", "plan"):
        assert cli([verb, str(tmp_path / "old")]) == 2
        assert "holds a training run of an older version" in capsys.readouterr().err


def test_a_run_is_stopped_from_another_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, said = tmp_path / "run", []

    def ask() -> None:
        while not (out / "epochs.parquet").is_file():
            time.sleep(0.05)
        with pytest.raises(ValueError, match="a training run ends as a whole"):
            end_trial(out, "stop", "search-srsgd-000", limit=30.0)
        said.append(stop_study(out, 30.0))

    user = threading.Thread(target=ask, daemon=True)
    user.start()
    words = [*ARGUMENTS, str(out), "--epochs", "500", "--lr-milestones", "--lr", "0.01"]
    assert main(words) == 143
    user.join(30.0)
    assert said == ["the study has stopped in order"]
    assert "Resume with: " in capsys.readouterr().err
    contents = read_record(out)
    (trial,) = contents.trials.values()
    assert trial.end is None and 0 < len(trial.rows) < 500
    assert (out / "log.txt").read_text().splitlines()[-1].endswith("the session ends")


def nothing_there(folder: Path) -> bool:
    return not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--dataset", "cifar10", "--data-dir", "NOWHERE"],
            "cifar10 not found: expected the folder",
        ),
        (
            ["--dataset", "imagenet", "--model", "imagenet_resnet18", "--data-dir", "NOWHERE"],
            "NOWHERE",
        ),
        (["--device", "cuda:99"], "device='cuda:99' needs GPU 99, but this process sees"),
        (["--device", "quantum"], "device must be auto, cpu, cuda or cuda:N"),
        (["--model", "imagenet_vgg11"], "(1 channels, 8 x 8 pixels), but its forward pass fails"),
        (["--model", "my_nets:Tiny"], "model 'my_nets:Tiny' cannot be imported here"),
        (
            ["--dataset", "own_parts:wrong", "--dataset-options", "what=nothing"],
            "returned a NoneType",
        ),
        (["--optimizer", "torch.optim:Muon"], "does not take all parameters of the network: Muon"),
        (["--optimizer", "torch.optim:LBFGS"], "must make its step without a closure"),
        (["--lr-schedule", "own_parts:negative", "--lr-milestones"], "must give a number from 0"),
        (["--optimizer-options", "eps"], "--optimizer-options must be NAME=VALUE pairs or a JSON"),
        (["--optimizer-options", "{eps: 1}"], "--optimizer-options must be NAME=VALUE pairs or a"),
        (["--validation-fraction", "0.0001"], "0 of 1437 images. Use 0 for no validation"),
        (["--label-smoothing", "1"], "0 <= label_smoothing < 1 must hold"),
        (["--resume"], "no study to resume: expected"),
    ],
)
def test_a_refused_start_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status = main([*ARGUMENTS, str(tmp_path / "out" / "run"), *arguments])
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert message in said.err and said.err.startswith("srsgd-ray train: ")
    assert said.err.count("\n") == 1 and nothing_there(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "run", tmp_path / "file"):
        assert main([*ARGUMENTS, str(out)]) == 2
        said = capsys.readouterr().err
        assert f"results must go into a folder that can be written, but {out} cannot: " in said
        assert "Choose another with --out." in said
        assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_parts_and_their_options_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["--model", "own_parts:Tiny", "--model-options", "width=5", "--optimizer", "adam"]
    parts += ["--optimizer-options", '{"eps": 0.001, "amsgrad": true}', "--lr", "0.01"]
    parts += ["--warmup-epochs", "0.5", "--dataset", "own_parts:made", "--batch-size", "16"]
    assert main([*ARGUMENTS, str(tmp_path / "run"), *parts]) == 0
    assert "epoch 3/3" in capsys.readouterr().out
    found = read_epochs(tmp_path / "run")
    assert json.loads(found["model_options"][0]) == {"width": 5}
    assert json.loads(found["optimizer_options"][0]) == {"eps": 0.001, "amsgrad": True}
    assert main([*ARGUMENTS, str(tmp_path / "run"), *parts, "--resume"]) == 0
    capsys.readouterr()
    other = [*parts, "--model-options", "width=6", "--resume"]
    assert main([*ARGUMENTS, str(tmp_path / "run"), *other]) == 2
    said = "holds another run: model_options='{\"width\": 5}' (now '{\"width\": 6}')."
    assert said in capsys.readouterr().err


def test_two_processes_train_the_same_images_and_agree(tmp_path: Path, torchrun: Path) -> None:
    """One is this process, the two are torchrun's."""
    ends = {}
    for name, folder in (("one", tmp_path), ("two", torchrun)):
        if name == "one":
            # Plain SGD without batch statistics would be equal; with them the ranks' halves differ.
            assert main([*ARGUMENTS, str(folder / name), "--batch-size", "64"]) == 0
        ends[name] = read_record(folder / name).trials["search-srsgd-000"]
    one, two = ends["one"].rows, ends["two"].rows
    assert [r["step"] for r in one] == [r["step"] for r in two] == [18, 36, 54]
    # Each rank normalises by its own half of the batch, so the losses agree only roughly.
    assert two[0]["train_loss"] == pytest.approx(one[0]["train_loss"], rel=0.1)
    assert two[-1]["val_loss"] == pytest.approx(one[-1]["val_loss"], rel=0.5)
    end = ends["two"].end
    assert end is not None
    assert (end["workers"], end["state"]) == (2, "complete")


def as_rank(rank: int, folder: Path) -> None:
    """What a process does: a whole run, one that breaks off in an epoch and its rest, and parts."""
    cut = small().replace(checkpoint_steps=2)  # epochs of 9 steps
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {"whole": run(cut.replace(checkpoint_steps=0))[0]}

    def progress(step: int) -> None:
        if step == 15:
            raise Killed

    try:
        run(cut, progress=progress, keep=lambda save: save(folder))
    except Killed:
        dist.barrier()
    found["resumed"] = run(cut, resume_from=folder)[0]
    seen: list[Any] = []
    real: Any = torch.compile  # by a backend that needs no C++ compiler
    torch.compile = lambda work, mode, **how: real(work, backend="eager", **how)  # type: ignore[assignment]
    for parts, knobs in {
        "1": {},
        "4": {"accumulate": 4},
        "static": {"static_graph": True},
        "compiled": {"compile": "default"},
    }.items():
        config = TINY.replace(**knobs)
        found[parts] = run(config, predictions=lambda *both: seen.append(both))[0]
    wide = small().replace(epochs=1, lr_milestones=[], width=8)
    found["views"] = run(wide)[0]
    distributed.DistributedDataParallel = copying  # type: ignore[assignment, misc]
    found["copies"] = run(wide)[0]
    short = gathered(torch.arange(4 - 3 * rank))  # numbers of rows that fit no turns
    told: dict[str, Any] = {name: numbers(rows) for name, rows in found.items()}
    told |= {"seen": seen[0], "short": short.tolist()}
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def copying(model: nn.Module, **how: Any) -> DistributedDataParallel:
    """DDP as it is by default: gradients are copied out of its buckets."""
    assert how["gradient_as_bucket_view"]
    return DistributedDataParallel(model, **{**how, "gradient_as_bucket_view": False})


TINY = TrainConfig(
    model="own_parts:Tiny", epochs=2, batch_size=64, threads=1, lr_schedule="one_cycle",
    clip_grad_norm=0.5, label_smoothing=0.1, restart_f1=5, evaluate_test=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that this file fills as a script on two processes of torchrun."""
    folder = tmp_path_factory.mktemp("torchrun")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", __file__, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=120, env=environment)
    return folder


@pytest.fixture(scope="module")
def of_two(torchrun: Path) -> list[dict[str, Any]]:
    """What either of two processes says of several runs."""
    return [json.loads((torchrun / f"{rank}.json").read_text()) for rank in range(2)]


def test_two_processes_go_on_within_an_epoch(of_two: list[dict[str, Any]]) -> None:
    """Each image counts once in the epoch's row, though either has a sum of its own."""
    for found in of_two[:1]:
        assert len(found["whole"]) == small().epochs and found["resumed"] == found["whole"]


def test_two_processes_with_micro_batches_train_as_one(of_two: list[dict[str, Any]]) -> None:
    """No batch norm, so that all agree but for rounding: clipped, smoothed, step-wise rate too."""
    alone = numbers(run(TINY)[0])
    for rows in (of_two[0]["1"], of_two[0]["4"]):
        for mine, theirs in zip(alone, rows, strict=True):
            for name in ("train_loss", "val_loss", "epoch_lr"):
                assert theirs[name] == pytest.approx(mine[name], rel=1e-4)


def test_a_graph_that_is_told_to_be_static_changes_no_number(of_two: list[dict[str, Any]]) -> None:
    for found in of_two:
        assert len(found["static"]) == TINY.epochs and found["static"] == found["1"]


def test_a_compiled_step_of_two_processes_is_the_plain_one(of_two: list[dict[str, Any]]) -> None:
    for found in of_two:
        assert len(found["compiled"]) == TINY.epochs and found["compiled"] == found["1"]


def test_gradients_that_are_views_of_buckets_change_no_number(of_two: list[dict[str, Any]]) -> None:
    """In channels_last, too, in which a bucket holds them as the parameters lie."""
    for found in of_two:
        assert len(found["views"]) == 1 and found["views"] == found["copies"]


def test_two_processes_tell_the_images_in_the_order_of_the_set(
    of_two: list[dict[str, Any]],
) -> None:
    """Though the images are shared out, each process is told those of all."""
    alone: list[Any] = []
    run(TINY, predictions=lambda *both: alone.extend(both))
    for found in of_two:
        labels, classes = found["seen"]
        assert labels == alone[0]
        assert sum(a == b for a, b in zip(classes, alone[1], strict=True)) >= 355  # of 360
        assert found["short"] == [0, 1, 2, 3, 0]


def test_progress_counts_steps(config: TrainConfig) -> None:
    steps: list[int] = []
    progress: Callable[[int], None] = steps.append
    run(config.replace(epochs=2, lr_milestones=[]), progress=progress)
    assert steps == list(range(1, 19))


if __name__ == "__main__":  # under torchrun: `-m srsgd_ray.training`, and then what as_rank does
    target = Path(sys.argv[1])
    sys.argv[1:] = [*ARGUMENTS, str(target / "two"), "--batch-size", "64"]
    try:
        runpy.run_module("srsgd_ray.training", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    as_rank(int(os.environ["RANK"]), target)
