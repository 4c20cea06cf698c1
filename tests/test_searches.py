"""Several independent searches, the seeds of a study, and more of them until it is decided."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import toy
from made_results import events_of, rewrite
from matplotlib.figure import Figure
from matplotlib.text import Text
from optuna.distributions import FloatDistribution, IntDistribution
from test_local import conduct, rows
from test_resume import cut, start

from srsgd_ray import analysis, figures
from srsgd_ray.results import read_record
from srsgd_ray.results.reading import frames
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.seeds import hashed_seed
from srsgd_ray.study.shorten import smoke

X = {"x": FloatDistribution(0.0, 1.0)}
# One arm is searched, one is a configuration.
STUDY = Study(
    name="t",
    question="?",
    trainable=toy.toy,
    arms=(Arm("near", X), Arm("fixed", fixed={"x": -1.0}, trials=0)),
    baseline="fixed",
    trials=3,
    confirm_seeds=2,
    searches=2,
)


pytestmark = pytest.mark.usefixtures("in_memory")


def begun(folder: Path) -> list[str]:
    return list(read_record(folder / "t").trials)


# Searches.


@pytest.mark.on_disk
def test_each_search_has_its_own_trials_winner_and_seeds(tmp_path: Path) -> None:
    conduct(STUDY, tmp_path)
    trials = read_record(tmp_path / "t").trials.values()
    assert [t.trial for t in trials] == [
        "search-near-000", "search-near-001", "search-near-002",
        "confirm-near-000", "confirm-fixed-000", "confirm-near-001", "confirm-fixed-001",
        "search-near-003", "search-near-004", "search-near-005",
        "confirm-near-002", "confirm-fixed-002", "confirm-near-003", "confirm-fixed-003",
    ]  # fmt: skip
    assert [t.search for t in trials] == [0] * 7 + [1] * 7
    seeds: dict[int, dict[str, list[int]]] = {0: {}, 1: {}}
    for search, own in seeds.items():
        tried = [t for t in trials if (t.phase, t.search) == ("search", search)]
        best = max(tried, key=lambda t: t.rows[-1]["score"])
        assert len({t.config["seed"] for t in tried}) == 1
        for trial in trials:
            if (trial.phase, trial.search) == ("confirm", search):
                own.setdefault(trial.arm, []).append(trial.config["seed"])
                wanted = best.config["x"] if trial.arm == "near" else -1.0
                assert trial.config["x"] == wanted
        assert own["near"] == own["fixed"], "paired by search and seed"
    drawn = [t.config["x"] for t in trials if t.phase == "search"]
    assert len(set(drawn)) == 6, "the second search draws anew"
    confirmed = [seed for own in seeds.values() for seed in own["near"]]
    assert len({*confirmed, *(t.config["seed"] for t in trials if t.phase == "search")}) == 6
    stored = optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/t/optuna.db")
    counts = {s.study_name: s.n_trials for s in stored}
    assert counts == {"t-near": 3, "t-near/1": 3, "t/confirmation": 8}


def test_the_first_of_several_searches_is_the_search_of_a_study_of_one(tmp_path: Path) -> None:
    conduct(STUDY, tmp_path / "two")
    conduct(dataclasses.replace(STUDY, searches=1), tmp_path / "one")
    one, two = rows(tmp_path / "one" / "t"), rows(tmp_path / "two" / "t")
    assert {trial: two[trial] for trial in one} == one
    # And what it grows to is what it would have been.
    conduct(STUDY, tmp_path / "one", resume=True)
    assert rows(tmp_path / "one" / "t") == two


@pytest.mark.parametrize("after", [2, 5, 9, 11])
def test_a_cut_study_of_several_searches_goes_on_as_the_uncut_one(
    tmp_path: Path, after: int
) -> None:
    conduct(STUDY, tmp_path)
    whole = rows(tmp_path / "t")
    cut(tmp_path / "t", after)
    assert conduct(STUDY, tmp_path, resume=True).status == "finished"
    assert list(rows(tmp_path / "t").items()) == list(whole.items())


def test_schedulers_compare_within_one_search(tmp_path: Path) -> None:
    """The first search's trials would stop all of the second, whose seed lowers the score."""
    study = dataclasses.replace(
        STUDY, arms=(Arm("near", X),), baseline="", trials=4, scheduler="asha", asha_reduction=2.0,
        confirm_seeds=0, epochs=8, seed=10**10,
    )  # fmt: skip
    conduct(study, tmp_path)
    states = [t.state for t in read_record(tmp_path / "t").trials.values()]
    assert states[0] == states[4] == "complete", "the first of each search meets an empty rung"
    assert states.count("pruned") > 1


