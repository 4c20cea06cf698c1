"""Resuming an edited study: each difference is named, and taken in where that is sound."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from test_local import STUDY, X, conduct, ends, rows

from srsgd_ray.results import read_record, read_trials
from srsgd_ray.study import Arm, Study, launch


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the finished study."""
    folder = tmp_path_factory.mktemp("finished")
    assert conduct(STUDY, folder).status == "finished"
    return folder


def cut(folder: Path, after: int) -> None:
    """Leave of a study what its record held after so many trials had ended."""
    record = folder / "record.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    end = [i for i, line in enumerate(lines) if json.loads(line)["event"] == "end"][after - 1]
    for path in folder.iterdir():
        path.unlink() if path.is_file() else None
    record.write_text("".join(lines[: end + 1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 5}, "epochs was None and is now 5"),
        ({"seed": 9}, "seed was 0 and is now 9"),
        ({"searcher": "random"}, "searcher was 'tpe' and is now 'random'"),
        ({"trials": 1}, "trials was 3 and is now 1"),
        ({"trials": 5}, "trials was 3 and is now 5, but the confirmation has begun"),
        ({"confirm_seeds": 1}, "confirm_seeds was 2 and is now 1"),
        ({"base": {"slope": 2.0}}, "base was {} and is now {'slope': 2.0}"),
        ({"metric": "cost", "mode": "min"}, "metric was 'score' and is now 'cost'"),
        ({"arms": STUDY.arms[:1], "baseline": ""}, "arm 'far' is gone"),
        (
            {"arms": (STUDY.arms[0], Arm("far", {"x": FloatDistribution(-3.0, -1.0)}))},
            "arm 'far': space was",
        ),
        (
            {"arms": (STUDY.arms[0], dataclasses.replace(STUDY.arms[1], fixed={"slope": 2.0}))},
            "arm 'far': fixed was {} and is now {'slope': 2.0}",
        ),
    ],
)
def test_what_would_mix_two_studies_is_refused(
    tmp_path: Path, finished: Path, changes: dict[str, Any], message: str
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "t" / "record.jsonl").read_bytes()
    with pytest.raises(ValueError) as error:
        conduct(dataclasses.replace(STUDY, **changes), tmp_path, resume=True)
    assert message in str(error.value)
    assert "holds another study: " in str(error.value)
    assert (tmp_path / "t" / "record.jsonl").read_bytes() == before


