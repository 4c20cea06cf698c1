"""The paper's quadratic: the published curves again, the search of a schedule, and both resumed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from srsgd_ray.study.quadratic_arms import ARMS
from srsgd_ray.study.quadratic_figure2 import Figure2
from srsgd_ray.study.quadratic_report import contests, report
from srsgd_ray.study.quadratic_search import QuadraticSearch, objective
from srsgd_ray.study.quadratic_tuning import Jobs

from srsgd_ray.problems.quadratic import (
    CASES,
    METHODS,
    Floats,
    Setting,
    momenta,
    noise_deviation,
    published_setting,
    run,
)
from srsgd_ray.problems.quadratic_expected import expected_gaps
from srsgd_ray.problems.quadratic_results import (
    TABLES,
    agreement_table,
    agreements,
    kept_steps,
    measure,
    read_table,
)
from srsgd_ray.published import curves, quadratic_means
from srsgd_ray.results import Record
from srsgd_ray.study.quadratic import launch_quadratic, launch_quadratic_search
from srsgd_ray.trainables.quadratic import do_job

SEEDS = range(5)
LINEAR = [method for method in METHODS if method != "ARNAG"]


@pytest.fixture(scope="module")
def exact() -> dict[str, Floats]:
    gaps = run([published_setting("exact", method) for method in METHODS])
    return dict(zip(METHODS, gaps[:, 0], strict=True))


@pytest.fixture(scope="module")
def noisy() -> dict[tuple[str, str], Floats]:
    """Mean gap over the last 1,000 iterations of five seeds, by case and method."""
    found = {}
    for case in ("constant", "decaying"):
        gaps = run([published_setting(case, method) for method in METHODS], SEEDS)
        found.update({(case, m): g[:, -1000:].mean(1) for m, g in zip(METHODS, gaps, strict=True)})
    return found


# --- the published curves ---


@pytest.mark.parametrize("method", METHODS)
def test_exact_curves_are_the_published_ones(method: str, exact: dict[str, Floats]) -> None:
    known = curves("Figure 2 left")
    known = known[known["series"] == method]
    assert len(known) == 600
    differences = np.abs(exact[method][known["step"]] - known["value"].to_numpy())
    assert differences.max() <= (2e-12 if method == "ARNAG" else 2e-14)


def test_the_first_iteration_below_a_gap(exact: dict[str, Floats]) -> None:
    """ARNAG is ahead of SRNAG until its rounding floor, which the figure hardly shows."""
    first = {m: [int((gaps < bar).argmax()) for bar in (1e-6, 1e-10)] for m, gaps in exact.items()}
    assert first["ARNAG"] == [2941, 6498]
    assert first["SRNAG"] == [4878, 10_570]
    assert first["NAG"] == [4273, 0]
    assert exact["ARNAG"][-1000:].min() > exact["SRNAG"][-1000:].max()


def tables(noisy: dict[tuple[str, str], Floats]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"case": c, "method": m, "iterations": 50_000, "mean_gap_last_1000": value}
            for (c, m), values in noisy.items()
            for value in values
        ]
    )


def test_noisy_means_are_the_published_ones(noisy: dict[tuple[str, str], Floats]) -> None:
    found = agreements(tables(noisy), pd.DataFrame())
    assert len(found) == 10
    assert [one for one in found if not one.agrees] == []
    assert agreement_table(found).count("yes:") == 10


@pytest.mark.parametrize("factor", [0.8, 1.25])
@pytest.mark.parametrize("method", ["GD", "ARNAG", "SRNAG"])
def test_other_means_would_not_agree(
    noisy: dict[tuple[str, str], Floats], method: str, factor: float
) -> None:
    wrong = {key: values * (factor if key[1] == method else 1) for key, values in noisy.items()}
    found = agreements(tables(wrong), pd.DataFrame())
    assert {one.method for one in found if not one.agrees} == {method}


def test_too_few_seeds_or_iterations_are_not_compared(
    noisy: dict[tuple[str, str], Floats],
) -> None:
    few = agreements(tables({key: values[:4] for key, values in noisy.items()}), pd.DataFrame())
    assert {one.agrees for one in few} == {None}
    short = agreements(tables(noisy).assign(iterations=2000), pd.DataFrame())
    assert {one.agrees for one in short} == {None}


@pytest.mark.parametrize("case", ["constant", "decaying"])
def test_the_expectation_is_what_the_runs_scatter_around(
    noisy: dict[tuple[str, str], Floats], case: str
) -> None:
    known = {(one.case, one.method): one for one in quadratic_means()}
    for method in LINEAR:
        expected = expected_gaps(published_setting(case, method)).mean()
        ours = noisy[case, method]
        theirs = np.array([known[case, method].published, *known[case, method].reruns])
        for values in (ours, theirs):
            error = np.std([*ours, *theirs], ddof=1) / np.sqrt(len(values))
            assert abs(values.mean() - expected) < 4.5 * error, (method, values, expected)
        assert len(set(ours)) == len(SEEDS)


def test_the_published_curve_is_of_the_frozen_schedule() -> None:
    """Of the two readings of the published code, its own numbers fit one only."""
    known = next(o for o in quadratic_means() if (o.case, o.method) == ("decaying", "SRNAG"))
    theirs = np.array([known.published, *known.reruns])
    error = theirs.std(ddof=1) / 2
    gap = {
        name: expected_gaps(published_setting("decaying", "SRNAG", name)).mean()
        for name in ("as_published", "corrected")
    }
    assert abs(theirs.mean() - gap["as_published"]) < 3 * error
    assert gap["corrected"] - theirs.mean() > 10 * error


# --- the pieces ---


def test_the_schedules_of_srnag() -> None:
    exact = momenta(published_setting("exact", "SRNAG"))
    # k is 1 at t = 1, and again 1,000 iterations later; at t = 2,000 it goes on towards 2,000.
    assert np.flatnonzero(exact == 0)[:4].tolist() == [0, 1000, 3000, 5000]
    assert exact[999] == 999 / 1002
    assert exact.max() == 3999 / 4002
    constant = momenta(published_setting("constant", "SRNAG"))
    assert np.flatnonzero(constant == 0).tolist() == list(range(0, 50_000, 200))
    frozen = momenta(published_setting("decaying", "SRNAG"))
    corrected = momenta(published_setting("decaying", "SRNAG", "corrected"))
    assert set(frozen[29_999:]) == {199 / 202}
    assert frozen[29_998] == 198 / 201
    assert (frozen[:30_000] == corrected[:30_000]).all()
    assert np.diff(np.flatnonzero(corrected == 0))[-3:].tolist() == [800] * 3


def test_the_other_momenta() -> None:
    assert not momenta(Setting("exact", "GD", 5)).any()
    assert momenta(Setting("exact", "GD + Momentum", 3, momentum=0.5)).tolist() == [0.5] * 3
    dropped = Setting("exact", "GD + Momentum", 3, momentum=0.5, momentum_until=3)
    assert momenta(dropped).tolist() == [0.5, 0.5, 0]
    assert dropped.text == "m = 0.5; 0 from t = 3"
    assert momenta(Setting("exact", "NAG", 3)).tolist() == [0, 1 / 4, 2 / 5]
    with pytest.raises(ValueError, match="ARNAG has no momentum known beforehand"):
        momenta(Setting("exact", "ARNAG", 3))


def test_gd_counts_its_noise_from_0() -> None:
    assert noise_deviation(Setting("decaying", "GD", 2)).tolist() == [0.1, 0.1 / 1.01]
    assert noise_deviation(Setting("decaying", "NAG", 2)).tolist() == [0.1 / 1.01, 0.1 / 1.02]
    assert noise_deviation(Setting("constant", "NAG", 2)).tolist() == [0.001, 0.001]


@pytest.mark.parametrize("case", CASES)
def test_a_curve_depends_on_nothing_beside_it(case: str) -> None:
    settings = [published_setting(case, method, iterations=300) for method in METHODS]
    together = run(settings, (3, 0, 7))
    for i, setting in enumerate(settings):
        assert (run([setting], (7,))[0, 0] == together[i, 2]).all()
    assert (run(settings, (4,))[0] == together[0, 0]).all() == (case == "exact")


def test_a_slow_transcription_makes_the_same_curves() -> None:
    """Dense matrix, one run at a time, straight from the definition."""
    p = 2 * np.eye(1000) - np.eye(1000, k=1) - np.eye(1000, k=-1)
    for case, method in [("constant", "ARNAG"), ("decaying", "SRNAG"), ("decaying", "GD")]:
        setting = published_setting(case, method, iterations=60)
        rng = np.random.default_rng(np.random.SeedSequence([5, list(CASES).index(case)]))
        x = y = np.zeros(1000)
        k, gaps = 1, []
        for step in range(60):
            gaps.append(abs(y @ p @ y / 2 - y[0] + 500 / 1001))
            noise = rng.standard_normal(1000) * noise_deviation(setting)[step]
            new = y - 0.25 * (p @ y - np.eye(1000)[0] + noise)
            y = new + (0 if method == "GD" else (k - 1) / (k + 2)) * (new - x)
            rose = new @ p @ new / 2 - new[0] > x @ p @ x / 2 - x[0]
            k = 1 if rose and method == "ARNAG" else k + 1
            x = new
        assert np.allclose(run([setting], (5,))[0, 0], gaps, rtol=1e-11, atol=1e-13)


def test_without_noise_the_expectation_is_the_run() -> None:
    settings = [published_setting("exact", method, iterations=400) for method in LINEAR]
    for setting, gaps in zip(settings, run(settings)[:, 0], strict=True):
        assert np.allclose(expected_gaps(setting, last=400), gaps, rtol=1e-9)
    assert len(expected_gaps(settings[0], last=1000)) == 400


def test_what_runs_together_must_fit() -> None:
    with pytest.raises(ValueError, match="must have one case and as many iterations"):
        run([Setting("exact", "GD", 3), Setting("exact", "NAG", 4)])


def test_measures() -> None:
    gaps = np.array([1.0, 1e-11, 1e-9, 1e-12, 5e-11])
    found = measure(gaps)
    assert (found["first_below"], found["stays_below"]) == (1, 3)
    assert (found["final_gap"], found["min_gap"]) == (5e-11, 1e-12)
    none = measure(np.array([1e-11, 1.0]))
    assert (none["first_below"], none["stays_below"]) == (0, None)
    assert kept_steps(250) == [*range(100), 100, 200, 249]
    assert kept_steps(3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"case": "loud"}, "unknown case 'loud'. Valid: exact, constant, decaying"),
        ({"method": "Adam"}, "unknown method 'Adam'. Valid: GD, GD + Momentum, NAG"),
        ({"iterations": 0}, "1 <= iterations must hold, but got iterations=0"),
        ({"momentum": 1.0}, "0 <= momentum < 1 must hold, but got momentum=1.0"),
        ({"frozen_from": -1}, "0 <= frozen_from must hold, but got frozen_from=-1"),
        ({"frequencies": ()}, "at least one stage is needed"),
        ({"frequencies": (0,)}, "F >= 1 must hold"),
        ({"switches": (10,)}, "one restart frequency a stage is needed"),
        ({"frequencies": (2, 3), "switches": (1,)}, "must start at step 0 and increase"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    plain = {"case": "exact", "method": "SRNAG", "iterations": 9, "frequencies": (3,)}
    with pytest.raises(ValueError, match=re.escape(message)):
        Setting.from_dict({**plain, **changes}).check()


def test_settings_in_words_and_back() -> None:
    setting = published_setting("decaying", "SRNAG")
    assert setting.text == "F = 200; 400 from t = 10000; k frozen from t = 30000"
    assert Setting.from_dict(setting.to_dict()) == setting
    assert published_setting("exact", "GD + Momentum").text == "m = 0.9"
    with pytest.raises(ValueError, match="unknown schedule 'mended'"):
        published_setting("exact", "SRNAG", "mended")


def test_the_problem_knows_neither_ray_nor_torch() -> None:
    code = (
        "import sys, srsgd_ray.problems.quadratic_results, srsgd_ray.problems.quadratic_expected;"
        "print([m for m in ('ray', 'torch', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the studies, without Ray ---

FIGURE2: dict[str, Any] = {
    "iterations": 120,
    "seeds": 3,
    "cases": ["exact", "constant"],
    "methods": ["GD", "SRNAG"],
    "schedule": "as_published",
}
SEARCH: dict[str, Any] = {
    "iterations": 2000,
    "trials": 2,
    "confirm_seeds": 3,
    "cases": ["constant"],
    "seed": 1,
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def conduct(
    kind: Callable[..., Any], spec: dict[str, Any], folder: Path, most: int = 99, fail: str = ""
) -> Jobs:
    """Do up to ``most`` jobs, as Tune would; the job ``fail`` fails."""
    header = {"study": "t", "kind": "k", "spec": spec}
    begun = (folder / "record.jsonl").exists()
    with Record.reopen(folder) if begun else Record.create(folder, header) as record:
        record.session(commit="abc", ray_version="2")
        jobs: Jobs = kind(record, spec)
        while most and (job := jobs.next()) is not None:
            most -= 1
            if job[0] == fail:
                jobs.failed(job[0], "it broke")
            else:
                jobs.ended(job[0], do_job(job[1]))
        jobs.write_tables()
    return jobs


def assert_schema(folder: Path, name: str) -> None:
    schema = pq.read_schema(folder / f"{name}.parquet")
    assert [(f.name, f.type) for f in schema] == [(c.name, c.type) for c in TABLES[name]]
    assert schema.field(0).metadata == {b"doc": b"name of the study", b"unit": b""}
    assert not list(folder.glob("*.tmp"))


def test_a_cut_study_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    first = conduct(Figure2, FIGURE2, cut, most=2)
    assert not first.finished
    assert first.line() == "6/8 runs"
    before = read_table(cut, "runs")
    assert len(before) == 6
    second = conduct(Figure2, FIGURE2, cut)
    assert second.finished
    runs, points = read_table(cut, "runs"), read_table(cut, "curves")
    assert runs[: len(before)]["seconds"].equals(before["seconds"]), "done runs are not done again"
    conduct(Figure2, FIGURE2, whole)
    assert points.equals(read_table(whole, "curves"))
    columns = ["case", "method", "seed", "mean_gap_last_1000", "final_gap", "min_gap"]
    assert runs[columns].equals(read_table(whole, "runs")[columns])
    assert conduct(Figure2, FIGURE2, cut).finished
    for name in ("runs", "curves"):
        assert_schema(cut, name)


def test_the_tables_of_figure_2(tmp_path: Path) -> None:
    conduct(Figure2, FIGURE2, tmp_path)
    runs, points = read_table(tmp_path, "runs"), read_table(tmp_path, "curves")
    found = sorted(zip(runs["case"], runs["method"], runs["seed"], strict=True))
    noisy = [("constant", method, seed) for method in ("GD", "SRNAG") for seed in (0, 1, 2)]
    assert found == [*noisy, ("exact", "GD", 0), ("exact", "SRNAG", 0)]
    assert set(runs["commit"]) == {"abc"}
    srnag = runs[(runs["case"] == "exact") & (runs["method"] == "SRNAG")].iloc[0]
    assert srnag["frequencies"].tolist() == [1000, 2000, 4000]
    assert srnag["switches"].tolist() == [2000, 10_000]
    assert srnag["step_size"] == 0.25
    assert runs["momentum"].isna().all()
    one = points[(points["case"] == "constant") & (points["seed"] == 2)]
    one = one[one["method"] == "SRNAG"]
    assert one["step"].tolist() == kept_steps(120)
    curve = run([published_setting("constant", "SRNAG", iterations=120)], (2,))[0, 0]
    assert (one["value"].to_numpy() == curve[kept_steps(120)]).all()


def test_a_failed_job_is_told_and_done_by_a_resume(tmp_path: Path) -> None:
    first = conduct(Figure2, FIGURE2, tmp_path, fail="constant-0")
    assert first.finished
    assert len(first.lost) == 4
    assert first.lost[0] == "constant-GD-0: it broke"
    second = conduct(Figure2, FIGURE2, tmp_path)
    assert second.lost == []
    assert len(read_table(tmp_path, "runs")) == 8


def test_the_search_confirms_the_best_of_each_arm(tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    assert not conduct(QuadraticSearch, SEARCH, cut, most=5).finished
    assert report(read_table(cut, "search")).startswith("constant: not confirmed yet")
    assert not conduct(QuadraticSearch, SEARCH, cut, most=4).finished
    assert conduct(QuadraticSearch, SEARCH, cut).finished
    assert conduct(QuadraticSearch, SEARCH, whole).finished
    table, uncut = read_table(cut, "search"), read_table(whole, "search")
    compared = ["trial", "state", "setting", "seed", "objective"]
    assert table[compared].equals(uncut[compared])
    assert_schema(cut, "search")
    assert set(table["state"]) == {"complete"}
    searched, confirmed = (table[table["phase"] == phase] for phase in ("search", "confirm"))
    assert searched.groupby("arm").size().to_dict() == dict.fromkeys(ARMS, 2)
    assert searched["seed"].isna().all()
    for arm, trials in searched.groupby("arm"):
        best = trials.sort_values("objective").iloc[0]
        again = confirmed[confirmed["arm"] == f"best {arm}"]
        assert again["seed"].tolist() == [1000, 1001, 1002]
        assert set(again["setting"]) == {best["setting"]}
    published = confirmed[confirmed["arm"] == "SRNAG published"]
    assert set(published["setting"]) == {"F = 200"}
    storage = f"sqlite:///{cut}/optuna.db"
    stored = optuna.load_study(study_name="t-constant-one_f", storage=storage).trials
    values = searched[searched["arm"] == "one_f"]["objective"].tolist()
    assert [trial.value for trial in stored] == values
    found = {one.arm: one for one in contests(table, "constant")}
    pairs = {
        arm: runs.sort_values("seed")["mean_gap_last_1000"].to_numpy()
        for arm, runs in confirmed.groupby("arm")
    }
    gd = found["GD"].difference
    assert gd is not None
    assert gd.n == 3
    assert gd.mean == pytest.approx(1e6 * (pairs["GD"] - pairs["SRNAG published"]).mean())
    assert found["GD"].word == "higher"
    assert "Searched: constant_momentum 2 trials" in report(table)


def test_a_failed_trial_is_no_candidate(tmp_path: Path) -> None:
    spec = {**SEARCH, "trials": 1}
    done = conduct(QuadraticSearch, spec, tmp_path, fail="search-constant-one_f-000")
    assert done.lost == ["search-constant-one_f-000: it broke"]
    assert done.finished
    table = read_table(tmp_path, "search")
    assert "best one_f" not in set(table["arm"])
    assert "one_f 1 trials (1 failed)" in report(table)


def test_the_objective_of_the_exact_case() -> None:
    row = {"mean_gap_last_1000": 1e-8, "stays_below": None}
    assert objective("exact", row, 1000) == pytest.approx(3000)
    assert objective("exact", {**row, "mean_gap_last_1000": 1e-20}, 1000) == 1000
    assert objective("exact", {**row, "stays_below": 70}, 1000) == 70
    assert objective("constant", {**row, "stays_below": 70}, 1000) == 1e-8


@pytest.mark.parametrize("name", ARMS)
def test_every_corner_of_a_space_can_be_run(name: str) -> None:
    for case in CASES:
        for end in ("low", "high"):
            params = {k: getattr(d, end) for k, d in ARMS[name].ranges(2000).items()}
            setting = ARMS[name].setting(case, 2000, params).check()
            assert len(momenta(setting)) == 2000


# --- the command line ---


@pytest.mark.parametrize(
    ("launch", "arguments", "message"),
    [
        (launch_quadratic, ["--iterations", "0"], "1 <= iterations must hold, but got iter"),
        (launch_quadratic, ["--seeds", "0"], "1 <= seeds must hold, but got seeds=0"),
        (launch_quadratic, ["--cases", "loud"], "unknown case 'loud'. Valid: exact, constant"),
        (launch_quadratic, ["--methods", "Adam"], "unknown method 'Adam'. Valid: GD, "),
        (launch_quadratic, ["--methods", "GD", "GD"], "methods must be different, but got"),
        (launch_quadratic, ["--schedule", "x"], "unknown schedule 'x'. Valid: as_published"),
        (launch_quadratic, ["--slots", "0"], "1 <= slots must hold, but got slots=0"),
        (launch_quadratic, ["--name", "a b"], "must be of letters, digits"),
        (launch_quadratic, ["--resume"], "no study here: expected"),
        (launch_quadratic, ["--name", "taken"], "already holds a study. Go on with it by --re"),
        (launch_quadratic, ["--name", "search", "--resume"], "holds another kind of study"),
        (
            launch_quadratic,
            ["--name", "taken", "--resume", "--seeds", "9"],
            "was started with other values of seeds. Resume it without them",
        ),
        (launch_quadratic, ["--results", "FILE/x"], "the results folder must be writable"),
        (launch_quadratic_search, ["--iterations", "100"], "2000 <= iterations must hold, but"),
        (launch_quadratic_search, ["--trials", "0"], "1 <= trials must hold, but got trials=0"),
        (launch_quadratic_search, ["--confirm-seeds", "1"], "2 <= confirm_seeds must hold"),
        (launch_quadratic_search, ["--seed", "-1"], "0 <= seed must hold, but got seed=-1"),
    ],
)
def test_refusals_come_before_any_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    launch: Callable[[list[str]], int],
    arguments: list[str],
    message: str,
) -> None:
    for name, kind, spec in (
        ("taken", "figure2_quadratic", FIGURE2),
        ("search", "quadratic_search", SEARCH),
    ):
        Record.create(tmp_path / name, {"study": name, "kind": kind, "spec": spec}).close()
    (tmp_path / "FILE").write_text("")
    before = sorted(tmp_path.rglob("*"))
    given = [word.replace("FILE", str(tmp_path / "FILE")) for word in arguments]
    if "--results" not in given:
        given = ["--results", str(tmp_path), *given]
    assert launch(given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_help_names_the_defaults(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["studies/figure2_quadratic.py"])
    with pytest.raises(SystemExit) as stop:
        launch_quadratic(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "python studies/figure2_quadratic.py" in text
    assert "[10]" in text
    assert "None" not in text


def test_the_page_is_the_schema() -> None:
    page = (Path(__file__).parents[1] / "docs" / "quadratic.md").read_text()
    for name, columns in TABLES.items():
        part = page.split(f"### {name}.parquet", 1)[1].split("\n#", 1)[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) \| (.+) \|$", part, re.M)
        assert rows == [(c.name, str(c.type), c.unit, c.doc) for c in columns]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_through_ray(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import ray

    arguments = ["--results", str(tmp_path), "--name", "t", "--iterations", "120", "--seeds", "3"]
    arguments += ["--cases", "exact", "constant", "--methods", "GD", "SRNAG"]
    assert launch_quadratic(arguments) == 0
    assert ray.is_initialized()
    printed = capfd.readouterr().out
    assert "8/8 runs" in printed
    assert "constant  SRNAG" in printed
    by_hand = tmp_path / "by_hand"
    conduct(Figure2, FIGURE2, by_hand)
    keys = ["case", "method", "seed", "step"]
    ours, theirs = (
        read_table(folder, "curves").sort_values(keys).drop(columns="study").reset_index(drop=True)
        for folder in (tmp_path / "t", by_hand)
    )
    assert ours.equals(theirs), "Ray changes no number"
    assert not (tmp_path / "t" / "tune").exists()
    assert launch_quadratic([*arguments, "--resume"]) == 0
    assert len(read_table(tmp_path / "t", "curves")) == len(ours)
