"""The verbs that read results: what they print is held against the Parquet and the record."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import toy
from optuna.distributions import FloatDistribution

from srsgd_ray import Arm, Study, analysis, read_trials, run
from srsgd_ray.cli import main
from srsgd_ray.restarts import RestartSchedule
from srsgd_ray.typed import typed

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


# best


def test_best_prints_configurations_that_can_be_pasted(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "best", results / "toys")
    blocks = text.split("\n\n\n")
    table = pd.read_parquet(results / "toys" / "trials.parquet").set_index("trial")
    for block, arm in zip(blocks, ("near", "far"), strict=True):
        search = table[(table["arm"] == arm) & (table["phase"] == "search")]
        runs = table[(table["arm"] == arm) & (table["phase"] == "confirm")]
        first, second = block.splitlines()[:2]
        assert f"score {search['score'].max():.4g} in {search['score'].idxmax()}" in first
        assert f"Confirmed over 3 seeds: test score {runs['test_score'].mean():.4g} (95" in second
        names: dict[str, Any] = {}
        exec(block, names)
        assert names["config"] == toy.ToyConfig(x=search["x"][search["score"].idxmax()])
    found = json.loads(
        printed(capsys, "best", results / "toys", "--arm", "far", "--format", "json")
    )
    assert list(found) == ["far"] and found["far"]["config"]["x"] == names["config"].x
    assert found["far"]["confirmation"]["mean"] == pytest.approx(runs["test_score"].mean())


def test_best_of_the_example_is_what_ran(capsys: pytest.CaptureFixture[str]) -> None:
    """Its configuration, and an optimizer that restarts at the recorded steps."""
    from torch import zeros

    table = pd.read_parquet(EXAMPLE / "trials.parquet").set_index("trial")
    for arm in ("srsgd", "sgd"):
        names: dict[str, Any] = {"params": [zeros(1, requires_grad=True)]}
        exec(printed(capsys, "best", EXAMPLE, "--arm", arm), names)
        first = table.loc[f"confirm-{arm}-000"]
        knobs = names["config"].to_dict()
        assert {k: v for k, v in knobs.items() if not isinstance(v, list)} == {
            k: first[k] for k, v in knobs.items() if not isinstance(v, list)
        }
        (group,) = names["optimizer"].param_groups
        assert (group["lr"], group["weight_decay"]) == (first["lr"], first["weight_decay"])
        if arm == "srsgd":
            schedule = RestartSchedule.from_dict(group["restart"])
            epochs = pd.read_parquet(EXAMPLE / "epochs.parquet").groupby("trial")["restarts"].max()
            assert len(schedule.restarts(12 * 18)) == epochs["confirm-srsgd-000"] > 0
        else:
            assert group["momentum"] == 0.9 and not group["nesterov"]


def rows_of(script: Path) -> list[dict[str, Any]]:
    """Run a script that best wrote, in another folder; the rows that it prints."""
    done = subprocess.run(
        [sys.executable, script], cwd=script.parent, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    *rows, last = done.stdout.splitlines()
    assert last.strip() == "complete"
    return [ast.literal_eval(row) for row in rows]


def same_rows(script: Path, folder: Path, trial: str) -> None:
    epochs = pd.read_parquet(folder / "epochs.parquet")
    own = epochs[epochs["trial"] == trial].reset_index(drop=True)
    found = pd.DataFrame(rows_of(script))
    clocks = {"time", "train_seconds", "eval_seconds", "images_per_second"}
    names = [name for name in found if name not in clocks]
    assert len(names) > 3 and len(own) == len(found) > 1
    for name in names:
        again = found[name].astype(own[name].dtype)
        pd.testing.assert_series_equal(own[name], again, check_exact=True, obj=name)


def test_the_script_of_best_gives_the_rows_of_the_confirmation(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "again.py"
    said = printed(capsys, "best", results / "toys", "--arm", "near", "--script", script)
    assert f"Train it with: {typed('python', script)}" in said
    same_rows(script, results / "toys", "confirm-near-000")
    where = ("--arm", "near", "--script")
    assert "is there already" in refused(capsys, "best", results / "toys", *where, script)
    assert "would hide" in refused(capsys, "best", results / "toys", *where, tmp_path / "toy.py")
    assert "Add --arm" in refused(capsys, "best", results / "toys", "--script", tmp_path / "x.py")
    printed(capsys, "best", results / "toys", *where, script, "--force")


def test_the_script_of_an_image_study_gives_its_rows_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a search, so that training runs in the same process after it."""
    lr = {"lr": FloatDistribution(0.05, 0.2)}
    study = Study(
        "small", "?", (Arm("a", lr, {"optimizer": "srsgd"}),), trials=2, confirm_seeds=1, epochs=2,
        base={"width": 4, "restart_f1": 5},
    )  # fmt: skip
    run(study, results=tmp_path, backend="local")
    printed(capsys, "best", tmp_path / "small", "--script", tmp_path / "again.py")
    same_rows(tmp_path / "again.py", tmp_path / "small", "confirm-a-000")


def test_best_refuses_where_nothing_is_complete(
    tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Arm("a", {"x": FloatDistribution(0.0, 1.0)}, {"wrong": "value"})
    study = dataclasses.replace(STUDY, arms=(bad,), baseline="", name="broken")
    run(study, results=tmp_path, backend="local")
    assert "'a' needs a complete search trial with a score, but has none (3 failed)" in refused(
        capsys, "best", tmp_path / "broken"
    )
    assert "Did you mean 'near'?" in refused(capsys, "best", results / "toys", "--arm", "naer")
    mixed = dataclasses.replace(study, arms=(bad, STUDY.arm("near")), name="mixed")
    run(mixed, results=tmp_path, backend="local")
    assert printed(capsys, "best", tmp_path / "mixed").count("\n# arm 'a' needs a complete") == 1
