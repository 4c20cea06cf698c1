"""A user's own network, data set and optimizer: by import path, with options."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import own_parts
import pytest
import torch
from torch import nn

from srsgd_ray import parts
from srsgd_ray.config import TrainConfig
from srsgd_ray.data import Dataset, image_shape, load_dataset
from srsgd_ray.models import adapt_channels, build_model, check_fit
from srsgd_ray.optim import build_optimizer
from srsgd_ray.optim.together import Together
from srsgd_ray.trainable import Run
from srsgd_ray.trainables.image import IMAGE
from srsgd_ray.training import train
from srsgd_ray.training.checks import check_parts, fitting_model


def with_parts(**changes: Any) -> TrainConfig:
    return TrainConfig(epochs=2, threads=1, lr=0.01, restart_f1=5).replace(**changes).check()


def network(name: str, channels: int = 1, classes: int = 10, **changes: Any) -> nn.Module:
    config = with_parts(model=name, **changes)
    return build_model(config, channels=channels, classes=classes)


# Names


def test_an_installed_package_adds_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> list[EntryPoint]:
        return [
            EntryPoint(name, value, group)
            for of, name, value in (
                ("srsgd_ray.models", "tiny", "own_parts:Tiny"),
                ("srsgd_ray.datasets", "bright", "own_parts:made"),
                ("srsgd_ray.optimizers", "signs", "own_parts:Signs"),
                ("srsgd_ray.lr_schedules", "halving", "own_parts:halving"),
            )
            if of == group
        ]

    monkeypatch.setattr(parts, "entry_points", points)
    parts._registered.cache_clear()
    try:
        config = with_parts(
            model="tiny", dataset="bright", optimizer="signs", lr_schedule="halving"
        )
        rows: list[Any] = []
        assert train(config, lambda row, save: rows.append(row)).state == "complete"
        with pytest.raises(ValueError, match=r"unknown model 'tyni'.*tiny, or an import path such"):
            with_parts(model="tyni")
    finally:
        parts._registered.cache_clear()


def test_a_network_and_a_data_set_with_an_option_are_one_file_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the folder is enough: names, options and rules are known before it is used."""
    import srsgd_ray.datasets
    import srsgd_ray.models

    for folder in ("nets", "sets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "nets" / "toy_net.py").write_text(
        "from srsgd_ray.parts import network\n"
        "def rule(depth):\n"
        "    if depth > 9:\n"
        "        raise ValueError(f'depth <= 9 must hold, but got depth={depth}.')\n"
        "@network('toy', 'two layers (depth)', rule=rule)\n"
        "def toy(depth, *, units=4, channels=3, classes=10):\n"
        "    from torch import nn\n"
        "    from srsgd_ray.models._blocks import Network\n"
        "    first = nn.Conv2d(channels, units, 3, padding=1)\n"
        "    return Network({'first': first}, nn.Linear(units, classes))\n"
    )
    (tmp_path / "sets" / "toy_data.py").write_text(
        "from srsgd_ray.parts import data_set\n"
        "@data_set('bright', 'made up', pixels=8, classes=3, channels=1, train=60, test=30,\n"
        "          files=False)\n"
        "def bright(classes=3):\n"
        "    from own_parts import made\n"
        "    return made(classes)\n"
    )
    for package, folder in ((srsgd_ray.models, "nets"), (srsgd_ray.datasets, "sets")):
        path = [*package.__path__, str(tmp_path / folder)]
        monkeypatch.setattr(package, "__path__", path)
    kept = dict(parts._NETWORKS), dict(parts._DATA_SETS)
    parts._import_all.cache_clear()
    try:
        config = with_parts(model="toy", dataset="bright", **{"model_options.units": 6})
        model = build_model(config, channels=1, classes=3)
        assert model.first.out_channels == 6  # type: ignore[union-attr]
        rows: list[Any] = []
        assert train(config, lambda row, save: rows.append(row)).state == "complete"
        assert IMAGE.seconds(config, 1, 1)
        for changes, message in (
            ({"depth": 11}, "depth <= 9 must hold, but got depth=11."),
            ({"model_options": {"unit": 3}}, "unknown option 'unit' of model='toy'. Valid: units."),
            ({"dataset_options": {"clases": 3}}, "Did you mean 'classes'?"),
            ({"model": "toi"}, "Did you mean 'toy'?"),
            ({"model": "vgg", "depth": 11}, "needs images of 32 pixels a side, but got dataset="),
        ):
            with pytest.raises(ValueError) as error:
                config.replace(**{"model_options": {}, **changes}).check()
            assert message in str(error.value)
    finally:
        for known, before in zip((parts._NETWORKS, parts._DATA_SETS), kept, strict=True):
            known.clear()
            known.update(before)
        for name in ("srsgd_ray.models.toy_net", "srsgd_ray.datasets.toy_data"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "my_nets:"}, "unknown model 'my_nets:'. Valid: preresnet"),
        ({"model": "preresnt"}, "Did you mean 'preresnet'?"),
        ({"optimizer": ":Muon"}, "or an import path such as torch.optim:Muon"),
        ({"dataset": "digit"}, "or an import path such as my_data:load. Did you mean 'digits'?"),
        ({"optimizer_fallback": "adamv"}, "unknown optimizer 'adamv'"),
        ({"model_options": {"width": 3}}, "model='preresnet' takes no model_options, but got"),
        ({"dataset_options": {"a": 3}}, "dataset='digits' takes no dataset_options"),
        ({"optimizer_options": {"lr": 3}}, "lr is a knob of its own, but got optimizer_options"),
        ({"model": "a:b", "model_options": {"f": nn.ReLU()}}, "must hold plain values"),
        ({"model": "a:b", "model_options": {"f": float("nan")}}, "must hold plain values"),
    ],
)
def test_names_and_options_that_a_config_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        with_parts(**changes)
    assert message in str(error.value)


