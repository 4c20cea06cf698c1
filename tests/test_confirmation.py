"""The confirmation's estimates and verdicts against values computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from made_results import confirm_runs, made_table

from srsgd_ray import analysis
from srsgd_ray.analysis import confirmation

T2 = 4.848732213850609  # t quantile 0.98 with 2 degrees of freedom: the first look is at 96 %
T2_ALONE = 4.302652729911275  # 0.975: an arm by itself, at 95 %


def test_estimate_by_hand() -> None:
    found = analysis.estimate([1.0, 2.0, 3.0])
    half = T2_ALONE / math.sqrt(3)
    assert (found.n, found.mean, found.std) == (3, 2.0, 1.0)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert math.isnan(analysis.estimate([]).mean)
    alone = analysis.estimate([5.0])
    assert alone.mean == 5.0 and math.isnan(alone.std) and math.isnan(alone.low)


def test_confirmation_by_hand() -> None:
    runs = [*confirm_runs("srsgd", (3.0, 3.1, 3.5)), *confirm_runs("sgd", (3.5, 3.9, 3.7))]
    found = confirmation(made_table(runs[::-1]))
    (compared,) = found.comparisons
    assert compared.seeds == (1, 2, 3)
    assert compared.differences == pytest.approx((-0.5, -0.8, -0.2))
    half = T2 * 0.3 / math.sqrt(3)
    result = compared.estimate
    assert (result.mean, result.std) == pytest.approx((-0.5, 0.3))
    assert (result.low, result.high) == pytest.approx((-0.5 - half, -0.5 + half))
    # Guenther at the next look, 99.5 %: ((2.807 + 0.8416) * std / 0.5)^2 + 2.807^2 / 2, with the
    # ends of 0.3's chi-square interval, which is in closed form for 2 degrees of freedom.
    variances = [0.3**2 / -math.log(tail) for tail in (0.025, 0.975)]
    needed = [(2.807034 + 0.841621) ** 2 * v / 0.25 + 2.807034**2 / 2 for v in variances]
    assert compared.pairs_needed == tuple(map(math.ceil, needed)) == (6, 194)
    assert found.arm("sgd").estimate.mean == pytest.approx(3.7)
    assert found.arm("sgd").estimate.std == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("srsgd", "sgd", "lower", "said"),
    [
        (
            (3.0, 3.1, 3.5),
            (3.5, 3.9, 3.7),
            None,
            "Not enough seeds to tell SRSGD from SGD: difference in test error -0.50 points "
            "between these two configurations (95 % interval -1.34 to 0.34, n = 3 pairs, look 1 at "
            "96 %); to resolve a difference this large, 6 to 194 pairs in all would be needed.",
        ),
        (
            (3.0, 3.0, 3.0),
            (3.4, 3.5, 3.6),
            "srsgd",
            "SRSGD has a lower test error than SGD: by 0.50 points between these two "
            "configurations (95 % interval 0.22 to 0.78, n = 3 pairs, look 1 at 96 %).",
        ),
        (
            (3.4, 3.5, 3.6),
            (3.0, 3.0, 3.0),
            "sgd",
            "SGD has a lower test error than SRSGD: by 0.50 points between these two "
            "configurations (95 % interval 0.22 to 0.78, n = 3 pairs, look 1 at 96 %).",
        ),
        (
            (3.0, 3.4, None),
            (3.2, 3.6, 3.0),
            None,
            "Not enough seeds to tell SRSGD from SGD: SRSGD has a "
            "lower test error by 0.20 points between these two configurations in each of 2 pairs, "
            "and without spread no interval can be given; not counted: SRSGD 1 diverged (seed 3).",
        ),
        (
            (3.0, 3.4),
            (3.0, 3.4),
            None,
            "No difference seen between SRSGD and SGD: the same test error in each of 2 pairs, so "
            "that no interval can be given.",
        ),
        (
            (3.0,),
            (3.4,),
            None,
            "Not enough seeds to tell SRSGD from SGD: difference in test error -0.40 points "
            "between these two configurations, n = 1 pair; an interval needs 2 or more.",
        ),
        (
            (None, None),
            (3.4, 3.5, 3.3),
            None,
            "No verdict on SRSGD and SGD: no seed is complete in both; not counted: SRSGD "
            "2 diverged (seeds 1, 2), 1 not begun (seed 3).",
        ),
    ],
)
def test_verdicts(srsgd: Any, sgd: Any, lower: str | None, said: str) -> None:
    table = made_table([*confirm_runs("srsgd", srsgd), *confirm_runs("sgd", sgd)])
    (compared,) = confirmation(table).comparisons
    assert compared.verdict == said
    assert compared.lower == lower


def test_several_comparisons_hold_together() -> None:
    runs = [
        *confirm_runs("sgd", (3.0, 3.0, 3.0)),
        *confirm_runs("srsgd", (2.4, 2.5, 2.6)),
        *confirm_runs("srsgd_late", (2.9, 3.0, 3.1)),
    ]
    found = confirmation(made_table(runs))
    assert [c.arm for c in found.comparisons] == ["srsgd", "srsgd_late"]
    # Level 0.98 of one of two; with 2 degrees of freedom the t quantile has a closed form.
    quantile = 0.98 * math.sqrt(2 / (4 * 0.99 * 0.01))
    half = quantile * 0.1 / math.sqrt(3)
    assert found.comparisons[0].estimate.high == pytest.approx(-0.5 + half)
    assert "widened for 2 comparisons, n = 3 pairs, look 1 at 96 %" in found.comparisons[0].verdict
    # A mean difference of 0 has no number of pairs that would resolve it.
    assert found.comparisons[1].pairs_needed is None
    assert "SRSGD late" in found.comparisons[1].verdict


def test_runs_that_do_not_count_are_named() -> None:
    runs = [*confirm_runs("srsgd", (3.0, 3.1, 3.2, 3.3)), *confirm_runs("sgd", (3.5, 3.9, 3.6))]
    runs[0]["state"], runs[1]["state"], runs[2]["test_error"] = "failed", "running", None
    found = confirmation(made_table(runs))
    # What has not ended is not lost, only absent.
    assert found.arm("srsgd").lost == {"failed": (1,), "without test_error": (3,)}
    assert found.arm("srsgd").absent == {"running": (2,)}
    assert (found.arm("sgd").lost, found.arm("sgd").absent) == ({}, {"not begun": (4,)})
    assert found.comparisons[0].seeds == ()
    assert found.comparisons[0].verdict.endswith(
        "not counted: SRSGD 1 failed (seed 1), 1 without test error (seed 3), 1 running (seed 2); "
        "SGD 1 not begun (seed 4)."
    )
