"""What a careful reader remarks on a study's tables, and that nothing is remarked without need."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import toy
from made_results import confirm_runs, made_table, made_trial
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from srsgd_ray import analysis, run
from srsgd_ray.results import read_trials
from srsgd_ray.search_spaces import SearchSpace, When
from srsgd_ray.study import Arm, Study

LR = {"low": 0.001, "high": 1.0, "log": True}


def search(arm: str, states: str = "cccc", **values: Any) -> list[dict[str, Any]]:
    """Search trials that ended so, by the first letters of their states; the first is the best."""
    names = {"c": "complete", "p": "pruned", "d": "diverged", "f": "failed", "r": "running"}
    return [
        made_trial(arm, n, names[state], **{"val_error": 3.0 + n, "lr": 0.03, **values})
        for n, state in enumerate(states)
    ]


def confirm(arm: str, seeds: int = 4, **values: Any) -> list[dict[str, Any]]:
    return confirm_runs(arm, [3.0 + 0.1 * n for n in range(seeds)], **{"lr": 0.03, **values})


def space(**ranges: Any) -> dict[str, Any]:
    return {"search_space": json.dumps(ranges)}


SOUND = [*search("srsgd"), *search("sgd"), *confirm("srsgd"), *confirm("sgd")]
EDGE = (
    "The best configuration of SGD lies at an end of its space, beyond which a better one may lie: "
)


def one_arm(seeds: int = 4, best: dict[str, Any] | None = None, **ranges: Any) -> Any:
    """A table of SGD alone, whose best has these values in a space of these ranges."""
    values = {**(best or {}), **space(**ranges)}
    return made_table([*search("sgd", **values), *confirm("sgd", seeds, **values)])


@pytest.mark.parametrize(
    ("best", "ranges", "said"),
    [
        ({"lr": 0.97}, {"lr": LR}, "learning rate 0.97 (range 0.001 to 1)."),
        ({"lr": 0.0011}, {"lr": LR}, "learning rate 0.0011 (range 0.001 to 1)."),
        # On a scale that is linear, 0.97 of 1 is an end and 0.9 is none; on a logarithmic one, 0.9.
        ({"lr": 0.9}, {"lr": LR}, "learning rate 0.9 (range 0.001 to 1)."),
        ({"lr": 0.9}, {"lr": {**LR, "log": False}}, ""),
        ({"lr": 0.03}, {"lr": LR}, ""),
        ({"depth": 3}, {"depth": {"low": 3, "high": 9, "step": 1}}, "depth 3 (range 3 to 9)."),
        ({"depth": 4}, {"depth": {"low": 3, "high": 9, "step": 1}}, ""),
        ({"block": "basic"}, {"block": {"choices": ["basic", "bottleneck"]}}, ""),
        ({"lr": 1.0}, {"lr": {"low": 1.0, "high": 1.0}}, ""),
        (
            {"lr": 1.0, "momentum": 0.0},
            {"lr": LR, "momentum": {"low": 0.0, "high": 0.99, "log": False}},
            "learning rate 1 (range 0.001 to 1), momentum 0 (range 0 to 0.99).",
        ),
        # Where a condition does not hold, the value is not one of the search.
        ({"lr": 1.0, "block": "basic"}, {"lr": {**LR, "when": {"block": ["bottleneck"]}}}, ""),
        (
            {"lr": 1.0, "block": "basic"},
            {"lr": {**LR, "when": {"block": ["basic"]}}},
            "learning rate 1 (range 0.001 to 1).",
        ),
    ],
)  # fmt: skip
def test_a_best_value_at_the_end_of_its_range(
    best: dict[str, Any], ranges: dict[str, Any], said: str
) -> None:
    assert analysis.remarks(one_arm(best=best, **ranges)) == ([EDGE + said] if said else [])


def test_ends_of_ranges_in_several_searches() -> None:
    rows = [
        made_trial("sgd", n, val_error=1.0, lr=lr, epochs_done=5)
        for n, lr in enumerate((0.99, 1.0, 0.1))
    ]
    table = made_table([{**row, **space(lr=LR)} for row in rows]).assign(search=[0, 1, 2])
    (said,) = analysis.remarks(table)
    assert said == f"{EDGE}learning rate 0.99 and 1 in 2 of 3 searches (range 0.001 to 1)."
    text = analysis.render(table)
    assert "Best configuration of each arm in each search" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert [line for line in lines if line.startswith("SGD ") and " 0.0005 " in line] == [
        "SGD 0 0.99 0.0005 - - -", "SGD 1 1 0.0005 - - -", "SGD 2 0.1 0.0005 - - -",
    ]  # fmt: skip


UNLIKE = "SRSGD and SGD had different budgets: "
FEW = " says little of how much results differ from seed to seed."
ONE_WITHOUT = [*search("srsgd"), *confirm("srsgd"), *confirm("sgd")]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (SOUND, ""),
        (
            [*SOUND, *search("srsgd", "cccccc")[4:]],
            UNLIKE + "6 and 4 search trials, 60 and 40 epochs of search.",
        ),
        (
            ONE_WITHOUT,
            UNLIKE + "4 and 0 search trials, 40 and 0 epochs of search.",
        ),
        (
            [*SOUND, *confirm("sgd", 6)[4:]],
            UNLIKE + "4 and 6 confirmation runs.",
        ),
        (
            [*confirm("srsgd", epochs_done=20), *confirm("sgd")],
            UNLIKE + "20 and 10 epochs a confirmation run.",
        ),
        # By less than a tenth; not ended yet.
        ([*search("srsgd"), *search("sgd", "ccc"), *search("sgd", epochs_done=7)[3:]], ""),
        ([*SOUND, *search("srsgd", "ccccrr")[4:]], ""),
        (
            [*search("srsgd", "cddddd"), *search("sgd", "cccccc")],
            "One of 6 search trials of SRSGD is complete, which was the best without a rival.",
        ),
        (
            [*search("srsgd", "ccddff"), *search("sgd", "cccddd")],
            "4 of 6 search trials of SRSGD diverged or failed: what was left of the budget chose "
            "its best configuration.",
        ),
        ([*search("sgd", "c")], ""),
        ([*search("sgd", "cdr")], ""),
        ([*search("sgd", "ccdddr"), *confirm("sgd", 1)], ""),
        ([*confirm("sgd", 2)], "A confirmation over 2 seeds" + FEW),
        ([*confirm("sgd", 1)], "A confirmation over 1 seed" + FEW),
        ([], ""),
    ],
)  # fmt: skip
def test_budgets_and_trials_that_are_few(rows: list[dict[str, Any]], said: str) -> None:
    assert analysis.remarks(made_table(rows)) == ([said] if said else [])


OWN = Study(
    name="own",
    question="?",
    trainable=toy.toy,
    arms=(
        Arm(
            "near",
            {
                "x": FloatDistribution(0.0, 0.5),
                "kind": CategoricalDistribution(("a", "b")),
                "slope": When(FloatDistribution(0.5, 2.0, log=True), kind="a"),
                "sizes.0": IntDistribution(1, 4),
            },
        ),
        Arm("far"),
    ),
    trials=2,
    confirm_seeds=3,
)


def test_the_ranges_travel_with_the_table(tmp_path: Path) -> None:
    result = run(OWN, results=tmp_path, backend="local")
    trials = read_trials(tmp_path / "own")
    said = trials.groupby("arm")["search_space"].unique()
    assert trials.loc[trials["arm"] == "far", "search_space"].isna().all()
    (near,) = said["near"]
    assert json.loads(near) == {
        "x": {"low": 0.0, "high": 0.5, "log": False, "step": None},
        "kind": {"choices": ["a", "b"]},
        "slope": {"low": 0.5, "high": 2.0, "log": True, "step": None, "when": {"kind": ["a"]}},
        "sizes.0": {"low": 1, "high": 4, "log": False, "step": 1},
    }
    assert result.remarks == analysis.remarks(trials)


def test_a_grid_ends_where_its_values_do(tmp_path: Path) -> None:
    ranges = {"x": FloatDistribution(-9.0, 9.0)}
    grid = SearchSpace("grid", "?", ranges, {"x": (0.5, 1.0, 1.5)})
    study = dataclasses.replace(OWN, arms=(Arm("near", grid),), searcher="grid", trials=3)
    result = run(study, results=tmp_path, backend="local")
    assert result.best == {"near": {"x": 1.0}}
    assert result.remarks == []
    ended = result.trials.assign(x=1.5)
    assert analysis.remarks(ended) == [
        "The best configuration of near lies at an end of its space, beyond which a better one may "
        "lie: x 1.5 (range 0.5 to 1.5)."
    ]


def test_a_confirmation_on_the_split_that_was_searched(tmp_path: Path) -> None:
    study = dataclasses.replace(OWN, name="same", confirm_metric="score", arms=OWN.arms[:1])
    result = run(study, results=tmp_path, backend="local")
    said = (
        "The confirmation is judged on the validation split, on which the search selected: its "
        "results are better than on new data, most so for an arm that was searched more."
    )
    assert said in result.remarks
    assert f"Note: {said}" in " ".join(str(result).split())
    assert said not in analysis.remarks(result.trials, metric="test_score")
    assert said not in analysis.remarks(result.trials, metric="cost")
