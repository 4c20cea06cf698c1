"""The interval over runs and images: by hand, from a study's tables, and by simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_results import confirm_runs, made_table
from scipy.special import stdtrit

from srsgd_ray.analysis import confirmation, estimate, over_images, render, two_way
from srsgd_ray.analysis.looks import look_level

N = 50


def test_two_way_by_hand() -> None:
    """Effects that add up leave no rest: the variance of a mean is that of both margins."""
    runs, images = np.array([1.0, 2.0, 6.0]), np.array([0.0, 0.5, 1.0, -1.5])
    found = two_way(runs[:, None] + images)
    half = math.sqrt(
        (stdtrit(2, 0.975) * runs.std(ddof=1)) ** 2 / 3
        + (stdtrit(3, 0.975) * images.std(ddof=1)) ** 2 / 4
    )
    assert (found.n, found.mean) == (3, pytest.approx(3.0))
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))


def test_it_is_never_narrower_than_the_interval_over_runs() -> None:
    """Images that agree no more than chance would have them add nothing."""
    rng = np.random.default_rng(0)
    wider = 0
    for _ in range(50):
        drawn = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=(5, 40))
        found, alone = two_way(drawn, 0.9), estimate(drawn.mean(1).tolist(), 0.9)
        assert found.low <= alone.low + 1e-12 and alone.high <= found.high + 1e-12
        wider += found.high > alone.high + 1e-9
    assert 10 <= wider <= 40


def test_coverage() -> None:
    """Both arms err alike on average, on images of their own: the seeds' interval is too narrow."""
    rng = np.random.default_rng(3)
    holds = alone = 0
    for _ in range(400):
        hard = rng.normal(size=200)
        sides = []
        for _ in range(2):
            own = hard + 0.5 * rng.normal(size=200) + 0.1 * rng.normal(size=(8, 1))
            sides.append(own + 0.3 * rng.normal(size=(8, 200)) > 1.5)
        drawn = 100 * (sides[0].astype(float) - sides[1])
        found, seeds = two_way(drawn), estimate(drawn.mean(1).tolist())
        holds += found.low <= 0 <= found.high
        alone += seeds.low <= 0 <= seeds.high
    assert holds >= 0.935 * 400 and alone < 0.88 * 400


def predicted(wrong: dict[str, list[int]], labels: list[Any] | None = None) -> pd.DataFrame:
    """Predictions of trials that err on the images named."""
    labels = labels or [n % 3 for n in range(N)]
    rows = [
        {"trial": t, "image": n, "label": labels[n], "predicted": -1 if n in bad else labels[n]}
        for t, bad in wrong.items()
        for n in range(N)
    ]
    return pd.DataFrame(rows)


WRONG = {
    "confirm-srsgd-000": [0, 1], "confirm-srsgd-001": [0, 2], "confirm-srsgd-002": [0],
    "confirm-sgd-000": [0, 1, 3, 4], "confirm-sgd-001": [0, 2, 3], "confirm-sgd-002": [3, 4],
}  # fmt: skip


def trials(scale: float = 100.0, base: float = 0.0, **values: Any) -> pd.DataFrame:
    errors = [[base + scale * len(WRONG[f"confirm-{a}-00{n}"]) / N for n in range(3)]
              for a in ("srsgd", "sgd")]  # fmt: skip
    return made_table([*confirm_runs("srsgd", errors[0]), *confirm_runs("sgd", errors[1])])


def matrix() -> Any:
    sides = [[[100.0 * (n in WRONG[f"confirm-{a}-00{s}"]) for n in range(N)] for s in range(3)]
             for a in ("srsgd", "sgd")]  # fmt: skip
    return np.array(sides[0]) - np.array(sides[1])


def test_a_study_pairs_seed_by_seed_and_image_by_image() -> None:
    found = over_images(trials(), predicted(WRONG), "srsgd", "sgd", level=0.9)
    assert found == two_way(matrix(), 0.9)
    assert found is not None and found.mean == pytest.approx(100 * (-2 - 1 - 1) / 3 / N)
    shuffled = trials().sample(frac=1.0, random_state=1).reset_index(drop=True)
    assert over_images(shuffled, predicted(WRONG), "srsgd", "sgd", level=0.9) == found


def test_searches_count_once_each() -> None:
    """Of searches with 2 and 1 pairs, each counts by the mean of its own."""
    table = trials().assign(search=[0, 0, 1, 0, 0, 1])
    found = over_images(table, predicted(WRONG), "srsgd", "sgd")
    assert found == two_way(np.stack([matrix()[:2].mean(0), matrix()[2]]))


@pytest.mark.parametrize(("scale", "base"), [(100.0, 0.0), (1.0, 0.0)])
def test_a_share_or_a_percentage(scale: float, base: float) -> None:
    found = over_images(trials(scale, base), predicted(WRONG), "srsgd", "sgd")
    assert found is not None and found.mean == pytest.approx(-scale * 4 / 3 / N)


@pytest.mark.parametrize(
    "told",
    [
        {name: bad for name, bad in WRONG.items() if name != "confirm-sgd-001"},
        {},
        {name: [*bad, 9] for name, bad in WRONG.items()},
    ],
    ids=["a run without", "none", "those of another evaluation"],
)
def test_without_all_that_is_needed_there_is_none(told: dict[str, list[int]]) -> None:
    found = predicted(told) if told else pd.DataFrame(columns=["trial", "label", "predicted"])
    assert over_images(trials(), found, "srsgd", "sgd") is None


def test_arms_with_other_images_have_none() -> None:
    sgd = {name: bad for name, bad in WRONG.items() if "srsgd" not in name}
    ours = {name: bad for name, bad in WRONG.items() if "srsgd" in name}
    both = [predicted(ours), predicted(sgd, ["other"] * N)]
    assert over_images(trials(), pd.concat(both), "srsgd", "sgd") is None


def test_a_comparison_is_widened_at_its_own_level() -> None:
    """By what the images add, at the level of the first look."""
    found = confirmation(trials(), predictions=predicted(WRONG))
    (compared,) = found.comparisons
    alone, both = compared.estimate, compared.over_images
    assert both is not None
    level = look_level(0.95, 0)
    part = (two_way(matrix(), level).low - alone.mean) ** 2
    part -= (estimate(matrix().mean(1).tolist(), level).low - alone.mean) ** 2
    assert (both.low - both.mean) ** 2 == pytest.approx((alone.low - alone.mean) ** 2 + part)
    assert confirmation(trials()).comparisons[0].over_images is None


def test_the_table_names_both_intervals_and_the_sentence_says_what_images_change() -> None:
    """A verdict about these images that other ones could turn, as two thirds of it is one image."""
    wrong = {f"confirm-{arm}-00{seed}": ([] if arm == "srsgd" else [0] + [seed + 1] * (seed % 2))
             for arm in ("srsgd", "sgd") for seed in range(8)}  # fmt: skip
    runs = []
    for arm in ("srsgd", "sgd"):
        errors = [100 * len(wrong[f"confirm-{arm}-00{seed}"]) / N for seed in range(8)]
        runs += confirm_runs(arm, errors)
    text = render(made_table(runs), predictions=predicted(wrong))
    assert "  over seeds  over seeds and images" in text
    assert "SRSGD has a lower test error than SGD" in text
    said = " ".join(text.split())
    assert "over seeds and images -1.2" in said
    assert "with other test images it might not be seen" in said
    plain = render(made_table(runs))
    assert "images" not in plain and "SRSGD has a lower test error than SGD" in plain
