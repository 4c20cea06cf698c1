"""The published data, against facts typed in by hand and against themselves."""

from __future__ import annotations

import math

import pytest

from srsgd_ray import paper as published
from srsgd_ray.knobs import UnknownNameError
from srsgd_ray.paper import FAULTS, PublishedRun


def errors(figure: str, **wanted: object) -> list[PublishedRun]:
    return [
        error
        for error in published.errors()
        if error.figure == figure and all(getattr(error, k) == v for k, v in wanted.items())
    ]


def test_there_are_all_of_them() -> None:
    assert len(published.errors()) == 244
    assert len(published.errors_table()) == 244
    assert [recipe.row for recipe in published.recipes()] == list(range(1, 53))
    assert len({recipe.name for recipe in published.recipes()}) == 52
    assert len(published.quadratic_means()) == 15
    assert all(error.source for error in published.errors())


@pytest.mark.parametrize(
    ("figure", "depth", "optimizer", "mean", "std"),
    [
        ("Figure 1 left", 110, "sgd", 5.25, 0.14),
        ("Figure 1 left", 1001, "srsgd", 3.87, 0.07),
        ("Figure 1 middle", 470, "srsgd", 20.71, 0.32),
        ("Figure 1 right", 101, "sgd", 22.42, 0.03),
        ("Figure 1 right", 200, "srsgd", 20.93, 0.13),
    ],
)
def test_errors_of_the_tables(
    figure: str, depth: int, optimizer: str, mean: float, std: float
) -> None:
    (found,) = errors(figure, depth=depth, optimizer=optimizer)
    assert (found.mean, found.std, found.n) == (mean, std, None)
    assert "best_test_epoch" in found.faults
    assert found.table in ("Table 1", "Table 2", "Table 3")


def test_the_abstract_agrees_with_table_3() -> None:
    abstract = [error for error in published.errors() if not error.figure]
    assert [(e.optimizer, e.mean, e.std) for e in abstract] == [
        ("sgd", 22.13, None),
        ("srsgd", 20.93, None),
    ]


@pytest.mark.parametrize(
    ("figure", "n", "best", "mean"),
    [
        ("Figure 6 right", 5, 30.0, 4.372),
        ("Appendix Figure 2 right", 4, 50.0, 21.27),
        ("Appendix Figure 3 right", 2, 40.0, 22.06),
    ],
)
def test_the_f1_ablations(figure: str, n: int, best: float, mean: float) -> None:
    found = errors(figure)
    assert {error.n for error in found} == {n}
    lowest = min(found, key=lambda error: error.mean)
    assert (lowest.x, lowest.restart_f1, lowest.mean) == (best, best, mean)
    # With n runs of 10,000 test images (50,000 on ImageNet) the means are whole numbers of errors.
    images = 50_000 if n == 2 else 10_000
    for error in found:
        counts = error.mean / 100 * images * n
        assert counts == pytest.approx(round(counts), abs=0.51 if n == 2 else 1e-6)


@pytest.mark.parametrize("figure", ["Appendix Figure 4", "Appendix Figure 5"])
def test_bands_are_paired_right_and_kept_as_drawn(figure: str) -> None:
    base = {"Appendix Figure 4": "Figure 1 left", "Appendix Figure 5": "Figure 1 middle"}[figure]
    for depth in (110, 290, 470, 650, 1001):
        line = sorted(errors(figure, depth=depth), key=lambda error: error.x or 0)
        assert [error.x for error in line] == [0, 5, 10, 15, 20, 25, 30]
        (full,) = errors(base, depth=depth, optimizer="srsgd")
        assert (line[0].mean, line[0].std) == (full.mean, full.std)
        drawn = [error.std_as_plotted for error in line]
        assert drawn == [error.std for error in line][::-1]
        assert all("mirrored_bands" in error.faults for error in line)


def test_the_swapped_curves_are_swapped_back() -> None:
    table = published.curves("Figure 6 left")
    late = table[(table["step"] >= 60) & (table["step"] <= 79)]
    loss = late.groupby("series")["value"].mean()
    order = [loss[f"F1={f1}"] for f1 in (10, 20, 30, 40)]
    assert order == sorted(order)
    assert [round(value, 3) for value in order] == [0.194, 0.233, 0.267, 0.304]
    swapped = table[table["series"] != table["series_as_filed"]]
    assert set(swapped["series"]) == {"F1=20", "F1=30"}


def test_curves_are_whole() -> None:
    table = published.curves()
    assert not table["value"].isna().any()
    # By its file a point stands once; F1=2 and 7 are stored, but the figure does not show them.
    assert not table.duplicated(["figure", "series", "run", "metric", "step"]).any()
    hidden = table[(table["figure"] == "Figure 6 left") & ~table["plotted"]]
    assert {"F1=2", "F1=7"} <= set(hidden["series"])
    last = table[(table["figure"] == "Figure 2 left") & (table["step"] == 49_999)]
    gaps = dict(zip(last["series"], last["value"], strict=True))
    assert gaps["GD"] == 1.28463030715e-3
    assert gaps["SRNAG"] == 0
    with pytest.raises(UnknownNameError, match="unknown figure with curves 'Figure 9'"):
        published.curves("Figure 9")


def test_faults_are_explained_and_used() -> None:
    assert {fault for error in published.errors() for fault in error.faults} <= set(FAULTS)
    assert {"swapped_f1_20_30", "mirrored_bands", "best_test_epoch"} <= set(FAULTS)
    assert all(fault.what and fault.known_by and fault.here for fault in FAULTS.values())


def test_milestones_say_whether_they_are_inferred() -> None:
    (stated,) = errors("Figure 5 right", depth=152, x=15.0)
    assert (stated.table, stated.lr_milestones, stated.lr_milestones_inferred) == (
        "Table 5", (31, 51), False,
    )  # fmt: skip
    (guessed,) = errors("Figure 5 left", depth=110, x=90.0)
    assert (guessed.epochs, guessed.lr_milestones) == (110, (80, 90, 100))
    assert guessed.lr_milestones_inferred


def test_recipes_say_what_the_commands_set() -> None:
    found = published.recipe("imagenet-resnet200-short-training-srsgd")
    assert (found.table, found.epochs, found.lr_milestones) == ("Table 5", 60, (31, 46))
    assert (found.batch_size, found.gpus, found.steps) == (256, 8, 300_300)
    assert (found.restart_list, found.restart_decay) == ((40, 80, 80), True)
    sgd = published.recipe("cifar10-preresnet110-sgd")
    assert (sgd.momentum, sgd.restart_f1, sgd.restart_list) == (0.9, None, ())
    for recipe in published.recipes():
        assert recipe.steps == recipe.epochs * recipe.steps_per_epoch
        if recipe.restart_kind == "exponential":
            assert recipe.restart_f1 is not None
            assert recipe.restart_growth is not None
            made = [
                math.floor(recipe.restart_f1 * recipe.restart_growth**i + 0.5) for i in range(4)
            ]
            assert tuple(made) == recipe.restart_list
    with pytest.raises(UnknownNameError, match="unknown recipe 'x'"):
        published.recipe("x")
