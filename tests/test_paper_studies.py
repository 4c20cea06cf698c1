"""The paper's studies: made from the cells, and the same as before they were."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path

import pytest

from srsgd_ray import paper as published
from srsgd_ray.paper import PublishedRun
from srsgd_ray.paper.cells import TABLES, Cell, cells, label
from srsgd_ray.paper.published import DATA
from srsgd_ray.paper.studies import PLANS, PROTOCOLS
from srsgd_ray.study import Study

STUDIES = Path(__file__).parents[1] / "studies"
SCRIPTS = {
    "Table 1": "table1_cifar10",
    "Table 2": "table2_cifar100",
    "Table 3": "table3_imagenet",
    "Table 4": "table4_short_cifar",
    "Table 5": "table5_short_imagenet",
}
FIGURES = {
    "Figure 1 left": "table1_cifar10",
    "Figure 1 middle": "table2_cifar100",
    "Figure 1 right": "table3_imagenet",
    "Figure 5 left": "epochs_cifar",
    "Appendix Figure 1": "epochs_cifar",
    "Figure 5 right": "epochs_imagenet",
    "Figure 6 right": "f1_cifar10",
    "Appendix Figure 2 right": "f1_cifar100",
    "Appendix Figure 3 right": "f1_imagenet",
    "Appendix Figure 4": "intermediate_cifar",
    "Appendix Figure 5": "intermediate_cifar",
    "Appendix Figure 6": "intermediate_imagenet",
}
STEPS = {"cifar10": 391, "cifar100": 391, "imagenet": 5005}
IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet": 1_281_167}


@cache
def study(name: str) -> Study:
    spec = importlib.util.spec_from_file_location(name, STUDIES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.STUDY
    assert isinstance(found, Study)
    return found.check()


@pytest.mark.parametrize("recipe", published.recipes(), ids=lambda r: r.name)
def test_every_recipe_is_an_arm_of_its_table(recipe: PublishedRun) -> None:
    found = study(SCRIPTS[recipe.table])
    wanted = {
        "dataset": recipe.dataset,
        "depth": str(recipe.depth),
        "optimizer": recipe.optimizer,
        "schedule": recipe.restart_kind,
    }
    arms = [
        arm
        for arm in found.arms
        if all(arm.labels.get(key, value) == value for key, value in wanted.items())
    ]
    assert len(arms) == 1
    config = found.config(arms[0].name, {}).check()
    for name in (
        *("dataset", "model", "depth", "optimizer", "epochs", "lr_milestones"),
        *("lr", "lr_gamma", "weight_decay", "batch_size"),
    ):
        assert getattr(config, name) == getattr(recipe, name), name
    if recipe.block:
        assert config.block == recipe.block
    assert arms[0].workers == recipe.gpus
    steps = -(-IMAGES[recipe.dataset] // config.batch_size)
    assert (steps, steps * config.epochs) == (recipe.steps_per_epoch, recipe.steps)
    if recipe.optimizer == "sgd":
        assert config.momentum == recipe.momentum
        return
    published_ = config.restart_schedule(steps)
    assert published_.convention == "as_published"
    stages = len(recipe.lr_milestones) + 1
    assert published_.periods[:stages] == recipe.restart_list
    assert published_.starts[:stages] == (0, *(epoch * steps for epoch in recipe.lr_milestones))
    assert (len(published_.periods) > stages) == recipe.restart_decay
    if recipe.restart_decay:
        assert published_.periods[-1] == 1
    right = dataclasses.replace(found, protocol="corrected").config(arms[0].name, {})
    assert right.restart_schedule(steps).convention == "exact"
    assert (config.normalisation, right.normalisation) == ("as_published", "dataset")


@pytest.mark.parametrize(
    "error",
    [e for e in published.errors() if e.figure],
    ids=lambda e: f"{e.figure}-{e.depth}-{e.optimizer}-{e.x}",
)
def test_every_published_error_is_an_arm_of_its_study(error: PublishedRun) -> None:
    found = study(FIGURES[error.figure])
    matches = []
    for arm in found.arms:
        config = found.config(arm.name, {})
        same = (
            config.dataset == error.dataset
            and config.model == error.model
            and config.depth == error.depth
            and config.optimizer == error.optimizer
            and config.epochs == error.epochs
            and config.lr_milestones == error.lr_milestones
        )
        if same and error.optimizer == "srsgd":
            periods = config.restart_schedule(STEPS[error.dataset]).periods
            same = periods[0] == error.restart_f1
            if error.restart_list:
                same = same and periods[: len(error.restart_list)] == error.restart_list
            same = same and config.restart_decay == error.restart_decay
        if same:
            matches.append(arm.name)
    assert len(matches) == 1, matches


def test_every_arm_is_published_or_a_recipe() -> None:
    """No study has an arm that the paper did not run."""
    counts = {name: len(study(name).arms) for name in {*SCRIPTS.values(), *FIGURES.values()}}
    assert counts == {
        "table1_cifar10": 15,
        "table2_cifar100": 15,
        "table3_imagenet": 8,
        "table4_short_cifar": 10,
        "table5_short_imagenet": 4,
        "epochs_cifar": 80,
        "epochs_imagenet": 28,
        "f1_cifar10": 10,
        "f1_cifar100": 11,
        "f1_imagenet": 9,
        "intermediate_cifar": 80,
        "intermediate_imagenet": 24,
    }


# Computed by the code of commit 8a37a27, in which every arm was written down by hand.
DIGESTS: dict[str, str] = json.loads((Path(__file__).parent / "data" / "paper.json").read_text())


def digest(value: object) -> str:
    """Of plain values: numbers by their value, lists and tuples alike."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    text = json.dumps(plain(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


