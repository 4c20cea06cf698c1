"""The quadratic as a trainable, and its two studies on the local backend, with few iterations."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from srsgd_ray.paper.quadratic_agreement import show_agreement
from srsgd_ray.paper.quadratic_report import compare, report, word
from srsgd_ray.paper.quadratic_studies import SEARCHES, SHORT, figure2, schedule_search
from srsgd_ray.results import read_record, read_table, read_trials
from srsgd_ray.study import Study, StudyResult, launch, run
from srsgd_ray.study.database import Database
from srsgd_ray.study.shorten import select, smoke
from srsgd_ray.testing import play
from srsgd_ray.trainables import quadratic
from srsgd_ray.trainables.quadratic import QUADRATIC, QuadraticConfig, objective
from srsgd_ray.trainables.quadratic_expected import expected_gaps
from srsgd_ray.trainables.quadratic_problem import CASES, METHODS, Floats, momenta
from srsgd_ray.trainables.quadratic_run import kept_steps, measure
from srsgd_ray.trainables.quadratic_run import run as curves_of

N = 1100  # the measures are of the last 1,000
LONG = {short: method for method, short in SHORT.items()}
MEASURED = ("mean_gap_last_1000", "final_gap", "min_gap", "first_below", "stays_below")
TIMES = {"train_seconds", "time"}


def published_setting(
    case: str, method: str, schedule: str = "as_published", iterations: int = 50_000
) -> QuadraticConfig:
    return QuadraticConfig(case, method, iterations, schedule).check()


def course(config: QuadraticConfig) -> tuple[str, str, int, str]:
    """What is run, whichever knobs say so."""
    return config.case, config.method, config.iterations, config.text


pytestmark = pytest.mark.usefixtures("in_memory")


def conduct(study: Study, folder: Path, **options: Any) -> StudyResult:
    return run(study, results=folder, backend="local", **options)


def rows(folder: Path) -> dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]]:
    """How each trial ended, its rows without what a clock says, and its own tables."""
    return {
        trial.trial: (
            trial.state,
            [{k: v for k, v in row.items() if k not in TIMES} for row in trial.rows],
            dict(trial.artifacts),
        )
        for trial in read_record(folder).trials.values()
    }


def short_figure2(**changes: Any) -> Study:
    study = figure2("t")
    base = {**study.base, "iterations": N}
    return dataclasses.replace(study, **{"base": base, "confirm_seeds": 3, **changes})


def short_search(case: str, iterations: int = N, **changes: Any) -> Study:
    study = select(schedule_search("t", iterations), {"case": [case]})
    return dataclasses.replace(study, **{"trials": 2, "confirm_seeds": 3, **changes})


def cut_after(folder: Path, whole: Path, ends: int, begun: int = 0) -> None:
    """The record of a study whose driver died after so many trials, with others begun."""
    lines = (whole / "record.jsonl").read_text().splitlines(keepends=True)
    events = [json.loads(line)["event"] for line in lines]
    last = [i for i, event in enumerate(events) if event == "end"][ends - 1]
    folder.mkdir(parents=True)
    (folder / "record.jsonl").write_text("".join(lines[: last + 1 + begun]))


# Figure 2.


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figure 2 of 1,100 iterations and 3 seeds."""
    folder = tmp_path_factory.mktemp("figure2")
    assert conduct(short_figure2(), folder).status == "finished"
    return folder / "t"


def test_the_rows_of_figure_2_are_the_curves_measures(drawn: Path) -> None:
    table = read_trials(drawn)
    assert set(table["state"]) == {"complete"}
    assert set(table["phase"]) == {"confirm"}
    assert len(table) == len(METHODS) * (1 + 3 + 3)
    for case, mine in table.groupby("case"):
        rivals = dict(zip(mine["method"], mine["baseline"], strict=True))
        assert pd.isna(rivals.pop("SRNAG"))
        assert set(rivals.values()) == {f"{case}_srnag"}, "a method is compared within its case"
    for case, method in itertools.product(CASES, METHODS):
        seeds = (0,) if case == "exact" else (0, 1, 2)
        gaps = curves_of([published_setting(case, method, iterations=N)], seeds)[0]
        mine = table[(table["case"] == case) & (table["method"] == method)].sort_values("seed")
        assert mine["seed"].tolist() == list(seeds)
        assert set(mine["arm"]) == {f"{case}_{SHORT[method]}"}
        for (_, row), curve in zip(mine.iterrows(), gaps, strict=True):
            for name, value in measure(curve).items():
                assert row[name] == value or (value is None and pd.isna(row[name])), name
            assert row["objective"] == objective(case, measure(curve), N)


