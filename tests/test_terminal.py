"""What a person sees of a study that runs: the terminal's lines, and the log."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import toy
from optuna.distributions import FloatDistribution

from srsgd_ray.results import Record, read_record, read_trials
from srsgd_ray.results.log import LOG
from srsgd_ray.study import Arm, Study, run

X = {"x": FloatDistribution(0.0, 1.0)}
STUDY = Study(
    name="t",
    question="Is it near?",
    trainable=toy.toy,
    arms=(
        Arm("near", X),
        Arm("far", {"x": FloatDistribution(-2.0, -1.0)}),
        Arm("bad", fixed={"wrong": "diverge"}, trials=1, confirm_seeds=0),
        Arm("worse", fixed={"wrong": "value"}, trials=1, confirm_seeds=0),
    ),
    baseline="far",
    trials=6,
    epochs=4,
    scheduler="asha",
    confirm_seeds=2,
)
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"

pytestmark = pytest.mark.usefixtures("in_memory")


def test_the_log_has_a_line_for_every_begin_and_end(tmp_path: Path) -> None:
    folder = run(STUDY, results=tmp_path, backend="local").folder
    lines = (folder / LOG).read_text().splitlines()
    assert all(re.match(rf"{MOMENT}  \S", line) for line in lines)
    said = [line[21:] for line in lines]
    assert said[0].startswith("session 1 of t begins on ") and said[0].endswith(": Is it near?")
    assert said[-1] == "the session ends"
    trials = read_trials(folder)
    begun = [line.split(" begins: ")[0] for line in said if " begins: " in line]
    assert begun == trials["trial"].tolist()
    ended = dict(re.findall(r"^(\S+) ends (\w+)", "\n".join(said), re.MULTILINE))
    assert ended == dict(zip(trials["trial"], trials["state"], strict=True))
    assert set(ended.values()) == {"complete", "pruned", "diverged", "failed"}
    for row in trials.to_dict("records"):
        (begin,) = (line for line in said if line.startswith(f"{row['trial']} begins"))
        (end,) = (line for line in said if line.startswith(f"{row['trial']} ends"))
        assert f"arm {row['arm']}" in begin
        if row["arm"] in ("near", "far"):
            assert f"x {row['x']}" in begin  # as searched, to the last digit
            assert f"score {row['score']:.6g}" in end
        if row["phase"] == "confirm":
            assert f"seed {row['seed']}" in begin
        assert f"{row['epochs_done']} epochs, " in end
        if row["state"] != "complete":
            assert f", {row['reason']}: " in end


def test_the_log_says_what_a_later_session_goes_on_with_and_has_no_colours(
    tmp_path: Path,
) -> None:
    spec = replace(STUDY, arms=STUDY.arms[:2]).check().to_dict()
    with Record.create(tmp_path / "t", {"study": "t", "spec": spec}) as record:
        record.session(host="here")
        record.begin("search-near-000", "search", "near", 0, {"x": 0.25})
        record.epoch("search-near-000", {"epoch": 1, "score": 3.5})
        record.pause()
    with Record.reopen(tmp_path / "t") as record:
        record.session(host="there")
        record.end("search-near-000", "failed", "\x1b[36mno \x1b[0m\nroom", host="there")
        said = [line[21:] for line in (tmp_path / "t" / LOG).read_text().splitlines()]
        assert said[2:4] == [
            "the session ends",
            "session 2 of t begins on there; it goes on with search-near-000 after epoch 1",
        ]
        assert re.fullmatch(
            r"search-near-000 ends failed, no room: score 3.5, 1 epochs, 0.0 s, on there", said[4]
        )
        (tmp_path / "t" / LOG).unlink()
        (tmp_path / "t" / LOG).mkdir()  # cannot be written: the record goes on
        assert record.begin("search-far-000", "search", "far", 0, {"x": -1.5})
    assert list(read_record(tmp_path / "t").trials) == ["search-near-000", "search-far-000"]
