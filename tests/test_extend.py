"""Studies that grow: more trials, searches, seeds and arms, and another space, after a look."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import toy
from made_results import events_of, rewrite
from optuna.distributions import CategoricalDistribution, FloatDistribution
from test_local import conduct, rows
from test_resume import cut, start

from srsgd_ray import analysis
from srsgd_ray.cli import main
from srsgd_ray.pages.data import study_data
from srsgd_ray.results import RecordError, read_record, read_trials
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study

X = SearchSpace(
    "x", "?", {"x": FloatDistribution(0.0, 1.0)}, {"x": tuple(n / 20 for n in range(20))}
)
FAR = X.replace(x=FloatDistribution(-2.0, -1.0))
FAR = dataclasses.replace(FAR, grid={"x": tuple(-1 - n / 20 for n in range(20))})
STUDY = Study(
    name="t",
    question="?",
    trainable=toy.lucky,
    base={"luck": 0.01},
    arms=(Arm("near", X, enqueue=({"x": 0.25},)), Arm("far", FAR)),
    baseline="far",
    trials=3,
    confirm_seeds=2,
    searcher="random",
    seed=3,  # of which near's winner changes when there are more trials, and far's does not
)
MORE = dataclasses.replace(STUDY, trials=9)

pytestmark = pytest.mark.usefixtures("in_memory")


def told(folder: Path) -> tuple[dict[str, Any], dict[tuple[str, int, int], Any]]:
    """What each search trial reported by name, and each current run by its arm, search and seed."""
    found, table = rows(folder / "t"), read_trials(folder / "t").set_index("trial")
    current = analysis.current(table[table["phase"] == "confirm"])
    runs = {
        (str(row["arm"]), int(row["search"]), int(row["seed"])): found[name]
        for name, row in current.iterrows()
    }
    return {name: own for name, own in found.items() if name.startswith("search")}, runs


def test_a_study_keeps_the_defaults_that_it_began_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``ToyConfig.slope`` was 0.25 before it was 1: its trials would not be alike."""
    study = dataclasses.replace(STUDY, trainable=toy.toy, base={}, trials=2, confirm_seeds=0)
    conduct(dataclasses.replace(study, base={"slope": 0.25}), tmp_path)
    record = tmp_path / "t" / "record.jsonl"
    lines = events_of(record)
    lines[0]["spec"]["base"] = lines[0]["script"]["base"] = {}  # nobody had said so
    rewrite(record, lines)
    told = "Taken in: slope stays 0.25, the default when it began"
    study = dataclasses.replace(study, trials=4)
    assert start(study, tmp_path, "--resume") == 0
    assert told in capsys.readouterr().out
    assert start(dataclasses.replace(study, confirm_seeds=1), tmp_path, "--resume") == 0
    assert told not in capsys.readouterr().out
    assert read_trials(tmp_path / "t")["slope"].tolist() == [0.25] * (2 * 4 + 2)
    conduct(study, tmp_path / "new")
    assert read_trials(tmp_path / "new" / "t")["slope"].tolist() == [1.0] * (2 * 4)


@pytest.mark.parametrize("searcher", ["random", "grid", "qmc", "tpe"])
def test_an_extended_search_is_one_that_was_as_long_from_the_start(
    tmp_path: Path, searcher: str
) -> None:
    """TPE draws its first three trials at random, whether there are to be 3 or 9."""
    small, large = (dataclasses.replace(s, searcher=searcher) for s in (STUDY, MORE))
    conduct(large, tmp_path / "large")
    conduct(small, tmp_path / "small")
    before = rows(tmp_path / "small" / "t")
    result = conduct(large, tmp_path / "small", extend=True)
    assert told(tmp_path / "small") == told(tmp_path / "large")
    after = rows(tmp_path / "small" / "t")
    assert {name: after[name] for name in before} == before, "what was done is kept"
    assert [c.verdict for c in result.comparisons]
    assert not any("extended" in text for text in result.remarks)


