"""The library's face: its names, its verbs, and a result in a notebook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from test_local import STUDY, X, conduct

import srsgd_ray
from srsgd_ray.cli import main as cli
from srsgd_ray.results import read_record
from srsgd_ray.testing import check_trainable


def test_every_name_is_there() -> None:
    for name in srsgd_ray.__all__:
        assert getattr(srsgd_ray, name) is not None
    assert set(srsgd_ray.__all__) <= set(dir(srsgd_ray))
    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        _ = srsgd_ray.Studdy
    assert srsgd_ray.run is srsgd_ray.study.run
    assert callable(srsgd_ray.launch)


def test_names_are_found_whatever_was_imported_before() -> None:
    """A module of the package may have the name of one of its functions."""
    code = (
        "import srsgd_ray.cli.launch, srsgd_ray.study.run, srsgd_ray.trainable, srsgd_ray\n"
        "from srsgd_ray import as_trainable, launch, run\n"
        "from srsgd_ray.study import launch as l, run as r\n"
        "assert callable(launch) and callable(run) and callable(l) and callable(r)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


FILE = """
import sys
sys.path.insert(0, {tests!r})
import dataclasses
import test_local
MINE = dataclasses.replace(test_local.STUDY, trials=2, confirm_seeds=2, {more})
"""


def script(folder: Path, more: str = "") -> str:
    path = folder / "mine_face.py"
    path.write_text(FILE.format(tests=str(Path(__file__).parent), more=more))
    sys.modules.pop("mine_face", None)
    return str(path)


def test_run_prints_nothing(tmp_path: Path) -> None:
    """In a process of its own, where nothing was told to be quiet before."""
    script(tmp_path)
    code = (
        "from mine_face import MINE; from srsgd_ray import run; "
        "print(run(MINE, backend='local', results='r').status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("finished\n", "")


def test_run_plan_and_resume_by_verbs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys = capfd  # the plan is told past Python's own output
    monkeypatch.chdir(tmp_path)
    file = script(tmp_path)
    words = [file, "--backend", "local", "--no-figures", "--name", "n"]
    assert cli(["run", *words]) == 0
    assert "Confirmation, test score over seeds (higher is better)" in capsys.readouterr().out
    folder = tmp_path / "results" / "n"
    assert read_record(folder).header["options"]["backend"] == "local"
    # By the folder alone: where it was started and with what stands in its record.
    assert cli(["resume", str(folder), "--confirm-seeds", "3", "--no-figures"]) == 0
    assert "Taken in: confirm_seeds: 2 before, 3 now" in capsys.readouterr().out
    assert len(read_record(folder).trials) == 2 * (2 + 3)
    assert cli(["run", "mine_face:MINE", *words[1:], "--name", "again"]) == 0
    capsys.readouterr()
    assert cli(["plan", file, "--backend", "local"]) == 2
    assert "toy does not say what an epoch costs" in capsys.readouterr().err
    assert cli(["plan", str(folder)]) == 0
    assert "Plan: 0 trials" in capsys.readouterr().out


def test_a_plan_of_images_is_measured_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quickstart = str(Path(__file__).parents[1] / "studies" / "quickstart.py")
    words = ["--backend", "local", "--results", str(tmp_path / "r"), "--trials", "2"]
    assert cli(["plan", quickstart, *words]) == 0
    assert "20 trials, 240 epochs" in capfd.readouterr().out
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "takes first FILE"),
        (["run", "nowhere.py"], "no such file: nowhere.py"),
        (["run", "nowhere:STUDY"], "study 'nowhere:STUDY' cannot be imported here"),
        (["run", "toy:METRICS"], "toy:METRICS must be a Study, but is tuple"),
        (["run", "toy"], "must be an import path such as my_module:name, but got 'toy'"),
        (["resume", "/nonexistent"], "no study here: expected /nonexistent/record.jsonl"),
        (["check", "toy:METRICS"], "must hold a Study or a trainable, but holds neither"),
    ],
)
def test_verbs_refuse_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    try:
        status = cli(words)
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    assert message in capsys.readouterr().err or words == ["run"]


def test_check_says_what_is_kept_and_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["check", "toy:toy"]) == 0
    out = capsys.readouterr().out
    assert out.count("  kept  ") == 7
    assert "All kept." in out
    said: list[str] = []
    assert check_trainable(toy.undeclared, {}, said.append) > 0
    assert any("BROKEN" in line and "'scroe' is not" in line for line in said)


def test_a_result_shows_itself(tmp_path: Path) -> None:
    result = conduct(STUDY, tmp_path)
    assert "Confirmation, test score over seeds" in str(result)
    assert result.verdicts == [comparison.verdict for comparison in result.comparisons]
    assert set(result.best) == {"near", "far"}
    assert result.best["near"].keys() == X.keys()
    header = json.loads((result.folder / "record.jsonl").read_text().splitlines()[0])
    names = [column["name"] for column in header["columns"]["trials"]]
    assert {"x", "score", "test_score", "trainable"} <= set(names)
    assert result.trials["trainable"].unique().tolist() == ["toy:toy"]
