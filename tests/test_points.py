"""Known points: enqueued while a study runs or waits, and the trials of other studies as prior."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from test_control import SLOW, running, says, soon
from test_local import STUDY, X, conduct

from srsgd_ray.cli import main
from srsgd_ray.results import read_record, read_trials
from srsgd_ray.study import Arm, Study

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("in_memory")


def proposed(folder: Path, arm: str = "near") -> list[float]:
    """What the search of an arm tried, in order."""
    trials = read_record(folder).trials.values()
    return [t.config["x"] for t in trials if (t.arm, t.phase) == (arm, "search")]


def test_a_point_is_tried_next_and_uses_up_a_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = conduct(dataclasses.replace(STUDY, searcher="random"), tmp_path / "whole")
    folder = tmp_path / "t"
    slow = dataclasses.replace(SLOW, trials=3, searcher="random", epochs=3, base={"wait": 0.2})
    with running(slow, tmp_path):
        status, said = says(capsys, "enqueue", str(folder), "near", "x=0.5")
        assert status == 0
        assert said == "x=0.5 is tried as trial 2 of 3 of near: it uses up one of them."
        wrong = says(capsys, "enqueue", str(folder), "near", "x=7")[1]
        assert wrong.startswith("srsgd-ray enqueue: a point of enqueue must lie in the space, but ")
        assert wrong.endswith("step=None).")
    # A study that nobody works on takes one, too, after those that wait.
    status, said = says(capsys, "enqueue", str(folder), "near", "x=0.25")
    assert (status, "as trial 3 of 3 of near" in said) == (0, True)
    assert conduct(slow, tmp_path, resume=True).status == "finished"
    ours, theirs = proposed(folder), proposed(whole.folder)
    assert ours == [theirs[0], 0.5, 0.25]
    assert proposed(folder, "far") == proposed(whole.folder, "far")
    assert len(read_trials(folder)) == 2 * (3 + 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["near", "x=7"], "a point of enqueue must lie in the space, but got x=7 for Float"),
        (["near", "x=abc"], "a point of enqueue must lie in the space, but got x='abc' for Float"),
        (["near", "y=1"], "unknown searched knob 'y'. Valid: x"),
        (["near"], "a point needs a value of a searched knob"),
        (["nearer", "x=0.5"], "unknown searched arm 'nearer'. Valid: near, far. Did you mean"),
        (["near", "x"], "but got 'x'. Write for example lr=0.1."),
        (["near", "x=0.5"], "all 3 trials of near have begun or are planned. Extend the study"),
    ],
)
def test_a_point_that_cannot_be(
    tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str],
    words: list[str], message: str,
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(finished, tmp_path / "t"))
    before = (folder / "record.jsonl").read_bytes()
    status, error = says(capsys, "enqueue", str(folder), *words)
    assert status == 2
    assert message in error
    assert (folder / "record.jsonl").read_bytes() == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three trials an arm, which another one may learn from."""
    folder = tmp_path_factory.mktemp("finished")
    conduct(dataclasses.replace(STUDY, confirm_seeds=1), folder)
    return folder / "t"


def later(folder: Path | None, **changes: Any) -> Study:
    paths = () if folder is None else (str(folder),)
    return dataclasses.replace(
        STUDY, **{"seed": 5, "trials": 5, "confirm_seeds": 1, "prior": paths, **changes}
    )


def test_a_prior_moves_the_proposals_and_is_in_the_record(tmp_path: Path, finished: Path) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    with_it = conduct(later(other), tmp_path / "with").folder
    without = conduct(later(None), tmp_path / "without").folder
    # The first of its trials is drawn at random without, and modelled with it.
    assert proposed(with_it)[0] != proposed(without)[0]
    assert len(read_trials(with_it)) == 2 * (5 + 1)
    prior = read_record(with_it).header["prior"]
    assert [(p["arm"], p["trial"], p["params"]["x"]) for p in prior if p["arm"] == "near"] == [
        ("near", f"search-near-00{i}", x) for i, x in enumerate(proposed(finished))
    ]
    # The other folder may be gone: a study cut in the middle goes on as if it had not been.
    shutil.rmtree(other)
    cut = tmp_path / "cut" / "t"
    cut.mkdir(parents=True)
    lines = (with_it / "record.jsonl").read_text().splitlines(keepends=True)
    half = next(i for i, line in enumerate(lines) if '"trial": "search-near-003"' in line)
    (cut / "record.jsonl").write_text("".join(lines[:half]))
    assert conduct(later(other), tmp_path / "cut", resume=True).status == "finished"
    assert proposed(cut) == proposed(with_it)