def test_a_new_winner_is_confirmed_and_the_old_one_told_apart(tmp_path: Path) -> None:
    first = conduct(STUDY, tmp_path)
    was = first.best
    result = conduct(MORE, tmp_path, extend=True)
    table = result.trials.set_index("trial")
    assert result.best["near"] != was["near"], "else this test shows nothing"
    assert result.best["far"] == was["far"]
    runs = table[table["phase"] == "confirm"]
    near = runs[runs["arm"] == "near"]
    assert near["superseded"].tolist() == [True, True, False, False]
    assert near["seed"].tolist()[:2] == near["seed"].tolist()[2:], "on the same seeds"
    assert near["look"].tolist() == [0, 0, 1, 1]
    best = table.loc[near["confirms"].iloc[-1]]
    assert best["x"] == near["x"].iloc[-1] == result.best["near"]["x"]
    assert runs[runs["arm"] == "far"]["superseded"].tolist() == [False, False]
    assert not table.loc[table["phase"] == "search", "superseded"].any()
    # Every number is the new winner's.
    (compared,) = result.comparisons
    far = runs[runs["arm"] == "far"]
    values = (near["test_score"].to_numpy()[2:] - far["test_score"].to_numpy()).tolist()
    assert list(compared.differences) == pytest.approx(values)
    assert compared.look == 1
    assert "look 2 at 99.5 %" in str(result)
    summary = analysis.summary(result.trials).set_index("arm")
    assert summary.loc["near", "mean"] == pytest.approx(near["test_score"][2:].mean())
    curve = analysis.seed_curves(result.epochs, result.trials, "score")
    assert curve["n"].tolist() == [2] * len(curve)
    page = study_data(tmp_path / "t")
    shown = [r["trial"] for r in page["confirmation"]["runs"] if r["arm"] == "near"]
    assert shown == near.index[2:].tolist()
    assert len(page["trials"]["rows"]) == len(table), "all of them in the table"
    marked = [row["trial"] for row in page["trials"]["rows"] if row["superseded"]]
    assert marked == near.index[:2].tolist(), "and those that count no more are marked"
    assert main(["export", str(tmp_path / "t"), "--to", "markdown"]) == 0
    lines = (tmp_path / "t" / "export" / "markdown" / "confirm.md").read_text().splitlines()
    assert [line.split(" | ")[0][2:] for line in lines if "| yes |" in line] == marked
    # No test value is anywhere in the search.
    assert table.loc[table["phase"] == "search", "test_score"].isna().all()
    # Once more, and then with more seeds: of the current winner only.
    conduct(dataclasses.replace(MORE, trials=10, confirm_seeds=3), tmp_path, extend=True)
    assert read_record(tmp_path / "t").look == 2
    assert len(told(tmp_path)[1]) == 2 * 3


def test_no_verdict_while_a_new_winner_is_confirmed(tmp_path: Path) -> None:
    """Until then the last one stays, on the configurations that were confirmed."""
    study = dataclasses.replace(STUDY, confirm_seeds=4)
    assert conduct(study, tmp_path).comparisons[0].better == "near"
    conduct(dataclasses.replace(study, trials=9), tmp_path, extend=True)
    whole = (tmp_path / "t" / "record.jsonl").read_bytes()
    for after, look in ((6 + 8 + 3, 0), (6 + 8 + 12, 0), (6 + 8 + 12 + 2, -1)):
        (tmp_path / "t" / "record.jsonl").write_bytes(whole)
        cut(tmp_path / "t", after)
        found = conduct_table(tmp_path)
        (compared,) = analysis.confirmation(found, "far").comparisons
        assert compared.look == look


def conduct_table(folder: Path) -> Any:
    from srsgd_ray.results.reading import frames

    found = frames(read_record(folder / "t"))[0]
    return found[found["state"] != "running"]


