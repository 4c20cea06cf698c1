"""The config: its checks, its conversions, its restart schedule."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from srsgd_ray.config import DATASETS, TrainConfig
from srsgd_ray.data import load_dataset
from srsgd_ray.knobs import UnknownNameError, affecting, check_knobs, knob, machine_knobs
from srsgd_ray.trainable import Run, Trainable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "srgsd"}, "unknown optimizer 'srgsd'. Valid: srsgd, "),
        ({"model": "resnt"}, "unknown model 'resnt'. Valid: preresnet"),
        ({"dataset": "mnist"}, "unknown data set 'mnist'. Valid: digits, cifar10, cifar100"),
        ({"restart_kind": "cubic"}, "unknown restart kind 'cubic'"),
        ({"block": "wide"}, "unknown block 'wide'. Valid: basic, bottleneck"),
        ({"lr": -0.1}, "0 < lr < inf must hold, but got lr=-0.1"),
        ({"lr": 0.0}, "0 < lr < inf must hold, but got lr=0.0"),
        ({"lr": math.nan}, "0 < lr < inf must hold, but got lr=nan"),
        ({"lr": math.inf}, "0 < lr < inf must hold, but got lr=inf"),
        ({"restart_f1": 0.5}, "1 <= restart_f1 < inf must hold, but got restart_f1=0.5"),
        ({"restart_f1": math.nan}, "restart_f1=nan"),
        ({"restart_growth": 0.0}, "0 < restart_growth < inf must hold"),
        ({"weight_decay": -1.0}, "0 <= weight_decay < inf must hold"),
        ({"momentum": 1.0}, "0 <= momentum < 1 must hold, but got momentum=1.0"),
        ({"validation_fraction": 1.0}, "0 <= validation_fraction < 1 must hold"),
        ({"epochs": 0}, "1 <= epochs < inf must hold, but got epochs=0"),
        ({"batch_size": 0}, "1 <= batch_size < inf must hold"),
        ({"depth": 9}, "depth must be 6n + 2 for block='basic', but got depth=9. The nearest is 8"),
        ({"depth": 2}, "The nearest is 8"),
        ({"depth": 111, "block": "bottleneck"}, "depth must be 9n + 2"),
        ({"lr_milestones": (6, 3)}, "lr_milestones < epochs must hold and increase"),
        ({"lr_milestones": (12,)}, "lr_milestones=(12,) with epochs=12"),
        ({"lr_milestones": (0,)}, "0 < lr_milestones"),
        (
            {"restart_kind": "explicit", "restart_list": (30, 60), "lr_milestones": (3, 6)},
            "restart_list needs one frequency a stage, 3 for lr_milestones=(3, 6), but got 2",
        ),
        ({"restart_decay": True, "lr_milestones": (11,)}, "at least 2 epochs, but got 1"),
        ({"dataset": "cifar10"}, "needs data_dir"),
        ({"precision": "int8"}, "unknown precision 'int8'"),
        ({"bad_images": "zero"}, "unknown bad_images 'zero'. Valid: stop, skip"),
        ({"checkpoint_steps": -1}, "0 <= checkpoint_steps < inf must hold"),
        (
            {"label_smoothing": 1.0},
            "0 <= label_smoothing < 1 must hold, but got label_smoothing=1.0",
        ),
        ({"clip_grad_norm": -1.0}, "0 <= clip_grad_norm < inf must hold"),
        ({"accumulate": 0}, "1 <= accumulate < inf must hold, but got accumulate=0"),
        ({"accumulate": 129}, "accumulate <= batch_size must hold, but got accumulate=129 with"),
        ({"compile": "cuda-graph", "optimizer": "sgd"}, "needs optimizer srsgd or nesterov_no_res"),
        ({"compile": "cuda-graph", "sam_rho": 0.1}, "got optimizer='srsgd', sam_rho=0.1 and prec"),
        ({"static_graph": True, "accumulate": 2}, "static_graph needs accumulate=1, for torch"),
        ({"fallback_lr": -0.1}, "0 <= fallback_lr < inf must hold"),
        ({"warmup_epochs": -1.0}, "0 <= warmup_epochs < inf must hold"),
        ({"warmup_epochs": 12.0}, "warmup_epochs < epochs must hold"),
        ({"restart_milestones": (12,)}, "0 < restart_milestones < epochs must hold and increase"),
        (
            {"lr_schedule": "cosin"},
            "unknown lr_schedule 'cosin'. Valid: steps, cosine, wsd, one_cy",
        ),
        ({"lr_schedule_options": {"final": 0}}, "lr_schedule='steps' takes no lr_schedule_options"),
        ({"model_options": {"width": 3}}, "model='preresnet' takes no model_options"),
        ({"dataset_options": {"size": 3}}, "dataset='digits' takes no dataset_options"),
        ({"optimizer_options": {"weight_decay": 0.1}}, "weight_decay is a knob of its own"),
        ({"optimizer_fallback": "adamv"}, "unknown optimizer 'adamv'"),
    ],
)
def test_bad_values(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        TrainConfig().replace(**changes).check()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.1}, "unknown configuration key 'learning_rate'. Valid: dataset, "),
        ({"lr": "fast"}, "lr must be of type float, but got lr='fast'"),
        ({"epochs": 2.5}, "epochs must be of type int, but got epochs=2.5"),
        ({"epochs": True}, "epochs must be of type int"),
        ({"augment": "yes"}, "augment must be of type bool"),
        ({"dataset": 3}, "dataset must be of type str"),
        ({"lr_milestones": 3}, "lr_milestones must be of type tuple[int, ...]"),
        ({"optimizer_options": "fast"}, "optimizer_options must be of type dict[str, typing.Any]"),
        ({"optimizer.ns_steps": 3}, "unknown configuration key 'optimizer.ns_steps'"),
    ],
)
def test_bad_keys_and_types(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        TrainConfig.from_dict(values)
    assert message in str(error.value)


def test_unknown_names_have_their_own_error() -> None:
    with pytest.raises(UnknownNameError):
        TrainConfig.from_dict({"nope": 1})


def test_dict_round_trip_keeps_types() -> None:
    config = TrainConfig(lr_milestones=(3, 6), restart_list=(2.0, 3.0, 4.0))
    plain = config.to_dict()
    assert plain["lr_milestones"] == [3, 6]
    assert TrainConfig.from_dict(plain) == config
    searched = TrainConfig.from_dict({"optimizer_options": {"eps": 1.0}, "optimizer_options.k": 3})
    assert searched.optimizer_options == {"eps": 1.0, "k": 3}
    # Optuna and JSON may hand over whole floats and ints.
    assert TrainConfig.from_dict({"restart_f1": 7, "epochs": 5.0}) == TrainConfig(
        restart_f1=7.0, epochs=5
    )


def test_restart_schedule_follows_the_config() -> None:
    config = TrainConfig(lr_milestones=(80, 120, 160), epochs=200, restart_f1=40)
    grown = config.replace(restart_kind="exponential", restart_growth=1.25)
    schedule = grown.restart_schedule(391)
    assert schedule.periods == (40, 50, 63, 78)
    assert schedule.starts == (0, 80 * 391, 120 * 391, 160 * 391)
    flat = config.replace(restart_kind="constant").restart_schedule(391)
    assert flat.periods == (40, 40, 40, 40)
    published = grown.replace(restart_convention="as_published").restart_schedule(391)
    assert (published.buffer, published.count, published.period(0)) == ("drop", "carry", 39)
    assert math.isinf(config.replace(optimizer="nesterov_no_restart").restart_schedule(9).period(0))


def test_other_optimizers_need_no_sound_restart_list() -> None:
    TrainConfig(optimizer="sgd", restart_kind="explicit", restart_list=()).check()


def test_every_knob_is_marked_and_knobs_of_the_machine_change_no_outcome() -> None:
    for field in dataclasses.fields(TrainConfig):
        assert field.metadata.get("affects") is not None, f"{field.name}: say what it affects"
        assert field.metadata["affects"] <= {"data", "cost", "outcome"}, field.name
        assert field.metadata["doc"], field.name
    assert machine_knobs(TrainConfig) == {
        "data_dir", "device", "threads", "decode_threads", "checkpoint_steps", "bad_images",
        "static_graph",
    }  # fmt: skip


class Reads:
    """A configuration that notes which of its knobs are read."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.names = config, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self.config, name)