def test_the_curves_of_figure_2_are_those_of_the_problem(drawn: Path) -> None:
    points = read_table(drawn, name="curves")
    assert {"case", "method", "iterations", "seed", "trial", "step", "value"} <= set(points)
    assert len(points) == len(METHODS) * 7 * len(kept_steps(N))
    for (case, method, seed), mine in points.groupby(["case", "method", "seed"]):
        curve = curves_of([published_setting(case, method, iterations=N)], (seed,))[0, 0]
        assert mine["step"].tolist() == kept_steps(N)
        assert mine["value"].tolist() == curve[kept_steps(N)].tolist()


def test_the_protocol_corrected_changes_one_curve() -> None:
    study = figure2("t")
    mended = dataclasses.replace(study, protocol="corrected")
    changed = [
        arm.name
        for arm in study.arms
        if course(study.config(arm.name, {})) != course(mended.config(arm.name, {}))
    ]
    assert changed == ["decaying_srnag"]
    for given, name in ((study, "as_published"), (mended, "corrected")):
        for arm in given.arms:
            setting = given.config(arm.name, {})
            case, method = arm.labels["case"], LONG[arm.labels["method"]]
            assert course(setting) == course(published_setting(case, method, name))


@pytest.mark.parametrize("begun", [0, 1])
def test_a_cut_figure_2_goes_on_to_the_same(tmp_path: Path, drawn: Path, begun: int) -> None:
    cut_after(tmp_path / "t", drawn, ends=4, begun=begun)
    before = read_record(tmp_path / "t").trials
    assert sum(trial.end is not None for trial in before.values()) == 4
    assert conduct(short_figure2(), tmp_path, resume=True).status == "finished"
    assert rows(tmp_path / "t") == rows(drawn)
    after = read_record(tmp_path / "t").trials
    for name, trial in before.items():
        if trial.end is not None:
            assert after[name].rows == trial.rows, "done runs are not done again"
    keys = ["trial", "step", "value"]
    resumed = read_table(tmp_path / "t", name="curves")[keys]
    assert resumed.equals(read_table(drawn, name="curves")[keys])


