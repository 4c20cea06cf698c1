"""The verbs that read results: what they print is held against the Parquet and the record."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import toy
from optuna.distributions import FloatDistribution

from srsgd_ray import Arm, Study, analysis, read_trials, run
from srsgd_ray.cli import main

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "results" / "example"
STUDY = Study(
    "toys",
    "Is near better than far?",
    (
        Arm("near", {"x": FloatDistribution(0.8, 1.0)}),
        Arm("far", {"x": FloatDistribution(0.0, 0.2)}),
    ),
    baseline="far",
    trainable=toy.toy,
    trials=3,
    confirm_seeds=3,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two studies of the toy: ``toys``, and ``others`` of another length."""
    folder: Path = tmp_path_factory.mktemp("results")
    run(STUDY, results=folder, backend="local")
    run(
        dataclasses.replace(STUDY, epochs=4, seed=1), results=folder, name="others", backend="local"
    )
    return folder


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a verb prints; it must end well and say nothing else."""
    status = main([*map(str, words)])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one message of a verb that refuses."""
    assert main([*map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


# compare


def test_compare_prints_what_the_parquet_says(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [results / "toys", results / "others"]
    text = printed(capsys, "compare", *folders, "--format", "csv")
    found = pd.read_csv(io.StringIO(text)).set_index(["study", "arm"])
    for folder in folders:
        table = pd.read_parquet(folder / "trials.parquet")
        for arm, own in table.groupby("arm"):
            row, search = found.loc[(str(folder), arm)], own[own["phase"] == "search"]
            tested = own[own["phase"] == "confirm"]["test_score"]
            assert row["search_trials"] == len(search) == 3
            assert row["search_epochs"] == search["epochs_done"].sum()
            assert row["best"] == pytest.approx(search["score"].max())
            assert (row["runs"], row["mean"]) == (3, pytest.approx(tested.mean()))
            assert row["low"] < row["mean"] < row["high"]
            assert row["seconds"] == pytest.approx(own["train_seconds"].sum())


def test_compare_sets_verdicts_and_times_side_by_side(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [results / "toys", results / "others"]
    text = printed(capsys, "compare", *folders, "--to-target", 11)
    said = " ".join(text.split())
    for folder in folders:
        trials = read_trials(folder)
        (found,) = analysis.confirmation(trials, analysis.baselines(trials)).comparisons
        assert f"{folder}: {found.verdict}" in said
    assert "are not paired: they share no seed" in said
    assert "Performance profiles" in said and "within 1.5" in said
    again = printed(capsys, "compare", *folders, "--to-target", 11, "--format", "latex")
    assert again.count(r"\begin{tabular}") == 3


def test_compare_says_when_runs_may_be_pairs(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(results / "toys", tmp_path / "copy")
    text = " ".join(printed(capsys, "compare", results / "toys", tmp_path / "copy").split())
    assert "share 3 seeds and all knobs" in text
    table = pq.read_table(tmp_path / "copy" / "trials.parquet")
    at = table.schema.get_field_index("epochs")
    assert set(table["epochs"].to_pylist()) == {3}
    longer = table.set_column(at, table.schema.field(at), [[4] * len(table)])
    pq.write_table(longer, tmp_path / "copy" / "trials.parquet")
    text = " ".join(printed(capsys, "compare", results / "toys", tmp_path / "copy").split())
    assert "share 3 seeds, but the studies differ in epochs:" in text


def test_compare_refuses_what_cannot_be_compared(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "compare", results / "toys", EXAMPLE)
    assert "by one metric, but got" in said
    assert "test_score (higher is better)" in said and "test_error in % (lower is better)" in said
    assert "takes two studies or more" in refused(capsys, "compare", EXAMPLE, f"{EXAMPLE}/")
    assert "expected" in refused(capsys, "compare", EXAMPLE, results / "none")
    said = refused(capsys, "compare", EXAMPLE, EXAMPLE.parent, "--to-target", "best")
    assert "unknown target 'best'" in said