@pytest.mark.parametrize("after", [11, 16, 23])
def test_a_killed_extension_goes_on_as_the_uncut_one(tmp_path: Path, after: int) -> None:
    conduct(STUDY, tmp_path)
    conduct(MORE, tmp_path, extend=True)
    whole = rows(tmp_path / "t")
    cut(tmp_path / "t", after)
    assert conduct(MORE, tmp_path, resume=True).status == "finished"
    assert list(rows(tmp_path / "t").items()) == list(whole.items())


def test_a_record_of_an_older_version_is_extended(tmp_path: Path) -> None:
    """It says neither what was selected nor what a run confirms."""
    conduct(STUDY, tmp_path)
    path = tmp_path / "t" / "record.jsonl"
    lines = events_of(path)
    kept = [{k: v for k, v in line.items() if k != "confirms"}
            for line in lines if line["event"] != "selected"]  # fmt: skip
    rewrite(path, kept)
    table = conduct(MORE, tmp_path, extend=True).trials
    gone = table[table["superseded"].astype(bool)]["trial"].tolist()
    assert gone == ["confirm-near-000", "confirm-near-001"]
    assert len(told(tmp_path)[1]) == 4


def test_several_searches_are_extended_and_are_another_look(tmp_path: Path) -> None:
    """Whether a winner stays or not: to judge those alone that stay would be a choice."""
    study = dataclasses.replace(STUDY, searches=3, trials=6)
    conduct(study, tmp_path)
    result = conduct(dataclasses.replace(study, trials=9), tmp_path, extend=True)
    trials = result.trials
    near = trials[(trials["arm"] == "near") & (trials["phase"] == "confirm")]
    gone = near.groupby("search")["superseded"].any()
    assert gone.any()
    assert not gone.all()
    (compared,) = result.comparisons
    assert compared.look == 1
    assert len(compared.differences) == 6
    first = analysis.confirmation(trials, "far").arm("near").runs
    assert {run.look for run in first} == {1}


def test_what_a_sampler_does_otherwise_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = dataclasses.replace(STUDY, trials=6, confirm_seeds=1, searcher="tpe")
    assert start(study, tmp_path) == 0
    assert start(dataclasses.replace(study, trials=15), tmp_path, "--extend") == 0
    said = (
        "The search was extended from 6 to 15 trials: tpe proposed its trials 4 to 5, which a "
        "search of 15 from the start would have drawn at random."
    )
    out = " ".join(capsys.readouterr().out.split())
    assert out.count(said) == 2, "when it begins, and in the notes"
    assert read_record(tmp_path / "t").header["remarks"] == [said]
    assert said in study_data(tmp_path / "t")["remarks"]


def verb(*words: object) -> int:
    return main([*map(str, words)])


def test_the_verb_adds_and_the_script_is_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "t"
    own = (dataclasses.replace(STUDY.arms[0], trials=2), STUDY.arms[1], Arm("fixed", trials=0))
    study = dataclasses.replace(STUDY, arms=own, confirm_seeds=1)
    assert start(study, tmp_path, "--trials", "4") == 0
    assert verb("extend", folder) == 2
    assert "an extension needs --trials, --searches or" in capsys.readouterr().err
    assert verb("extend", folder, "--trials", "0", "--confirm-seeds", "1") == 2
    assert "an extension adds 1 or more, but got trials=0" in capsys.readouterr().err
    assert verb("extend", folder, "--trials", 1, "--no-figures") == 0
    assert "Taken in: trials: 4 before, 5 now" in capsys.readouterr().out
    assert verb("extend", folder, "--trials", 1, "--confirm-seeds", 2, "--no-figures") == 0
    trials = read_trials(folder)
    tried = trials[trials["phase"] == "search"]["arm"].value_counts()
    assert tried.to_dict() == {"near": 4, "far": 6}
    assert len(told(tmp_path)[1]) == 3 * 3
    assert read_record(folder).look == 1, "the first has confirmed nothing new"
    # The script was not edited: it resumes what the study is now.
    assert start(study, tmp_path, "--resume") == 0
    assert verb("extend", folder, "--searches", 1, "--no-figures") == 0
    assert len(told(tmp_path)[1]) == 3 * 3 * 2
    capsys.readouterr()
    fixed = dataclasses.replace(study, name="f", arms=own[2:], baseline="", trials=0)
    assert start(fixed, tmp_path, "--no-figures") == 0
    assert verb("extend", tmp_path / "f", "--trials", 1) == 2
    assert "by trials needs an arm that is searched" in capsys.readouterr().err


