"""Expected best after a budget of epochs, against all orders and against searches really run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_results import made_table, made_trial

from srsgd_ray import analysis

EPOCHS = 10


def made(ends: Sequence[tuple[str, int, float | None]], arm: str = "sgd", **values: Any) -> Any:
    """Search trials that ended so: state, epochs, validation error."""
    return [
        made_trial(arm, n, state, epochs_done=done, val_error=error, **values)
        for n, (state, done, error) in enumerate(ends)
    ]


def by_all_orders(
    costs: Sequence[int], values: Sequence[float], budget: int
) -> tuple[float, float, float]:
    """Mean, and the middle 95 %, of the best that a budget pays over all orders of the trials."""
    found = []
    for order in itertools.permutations(range(len(costs))):
        spent = np.cumsum([costs[i] for i in order])
        found.append(min(values[i] for i, at in zip(order, spent, strict=True) if at <= budget))
    found.sort()
    n = len(found)
    return math.fsum(found) / n, found[math.ceil(0.025 * n) - 1], found[math.ceil(0.975 * n) - 1]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_exact_for_any_costs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = [*map(int, rng.integers(1, 9, 6)), 8]
    values = [*map(float, rng.permutation(7) + rng.random(7))]
    states = ["complete", *rng.choice(["pruned", "complete"], 6)]
    table = made_table(made([*zip(states, costs, values, strict=True)]))
    budgets = [8, 11, 17, sum(costs) - 1, sum(costs)]
    found = analysis.expected_best(table, "sgd", epochs=budgets)
    # A pruned trial is not chosen, and so counts as no better than the best complete one.
    best = min(v for v, state in zip(values, states, strict=True) if state == "complete")
    wanted = [by_all_orders(costs, [max(v, best) for v in values], budget) for budget in budgets]
    np.testing.assert_allclose(found[["expected", "low", "high"]], wanted, rtol=1e-9, atol=1e-9)
    assert found["expected"].iloc[-1] == pytest.approx(best, rel=1e-9)


def test_trials_of_one_length_are_the_best_of_k() -> None:
    # The i-th best of n is the best of k with chance C(n - i, k - 1) / C(n, k).
    n = 300  # beyond what the quadrature integrates exactly
    rows = made([("complete", EPOCHS, float(i)) for i in range(n)])
    found = analysis.expected_best(made_table(rows), "sgd", epochs=[EPOCHS * k for k in (1, 7, n)])
    for k, expected in zip((1, 7, n), found["expected"], strict=True):
        wanted = math.fsum(i * math.comb(n - i - 1, k - 1) / math.comb(n, k) for i in range(n))
        assert expected == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_many_long_trials_take_no_minute_and_come_close() -> None:
    rng = np.random.default_rng(0)
    n, epochs = 300, 2003
    costs, values = np.full(n, epochs), rng.exponential(size=n)
    costs[1::9] = rng.integers(1, 100, len(costs[1::9]))
    states = np.where(costs == epochs, "complete", "pruned")
    table = made_table(made([*zip(states, map(int, costs), map(float, values), strict=True)]))
    (found,) = analysis.expected_best(table, "sgd", epochs=[10 * epochs])["expected"]
    order = rng.permuted(np.tile(np.arange(n), (20_000, 1)), axis=1)[:, :60]
    paid = costs[order].cumsum(axis=1) <= 10 * epochs
    drawn = np.where(paid, values[order], np.inf).min(axis=1)
    assert found == pytest.approx(drawn.mean(), abs=5 * drawn.std() / math.sqrt(len(drawn)))


def test_what_a_diverged_trial_counts_as() -> None:
    ends = [("complete", 10, 1.0), ("diverged", 2, 0.5), ("pruned", 3, None)]
    rows = made([*ends, ("running", 4, 0.1)]) + made([("pruned", 1, 9.0)], "srsgd")
    # It costs its two epochs, and counts as the worst that any arm's trial ended with: 9. So does
    # a pruned one without a value. Ten epochs pay for the complete one if it comes first.
    found = analysis.expected_best(made_table(rows), "sgd")
    assert list(found["epochs"]) == [10, 15]
    np.testing.assert_allclose(found["expected"], [(1 + 9 + 9) / 3, 1.0])


def test_a_pruned_search_promises_no_more_than_it_can_hold() -> None:
    """The issue's case: 27 of 30 trials pruned, in a space whose values go from 1 to 83."""
    rng = np.random.default_rng(0)
    final = np.sort(1 + 82 * rng.random(30) ** 2)
    pruned = made(
        [("complete", 10, v) if n < 3 else ("pruned", 1, v + 5) for n, v in enumerate(final)]
    )
    found = analysis.expected_best(made_table(pruned), "sgd").set_index("epochs")
    whole = made([("complete", 10, v) for v in final])
    without = analysis.expected_best(made_table(whole), "sgd").set_index("epochs")
    assert found.index.max() == 57
    # Ten epochs pay for ten of the pruned trials; a whole one is not worth more than it is.
    assert found.loc[10, "expected"] > without.loc[100, "expected"]
    assert found.loc[10, "high"] > final[5]
    assert found["expected"].iloc[-1] == pytest.approx(final[0])


