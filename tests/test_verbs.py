"""The verbs that read results: what they print is held against the Parquet and the record."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import os
import platform
import pty
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import toy
from made_results import events_of, rewrite
from optuna.distributions import FloatDistribution

from srsgd_ray import Arm, Study, analysis, read_trials, run
from srsgd_ray.cli import main
from srsgd_ray.cli.declared import VERBS
from srsgd_ray.cli.seen import Seen
from srsgd_ray.restarts import RestartSchedule
from srsgd_ray.results import Record, read_record
from srsgd_ray.results.reading import frames
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
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    words = ("--to-target", 11, "--format", "latex", "--out", tmp_path)
    again = printed(capsys, "compare", *folders, *words)
    assert again.count(r"\begin{tabular}") == 3
    assert again.splitlines()[-1] == str(tmp_path / "performance_profile.svg")
    assert (tmp_path / "performance_profile.png").stat().st_size > 10_000


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
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "compare", results / "toys", EXAMPLE)
    assert "by one metric, but got" in said
    assert "test_score (higher is better)" in said and "test_error in % (lower is better)" in said
    front = dataclasses.replace(STUDY, pareto=True, pareto_metric="cost", trials=2, confirm_seeds=1)
    run(front, results=tmp_path, name="front", backend="local")
    said = refused(capsys, "compare", tmp_path / "front", results / "toys")
    assert f"must have one configuration an arm, but {tmp_path / 'front'} has several" in said
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


# status and list

DRIVER = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_verbs import STUDY
from srsgd_ray import run
if __name__ == "__main__":
    slow = dataclasses.replace(STUDY, base={{"wait": 0.2}})
    print(run(slow, results=Path({results!r}), backend="local").status)
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A study of the toy that another process runs, two trials and an epoch on its way."""
    script = DRIVER.format(tests=str(Path(__file__).parent), results=str(tmp_path))
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    record, deadline = tmp_path / "toys" / "record.jsonl", time.monotonic() + 120
    while not record.exists() or record.read_text().count('"event": "epoch"') < 7:
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    yield driver, tmp_path / "toys"
    driver.kill()
    driver.communicate()