def test_no_trial_of_a_search_begins_after_its_confirmation(tmp_path: Path) -> None:
    conduct(STUDY, tmp_path, slots=2)
    by_search: dict[int, list[str]] = {0: [], 1: []}
    for trial in read_record(tmp_path / "t").trials.values():
        by_search[trial.search].append(trial.phase)
    for phases in by_search.values():
        assert phases == ["search"] * 3 + ["confirm"] * 4, "none tried after one was confirmed"


def test_the_plan_and_the_progress_count_all_searches(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start(STUDY, tmp_path, "--searches", "3", "--until-decided", "3") == 0
    out = capfd.readouterr().out
    assert (
        "3 independent searches of 3 trials of each of near; then 2 seeds of the best and the "
        "fixed ones, and more until decided, up to 3 pairs." in out
    )
    assert "21/21 trials" in out
    assert "More of it: " in out


def test_the_result_and_the_figures_tell_the_searches_apart(tmp_path: Path) -> None:
    space = {**X, "slope": FloatDistribution(0.5, 1.0)}
    arms = (Arm("near", space), Arm("far", space, {"sizes": (3, 4)}))
    study = dataclasses.replace(STUDY, arms=arms, baseline="far", searches=3)
    result = conduct(study, tmp_path)
    table = result.trials
    tried = table[table["phase"] == "search"]
    for arm in ("near", "far"):
        own = tried[tried["arm"] == arm]
        winners = own.loc[own.groupby("search")["score"].idxmax()]
        assert result.best[arm] == {name: own.loc[own["score"].idxmax(), name] for name in space}
        found = result.configurations.query("arm == @arm")
        assert found["search"].tolist() == [0, 1, 2]
        assert found["x"].tolist() == winners["x"].tolist()
        # cost is x here
        shown = analysis.sensitivity(table, "x", "slope")
        assert shown.query("arm == @arm and best")["trial"].tolist() == winners["trial"].tolist()
        curve = analysis.seed_curves(result.epochs, table, "score").query("arm == @arm")
        runs = result.epochs.query("arm == @arm and phase == 'confirm' and epoch == 3")
        means = runs.groupby("search")["score"].mean()
        last = curve.iloc[-1]
        assert (last["n"], last["least"]) == (3, pytest.approx(means.min()))
    assert "Best configuration of each arm in each search" in str(result)
    epochs = figures.training_curves(result.epochs, table)
    assert "Training of the searches' best configurations" in words(epochs)
    assert "near, 3 searches" in words(epochs)
    assert "Lines: mean over searches" in words(epochs)
    assert "best of its search" in words(figures.sensitivity_map(table))


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


# Seeds.


def test_studies_of_neighbouring_seeds_or_other_names_share_no_seed() -> None:
    seen: list[int] = []
    for study in (STUDY, *(dataclasses.replace(STUDY, seed=s) for s in range(1, 9)),
                  dataclasses.replace(STUDY, name="u")):  # fmt: skip
        seen += [study.confirmation_seed(r, i) for r in range(4) for i in range(16)]
        seen += [study.search_seed(r) for r in range(1, 4)]
    assert len(set(seen)) == len(seen)
    assert all(0 <= seed < 2**31 for seed in seen)
    assert hashed_seed("t", 0, "confirm", 0, 0) == 1776079193, "the same on every machine"


def test_given_seeds_and_those_of_old_records_stay(tmp_path: Path) -> None:
    given = dataclasses.replace(STUDY, confirm_seed=5)
    assert [given.confirmation_seed(0, i) for i in range(3)] == [5, 6, 7]
    assert given.confirmation_seed(1, 0) == STUDY.confirmation_seed(1, 0)
    # A record from before searches, whose confirmation is cut in two.
    old = dataclasses.replace(STUDY, searches=1, seed=3)
    conduct(dataclasses.replace(old, confirm_seed=4), tmp_path)
    cut(tmp_path / "t", after=4)
    path = tmp_path / "t" / "record.jsonl"
    lines = events_of(path)
    lines = [line for line in lines if line["event"] != "selected"]
    for line in lines:
        for spec in (line.get("spec", {}), line.get("script", {})):
            for new in ("searches", "until_decided"):
                spec.pop(new, None)
            spec["confirm_seed"] = None
        for new in ("search", "look", "confirms"):
            line.pop(new, None)
    rewrite(path, lines)
    assert conduct(old, tmp_path, resume=True).status == "finished"
    seeds = [t.config["seed"] for t in read_record(tmp_path / "t").trials.values()]
    assert seeds == [3] * 3 + [4, 4, 5, 5]
    # And by a script, which says nothing of seeds.
    assert start(old, tmp_path, "--resume", "--confirm-seeds", "3") == 0
    trials = read_record(tmp_path / "t").trials.values()
    assert [t.config["seed"] for t in trials][-2:] == [6, 6]
    assert [t.look for t in trials] == [0] * 7 + [1] * 2


@pytest.mark.parametrize(
    "study",
    [
        Study(
            "image", "?", (Arm("sgd", {"lr": FloatDistribution(0.1, 0.2)}),),
            base={"dataset": "digits", "depth": 8, "width": 2, "data_dir": "generated"}, epochs=1,
        ),
        Study("minefield", "?", (Arm("sgd", {"lr": FloatDistribution(0.1, 0.2)}),),
              trainable="minefield"),
        Study("quadratic", "?", (Arm("nag", fixed={"case": "constant", "method": "NAG"}, trials=0),
                                 Arm("srnag", {"f1": IntDistribution(5, 50)})),
              trainable="quadratic"),
    ],
    ids=lambda study: study.name,
)  # fmt: skip
def test_own_trainables_take_the_largest_seed(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srsgd_ray.study.spec.hashed_seed", lambda *what: 2**31 - 1 - what[-1])
    conduct(smoke(dataclasses.replace(study, trials=1, searches=2)), tmp_path)
    trials = read_record(tmp_path / study.name).trials.values()
    assert {trial.state for trial in trials} == {"complete"}
    assert 2**31 - 1 in {trial.config["seed"] for trial in trials}


# More, until it is decided.


def looks(folder: Path) -> list[tuple[str, int]]:
    trials = read_record(folder / "t").trials.values()
    return [(t.trial, t.look) for t in trials if t.phase == "confirm" and t.arm == "near"]


def test_what_is_added_after_results_were_seen_is_another_look(tmp_path: Path) -> None:
    one = dataclasses.replace(STUDY, searches=1, confirm_seeds=1)
    conduct(one, tmp_path)
    cut(tmp_path / "t", after=3)  # nothing of the confirmation has ended
    conduct(dataclasses.replace(one, confirm_seeds=2), tmp_path, resume=True)
    assert looks(tmp_path) == [("confirm-near-000", 0), ("confirm-near-001", 0)]
    more = dataclasses.replace(one, confirm_seeds=3)
    conduct(more, tmp_path, resume=True)
    conduct(more, tmp_path, resume=True)  # asks for nothing
    conduct(dataclasses.replace(more, searches=2), tmp_path, resume=True)
    assert looks(tmp_path)[2:] == [("confirm-near-002", 1)] + [
        (f"confirm-near-{n:03d}", 2) for n in (3, 4, 5)
    ]
    table = conduct(dataclasses.replace(more, searches=2), tmp_path, resume=True).trials
    assert table.set_index("trial").loc["confirm-near-005", ["search", "look"]].tolist() == [1, 2]


def test_who_adds_before_a_look_has_ended_has_looked(tmp_path: Path) -> None:
    """Else the half that was seen could be watched, and kept as the first look where it is good."""
    one = dataclasses.replace(STUDY, searches=1, confirm_seeds=3)
    conduct(one, tmp_path)
    cut(tmp_path / "t", after=6)  # three runs of the confirmation have ended
    # No verdict on them, though none is running.
    cut_table = analysis.confirmation(conduct_tables(tmp_path), "fixed", "score").comparisons[0]
    assert cut_table.look == -1
    conduct(dataclasses.replace(one, confirm_seeds=4), tmp_path, resume=True)
    assert [look for _, look in looks(tmp_path)] == [1] * 4
    conduct(dataclasses.replace(one, confirm_seeds=5), tmp_path, resume=True)
    assert [look for _, look in looks(tmp_path)] == [1] * 4 + [2]


def conduct_tables(folder: Path) -> pd.DataFrame:
    """The trials of a record, less those that a cut left running."""
    trials = frames(read_record(folder / "t"))[0]
    return trials[trials["state"] != "running"]


def undecided(*, luck: float, **changes: Any) -> Study:
    """Two arms that differ by 0.01, and by the luck of a seed."""
    arms = tuple(Arm(name, fixed={"x": x, "luck": luck}) for name, x in (("a", 1.0), ("b", 0.9)))
    known = {"arms": arms, "baseline": "b", "trials": 0, "searches": 1, "confirm_seeds": 2}
    return dataclasses.replace(STUDY, trainable=toy.lucky, **{**known, **changes})


def test_seeds_are_doubled_until_it_is_decided(tmp_path: Path) -> None:
    study = undecided(luck=0.012, until_decided=64)
    assert conduct(study, tmp_path).status == "finished"
    found = read_record(tmp_path / "t")
    seeds = found.header["spec"]["confirm_seeds"]
    assert 2 < seeds < 64, "it was decided on the way"
    assert len(found.trials) == 2 * seeds
    by_look = [sum(t.look == look for t in found.trials.values()) for look in range(8)]
    assert by_look[:3] == [4, 4, 8]
    # The script still says 2; what it has grown to stays, and it is decided.
    assert conduct(study, tmp_path, resume=True).status == "finished"
    assert len(read_record(tmp_path / "t").trials) == 2 * seeds


def test_it_ends_at_the_limit_and_goes_on_from_there_when_that_grows(tmp_path: Path) -> None:
    words = ["--confirm-seeds", "2", "--until-decided", "5"]
    study = undecided(luck=50.0)
    assert start(study, tmp_path, *words) == 0
    assert len(begun(tmp_path)) == 2 * 5
    # The same words again, as the command that resumes has them.
    assert start(study, tmp_path, *words, "--resume") == 0
    assert len(begun(tmp_path)) == 2 * 5
    assert start(study, tmp_path, "--resume", "--until-decided", "7") == 0
    assert len(begun(tmp_path)) == 2 * 7
    assert read_record(tmp_path / "t").look == 3


def test_searches_are_doubled_where_there_are_several(tmp_path: Path) -> None:
    arms = (Arm("a", X, {"luck": 50.0}), Arm("b", X, {"luck": 50.0}))
    study = undecided(luck=0.0, arms=arms, trials=2, searches=2, confirm_seeds=1, until_decided=6)
    conduct(study, tmp_path)
    trials = read_record(tmp_path / "t").trials.values()
    assert [t.search for t in trials if t.phase == "confirm" and t.arm == "a"] == [*range(6)]
    assert [t.look for t in trials if t.phase == "search" and t.arm == "a"] == (
        [0] * 4 + [1] * 4 + [2] * 4
    )


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"searches": 0}, "1 <= searches < inf must hold"),
        ({"searches": 2.0}, "searches must be a whole number, but got searches=2.0"),
        (
            {"arms": STUDY.arms[1:], "trials": 0, "baseline": ""},
            "searches=1 must hold for a study without search trials, but got searches=2. Give it",
        ),
        (
            {"pareto": True, "pareto_metric": "cost"},
            "searches=1 and until_decided=None must hold for pareto=True",
        ),
        ({"until_decided": 1}, "2 <= until_decided < inf must hold"),
        ({"until_decided": 8, "baseline": ""}, "until_decided needs a comparison, but no arm has"),
        (
            {"until_decided": 8, "searches": 1, "confirm_seeds": 1},
            "until_decided needs 2 or more pairs to begin with",
        ),
        (
            {"until_decided": 8, "arms": (STUDY.arms[0], Arm("fixed", trials=0, confirm_seeds=3))},
            "and arms without confirm_seeds of their own",
        ),
    ],
)
def test_what_cannot_be_searched_several_times_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        dataclasses.replace(STUDY, **changes).check()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"searches": 1}, "searches was 2 and is now 1"),
        ({"trials": 5}, "trials was 3 and is now 5, but the confirmation has begun"),
    ],
)
def test_what_would_mix_two_studies_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    conduct(STUDY, tmp_path)
    with pytest.raises(ValueError) as error:
        conduct(dataclasses.replace(STUDY, **changes), tmp_path, resume=True)
    assert message in str(error.value)
