"""The paper's studies, held row by row against the published recipes and figures."""

from __future__ import annotations

import dataclasses
import importlib.util
from functools import cache
from pathlib import Path

import pytest

from srsgd_ray import paper as published
from srsgd_ray.paper import PublishedError, Recipe
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
def test_every_recipe_is_an_arm_of_its_table(recipe: Recipe) -> None:
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
def test_every_published_error_is_an_arm_of_its_study(error: PublishedError) -> None:
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