def test_searches_are_reordered_each_by_itself() -> None:
    one, two = ((1.0, 3.0), (5.0, 7.0))
    rows = [
        made_trial("sgd", number, val_error=value, ended=float(9 - number))
        for number, value in enumerate((*one, *two, 0.5))
    ]
    table = pd.DataFrame(rows).assign(search=[None, 0, 1, 1, 2])  # the third has only begun
    found = analysis.expected_best(table, "sgd")
    assert list(found["epochs"]) == [10, 20]
    np.testing.assert_allclose(found["expected"], [4.0, 3.0])
    # Of one trial, each of the four has one chance in four; of two, each search finds its best.
    assert found.to_numpy()[:, 2:].tolist() == [[1.0, 7.0], [1.0, 5.0]]
    so_far = analysis.best_so_far(table)
    assert list(so_far["search"]) == [0, 0, 1, 1, 2]
    assert list(so_far["epochs"]) == [10, 20, 10, 20, 10]
    assert list(so_far["best_val_error"]) == [3.0, 1.0, 7.0, 5.0, 0.5]


def test_a_metric_that_is_better_higher() -> None:
    ends = [("complete", 4, 0.9), ("pruned", 1, 0.5), ("diverged", 1, 0.99)]
    rows = made([(state, done, None) for state, done, _ in ends])
    table = pd.DataFrame(rows).assign(score=[v for *_, v in ends], metric="score", mode="max")
    found = analysis.expected_best(table, "sgd", epochs=[4, 6])
    # Four epochs pay for the complete one alone, if it is the first, or for the two others.
    np.testing.assert_allclose(found["expected"], [0.9 / 3 + 0.5 * 2 / 3, 0.9])
    np.testing.assert_allclose(found[["low", "high"]], [[0.5, 0.9], [0.9, 0.9]])


@pytest.mark.parametrize("budget", [9, 31])
def test_a_budget_that_says_nothing(budget: int) -> None:
    table = made_table(made([("complete", 10, 1.0)] * 3))
    with pytest.raises(ValueError, match=f"from 10 epochs .* to 30 .* but got 20, {budget}"):
        analysis.expected_best(table, "sgd", epochs=[20, budget])


def asha(
    rng: np.random.Generator, rungs: Sequence[int], factor: float, trials: int = 30
) -> list[tuple[str, int, float]]:
    """A search by asynchronous successive halving, one trial after the other."""
    seen: dict[int, list[float]] = {rung: [] for rung in rungs}
    ends = []
    for _ in range(trials):
        u, rate = rng.random(), rng.uniform(0.2, 0.6)
        final = 1 + 82 * min(1.0, abs(u - 0.7) / 0.7) ** 2.5 + 0.3 * rng.exponential()
        curve = final + (90 - final) * np.exp(-rate * np.arange(1, EPOCHS + 1))
        state, done = "complete", EPOCHS
        for rung in rungs:
            value, others = float(curve[rung - 1]), seen[rung]
            better = sum(other < value for other in others)
            others.append(value)
            if better and better >= len(others) / factor:
                state, done = "pruned", rung
                break
        ends.append((state, done, float(curve[done - 1])))
    return ends


@pytest.mark.parametrize(
    ("rungs", "factor", "least"), [((), 1.0, 0.93), ((1, 3, 9), 3.0, 0.67), ((1,), 3.0, 0.67)]
)
def test_against_searches_that_end_at_the_budget(
    rungs: Sequence[int], factor: float, least: float
) -> None:
    rng = np.random.default_rng(1)
    budgets = [10, 20, 30, 40, 50]
    real = []
    for _ in range(1500):
        ends = asha(rng, rungs, factor, trials=5 if not rungs else 20)
        paid = np.cumsum([done for _, done, _ in ends])[:, None] <= budgets
        real.append(np.where(paid, [[value] for *_, value in ends], np.inf).min(axis=0))
    said = []
    for _ in range(100):
        table = pd.DataFrame(made(asha(rng, rungs, factor)))[FRAME]
        said.append(analysis.expected_best(table, "sgd", epochs=budgets)["expected"])
    ratio = np.mean(said, axis=0) / np.mean(real, axis=0)
    assert (ratio > least).all()
    # One trial's budget buys some that are stopped, where a search's first one is not.
    assert (ratio < (2.5 if rungs else 1.07)).all()
    assert (ratio[1:] < 1.07).all()


FRAME = [
    "study",
    "phase",
    "arm",
    "trial",
    "number",
    "state",
    "epochs_done",
    "val_error",
    "val_loss",
]