def test_arms_and_trials_together_by_an_edited_script(tmp_path: Path) -> None:
    assert start(STUDY, tmp_path) == 0
    edited = dataclasses.replace(MORE, arms=(*STUDY.arms, Arm("new", X)))
    assert start(edited, tmp_path, "--resume") == 2
    assert start(edited, tmp_path, "--extend") == 0
    table = read_trials(tmp_path / "t")
    tried = table[table["phase"] == "search"]["arm"].value_counts()
    assert tried.to_dict() == {"near": 9, "far": 9, "new": 9}
    # The new arm's search and its runs are those of its namesake that began with the study.
    assert len(told(tmp_path)[1]) == 3 * 2
    assert {c.arm for c in analysis.confirmation(table, analysis.baselines(table)).comparisons} == {
        "near", "new",
    }  # fmt: skip


def test_the_best_at_another_length_are_a_study_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = Arm("fixed", fixed={"x": 0.5}, trials=0)
    study = dataclasses.replace(STUDY, arms=(STUDY.arms[0], fixed), baseline="fixed")
    best = conduct(study, tmp_path).best["near"]["x"]
    before = (tmp_path / "t" / "record.jsonl").read_bytes()
    assert verb("extend", tmp_path / "t", "--epochs", 5, "--trials", 1) == 2
    assert "or --epochs alone" in capsys.readouterr().err
    assert verb("extend", tmp_path / "t", "--epochs", 3) == 2  # its own: new seeds without a look
    assert "'t' has 3 epochs already. For more seeds" in capsys.readouterr().err
    assert verb("extend", tmp_path / "t", "--epochs", 5, "--no-figures") == 0
    assert (tmp_path / "t" / "record.jsonl").read_bytes() == before
    table = read_trials(tmp_path / "t-5-epochs")
    assert set(table["phase"]) == {"confirm"}
    assert set(table["epochs_done"]) == {5}
    assert table.groupby("arm")["x"].unique().map(list).to_dict() == {
        "near": [best],
        "fixed": [0.5],
    }
    assert not set(table["seed"]) & set(read_trials(tmp_path / "t")["seed"])
    assert verb("extend", tmp_path / "t", "--epochs", 5, "--no-figures") == 2
    assert "already holds a study" in capsys.readouterr().err
    conduct(dataclasses.replace(study, name="u", searches=2), tmp_path)
    assert verb("extend", tmp_path / "u", "--epochs", 5) == 2
    assert "has several: it has 2 searches" in capsys.readouterr().err


def test_points_of_a_front_are_chosen_anew(tmp_path: Path) -> None:
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", X),), baseline="", pareto=True, pareto_metric="cost",
        confirm_points=2, trials=2,
    )  # fmt: skip
    conduct(study, tmp_path)
    conduct(dataclasses.replace(study, trials=12), tmp_path, extend=True)
    table = read_trials(tmp_path / "t")
    chosen = read_record(tmp_path / "t").selected[0]["near"]
    current = analysis.rows(table, "confirm")
    assert current["confirms"].value_counts().to_dict() == dict.fromkeys(chosen, 2)
    assert len(table[table["phase"] == "confirm"]) > len(current), "else this test shows nothing"


# Another space.