@pytest.mark.parametrize("dataset", [*DATASETS, "own_parts:made", "own_parts:digits"])
def test_what_a_data_set_is_made_of_is_marked_as_data(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a worker would go on with the data that it keeps of the trial before."""
    monkeypatch.setattr("srsgd_ray.data.load.check_knobs", lambda config: None)
    reads: Any = Reads(TrainConfig(dataset=dataset, data_dir="generated", validation_fraction=0.25))
    load_dataset(reads)
    assert reads.names <= set(affecting(TrainConfig, "data"))
    assert {"dataset", "data_dir", "train_on"} <= reads.names


def test_intervals_and_valid_values_of_a_knob() -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        share: float = knob(0.5, within="(0, 1]")
        kind: str = knob("a", valid=("a", "b"))
        free: int = 3

    check_knobs(Config(share=1.0, kind="b"))
    for share in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"0 < share <= 1 must hold, but got share={share}"):
            check_knobs(Config(share=share))
    with pytest.raises(ValueError, match="unknown kind 'c'"):
        check_knobs(Config(kind="c"))

    class Work(Trainable):
        def train(self, config: Any, run: Run) -> None: ...

    Work().check(Config())
    with pytest.raises(ValueError, match="0 < share <= 1 must hold"):
        Work().check(Config(share=2.0))