def test_checking_a_config_imports_nothing_of_the_user() -> None:
    before = set(sys.modules)
    with_parts(model="no_such_module:Net", dataset="no_such_data:load", optimizer="no_such:Opt")
    assert not {name for name in set(sys.modules) - before if name.startswith("no_such")}


# Networks


def test_a_network_gets_channels_classes_and_options_and_its_seed_alone_decides() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = network("own_parts:Tiny", **{"model_options.width": 5})
    torch.manual_seed(6)
    same = network("own_parts:Tiny", model_options={"width": 5})
    other = network("own_parts:Tiny", model_options={"width": 5}, seed=1)
    assert isinstance(one, own_parts.Tiny) and one.first.weight.shape == (5, 64)
    assert torch.equal(one.first.weight, same.first.weight)
    assert not torch.equal(one.first.weight, other.first.weight)  # type: ignore[arg-type,union-attr]
    torch.manual_seed(5)
    network("own_parts:Tiny")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_of_torchvision_takes_any_channels() -> None:
    grey = network("torchvision.models:resnet18", channels=1, classes=7)
    named = network("imagenet_resnet18", channels=1, classes=7)
    assert all(
        torch.equal(a, b) for a, b in zip(grey.parameters(), named.parameters(), strict=True)
    )
    colour = network("torchvision.models:resnet18", channels=3, classes=7)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert grey.eval()(images).shape == (2, 7)
        repeated = colour.eval()(images.expand(2, 3, 32, 32))
    assert torch.allclose(grey(images), repeated, atol=1e-5)
    conv = nn.Conv2d(3, 2, 1, bias=False)
    conv.weight.data = torch.arange(6.0).view(2, 3, 1, 1)
    five = adapt_channels(nn.Sequential(conv), 6)
    assert five(torch.ones(1, 6, 1, 1)).flatten().tolist() == [3.0, 12.0]


