"""A study of a metric that is better higher, read, tabulated and drawn without its trainable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution
from test_local import STUDY, X, conduct

from srsgd_ray import analysis
from srsgd_ray.cli import main as cli
from srsgd_ray.figures import best_so_far, confirmation, sensitivity_map, training_curves
from srsgd_ray.results import RecordError, read_epochs, read_trials, schema_of
from srsgd_ray.study import Arm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of the toy, with two knobs that hold numbers and one that does not."""
    import dataclasses

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    root = tmp_path_factory.mktemp("own")
    space = {**X, "slope": FloatDistribution(0.5, 1.5), "kind": CategoricalDistribution(("a", "b"))}
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", space), Arm("far", space, {"sizes": (3, 4)})), trials=6,
        confirm_seeds=4,
    )  # fmt: skip
    return conduct(study, root).folder


@pytest.fixture
def trials(folder: Path) -> pd.DataFrame:
    return read_trials(folder)


def test_the_schema_travels_with_the_table(folder: Path, trials: pd.DataFrame) -> None:
    known = schema_of(trials[trials["phase"] == "search"])
    assert (known["score"].better, known["score"].split) == ("higher", "validation")
    assert known["x"].role == "knob"
    assert known["x"].doc == "its score is higher the nearer this is to 1"
    assert known.named("metric") == ["score", "cost", "test_score"]
    field = pq.read_schema(folder / "epochs.parquet").field("cost")
    assert field.metadata == {
        b"doc": b"what it takes", b"unit": b"s", b"role": b"metric", b"better": b"lower",
        b"split": b"",
    }  # fmt: skip


def test_the_table_says_which_is_better(trials: pd.DataFrame) -> None:
    text = analysis.render(trials)
    assert "highest score" in text
    assert "Search, on the validation split (higher is better)" in text
    assert "Confirmation, test score over seeds (higher is better)" in text
    search = trials[(trials["phase"] == "search") & (trials["arm"] == "near")]
    best = search.sort_values("score").iloc[-1]
    table = analysis.summary(trials).set_index("arm")
    assert table.loc["near", "best_score"] == best["score"]
    assert table.loc["near", "x"] == best["x"]
    assert [n for n in table.columns if n in ("x", "slope", "kind", "sizes")] == [
        "x", "slope", "kind", "sizes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("near", "words", "better"),
    [
        ([9.0, 9.1, 9.2, 9.1], "near has a higher test score than far: by ", "near"),
        ([1.0, 1.1, 1.2, 1.1], "far has a higher test score than near: by ", "far"),
        ([5.0, 5.2, 4.8, 5.1], "Not enough seeds to tell near from far", None),
    ],
)
def test_the_verdict_knows_which_is_better(
    trials: pd.DataFrame, near: list[float], words: str, better: str | None
) -> None:
    changed = trials.copy()
    confirm = changed["phase"] == "confirm"
    changed.loc[confirm & (changed["arm"] == "near"), "test_score"] = near
    changed.loc[confirm & (changed["arm"] == "far"), "test_score"] = [5.0, 5.1, 5.0, 5.2]
    (found,) = analysis.confirmation(changed, "far").comparisons
    assert found.metric == "test_score"
    assert found.better == better
    assert found.verdict.startswith(words)


def numbers(figure: Figure) -> set[float]:
    """All heights that a figure draws, in its lines and points."""
    found: set[float] = set()
    for axes in figure.get_axes():
        for line in axes.lines:
            found |= {round(float(y), 9) for y in np.atleast_1d(line.get_ydata())}
        for points in axes.collections:
            offsets = np.asarray(points.get_offsets())
            found |= {round(float(y), 9) for _, y in offsets} if offsets.size else set()
    return found


def test_figures_draw_the_tables_numbers(folder: Path, trials: pd.DataFrame) -> None:
    epochs = read_epochs(folder)
    search = trials[trials["phase"] == "search"]
    confirm = trials[trials["phase"] == "confirm"]
    drawn = {
        "search": numbers(best_so_far(trials)),
        "confirm": numbers(confirmation(trials)),
        "curves": numbers(training_curves(epochs, trials)),
    }
    assert {round(v, 9) for v in search["score"]} <= drawn["search"]
    assert {round(v, 9) for v in confirm["test_score"]} <= drawn["confirm"]
    last = analysis.seed_curves(epochs, trials, "score")
    assert {round(v, 9) for v in last["mean"]} <= drawn["curves"]
    figure = sensitivity_map(trials)
    knobs = analysis.main_knobs(trials)
    assert set(knobs) == {"x", "slope"}
    panel = figure.get_axes()[0]
    assert [panel.get_xlabel(), panel.get_ylabel()] == list(knobs)
    assert {round(v, 9) for v in search[knobs[1]]} <= numbers(figure)


def test_a_folder_is_read_and_drawn_where_its_trainable_is_not(
    folder: Path, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = "import toy"
    gone = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment,
                          capture_output=True, check=False)  # fmt: skip
    assert gone.returncode != 0, "the toy must not be importable here"
    verbs = (["table", str(folder)], ["figures", str(folder), "--out", "drawn"],
             ["columns", str(folder)])  # fmt: skip
    code = f"import sys; from srsgd_ray.cli import main; sys.exit(max(map(main, {verbs!r})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("near", "drawn/", "score"))
    assert (tmp_path / "drawn" / "confirmation.png").stat().st_size > 10_000


def test_figures_that_cannot_be_written_are_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cli(["figures", str(folder), "--out", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert "figures must go into a folder that can be written" in error
    assert "Choose another with --out." in error


def test_a_name_with_a_dollar_is_drawn_as_it_is(trials: pd.DataFrame, tmp_path: Path) -> None:
    named = trials.assign(arm=trials["arm"].replace("near", "cost $2 {low$"), baseline="far")
    named.attrs = trials.attrs
    for figure in (best_so_far(named), confirmation(named), sensitivity_map(named)):
        figure.savefig(tmp_path / "a.svg")
        assert "cost $2" in (tmp_path / "a.svg").read_text()


def test_several_studies_are_read_by_name(folder: Path, tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "results" / "example"
    both = read_trials(example, folder)
    assert both.loc[both["study"] == "t", "lr"].isna().all()
    assert both.loc[both["study"] != "t", "x"].isna().all()
    assert schema_of(both)["val_error"].better == "lower"
    assert schema_of(both)["score"].better == "higher"
    files = f"['{example}/trials.parquet', '{folder}/trials.parquet']"
    query = f"SELECT count(score), count(val_error) FROM read_parquet({files}, union_by_name=true)"
    assert duckdb.sql(query).fetchall()[0] == (both["score"].count(), both["val_error"].count())
    (tmp_path / "other").mkdir()
    table = pq.read_table(folder / "trials.parquet").drop_columns(["x"])
    clash = table.append_column("x", table["arm"])
    pq.write_table(clash, tmp_path / "other" / "trials.parquet")
    with pytest.raises(RecordError, match=r"but x is double in .* and string in .*other"):
        read_trials(folder, tmp_path / "other")