NARROW = {"x": FloatDistribution(0.0, 0.6)}
CHANGED = dataclasses.replace(
    MORE, arms=(Arm("near", NARROW, enqueue=({"x": 0.25},)), STUDY.arms[1])
)


def test_a_changed_space_takes_a_flag_and_keeps_what_fits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = dataclasses.replace(STUDY, trials=6)
    assert start(study, tmp_path) == 0
    before = (tmp_path / "t" / "record.jsonl").read_bytes()
    assert start(CHANGED, tmp_path, "--extend") == 2
    refusal = capfd.readouterr().err
    assert "--extend --changed-space continues in the new space" in refusal
    assert "arm 'near': space was {'x': 'FloatDistribution(high=1.0," in refusal
    assert "slope" not in refusal, "only what differs is said"
    assert (tmp_path / "t" / "record.jsonl").read_bytes() == before
    assert start(CHANGED, tmp_path, "--extend", "--changed-space") == 0
    table = read_trials(tmp_path / "t")
    added = (table["phase"] == "search").sum() - 2 * study.trials
    assert f"Plan: {added} trials" in capfd.readouterr().out, "those that are drawn anew count"
    search = table[(table["phase"] == "search") & (table["arm"] == "near")]
    gone = search["superseded"].astype(bool)
    assert gone.tolist() == (search["x"] > 0.6).tolist()
    assert 0 < gone.sum() < 6, "else this test shows nothing"
    assert (~gone).sum() == 9, "those that fit count"
    assert search["x"].nunique() == len(search), "none is drawn again"
    best = search.loc[search[~gone]["score"].idxmax()]
    current = analysis.rows(table, "confirm", "near")
    assert set(current["x"]) == {best["x"]}
    remarks = analysis.remarks(table)
    assert any("The search space was changed when the study had begun" in text for text in remarks)
    # It is resumed as it is now.
    assert start(CHANGED, tmp_path, "--resume") == 0


@pytest.mark.parametrize(
    ("space", "fixed", "kept"),
    [
        ({"x": FloatDistribution(0.0, 0.6), "slope": FloatDistribution(0.5, 1.5)}, {}, True),
        ({"x": FloatDistribution(0.0, 0.6), "slope": FloatDistribution(1.1, 1.5)}, {}, False),
        ({"slope": FloatDistribution(0.5, 1.5)}, {"x": 0.3}, False),
        ({"x": CategoricalDistribution([0.25, 0.75])}, {}, False),
        ({"kind": CategoricalDistribution(["plain", "other"])}, {}, False),
    ],
)
def test_which_trials_fit(
    tmp_path: Path, space: Mapping[str, Any], fixed: Mapping[str, Any], kept: bool
) -> None:
    """The first trial has x = 0.25; the others, drawn, are judged by their knobs alike."""
    from srsgd_ray.study.extend import holds

    conduct(STUDY, tmp_path)
    trials = read_record(tmp_path / "t").trials
    other = dataclasses.replace(STUDY, arms=(Arm("near", space, fixed), STUDY.arms[1]))
    fits = {n for n, t in trials.items() if n.startswith("search-near") and holds(other, t)}
    inside = {n for n, t in trials.items() if n.startswith("search-near") and t.config["x"] <= 0.6}
    if "x" in space and isinstance(space["x"], CategoricalDistribution):
        assert fits == {"search-near-000"}
    else:
        assert fits == (inside if kept else set())


def test_a_grid_has_no_other_space(tmp_path: Path) -> None:
    grid = dataclasses.replace(STUDY, searcher="grid", arms=(Arm("near", X), STUDY.arms[1]))
    conduct(grid, tmp_path)
    other = dataclasses.replace(grid, arms=(Arm("near", FAR), STUDY.arms[1]))
    with pytest.raises(RecordError, match="a grid is searched point by point"):
        conduct(other, tmp_path, extend=True, changed_space=True)