@pytest.mark.parametrize("name", ["imagenet_resnet18", "torchvision.models:mobilenet_v3_small"])
def test_torchvisions_networks_train_on_the_digits(name: str) -> None:
    config = with_parts(model=name, epochs=1, validation_fraction=0.9)
    rows: list[Any] = []
    assert train(config, lambda row, save: rows.append(row)).state == "complete"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_parts:Tny", "model 'own_parts:Tny' does not exist: own_parts has no 'Tny'. Did you"),
        ("own_parts:no_network", "model='own_parts:no_network' must make a torch.nn.Module, but"),
        ("own_parts:a_network", "'own_parts:a_network' is a network already"),
        ("own_parts:as_tuple", "must make a torch.nn.Module, but made a tuple"),
        ("math:pi", "model must name a function or class, but 'math:pi' is a float"),
        (
            "torch.nn:Linear",
            "model='torch.nn:Linear' cannot be called: missing a required argument",
        ),
        ("torchvision.models:nope", "torchvision.models has no 'nope'"),
    ],
)
def test_networks_that_are_none(name: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        network(name, classes=3)
    assert message in str(error.value)


def test_an_unknown_option_of_a_network() -> None:
    with pytest.raises(ValueError, match=r"unknown option 'widht' of model=.*Did you mean 'width'"):
        network("own_parts:Tiny", **{"model_options.widht": 4})
    with pytest.raises(ValueError, match=r"unexpected keyword argument 'width'. Correct model_opt"):
        network("torchvision.models:resnet18", model_options={"width": 4})


@pytest.mark.parametrize("name", ["imagenet_resnet18", "own_parts:looks_at_numbers"])
def test_a_network_that_fits_is_left_as_it_was(name: str) -> None:
    model = network(name)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_fit(model, name, (1, 8, 8), 10, "digits")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_lazy_layers_learn_their_size_from_the_data() -> None:
    data = load_dataset(with_parts())
    first, again, other = (
        fitting_model(with_parts(model="own_parts:from_shapes", seed=seed), data)[1].weight  # type: ignore[index]
        for seed in (0, 0, 1)
    )
    assert first.shape == (10, 64)
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "imagenet_vgg11",
            "model='imagenet_vgg11' must take the images of dataset='digits' (1 channels, 8 x 8 "
            "pixels), but its forward pass fails: ",
        ),
        ("own_parts:two_outputs", "but for N = 2 it put out a tuple. Give it 10 classes and no"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_the_run(name: str, message: str) -> None:
    config = with_parts(model=name)
    for start in (lambda: train(config, lambda row, save: None), lambda: IMAGE.check_data(config)):
        with pytest.raises(ValueError) as error:
            start()
        assert message in str(error.value)


def test_a_network_of_other_classes_is_refused() -> None:
    model = network("own_parts:Tiny", classes=4)
    with pytest.raises(ValueError, match=r"logits \(N, 10\) .* it put out a tensor \(2, 4\)"):
        check_fit(model, "own_parts:Tiny", (1, 8, 8), 10, "digits")


# Data


@pytest.mark.parametrize("name", ["own_parts:made", "own_parts:as_tuple"])
def test_arrays_become_a_data_set_that_is_split(name: str) -> None:
    config = with_parts(dataset=name, validation_fraction=0.25, **{"dataset_options.classes": 4})
    data = load_dataset(config)
    assert isinstance(data, Dataset)
    assert (data.channels, data.classes, data.image_size, data.pad, data.flip) == (
        1,
        4,
        8,
        0,
        False,
    )
    assert data.validation_labels is not None
    assert (len(data.train_labels), len(data.validation_labels), len(data.test_labels)) == (
        45,
        15,
        30,
    )
    whole = torch.as_tensor(own_parts.made(4)["train_images"]).double() / 255
    assert data.mean == pytest.approx((float(whole.mean()),))
    assert data.std == pytest.approx((float(whole.std(correction=0)),))
    assert image_shape(data) == (1, 8, 8)


def test_what_is_given_is_taken() -> None:
    options = {"mean": 0.5, "std": [0.25], "pad": 2, "flip": True, "classes": 3}
    found = load_dataset(with_parts(dataset="own_parts:made", dataset_options=options))
    assert isinstance(found, Dataset)
    assert (found.mean, found.std, found.pad, found.flip) == ((0.5,), (0.25,), 2, True)


def test_a_data_set_object_is_split_and_may_ask_for_knobs() -> None:
    data = load_dataset(with_parts(dataset="own_parts:digits"))
    ours = load_dataset(with_parts())
    assert isinstance(data, Dataset) and isinstance(ours, Dataset)
    assert torch.equal(data.train_images, ours.train_images)
    rows: dict[str, Any] = {}
    for name in ("own_parts:digits", "digits"):
        train(
            with_parts(dataset=name, epochs=1),
            lambda row, save, name=name: rows.update({name: row}),
        )
    assert rows["digits"]["val_loss"] == rows["own_parts:digits"]["val_loss"]


def test_a_validation_part_that_came_with_the_data_is_kept() -> None:
    found = own_parts.made()
    options = {
        "validation_images": found["test_images"].tolist(), "validation_labels": [0] * 30,
    }  # fmt: skip
    config = with_parts(dataset="own_parts:made")
    with pytest.raises(ValueError, match=r"validation_images of dataset=.* must be uint8 of shape"):
        load_dataset(config.replace(dataset_options=options))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("floats", "train_images of dataset='own_parts:wrong' must be uint8 of shape (N, C, H, W)"),
        ("flat", "not empty, but got uint8 of shape (60, 64)"),
        ("channels_last", "Give images.transpose(0, 3, 1, 2)."),
        (
            "few_labels",
            "must be 60 whole numbers from 0, one an image, but got int64 of shape (10,)",
        ),
        ("names", "one an image, but got float64"),
        ("negative", "one an image, but got int64 of shape (30,) with -1 among them."),
        ("sizes", "train_images are (1, 8, 8) and test_images (1, 4, 8). Scale or crop them."),
        ("classes", "must be a whole number above every label"),
        ("mean", "mean of dataset='own_parts:wrong' must be 1 numbers, one a channel"),
        ("key", "but lacks none and has train_image besides"),
        ("missing", "but lacks test_labels and has none besides"),
        ("nothing", "but returned a NoneType"),
        (
            "list",
            "train_images of dataset='own_parts:wrong' must be a numpy array or a tensor, but",
        ),
    ],
)
def test_data_that_are_none(what: str, message: str) -> None:
    config = with_parts(dataset="own_parts:wrong", dataset_options={"what": what})
    with pytest.raises(ValueError) as error:
        load_dataset(config)
    assert message in str(error.value)


