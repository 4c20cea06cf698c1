"""What a verdict covers: replicated searches, lost runs, looks, several comparisons, bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_results import confirm_runs, made_table, made_trial
from scipy import stats

from srsgd_ray import figures
from srsgd_ray.analysis import Comparison, confirmation, render
from srsgd_ray.analysis.interval import estimate, share
from srsgd_ray.analysis.looks import holm, look_level, look_share, number_needed

Rows = list[dict[str, Any]]


def table_of(rows: Rows, **columns: Sequence[int | None]) -> pd.DataFrame:
    """A trials table, with columns of search and look if given."""
    return made_table(rows).assign(**{name: list(values) for name, values in columns.items()})


def replicated(differences: Sequence[Sequence[float]]) -> pd.DataFrame:
    """Paired differences of SRSGD to SGD, by search; the searches are in the table too."""
    rows, searches = [], []
    for arm in ("srsgd", "sgd"):
        for search, own in enumerate(differences):
            rows.append(made_trial(arm, search, val_error=4.0))
            for n, difference in enumerate(own):
                error = 5.0 + 0.01 * n + (difference if arm == "srsgd" else 0.0)
                seed = 1000 * search + n
                rows.append(made_trial(arm, seed, phase="confirm", seed=seed, test_error=error))
            searches += [search] * (1 + len(own))
    return table_of(rows, search=searches)


def only(table: pd.DataFrame) -> Comparison:
    (compared,) = confirmation(table).comparisons
    return compared


def losses(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Comparison:
    return only(made_table([*confirm_runs("srsgd", ours), *confirm_runs("sgd", theirs)]))


# Replicated searches.


def test_with_several_searches_the_unit_is_the_search() -> None:
    # Within a search all seeds agree, so over seeds the difference would be beyond doubt.
    found = only(replicated([(-0.5, -0.5, -0.51), (0.1, 0.1), (-0.3,)]))
    means = [-0.51 + 0.02 / 3, 0.1, -0.3]
    assert found.units == pytest.approx(means)
    assert (found.replicated, found.estimate.n, len(found.seeds)) == (3, 3, 6)
    expected = stats.ttest_1samp(means, 0.0).confidence_interval(0.96)
    assert (found.estimate.low, found.estimate.high) == pytest.approx(tuple(expected))
    assert found.lower is None
    assert found.verdict.startswith("Not enough searches to tell tuned SRSGD from tuned SGD: ")
    assert "n = 3 searches, 6 pairs, look 1 at 96 %" in found.verdict
    assert "searches in all would be needed" in found.verdict


def test_a_look_is_open_while_a_search_of_it_is_not_confirmed() -> None:
    """Looked at after each of ten searches, 16 % of studies would have a false verdict."""
    three = replicated([(-0.5, -0.52), (-0.4, -0.44), (-0.61, -0.6)])
    begun = table_of([made_trial("sgd", 9, val_error=4.0)], search=[3])
    found = only(pd.concat([three, begun]))
    assert (found.lower, found.look, found.p) == (None, -1, 1.0)
    assert found.verdict.startswith("No verdict before all runs have ended: so far, difference in ")
    # One that was added after a look leaves that look as it was.
    assert only(pd.concat([three, begun.assign(look=1)])).look == 0
    # A search without a complete trial has nothing to confirm.
    assert only(pd.concat([three, begun.assign(state="diverged")])).lower == "srsgd"


def test_a_look_is_open_while_a_planned_run_has_not_begun() -> None:
    rows = [*confirm_runs("srsgd", [3.0, 3.1, 3.05]), *confirm_runs("sgd", [4.0, 4.1, 4.2])]
    for seeds, searches, look in ((3, 1, 0), (4, 1, -1), (3, 2, -1), (None, None, 0)):
        plan = {"confirm_seeds": seeds, "searches": searches}
        assert only(made_table([{**row, **plan} for row in rows])).look == look
    # Those of the next look were planned later: they leave this one as it was.
    known = [{**row, "confirm_seeds": 3, "searches": 1} for row in rows]
    (added,) = confirm_runs("srsgd", [3.0], confirm_seeds=8, searches=1)
    added |= {"look": 1, "seed": 9, "trial": "confirm-srsgd-009"}
    assert only(made_table([*known, added])).look == 0


def test_searches_of_one_mean_need_not_be_of_equal_runs() -> None:
    found = only(replicated([(-1.0, 1.0), (2.0, -2.0)]))
    assert "the same mean test error in each of 2 searches, 4 pairs" in found.verdict


def test_the_sentence_says_what_was_sampled() -> None:
    many = replicated([(-0.5, -0.52), (-0.4, -0.44), (-0.61, -0.6), (-0.5, -0.55)])
    said = only(many).verdict
    assert said.startswith("Tuned SRSGD has a lower test error than tuned SGD: by 0.52 points (95 ")
    assert "the luck of the search and of the seeds together" in confirmation(many).scope
    one = replicated([(-0.5, -0.52, -0.4, -0.44)])
    said = only(one).verdict
    assert said.startswith(
        "SRSGD has a lower test error than SGD: by 0.47 points between these two "
    )
    for text in (confirmation(one).scope, " ".join(render(one).split())):
        assert "One search was used: the intervals cover the seeds of training, not the " in text
    # Without a search the arms are what they are; and a fixed arm is not tuned.
    confirmed = one[one["phase"] == "confirm"]
    assert confirmation(confirmed).scope == ""
    fixed = many[(many["phase"] == "confirm") | (many["arm"] == "srsgd")]
    assert only(fixed).verdict.startswith("Tuned SRSGD has a lower test error than SGD: ")


def test_a_search_without_a_winner_is_lost() -> None:
    table = replicated([(-0.5, -0.52), (-0.4, -0.44), (-0.61, -0.6)])
    mine = (table["arm"] == "srsgd") & (table["search"] == 1)
    table = table[~(mine & (table["phase"] == "confirm"))].copy()
    table.loc[mine, "state"] = "diverged"
    found = confirmation(table).arm("srsgd")
    assert found.lost == {"without a winner": (1000, 1001)}
    assert (found.lost_share.count, found.lost_share.n) == (2, 6)


def test_tables_without_searches_and_looks_are_of_one() -> None:
    table = replicated([(-0.5, -0.52, -0.4, -0.44)])
    empty = table.assign(search=None, look=None)
    assert only(empty) == only(table) == only(table.drop(columns="search"))


# Lost runs.


def test_an_arm_that_loses_more_runs_gets_no_verdict() -> None:
    ours: list[float | None] = [3.0, 3.1, 3.05, 3.1, 3.0, None, None, None]
    theirs = [4.0, 4.2, 4.1, 4.0, 4.1, 4.2, 4.1, 4.0]
    found = losses(ours, theirs)
    assert found.estimate.high < 0 and found.lower is None and found.pairs_needed is None
    assert found.worst_rank is not None and (found.worst_rank.won, found.worst_rank.lost) == (5, 3)
    assert found.worst_rank.p == pytest.approx(stats.binomtest(5, 8).pvalue)
    assert found.verdict.startswith("No verdict in favour of SRSGD, which lost more runs than its ")
    assert "better only in 5 of 8 pairs if a lost run is worse than any other" in found.verdict
    # The rival gets its verdict, if the complete runs are in its favour.
    assert losses([v and v + 3.0 for v in ours], theirs).lower == "sgd"


def test_a_verdict_can_hold_with_lost_runs_at_the_worst() -> None:
    ours: list[float | None] = [3.0, 3.1, 3.05, 3.1, 3.0, 3.2, 3.1, 3.0, 3.1, 3.0, 3.1, None]
    theirs = [4.0 + 0.01 * n for n in range(12)]
    found = losses(ours, theirs)
    assert found.lower == "srsgd"
    assert found.p == pytest.approx(stats.binomtest(11, 12).pvalue / 0.8)
    assert "SRSGD lost more runs, and is better in 11 of 12 pairs if a lost run" in found.verdict
    # For a metric of which more is better, the worst is at the other end.
    table = made_table([*confirm_runs("srsgd", ours), *confirm_runs("sgd", theirs)])
    table["val_accuracy"] = -table["test_error"]
    table.attrs.clear()
    table["metric"], table["mode"] = "val_accuracy", "max"
    (other,) = confirmation(table, metric="val_accuracy").comparisons
    assert (other.better, other.p) == ("srsgd", found.p)


def test_as_many_lost_by_both_is_said() -> None:
    found = losses([3.0, 3.1, 3.2, None], [None, 4.1, 4.3, 4.0])
    assert found.worst_rank is None
    assert found.verdict.endswith("SGD 1 diverged (seed 1) (as many were lost by both).")


def test_the_share_of_lost_runs_has_its_interval() -> None:
    table = made_table([*confirm_runs("srsgd", (3.0, 3.1, None)), *confirm_runs("sgd", (4, 5, 6))])
    arm = confirmation(table).arm("srsgd")
    exact = stats.binomtest(1, 3).proportion_ci(0.95)
    assert (arm.lost_share.low, arm.lost_share.high) == pytest.approx((exact.low, exact.high))
    assert "1 of 3 (1 to 91 %)" in render(table)
    assert share([0], [0]).n == 0 and math.isnan(share([], []).low)
    assert (share([0], [8]).low, share([8], [8]).high) == (0.0, 1.0)
    # Runs of one search that are lost together are worth fewer runs.
    together, apart = share([8, 0, 0, 0], [8] * 4), share([2, 2, 2, 2], [8] * 4)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)
    assert apart == share([8], [32])


def test_mcnemar_compares_what_was_lost() -> None:
    found = losses([None] * 6 + [3.0, 3.1], [4.0] * 8)
    assert found.lost_p == pytest.approx(2 * 0.5**6)


def test_running_runs_are_absent_and_no_verdict_is_given_before_they_end() -> None:
    runs = [*confirm_runs("srsgd", (3.0, 3.0, 3.0, 3.1)), *confirm_runs("sgd", (4.0, 4.1, 4.2, 4))]
    runs[3].update(state="running", test_error=None)
    found = only(made_table(runs))
    assert (found.lower, found.look, found.lost["srsgd"]) == (None, -1, {})
    assert found.verdict.startswith("No verdict before all runs have ended: so far, difference in ")
    runs[3].update(state="complete", test_error=3.1)
    assert only(made_table(runs)).lower == "srsgd"


# Looks.


def test_all_looks_share_the_error() -> None:
    shares = [look_share(look) for look in range(100_000)]
    assert math.fsum(shares) == pytest.approx(1.0, abs=1e-5) and math.fsum(shares) <= 1
    assert [look_level(0.95, look) for look in range(3)] == pytest.approx([0.96, 0.995, 0.99833333])


def looked(differences: Sequence[Sequence[float]], running: bool = False) -> Comparison:
    """Paired differences, by the look at which they were added."""
    ours = [5.0 + d for look in differences for d in look]
    rows = [*confirm_runs("srsgd", ours), *confirm_runs("sgd", [5.0] * len(ours))]
    looks = [look for look, own in enumerate(differences) for _ in own]
    if running:
        rows[len(ours) - 1].update(state="running", test_error=None)
    return only(table_of(rows, look=[*looks, *looks]))


def test_a_later_look_is_made_at_its_own_level() -> None:
    first, second = (-0.5, 0.3, -0.8), (-0.4, -0.6, -0.5, -0.45)
    found = looked([first, second])
    every = stats.ttest_1samp([*first, *second], 0.0)
    assert found.look == 1 and "n = 7 pairs, look 2 at 99.5 %" in found.verdict
    # Of the intervals at 96 % (3 pairs) and at 99.5 % (7 pairs), what they have in common.
    ends = [
        stats.ttest_1samp(first, 0.0).confidence_interval(0.96),
        every.confidence_interval(0.995),
    ]
    assert found.estimate.low == pytest.approx(max(e.low for e in ends))
    assert found.estimate.high == pytest.approx(min(e.high for e in ends))
    assert found.p == pytest.approx(every.pvalue / 0.1)
    # At 95 % the seven pairs would have been called a finding.
    assert every.pvalue < 0.05 and found.lower is None


def test_a_verdict_stays_when_runs_are_added() -> None:
    first = (-0.5, -0.4, -0.6, -0.55)
    assert looked([first]).lower == "srsgd"
    assert looked([first, (-0.5, 0.4)]).lower == "srsgd"
    assert looked([first, (-0.5, 0.4)], running=True).look == 0
    # But not if all runs together say the opposite.
    turned = looked([first, (5.0, 6.0)])
    assert turned.lower is None
    assert turned.estimate.low < turned.estimate.mean < turned.estimate.high


def test_a_verdict_does_not_stay_where_its_arm_has_lost_too_many_runs_since() -> None:
    ours = [3.0, 3.1, 3.05, 3.1, None, None, None, 3.0]
    rows = [*confirm_runs("srsgd", ours), *confirm_runs("sgd", [4.0] * 8)]
    assert only(made_table([*rows[:4], *rows[8:12]])).lower == "srsgd"
    found = only(table_of(rows, look=[0, 0, 0, 0, 1, 1, 1, 1] * 2))
    assert found.lower is None
    assert found.verdict.startswith("No verdict in favour of SRSGD, which lost more runs")


def test_the_number_needed_is_a_range() -> None:
    found = estimate([-0.5, 0.3, -0.8, -0.4, -0.6])
    few, many = number_needed(found, 0.995, 0.95) or (0, 0)
    assert 6 <= few < many
    assert number_needed(estimate([1.0, -1.0]), 0.995, 0.95) is None
    assert number_needed(estimate([1.0]), 0.995, 0.95) is None


# Several comparisons.


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_holm_decides_more_than_the_simultaneous_intervals_and_says_so() -> None:
    base = [4.0 + 0.1 * n for n in range(8)]
    rows = [
        *confirm_runs("sgd", base),
        *confirm_runs("srsgd", [b - 1.0 + 0.01 * (n % 3) for n, b in enumerate(base)]),
        *confirm_runs("adam", [b + d for b, d in zip(base, NEARLY, strict=True)]),
    ]
    found = confirmation(made_table(rows)).comparisons
    assert [c.lower for c in found] == ["srsgd", "adam"]
    assert found[1].estimate.low < 0 < found[1].estimate.high
    assert "; Holm's p = 0.0" in found[1].verdict and "holds 0" in found[1].verdict
    text = render(made_table(rows))
    assert "2 comparisons: Bonferroni intervals, Holm's p" in text
    assert max(map(len, text.splitlines())) <= 100


NEARLY = (-0.9, 0.3, -0.7, -0.2, -0.8, 0.1, -0.6, -0.4)  # p = 0.031


# An arm's own interval.


def test_an_arms_interval_stays_where_its_values_can_be() -> None:
    values = (0.3, 0.0, 4.0)
    table = made_table([*confirm_runs("srsgd", values), *confirm_runs("sgd", (3.0, 3.1, 3.2))])
    found = confirmation(table).arm("srsgd").estimate
    plain = estimate(values)
    assert plain.low < 0 < found.low < found.mean < found.high < 100
    # The delta method on the logit scale.
    mean = plain.mean / 100
    half = (plain.high - plain.mean) / 100 / (mean * (1 - mean))
    ends = [100 / (1 + (1 - mean) / mean * math.exp(sign * half)) for sign in (1, -1)]
    assert (found.low, found.high) == pytest.approx(tuple(ends))
    assert (found.mean, found.std) == (plain.mean, plain.std)
    # Far from the bounds it is the plain interval; a value outside says that they are none.
    middle = estimate((50.0, 50.1, 50.2), bounds=(0.0, 100.0))
    assert middle.low == pytest.approx(estimate((50.0, 50.1, 50.2)).low, abs=1e-3)
    assert estimate((-1.0, 1.0, 2.0), bounds=(0.0, 100.0)) == estimate((-1.0, 1.0, 2.0))


# What is shown.


def test_the_figure_shows_the_unit_of_the_verdict() -> None:
    table = replicated([(-0.5, -0.52), (-0.4, -0.44), (-0.61, -0.6)])
    left, right = figures.confirmation(table).axes

    def drawn(axes: Any, faint: bool) -> list[float]:
        return [
            float(y)
            for points in axes.collections
            if points.get_alpha() in ((figures.confirm.FAINT,) if faint else (None, 1.0))
            for _, y in np.ma.getdata(points.get_offsets())
            if hasattr(points, "get_sizes")
        ]

    assert sorted(drawn(right, False)) == pytest.approx([-0.605, -0.51, -0.42])
    assert sorted(drawn(right, True)) == pytest.approx([-0.61, -0.6, -0.52, -0.5, -0.44, -0.4])
    assert len(drawn(left, False)) == 6 and len(drawn(left, True)) == 12
    assert "n = 3 searches" in left.get_xticklabels()[0].get_text()
    runs = [*confirm_runs("srsgd", (3.0, None, 3.2)), *confirm_runs("sgd", (3.5, 3.9, 3.6))]
    label = figures.confirmation(made_table(runs)).axes[0].get_xticklabels()[0].get_text()
    assert label.endswith("n = 2\nlost 1 of 3 (1 to 91 %)")


# False verdicts.


@pytest.mark.parametrize(
    "name",
    [
        "360 test images, 8 pairs",
        "30 % and 5 % lost, 8 pairs",
        "5 searches of 8",
        "looks at 8, 16, 32 pairs",
        "3 comparisons",
    ],
)
def test_false_verdicts_are_few(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import verdicts

    kind = next(kind for kind in verdicts.KINDS if kind.name == name)
    studies = 300
    false, shown, holds, _ = verdicts.judge(kind, studies, 0.0)
    # So many have a chance of 0.1 % if 5 % of verdicts are false.
    most = stats.binom.isf(0.001, studies, 0.05)
    assert false <= most and shown - holds <= most
    assert verdicts.judge(kind, 100, kind.power)[3] > false / 3


def test_what_is_simulated_is_what_a_table_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import verdicts

    for name in ("looks, 20 % lost by both", "5 searches of 8, 20 % lost", "3 comparisons, looks"):
        kind = next(kind for kind in verdicts.KINDS if kind.name == name)
        runs, compared = verdicts.study(kind, np.random.default_rng(1), kind.power)
        every = [(str(arm), run) for arm, own in enumerate(runs) for run in own]
        rows = [
            made_trial(arm, n, run.why or "complete", phase="confirm", seed=run.seed,
                       test_error=None if run.why else run.value + 50.0)
            for n, (arm, run) in enumerate(every)
        ]  # fmt: skip
        table = table_of(rows, search=[r.search for _, r in every], look=[r.look for _, r in every])
        found = confirmation(table, str(len(runs) - 1)).comparisons
        assert len(found) == len(compared)
        for ours, theirs in zip(found, compared, strict=True):
            assert ours.lower == theirs.lower and ours.look == theirs.look
            assert ours.p == pytest.approx(theirs.p)
            assert (ours.estimate.low, ours.estimate.high) == pytest.approx(
                (theirs.estimate.low, theirs.estimate.high)
            )
