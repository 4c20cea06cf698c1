"""Schedules against lists written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from srsgd_ray import restarts
from srsgd_ray.restarts import RestartSchedule

CIFAR = (80 * 391, 120 * 391, 160 * 391)


@pytest.mark.parametrize(
    ("schedule", "periods"),
    [
        (restarts.linear(30, 2, CIFAR), (30, 60, 90, 120)),
        (restarts.exponential(40, 1.25, CIFAR), (40, 50, 63, 78)),
        (restarts.linear(50, 2, CIFAR), (50, 100, 150, 200)),
        (restarts.exponential(45, 1.5, CIFAR), (45, 68, 101, 152)),
        (restarts.exponential(40, 1.25, CIFAR[:2]), (40, 50, 63)),
        (restarts.linear(45, 1.5, CIFAR[:1]), (45, 68)),
        (restarts.constant(7), (7,)),
        (restarts.never(), (math.inf,)),
        (restarts.explicit([40, 80, 80], CIFAR[:2]), (40, 80, 80)),
    ],
)
def test_published_frequencies(schedule: RestartSchedule, periods: tuple[float, ...]) -> None:
    assert schedule.periods == periods


def test_imagenet_decay_falls_to_one_over_the_last_stage() -> None:
    base = restarts.explicit([40, 80, 80], [31 * 5005, 61 * 5005])
    schedule = restarts.decay_to_one(base, epochs=90, steps_per_epoch=5005)
    assert schedule.starts == (0, 31 * 5005, *(e * 5005 for e in range(61, 90)))
    decay = schedule.periods[2:]
    assert len(decay) == 29
    assert decay[0] == 80
    assert decay[1:3] == pytest.approx((77.179, 74.357), abs=1e-3)
    assert decay[-2:] == pytest.approx((3.821, 1.0), abs=1e-3)
    published = restarts.as_published(schedule)
    assert [published.period(e * 5005) for e in (0, 31, 61, 62, 88, 89)] == [39, 79, 79, 77, 3, 1]


@pytest.mark.parametrize(
    ("frequency", "exact", "published"),
    [(1, 1, 1), (1.2, 2, 1), (2, 2, 1), (3, 3, 2), (30, 30, 29), (62.5, 63, 62)],
)
def test_periods_of_both_conventions(frequency: float, exact: int, published: int) -> None:
    schedule = restarts.constant(frequency)
    assert schedule.period(0) == exact
    assert restarts.as_published(schedule).period(0) == published


def test_counts_by_hand() -> None:
    counts = list(restarts.constant(3).counts(8))
    assert counts == [0, 1, 2, 0, 1, 2, 0, 1]
    assert restarts.constant(3).restarts(8) == [3, 6]
    assert list(restarts.constant(1).counts(4)) == [0, 0, 0, 0]
    assert list(restarts.never().counts(4)) == [0, 1, 2, 3]
    assert restarts.never().restarts(1000) == []


def test_a_stage_resets_or_carries_the_count() -> None:
    schedule = restarts.explicit([3, 4], [5])
    assert list(schedule.counts(10)) == [0, 1, 2, 0, 1, 0, 1, 2, 3, 0]
    carried = RestartSchedule((3, 4), (0, 5), count="carry")
    assert list(carried.counts(10)) == [0, 1, 2, 0, 1, 2, 3, 0, 1, 2]
    # A count beyond the new frequency restarts after one step, as the reference does.
    shorter = RestartSchedule((6, 2), (0, 5), count="carry")
    assert list(shorter.counts(8)) == [0, 1, 2, 3, 4, 5, 0, 1]


def test_stages_begin_where_they_should() -> None:
    schedule = restarts.explicit([3, 4, 5], [5, 9])
    assert [schedule.stage(s) for s in (0, 4, 5, 8, 9, 100)] == [0, 0, 1, 1, 2, 2]
    assert [s for s in range(12) if schedule.begins_stage(s)] == [5, 9]


def test_momentum_is_the_papers() -> None:
    assert [restarts.momentum(k) for k in (0, 1, 2, 27)] == [0, 0.25, 0.4, 0.9]


def test_plain_form_round_trip() -> None:
    schedule = restarts.as_published(restarts.linear(30, 2, CIFAR))
    assert RestartSchedule.from_dict(schedule.to_dict()) == schedule
    assert schedule.to_dict()["periods"] == [30, 60, 90, 120]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: restarts.constant(0.5), "restart frequency F >= 1 must hold in every stage"),
        (lambda: restarts.constant(math.nan), "F >= 1 must hold"),
        (lambda: restarts.constant(-3), "periods=(-3,)"),
        (lambda: restarts.explicit([30, 60], [5, 9]), "but got 2 (periods=(30, 60)) for 3 stages"),
        (lambda: restarts.explicit([30, 60, 90], [5]), "but got 3"),
        (lambda: restarts.explicit([1, 2, 3], [9, 5]), "must start at step 0 and increase"),
        (lambda: restarts.linear(30, -1.0, [5]), "growth r > 0 must hold, but got growth=-1.0"),
        (lambda: restarts.linear(3, 0.1, [5, 9]), "F >= 1 must hold"),
        (lambda: RestartSchedule((3,), buffer="lose"), "buffer must be one of ('keep', 'drop')"),  # type: ignore[arg-type]
        (lambda: RestartSchedule((3,), count="lose"), "count must be one of"),  # type: ignore[arg-type]
        (
            lambda: restarts.decay_to_one(
                restarts.explicit([40, 80], [80]), epochs=9, steps_per_epoch=10
            ),
            "a last stage of at least 2 epochs, but got 1",
        ),
        (
            lambda: restarts.decay_to_one(
                restarts.explicit([40, 80], [85]), epochs=20, steps_per_epoch=10
            ),
            "must begin with an epoch, but got start=85",
        ),
    ],
)
def test_bad_schedules(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