# Optimizers


def test_muon_needs_a_fallback_for_what_is_no_matrix() -> None:
    config = with_parts(optimizer="torch.optim:Muon", model="own_parts:Tiny")
    model = network("own_parts:Tiny")
    with pytest.raises(ValueError) as error:
        build_optimizer(model.named_parameters(), config, 9)
    assert "It refuses 2 of 4: first.bias, last.bias. Give optimizer_fallback='adamw'" in str(
        error.value
    )
    changes = {"optimizer_fallback": "adamw", "optimizer_options.ns_steps": 3, "fallback_lr": 0.5}
    optimizer = build_optimizer(model.named_parameters(), config.replace(**changes), 9)
    assert isinstance(optimizer, Together)
    muon, adamw = optimizer.param_groups
    assert (muon["ns_steps"], muon["lr"], muon["weight_decay"]) == (3, 0.01, 5e-4)
    assert (adamw["lr"], adamw["betas"]) == (0.5, (0.9, 0.999))
    assert [p.dim() for p in muon["params"]] == [2, 2]


def test_built_in_optimizers_take_options_that_are_no_knobs() -> None:
    params = [nn.Parameter(torch.ones(2))]
    options = {"optimizer_options.eps": 1e-3}
    optimizer = build_optimizer(params, with_parts(optimizer="adam", **options), 9)
    assert optimizer.param_groups[0]["eps"] == 1e-3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("torch.optim:LBFGS", {}, "must make its step without a closure, but optimizer='torch.opt"),
        ("torch.nn:Linear", {}, "must name a class of torch.optim.Optimizer, or a function that"),
        ("own_parts:no_network", {}, "cannot be called: too many positional arguments"),
        ("own_parts:Signs", {"sclae": 2}, "Valid: scale. Did you mean 'scale'?"),
        ("sgd", {"momentum": 0.3}, "has its momentum from other knobs, but got optimizer_options"),
        ("adam", {"epps": 0.3}, "unknown option 'epps' of optimizer='adam'"),
    ],
)
def test_optimizers_that_are_none(name: str, options: dict[str, Any], message: str) -> None:
    config = with_parts(optimizer=name, optimizer_options=options)
    with pytest.raises(ValueError) as error:
        build_optimizer([nn.Parameter(torch.ones(2))], config, 9)
    assert message in str(error.value)
    with pytest.raises(ValueError):
        check_parts(config)


def test_what_this_package_brings_is_not_tried_but_what_may_fail_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []
    monkeypatch.setattr("srsgd_ray.training.checks.check_parts", tried.append)
    IMAGE.check_data(with_parts(dataset="digits"))
    assert not tried
    doubtful = [
        with_parts(dataset="digits", optimizer="torch.optim:Muon", optimizer_fallback="adamw"),
        with_parts(dataset="digits", sam_rho=0.05),
        with_parts(dataset="digits", device="cpu", model="own_parts:Tiny"),
        with_parts(dataset="own_parts:made"),
        with_parts(dataset="cifar10", data_dir="x"),
    ]
    for config in doubtful:
        IMAGE.check_data(config)
    assert tried == doubtful
    with pytest.raises(ValueError, match="needs GPU 99"):
        IMAGE.check_data(with_parts(dataset="digits", device="cuda:99"))