def test_the_command_compares_with_the_published(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--backend", "local", "--results", str(tmp_path), "--no-figures", "--plan"]
    words += ["--case", "exact", "--method", "gd", "srnag", "--set", "iterations=2000"]
    assert launch(figure2("f"), words, finish=show_agreement) == 0
    assert "2 trials" in capfd.readouterr().out
    assert not (tmp_path / "f").exists()
    assert launch(figure2("f"), [w for w in words if w != "--plan"], finish=show_agreement) == 0
    said = capfd.readouterr().out
    assert len(re.findall(r"^exact +(?:GD|SRNAG) .*yes: its curve differs by", said, re.M)) == 2
    assert set(read_trials(tmp_path / "f")["method"]) == {"GD", "SRNAG"}


# The search.


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search with constant noise, 1,100 iterations, 2 trials an arm and 3 seeds."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "bring_up", lambda self, contents: None)
        assert conduct(short_search("constant"), folder).status == "finished"
    return folder / "t"


def settings_in(table: pd.DataFrame) -> list[QuadraticConfig]:
    names = [field.name for field in dataclasses.fields(QuadraticConfig)]
    records: list[dict[str, Any]] = table[names].to_dict("records")
    return [QuadraticConfig(**record) for record in records]


def test_the_search_confirms_the_best_of_each_arm_and_the_published(searched: Path) -> None:
    table = read_trials(searched)
    assert set(table["state"]) == {"complete"}
    tried, confirmed = (table[table["phase"] == phase] for phase in ("search", "confirm"))
    assert tried.groupby("arm").size().to_dict() == {f"constant_{kind}": 2 for kind in SEARCHES}
    assert tried["expected"].all()
    assert not confirmed["expected"].any()
    for name, runs in confirmed.groupby("arm"):
        assert runs["seed"].tolist() == [1000, 1001, 1002], name
        (setting,) = set(settings_in(runs))
        mine = tried[tried["arm"] == name]
        if len(mine):
            best = mine.sort_values("objective").iloc[:1]
            assert course(setting) == course(settings_in(best)[0])
            others = settings_in(mine.sort_values("objective").iloc[1:])
            assert course(setting) != course(others[0])
        else:
            method = LONG[str(name).removeprefix("constant_")]
            assert course(setting) == course(published_setting("constant", method, iterations=N))
        gaps = curves_of([setting], (1000, 1001, 1002))[0]
        assert runs["mean_gap_last_1000"].tolist() == [own[-1000:].mean() for own in gaps]
    assert len(confirmed) == 3 * (len(SEARCHES) + len(METHODS))
    assert set(confirmed["baseline"].dropna()) == {"constant_srnag"}
    assert confirmed.loc[confirmed["arm"] == "constant_srnag", "baseline"].isna().all()


def test_a_noisy_trials_value_is_the_expectation(searched: Path) -> None:
    table = read_trials(searched)
    tried = table[table["phase"] == "search"]
    for (_, row), setting in zip(tried.iterrows(), settings_in(tried), strict=True):
        assert row["objective"] == row["mean_gap_last_1000"] == expected_gaps(setting).mean()


def test_a_cut_search_goes_on_to_the_same(tmp_path: Path, searched: Path) -> None:
    for ends in (5, 17):
        cut_after(tmp_path / str(ends) / "t", searched, ends=ends)
        resumed = conduct(short_search("constant"), tmp_path / str(ends), resume=True)
        assert resumed.status == "finished"
        assert rows(tmp_path / str(ends) / "t") == rows(searched)


def test_a_report_before_the_confirmation(searched: Path) -> None:
    table = read_trials(searched)
    begun = report(table[table["phase"] == "search"])
    assert begun.startswith("constant: not confirmed yet")
    assert "Searched: constant_momentum 2 trials, momentum_then_none 2 trials" in begun


def test_the_level_is_shared_out_over_the_comparisons_of_a_case(searched: Path) -> None:
    table = read_trials(searched)
    confirmed = table[table["phase"] == "confirm"].sort_values("seed")
    everything = compare(table, "constant_srnag", *confirmed["arm"].unique())
    found = {one.arm.removeprefix("constant_"): one for one in everything.comparisons}
    assert len(everything.arms) == 10
    assert len(found) == 9
    assert "srnag" not in found
    value = {
        str(arm).removeprefix("constant_"): 1e6 * runs["mean_gap_last_1000"].to_numpy()
        for arm, runs in confirmed.groupby("arm")
    }
    # Bonferroni over 9 comparisons; with 2 degrees of freedom t has a closed form.
    p = 1 - 0.05 / 9 / 2
    t = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    for arm in found:
        pairs = value[arm] - value["srnag"]
        half = t * np.std(pairs, ddof=1) / math.sqrt(3)
        one = found[arm].estimate
        assert (one.n, one.mean) == (3, pytest.approx(pairs.mean()))
        assert (one.low, one.high) == pytest.approx((pairs.mean() - half, pairs.mean() + half))
        below, above = one.high < 0, one.low > 0
        expected = "lower" if below else "higher" if above else "not distinguished"
        assert word(found[arm]) == expected
    # A gap alone is compared with nothing.
    own = everything.arm("constant_gd").estimate
    half = 4.302652729911275 * np.std(value["gd"], ddof=1) / math.sqrt(3)
    assert (own.low, own.high) == pytest.approx((own.mean - half, own.mean + half))
    assert word(found["gd"]) == "higher"
    said = report(table)
    order = [line.split()[0] for line in said.splitlines() if " ± " in line]
    means = [everything.arm(f"constant_{arm}").estimate.mean for arm in order]
    assert len(means) == 10 and means == sorted(means)


def test_the_report_of_the_exact_case(tmp_path: Path) -> None:
    result = conduct(short_search("exact", 8000, trials=1), tmp_path)
    table = result.trials
    confirmed = table[table["phase"] == "confirm"]
    assert len(confirmed) == len(SEARCHES) + len(METHODS), "without noise one seed is all"
    said = report(table)
    assert re.search(r"^  arnag +6,498 \(6,498\) ", said, re.M)
    assert re.search(r"^  gd +never +m = 0", said, re.M)
    assert table["expected"].sum() == 0
    values = confirmed.set_index("arm")["objective"]
    assert values["exact_arnag"] == 6498
    assert values["exact_gd"] > 8000


def test_a_failed_trial_is_no_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = quadratic._gaps

    def broken(config: QuadraticConfig, seed: int) -> Floats:
        if config.expected and config.method == "SRNAG" and len(config.phases()[0]) == 1:
            raise ValueError("it broke")
        return made(config, seed)

    monkeypatch.setattr(quadratic, "_gaps", broken)
    result = conduct(short_search("constant", trials=1, confirm_seeds=2), tmp_path)
    assert result.status == "finished"
    table = result.trials
    failed = table[table["state"] == "failed"]
    assert failed["arm"].tolist() == ["constant_one_f"]
    assert failed["reason"].str.startswith("it broke").all()
    assert "constant_one_f" not in set(table.loc[table["phase"] == "confirm", "arm"])
    assert "one_f 1 trials (1 failed)" in report(table)
    assert report(table).count(" ± ") == 9


def test_the_objective_of_the_exact_case() -> None:
    row = {"mean_gap_last_1000": 1e-8, "stays_below": None}
    assert objective("exact", row, 1000) == pytest.approx(3000)
    assert objective("exact", {**row, "mean_gap_last_1000": 1e-20}, 1000) == 1000
    assert objective("exact", {**row, "stays_below": 70}, 1000) == 70
    assert objective("constant", {**row, "stays_below": 70}, 1000) == 1e-8


@pytest.mark.parametrize("how", ["short", "smoke"])
@pytest.mark.parametrize(("case", "kind"), [*itertools.product(CASES, SEARCHES)])
def test_every_corner_of_a_space_can_be_run(case: str, kind: str, how: str) -> None:
    study = schedule_search("t", N) if how == "short" else smoke(schedule_search("t"))
    arm = study.arm(f"{case}_{kind}")
    ranges: dict[str, Any] = dict(arm.searched.ranges)
    for ends in itertools.product(("low", "high"), repeat=len(ranges)):
        params = {name: getattr(ranges[name], end) for name, end in zip(ranges, ends, strict=True)}
        config = study.config(arm.name, params)
        config.check()
        assert config.iterations == (N if how == "short" else 2000)
        assert config.expected == (case != "exact")
        assert len(momenta(config)) == config.iterations


def test_the_spaces_are_those_of_the_page() -> None:
    study = schedule_search("t")
    study.check()
    spans = {
        "constant_momentum": {"one_minus_m": (1e-4, 1.0)},
        "momentum_then_none": {"one_minus_m": (1e-4, 1.0), "last": (100, 49_999)},
        "one_f": {"f1": (1, 10_000)},
        "f_per_phase": {"f1": (1, 10_000), "f2": (1, 10_000), "f3": (1, 10_000)},
        "f_and_switches": {
            "f1": (1, 10_000), "f2": (1, 10_000), "f3": (1, 10_000),
            "t2": (100, 49_999), "last": (100, 49_999),
        },
    }  # fmt: skip
    for case, (kind, span) in itertools.product(CASES, spans.items()):
        ranges: dict[str, Any] = dict(study.arm(f"{case}_{kind}").searched.ranges)
        assert {name: (d.low, d.high) for name, d in ranges.items()} == span
        assert all(d.log for d in ranges.values())
        assert study.trials_of(f"{case}_{kind}") == 60
        assert study.seeds_of(f"{case}_{kind}") == (1 if case == "exact" else 20)
    assert study.confirmation_seed(0, 0) == 1000


def test_knobs_make_the_settings_they_name() -> None:
    base = QuadraticConfig(case="decaying", iterations=500)
    phases = dataclasses.replace(base, f1=3, f2=5, f3=7, t2=100, t3=200)
    assert phases.text == "F = 3; 5 from t = 100; 7 from t = 200"
    at_end = dataclasses.replace(phases, last=50)
    assert at_end.text == "F = 3; 5 from t = 100; 7 from t = 450"
    crowded = dataclasses.replace(phases, last=450)
    assert crowded.text == "F = 3; 5 from t = 100; 7 from t = 101"
    constant = QuadraticConfig(method="GD + Momentum", one_minus_m=0.25, iterations=500)
    assert constant.text == "m = 0.75"
    assert dataclasses.replace(constant, last=100).text == "m = 0.75; 0 from t = 400"
    assert QuadraticConfig(method="GD + Momentum") == published_setting("exact", "GD + Momentum")


def test_a_confirmation_draws_its_noise() -> None:
    tried = QuadraticConfig(case="constant", iterations=N, expected=True)
    again = QUADRATIC.confirmed(tried, 7, "train")
    assert again == dataclasses.replace(tried, expected=False)
    one, other = (
        play(QUADRATIC, again, seed=seed, final=True).rows[0]["mean_gap_last_1000"]
        for seed in (7, 8)
    )
    assert one != other
    assert (
        play(QUADRATIC, tried, seed=7).rows[0]["objective"]
        == play(QUADRATIC, tried, seed=8).rows[0]["objective"]
    )


def test_a_plan_knows_the_seconds_of_every_arm() -> None:
    study = schedule_search("t")
    for arm in study.arms[::4]:
        params = {name: d.low for name, d in arm.searched.ranges.items()}  # type: ignore[attr-defined]
        assert 0 < QUADRATIC.seconds(study.config(arm.name, params), 1, 1) < 60


# Refusals.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"case": "loud"}, "unknown case 'loud'. Valid: exact, constant, decaying"),
        ({"method": "Adam"}, "unknown method 'Adam'. Valid: GD, GD + Momentum, NAG"),
        ({"schedule": "mended"}, "unknown schedule 'mended'. Valid: as_published, corrected"),
        ({"iterations": 0}, "1 <= iterations < inf must hold, but got iterations=0"),
        ({"one_minus_m": 0.0}, "0 < one_minus_m <= 1 must hold, but got one_minus_m=0.0"),
        ({"one_minus_m": 1.5}, "0 < one_minus_m <= 1 must hold, but got one_minus_m=1.5"),
        ({"one_minus_m": math.nan}, "0 < one_minus_m <= 1 must hold, but got one_minus_m=nan"),
        ({"f1": -1}, "0 <= f1 < inf must hold, but got f1=-1. 0 means none"),
        ({"last": -5}, "0 <= last < inf must hold, but got last=-5"),
        ({"f1": 3, "f2": 4}, "must start at step 0 and increase"),
        ({"f1": 3, "f2": 4, "f3": 5, "t2": 20, "t3": 20}, "must start at step 0 and increase"),
        ({"method": "ARNAG", "expected": True}, "expected=True needs a momentum that is known"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        QuadraticConfig(**changes).check()


@pytest.mark.parametrize(
    ("study", "changes", "message"),
    [
        ("figure2", {"base": {"iterations": 0}}, "1 <= iterations < inf must hold, but got iter"),
        ("figure2", {"base": {"expected": True}}, "arm 'exact_arnag': expected=True needs"),
        ("figure2", {"base": {"speed": 3}}, "speed"),
        ("figure2", {"protocol": "mended"}, "unknown protocol 'mended'. Valid: as_published"),
        ("figure2", {"confirm_on": "train+validation"}, "needs a knob train_on"),
        ("figure2", {"name": "a b"}, "must be of letters, digits"),
        ("search", {"seed": -1}, "seed"),
        ("search", {"trials": -1}, "trials"),
        ("search", {"confirm_seed": -1}, "confirm_seed"),
        ("search", {"metric": "gap"}, "unknown metric 'gap'. Valid: objective"),
        ("search", {"base": {"iterations": 0}}, "1 <= iterations < inf must hold"),
    ],
)
def test_bad_studies_are_refused_before_any_work(
    tmp_path: Path, study: str, changes: dict[str, Any], message: str
) -> None:
    whole = figure2("t") if study == "figure2" else schedule_search("t", N)
    with pytest.raises(ValueError, match=re.escape(message)):
        conduct(dataclasses.replace(whole, **changes), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--case", "loud"], "unknown case 'loud'. Valid: exact, constant"),
        (["--method", "Adam"], "unknown method 'Adam'. Valid: gd, "),
        (["--set", "iterations=0"], "1 <= iterations < inf must hold"),
        (["--resume"], "no study here: expected"),
        (["--seeds", "-1"], "confirm_seeds"),
    ],
)
def test_the_command_refuses_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    given = ["--backend", "local", "--results", str(tmp_path), *words]
    assert launch(figure2("f"), given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