STUDY = ("name", "question", "base", "epochs", "trials", "confirm_seeds", "confirm_on", "baseline",
         "protocols", "protocol")  # fmt: skip
ARM = ("name", "fixed", "against", "labels", "workers")
CELL = ("dataset", "model", "block", "depth", "optimizer", "epochs", "lr_milestones", "lr",
        "lr_gamma", "momentum", "weight_decay", "batch_size", "gpus", "x", "mean", "std",
        "n")  # fmt: skip
# What the digested cells called these fields.
OF_CELL = {"schedule": "restart_kind", "frequencies": "restart_list", "decay": "restart_decay",
           "milestones_inferred": "lr_milestones_inferred"}  # fmt: skip
RECIPE, ERROR = (
    tuple((DATA / f"{name}.csv").read_text().splitlines()[0].split(","))
    for name in ("recipes", "errors")
)


def part(value: object, names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(value, name) for name in names}


def cell_part(cell: Cell) -> dict[str, object]:
    return {**part(cell, CELL), **{old: getattr(cell, new) for old, new in OF_CELL.items()}}


@pytest.mark.parametrize("name", PLANS)
def test_a_study_and_its_arms_are_those_of_before(name: str) -> None:
    found = study(name)
    assert found.name == name
    arms = [part(arm, ARM) for arm in found.arms]
    assert digest([part(found, STUDY), arms]) == DIGESTS[f"study {name}"]


def test_no_cell_recipe_or_error_has_changed() -> None:
    made = {f"cells {name}": [cell_part(cell) for cell in cells(name)] for name in TABLES}
    made["recipes"] = [part(recipe, RECIPE) for recipe in published.recipes()]
    made["errors"] = [part(error, ERROR) for error in published.errors()]
    assert len(made["recipes"]) == 52
    assert len(made["errors"]) == 244
    known = {key: value for key, value in DIGESTS.items() if not key.startswith("study ")}
    assert {key: digest(value) for key, value in made.items()} == known


@pytest.mark.parametrize("name", PLANS)
def test_the_runs_of_every_arm_have_the_label_of_one_cell(name: str) -> None:
    """So each is compared with that cell, whatever protocol it was run with."""
    found = study(name)
    tables = {*PLANS[name].tables, "table1", "table2", "table3"}
    known = {label(cell.config): cell for table in tables for cell in cells(table)}
    for protocol in PROTOCOLS:
        own = dataclasses.replace(found, protocol=protocol)
        labels = {label(own.config(arm.name, {})): arm for arm in found.arms}
        assert len(labels) == len(found.arms)
        for text, arm in labels.items():
            assert (known[text].dataset, str(known[text].depth), known[text].optimizer) == (
                arm.labels["dataset"], arm.labels["depth"], arm.labels["optimizer"],
            )  # fmt: skip


def test_labels_tell_the_cells_of_a_table_apart() -> None:
    for name in TABLES:
        assert len({label(cell.config) for cell in cells(name)}) == len(cells(name))
    (text,) = [
        label(c.config) for c in cells("table3") if (c.depth, c.restart_kind) == (50, "linear")
    ]
    assert text == (
        "imagenet imagenet_resnet50 srsgd F=40 80 80, decayed, 90 epochs, drops at 31 61"
    )