def test_everything_of_ones_own_trains_and_resumes_to_equal_rows(tmp_path: Path) -> None:
    config = with_parts(
        dataset="own_parts:made", model="own_parts:Tiny", optimizer="torch.optim:Muon",
        optimizer_fallback="adamw", lr_schedule="own_parts:halving", batch_size=8, epochs=3,
        model_options={"width": 6}, evaluate_test=True,
    )  # fmt: skip
    whole: list[Any] = []
    train(config, lambda row, save: whole.append(row))

    def report(row: dict[str, Any], save: Any) -> None:
        if row["epoch"] == 2:
            save(tmp_path)

    train(config, report)
    resumed: list[Any] = []
    train(config, lambda row, save: resumed.append(row), resume_from=tmp_path)
    times = {"train_seconds", "eval_seconds", "images_per_second", "time"}
    assert [{k: v for k, v in r.items() if k not in times} for r in resumed] == [
        {k: v for k, v in r.items() if k not in times} for r in whole
    ]
    assert whole[-1]["train_loss"] < whole[0]["train_loss"]


# The trainable


def test_the_trainable_leaves_milestones_to_the_schedule_of_steps() -> None:
    assert IMAGE.configure({"epochs": 12}).lr_milestones == (6, 9)
    config = IMAGE.configure({"epochs": 12, "lr_schedule": "cosine"}).check()
    assert config.lr_milestones == ()
    changed = {"restart_milestones": (4, 8), "warmup_epochs": 2.0}
    long = config.replace(**IMAGE.lengthened(config.replace(**changed), 24)).check()
    assert (long.restart_milestones, long.warmup_epochs) == ((8, 16), 4.0)
    small = config.replace(**IMAGE.smoke(config.replace(**changed))).check()
    assert (small.epochs, small.restart_milestones, small.warmup_epochs) == (3, (1, 2), 0.5)
    assert IMAGE.smoke(with_parts(dataset="own_parts:made")).get("data_dir") is None


def test_a_smoke_test_runs_every_part_of_the_users() -> None:
    family = IMAGE.family
    assert family(with_parts(optimizer="sgd", depth=14)) == family(with_parts(optimizer="sgd"))
    assert family(with_parts(model="own_parts:Tiny")) != family(with_parts())


def test_the_time_of_an_epoch_of_ones_own_data_is_measured() -> None:
    config = with_parts(dataset="own_parts:made", model="own_parts:Tiny", accumulate=2)
    found = IMAGE.seconds(config, 1, 1)
    assert found is not None and found > 0


class Alone(Run):
    """A run in this process, which keeps its rows and what was cached."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.kept: dict[Any, Any] = {}

    def stored(self) -> Any:
        return nullcontext(None)

    def report_row(self, row: dict[str, Any], write: Any) -> None:
        self.rows.append(row)

    def cached(self, load: Any, *key: Any) -> Any:
        if key not in self.kept:
            self.kept[key] = load(*key)
        return self.kept[key]

    def alive(self, step: int) -> None:
        pass

    def resume(self, **parts: Any) -> int:
        raise AssertionError

    report = checkpoint = artifact = save = resume  # type: ignore[assignment]


def test_the_trainable_runs_parts_of_ones_own_and_keeps_their_data() -> None:
    run = Alone()
    config = with_parts(
        dataset="own_parts:made", dataset_options={"classes": 4}, model="own_parts:Tiny"
    )
    for seed in (0, 1):
        IMAGE.train(config.replace(seed=seed), run)
    assert len(run.rows) == 4 and len(run.kept) == 1
    IMAGE.train(config.replace(**{"dataset_options.classes": 3}), run)
    assert len(run.kept) == 2
    assert set(run.rows[0]) - {"epoch", "time"} == {m.name for m in IMAGE.metrics}


def test_options_survive_json() -> None:
    config = with_parts(model="own_parts:Tiny", model_options={"width": 3, "size": 8})
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