def test_a_changed_space_drops_what_it_does_not_hold_of_a_prior(
    tmp_path: Path, finished: Path
) -> None:
    conduct(later(finished), tmp_path)
    study = later(finished, arms=(Arm("near", {"x": FloatDistribution(0.4, 0.6)}), STUDY.arms[1]))
    result = conduct(study, tmp_path, extend=True, changed_space=True)
    assert result.status == "finished"
    assert all(0.4 <= x <= 0.6 for x in proposed(result.folder)[5:])
    assert not all(0.4 <= x <= 0.6 for x in proposed(finished)), "else this test shows nothing"


@pytest.mark.on_disk
def test_optuna_shows_the_prior_apart(tmp_path: Path, finished: Path) -> None:
    folder = conduct(later(finished, trials=1, confirm_seeds=0), tmp_path).folder
    for _ in range(2):  # also after a resume, and never twice
        study = optuna.load_study(study_name="t-near", storage=f"sqlite:///{folder}/optuna.db")
        names = [t.user_attrs.get("prior") for t in study.trials]
        assert names[:3] == [f"{finished}: search-near-00{i}" for i in range(3)]
        assert names[3:] == [None]
        conduct(later(finished, trials=1, confirm_seeds=0), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"searcher": "random"}, "a prior needs a searcher that learns from other trials (tpe, "),
        ({"metric": "cost", "mode": "min"}, "must be judged by the same metric, cost (min), but "),
        ({"arms": (Arm("new", X),), "baseline": ""}, "fits this study: a prior has complete"),
        (
            {"arms": (Arm("near", {"x": FloatDistribution(2.0, 3.0)}),), "baseline": ""},
            "with all searched knobs within its space",
        ),
        (
            {"arms": (Arm("near", {"slope": FloatDistribution(2.0, 3.0)}),), "baseline": ""},
            "with all searched knobs within its space",
        ),
        ({"prior": ("nowhere",)}, "no study here: expected nowhere/record.jsonl"),
    ],
)
def test_a_prior_that_cannot_be_one(
    tmp_path: Path, finished: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        conduct(later(finished, **changes), tmp_path / "r")
    assert message in str(error.value)
    assert not (tmp_path / "r").exists()


def test_only_what_fits_is_taken(tmp_path: Path) -> None:
    space = {
        "kind": CategoricalDistribution(("plain", "fancy")),
        "epochs": IntDistribution(1, 4),
        **X,
    }
    wide = Study(name="w", question="?", trainable=STUDY.trainable, trials=20, confirm_seeds=0,
                 arms=(Arm("near", space),), searcher="random")  # fmt: skip
    conduct(wide, tmp_path)
    small = {**space, "epochs": IntDistribution(2, 3), "kind": CategoricalDistribution(("plain",))}
    arms = (Arm("near", small), Arm("other", X))
    narrow = dataclasses.replace(
        wide, name="n", arms=arms, searcher="tpe", prior=(str(tmp_path / "w"),), trials=1
    )
    conduct(narrow, tmp_path)
    prior = read_record(tmp_path / "n").header["prior"]
    table = read_trials(tmp_path / "w")
    fits = table[table["epochs"].between(2, 3) & (table["kind"] == "plain")]
    assert 0 < len(fits) < 20
    assert [p["trial"] for p in prior] == fits["trial"].tolist()


def test_from_the_command_line_and_in_the_summary(
    tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script_with_prior.py"
    script.write_text(
        "from test_local import STUDY\nimport dataclasses\n"
        "STUDY = dataclasses.replace(STUDY, trials=1, confirm_seeds=1)\n"
    )
    words = ["run", str(script), "--backend", "local", "--no-figures", "--results", str(tmp_path)]
    assert main([*words, "--prior", str(finished)]) == 0
    out = capsys.readouterr().out
    said = f"Prior of the search: {finished} (3 of near, 3 of far)"
    assert said in out.splitlines()
    assert main(["table", str(tmp_path / "t")]) == 0
    assert "6 trials of other studies" in capsys.readouterr().out