def test_status_of_a_study_that_runs_and_of_one_that_was_killed_or_stopped(
    running: tuple[subprocess.Popen[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    driver, folder = running
    size, text = -1, ""
    while size != (size := (folder / "record.jsonl").stat().st_size):  # nothing came meanwhile
        text = printed(capsys, "status", folder)
    trials, epochs = frames(read_record(folder))  # what Parquet will say
    head, question, _, counts = text.splitlines()[:4]
    ended = trials[trials["state"] == "complete"]
    done = f"{len(ended)} of 12 trials ended, {len(epochs)} of 36 epochs"
    assert re.match(rf"{folder}: running here, {done}, about 0:\d\d left$", head)
    assert (question, counts) == (STUDY.question, f"{len(ended)} complete, 1 running")
    for arm, own in ended.groupby("arm"):
        row = next(n.split() for n in text.splitlines() if n.startswith(str(arm)))
        best = own.loc[own["score"].idxmax()]
        assert row[1:7] == [str(len(own)), "of", "3", "0", "of", "3"]
        assert (float(row[7]), row[8]) == (pytest.approx(best["score"], rel=1e-3), best["trial"])
    (open_,) = trials[trials["state"] == "running"]["trial"]
    done = f"{(epochs['trial'] == open_).sum()} of 3"  # 0 if it has just begun
    assert re.search(rf"Running\n-+\ntrial .*score .*\n{open_} +{done} +[\d.e+-]+ +0:\d\d", text)
    assert f"Live page: {typed('srsgd-ray', 'watch', folder)}" in text
    assert folder.name in printed(capsys, "list", folder.parent)
    driver.kill()
    driver.wait()
    with (folder / "record.jsonl").open("a") as file:
        file.write('{"event": "epoch", "at')  # torn
    text = printed(capsys, "status", folder.parent)
    assert f"{folder}: stale, its driver ended without a word, " in text and " ago" in text
    assert f"Resume with: {typed('srsgd-ray', 'resume', folder)}" in text
    with Record.reopen(folder) as record:
        record.pause()
    assert "toys: interrupted, " in printed(capsys, "status", folder)
    found = json.loads(printed(capsys, "status", folder, "--format", "json"))
    assert (found["state"], found["planned"]) == ("interrupted", 12)
    assert [arm["search_planned"] for arm in found["arms"]] == [3, 3]


def test_status_of_another_machines_study(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "toys", tmp_path / "toys")
    record = tmp_path / "toys" / "record.jsonl"
    host = platform.node()
    rewrite(record, [e | ({"host": "gpu-7"} if e.get("host") == host else {})
                     for e in events_of(record)[:-3]])  # fmt: skip
    seen = Seen.of(tmp_path / "toys")
    assert seen.state == "not running here"


def test_status_of_a_finished_study_is_that_of_its_parquet(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "status", results / "toys")
    table = pd.read_parquet(results / "toys" / "trials.parquet")
    assert f"toys: finished, {len(table)} of 12 trials ended, 36 of 36 epochs\n" in text
    for arm, own in table.groupby("arm"):
        search, confirm = (own[own["phase"] == p] for p in ("search", "confirm"))
        row = next(n.split() for n in text.splitlines() if n.startswith(str(arm)))
        assert row[1:7] == ["3", "of", "3"] * 2
        assert float(row[7]) == pytest.approx(search["score"].max(), rel=1e-3)
        assert row[8] == search.loc[search["score"].idxmax(), "trial"]
        assert float(row[9]) == pytest.approx(confirm["test_score"].mean(), rel=1e-3)
    assert f"Its table: {typed('srsgd-ray', 'table', results / 'toys')}" in text


def test_status_of_several_searches_has_the_means_of_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(dataclasses.replace(STUDY, searches=2), results=tmp_path, backend="local")
    text = printed(capsys, "status", tmp_path / "toys")
    runs = pd.read_parquet(tmp_path / "toys" / "trials.parquet").query("phase == 'confirm'")
    for arm, own in runs.groupby("arm"):
        row = next(n.split() for n in text.splitlines() if n.startswith(str(arm)))
        assert row[4:7] == ["6", "of", "6"]
        assert float(row[9]) == pytest.approx(own["test_score"].mean(), rel=1e-3)


def test_status_names_failures_by_their_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Arm("a", {"x": FloatDistribution(0.0, 1.0)}, {"wrong": "value"})
    run(dataclasses.replace(STUDY, arms=(bad,), baseline=""), results=tmp_path, backend="local")
    text = printed(capsys, "status", tmp_path / "toys")
    assert "3 failed" in text and "Failed or diverged\n" in text
    assert re.search(r"search-a-002  failed  x must be small, but is not \(toy\.py:\d+\)", text)
    text = printed(capsys, "status", tmp_path, "--format", "json")
    found = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    assert found["counts"] == {"failed": 3} and found["arms"][0]["best"] is None
    assert "no study here" in refused(capsys, "status", tmp_path / "none")


def test_list_shows_every_folder_also_old_and_broken_ones(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(results / "toys", tmp_path / "toys")
    shutil.copytree(EXAMPLE, tmp_path / "old")
    for name, text in (("torn", ""), ("mad", "no json\n{}\n"), ("empty", "{}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.jsonl").write_text(text)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "optuna.db").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "trials.parquet").write_bytes(b"PAR1")
    (tmp_path / "figures").mkdir()
    text = printed(capsys, "list", tmp_path, "--format", "csv")
    found = pd.read_csv(io.StringIO(text)).set_index("study").fillna("")
    assert found["state"].to_dict() == {
        "damaged": "broken", "empty": "broken", "lost": "broken", "mad": "broken", "old": "tables",
        "torn": "broken", "toys": "finished",
    }  # fmt: skip
    assert "line 1 of" in found.loc["mad", "result"] and "Parquet" in found.loc["damaged", "result"]
    assert found.loc["toys", "trials"] == "12 of 12" and found.loc["old", "trials"] == "40 of 40"
    for name, metric, unit in (("toys", "test_score", ""), ("old", "test_error", " points")):
        table = pd.read_parquet(tmp_path / name / "trials.parquet")
        runs = table[table["phase"] == "confirm"].pivot(index="seed", columns="arm", values=metric)
        size = abs((runs.iloc[:, 0] - runs.iloc[:, 1]).mean())
        told = re.search(rf"([\d.]+){unit} \(n = {len(runs)}\)$", found.loc[name, "result"])
        assert told is not None and float(told[1]) == pytest.approx(size, rel=1e-3)
        files = [f for f in (tmp_path / name).rglob("*") if f.is_file()]
        assert found.loc[name, "disk"] == sum(f.stat().st_size for f in files)
    assert found.loc["toys", "question"] == STUDY.question
    assert printed(capsys, "list", tmp_path / "figures").startswith("No study in")
    one = pd.read_csv(io.StringIO(printed(capsys, "list", tmp_path / "toys", "--format", "csv")))
    assert one[["study", "trials"]].to_numpy().tolist() == [["toys", "12 of 12"]]
    assert "needs a results folder" in refused(capsys, "list", tmp_path / "none")


# The documents, and manners


def test_commands_md_names_every_verb_and_shows_what_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    for name in VERBS:
        assert re.search(rf"`{name}\b|srsgd-ray {name}\b", page), f"docs/commands.md lacks {name}"
    monkeypatch.chdir(ROOT)
    shown = re.findall(r"^\$ srsgd-ray (\w+ results/example.*)\n((?:.*\n)*?)```", page, re.M)
    assert shown
    for words, output in shown:
        assert printed(capsys, *words.split()) == output


def test_the_table_is_that_of_the_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "table", EXAMPLE)
    table = pd.read_parquet(EXAMPLE / "trials.parquet")
    confirm = table[table["phase"] == "confirm"]
    part = text.partition("\nConfirmation")[2]
    for arm, own in confirm.groupby("arm"):
        errors = own["test_error"]
        mean, std = re.search(
            rf"^{str(arm).upper()} +{len(own)} .*%\) +([\d.]+) +([\d.]+)", part, re.M
        ).groups()  # type: ignore[union-attr]
        assert (float(mean), float(std)) == (
            pytest.approx(errors.mean(), abs=0.005), pytest.approx(errors.std(), abs=0.005),
        )  # fmt: skip
        search = table[(table["phase"] == "search") & (table["arm"] == arm)]
        row = re.search(rf"^{str(arm).upper()} +(.*)$", text, re.M)
        assert row is not None and row[1].split()[:2] == [
            "12",
            str(sum(search["state"] == "complete")),
        ]
        assert float(row[1].split()[-1]) == pytest.approx(search["val_error"].min(), abs=0.005)
    pairs = confirm.pivot(index="seed", columns="arm", values="test_error")
    mean = re.search(r"^SRSGD - SGD +8 +(-[\d.]+) ", text, re.M)
    assert mean is not None
    assert float(mean[1]) == pytest.approx((pairs["srsgd"] - pairs["sgd"]).mean(), abs=0.005)


@pytest.mark.parametrize("verb", ["list", "compare"])
def test_a_verb_knows_pipes_and_terminals(verb: str, results: Path) -> None:
    """A reader that has seen enough; a terminal of 40 columns; no colour without being asked."""
    folder = str(results) if verb == "list" else str(results / "toys")
    more = [str(results / "others")] if verb == "compare" else []
    command = [sys.executable, "-m", "srsgd_ray", verb, folder, *more]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(Path(__file__).parent)))}
    line = f"{shlex.join(command)} | head -1; echo ${{PIPESTATUS[0]}}"
    ours, theirs = pty.openpty()
    terminal = subprocess.Popen(command, env={**env, "COLUMNS": "40"}, stdout=theirs, stderr=theirs)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=env, check=True)
    assert done.stderr == "" and done.stdout.count("\n") == 2 and done.stdout.endswith("\n0\n")
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # its end
        while part := os.read(ours, 65536):
            seen += part
    os.close(ours)
    assert terminal.wait() == 0 and seen and b"\x1b" not in seen
    if verb == "list":
        lines = seen.decode().splitlines()
        assert len(lines) == 3 and all(len(n) <= 40 for n in lines) and "…" in lines[0]
