"""Study scripts from the command line: help, refusals, and the line that resumes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from srsgd_ray.cli import main as cli
from srsgd_ray.cli.launch import resume_command
from srsgd_ray.cli.studies import recorded
from srsgd_ray.results import Record
from srsgd_ray.study import Arm, Study, launch
from srsgd_ray.study.shorten import select

STUDIES = Path(__file__).parents[1] / "studies"


def load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quickstart(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(sys, "argv", ["studies/quickstart.py"])
    study = load(STUDIES / "quickstart.py").STUDY
    assert isinstance(study, Study)
    return study


# Problems without Ray Train have no Study; tests of their own run them.
PROBLEMS = {"figure2_quadratic", "quadratic_search", "trajectory"}
SCRIPTS = sorted(path for path in STUDIES.glob("*.py") if path.stem not in PROBLEMS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_every_script_holds_a_sound_study(script: Path) -> None:
    study = load(script).STUDY.check()
    assert Study.from_dict(study.to_dict()).to_dict() == study.to_dict()


def test_help_names_the_defaults(quickstart: Study, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        launch(quickstart, ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "python studies/quickstart.py" in text
    assert f"search trials of each arm [{quickstart.trials}]" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--searcher", "anneal"], "unknown search 'anneal'. Valid: tpe, random, grid, cmaes"),
        (["--scheduler", "pbt"], "unknown scheduler 'pbt'. Valid: none, asha"),
        (["--trials", "0"], "trials >= 1 must hold, but got trials=0"),
        (["--epochs", "-3"], "epochs >= 1 must hold, but got epochs=-3"),
        (["--confirm-on", "test"], "unknown confirm_on 'test'"),
        (["--searcher", "grid"], "restart_f1, lr has none"),
        (["--name", "a b"], "must be of letters, digits"),
        (["--resume"], "no study here: expected"),
        (["--name", "other", "--resume"], "holds the study 'another', not 'quickstart'"),
        (["--name", "taken"], "already holds a study. Resume it with --resume"),
        (["--name", "taken", "--resume", "--trials", "9"], "study: trials was 12 and is now 9"),
        (["--bad-images", "zero"], "unknown bad_images 'zero'. Valid: stop, skip"),
        (["--checkpoint-steps", "-1"], "0 <= checkpoint_steps < inf must hold"),
        (["--results", "FILE/x"], "results must go into a folder that can be written"),
    ],
)
def test_refusals_come_before_any_work(
    quickstart: Study,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    spec = quickstart.to_dict()
    Record.create(tmp_path / "other", {"study": "x", "spec": {**spec, "name": "another"}}).close()
    Record.create(tmp_path / "taken", {"study": "x", "spec": spec}).close()
    (tmp_path / "FILE").write_text("")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    given = [word.replace("FILE", str(tmp_path / "FILE")) for word in arguments]
    if "--results" not in given:
        given = ["--results", str(tmp_path), *given]
    assert launch(quickstart, given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data-dir", "TMP"], "cifar10 not found: expected the folder TMP/cifar-10-batches-py"),
        (["--depth", "111"], "unknown depth '111'. Valid: 110, 290, 470, 650, 1001."),
        (["--schedule", "cubic"], "unknown schedule 'cubic'. Valid: linear, exponential."),
        (["--protocol", "mine"], "unknown protocol 'mine'. Valid: as_published, corrected."),
        (["--epochs", "2"], "lr_milestones < epochs must hold and increase"),
        (["--seeds", "0"], "a study needs something to run"),
        (["--smoke", "--budget-hours", "0"], "0 < budget_hours <= inf must hold"),
    ],
)
def test_the_papers_studies_refuse_before_any_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    study = load(STUDIES / "table1_cifar10.py").STUDY
    given = [word.replace("TMP", str(tmp_path)) for word in arguments]
    assert launch(study, ["--results", str(tmp_path / "results"), *given]) == 2
    error = capsys.readouterr().err
    assert message.replace("TMP", str(tmp_path)) in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_resume_with_other_arms_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load(STUDIES / "f1_cifar10.py").STUDY
    kept = select(study, {"f1": ["1"]})
    header = {"study": "x", "spec": kept.to_dict()}
    Record.create(tmp_path / study.name, header).close()
    given = ["--results", str(tmp_path), "--resume", "--f1", "30"]
    assert launch(study, given) == 2
    assert "unknown f1 '30'. Valid: 1." in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--slots", "--workers-per-trial"])
def test_none_at_all_is_refused(
    quickstart: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert launch(quickstart, ["--results", str(tmp_path), "--smoke", flag, "0"]) == 2
    assert ">= 1 must hold" in capsys.readouterr().err


def test_the_budget_is_not_in_the_resume_line() -> None:
    assert resume_command(["p"], ["--budget-hours=4", "--trials", "3"]) == "p --trials 3 --resume"
    words = ["--budget-hours", "0.5", "--trials", "3"]
    assert resume_command(["p", "s.py"], words) == "p s.py --trials 3 --resume"


def test_a_folder_is_resumed_with_every_option_that_it_was_started_with(tmp_path: Path) -> None:
    study = Study("s", "?", (Arm("a", fixed={"optimizer": "sgd"}),), trials=0)
    options = {"results": "r", "storage": None, "autoscaling": False, "gpus_per_worker": 0.0}
    header = {"study": "s", "spec": study.to_dict(), "options": options}
    Record.create(tmp_path / "s", header).close()
    _, words = recorded(tmp_path / "s")
    where = [f"--results={tmp_path}", "--name=s"]
    assert words == ["--resume", *where, "--gpus-per-worker=0.0"]


def test_the_resume_line_is_the_command_again() -> None:
    words = ["--name", "my study", "--trials", "3", "--resume"]
    expected = "p s.py --name 'my study' --trials 3 --resume"
    assert resume_command(["p", "s.py"], words) == expected
    # Of a smoke run, one slot and one worker come from the word alone.
    assert resume_command(["p"], ["--smoke", "--name", "x"]) == "p --smoke --name x --resume"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "/nonexistent"], "no results: expected /nonexistent/trials.parquet"),
        (["columns", "runs"], "unknown table 'runs'. Valid: trials, epochs"),
        (["train", "--depth", "9", "--out", "/nonexistent"], "depth must be 6n + 2"),
        (["figures", "/nonexistent"], "/nonexistent"),
    ],
)
def test_the_console_command_refuses_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_columns_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["columns", "epochs"]) == 0
    assert "restart_f1" in capsys.readouterr().out