def test_more_seeds_are_taken_in(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    told = rows(tmp_path / "t")
    more = dataclasses.replace(STUDY, confirm_seeds=4)
    assert conduct(more, tmp_path, resume=True).status == "finished"
    after = rows(tmp_path / "t")
    assert len(after) == len(told) + 4
    assert {trial: after[trial] for trial in told} == told
    confirm = read_trials(tmp_path / "t").query("phase == 'confirm' and arm == 'near'")
    assert sorted(confirm["seed"]) == [1, 2, 3, 4]
    assert read_record(tmp_path / "t").header["spec"]["confirm_seeds"] == 4
    # What was taken in is the study from then on.
    assert conduct(more, tmp_path, resume=True).status == "finished"
    with pytest.raises(ValueError, match="confirm_seeds was 4 and is now 2"):
        conduct(STUDY, tmp_path, resume=True)


def test_more_trials_are_taken_in_before_the_confirmation(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    cut(tmp_path / "t", after=5)
    more = dataclasses.replace(STUDY, trials=4)
    assert conduct(more, tmp_path, resume=True).status == "finished"
    assert sum(name.startswith("search") for name in ends(tmp_path / "t")) == 8


def test_another_arm_is_taken_in_and_compared_on_the_same_seeds(
    tmp_path: Path, finished: Path
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    more = dataclasses.replace(STUDY, arms=(*STUDY.arms, Arm("new", X)))
    result = conduct(more, tmp_path, resume=True)
    table = result.trials
    assert len(table[(table["arm"] == "new") & (table["phase"] == "search")]) == 3
    seeds = table[table["phase"] == "confirm"].groupby("arm")["seed"].apply(sorted)
    assert seeds["new"] == seeds["near"] == [1, 2]
    assert {c.arm for c in result.comparisons} == {"near", "new"}


def start(study: Study, folder: Path, *words: str) -> int:
    where = ["--backend", "local", "--results", str(folder), "--no-figures"]
    return launch(study, [*where, *words], command=["p"])


def test_an_edited_script_is_told_and_options_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--trials 2`` was an option: that the script says 3 is no edit."""
    assert start(STUDY, tmp_path, "--trials", "2", "--confirm-seeds", "2") == 0
    capsys.readouterr()
    assert start(STUDY, tmp_path, "--resume") == 0
    assert "Taken in" not in capsys.readouterr().out
    edited = dataclasses.replace(STUDY, question="Another?", confirm_seeds=3)
    assert start(edited, tmp_path, "--resume") == 0
    out = capsys.readouterr().out
    assert "t: Another?" in out
    assert "Taken in: question: Another?" in out
    assert "Taken in: confirm_seeds: 2 before, 3 now" in out
    changed = dataclasses.replace(edited, base={"slope": 3.0})
    assert start(changed, tmp_path, "--resume") == 2
    error = capsys.readouterr().err
    assert "base was {} and is now {'slope': 3.0}" in error
    assert len(error.strip().splitlines()) == 1
    assert sum(name.startswith("search") for name in ends(tmp_path / "t")) == 4


@pytest.mark.usefixtures("in_memory")
def test_more_seeds_by_the_command_line(tmp_path: Path) -> None:
    assert start(STUDY, tmp_path) == 0
    assert start(STUDY, tmp_path, "--resume", "--confirm-seeds", "3") == 0
    assert sum(name.startswith("confirm") for name in ends(tmp_path / "t")) == 6


@pytest.mark.usefixtures("in_memory")
def test_an_arm_of_which_every_trial_failed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = (STUDY.arms[0], dataclasses.replace(STUDY.arms[1], fixed={"wrong": "value"}))
    study = dataclasses.replace(STUDY, arms=arms, trials=1, confirm_seeds=2)
    assert start(study, tmp_path) == 1
    error = capsys.readouterr().err
    assert "Every trial of arm 'far' failed. The first, search-far-000: x must be small" in error
    assert "(toy.py:" in error


REFUSED = {
    "a storage that cannot be written": (["--storage", "FILE/x"], "--storage must be a folder or"),
    "a bucket that there is not": (["--storage", "nosuch://b/x"], "--storage must be a folder or"),
    "a results folder that cannot be": (["--results", "FILE/x"], "results must go into a folder"),
    "more slots than there are CPUs": (["--slots", "99"], "slots <= "),
    "a budget of nothing": (["--budget-hours", "0"], "0 < budget_hours <= inf must hold"),
    "two workers without Ray": (["--workers-per-trial", "2"], "Use backend='ray'"),
    "a negative patience": (["--silence-limit", "-1"], "0 < silence_limit <= inf must hold"),
    "an unknown backend": (["--backend", "slurm"], "unknown backend 'slurm'. Valid: ray, local."),
    "a knob that there is not": (
        ["--set", "xx=1", "--set", "wait=0"],
        "unknown configuration key 'xx'",
    ),
    "a setting without a value": (["--set", "x"], "--set must be NAME=VALUE pairs"),
    "no Ray there": (["--backend", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_start_leaves_nothing_and_the_corrected_one_begins(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    case: str,
) -> None:
    words, message = REFUSED[case]
    (tmp_path / "FILE").write_text("")
    given = [word.replace("FILE", str(tmp_path / "FILE")) for word in words]
    assert start(STUDY, tmp_path / "r", *given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["FILE"]
    request.getfixturevalue("in_memory")  # not before: the storage would be a thing left behind
    assert start(dataclasses.replace(STUDY, trials=1), tmp_path / "r") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slot": 2}, "unknown option 'slot'. Valid: storage, backend, "),
        ({"silence_limit": "x"}, "silence_limit must be a number, but got silence_limit='x'"),
        ({"slots": "2"}, "slots must be a whole number, but got slots='2'. Write slots=2, without"),
        ({"autoscaling": 1}, "autoscaling must be True or False, but got autoscaling=1"),
        ({"storage": 3}, "storage must be a text, but got storage=3"),
    ],
)
def test_options_from_python_are_checked(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        conduct(STUDY, tmp_path / "r", **options)
    assert message in str(error.value)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"depth": 110}, "a label must be a name and a text, such as {'depth': '110'}, but got"),
        ({"a b": "c"}, "a label must be a name and a text, such as {'depth': '110'}, but got"),
        ({"seed": "1"}, "but --seed"),
        ({"confirm_on": "1"}, "but --confirm"),
    ],
)
def test_labels_that_cannot_be_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: dict[str, Any], message: str
) -> None:
    study = dataclasses.replace(STUDY, arms=(Arm("near", X, labels=labels), *STUDY.arms[1:]))
    assert start(study, tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.usefixtures("in_memory")
def test_labels_of_any_spelling_select_arms(tmp_path: Path) -> None:
    labelled = [
        dataclasses.replace(arm, labels={"how-far": arm.name, "in_percent": "5 %"})
        for arm in STUDY.arms
    ]
    study = dataclasses.replace(STUDY, arms=tuple(labelled), trials=1, confirm_seeds=1)
    assert start(study, tmp_path, "--how-far", "near", "--in-percent", "5 %") == 0
    assert set(read_trials(tmp_path / "t")["arm"]) == {"near"}


def test_missing_data_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(
        name="c", question="?", arms=(Arm("sgd", fixed={"optimizer": "sgd"}),), trials=0,
        base={"dataset": "cifar10"}, confirm_seeds=1,
    )  # fmt: skip
    nowhere = str(tmp_path / "nowhere")
    assert start(study, tmp_path / "r", "--data-dir", nowhere) == 2
    assert f"expected the folder {nowhere}" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
