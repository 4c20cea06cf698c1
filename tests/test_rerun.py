"""A trial repeated from its record: the same bit for bit, or what differs is named."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import toy
from made_results import events_of, rewrite
from test_local import STUDY, conduct

from srsgd_ray.cli import main
from srsgd_ray.results import read_record
from srsgd_ray.study.rerun import rerun

pytestmark = pytest.mark.usefixtures("in_memory")


def changed(folder: Path, where: dict[str, Any], **values: Any) -> None:
    """Write other values into the record's lines that hold ``where``."""
    record = folder / "record.jsonl"
    lines = events_of(record)
    for line in lines:
        if where.items() <= line.items():
            line.update(values)
    rewrite(record, lines)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study on which trials diverge and fail, too."""
    folder = tmp_path_factory.mktemp("whole")
    near, far = STUDY.arms
    arms = (
        near,
        far,
        dataclasses.replace(far, name="boom", fixed={"wrong": "diverge"}, confirm_seeds=0),
        dataclasses.replace(far, name="bad", fixed={"wrong": "value"}, confirm_seeds=0),
    )
    conduct(dataclasses.replace(STUDY, arms=arms, trials=2), folder)
    return folder / "t"


@pytest.mark.parametrize(
    ("trial", "epochs"),
    [
        ("search-near-001", 3),
        ("confirm-near-001", 3),
        ("search-boom-000", 1),
        ("search-bad-001", 0),
    ],
)
def test_the_same_bit_for_bit(
    whole: Path, capsys: pytest.CaptureFixture[str], trial: str, epochs: int
) -> None:
    before = {p: p.read_bytes() for p in whole.iterdir() if p.is_file()}
    assert main(["rerun", str(whole), trial]) == 0
    out = capsys.readouterr().out
    assert f"{trial}: equal, bit for bit. Compared: {epochs} epochs" in out
    assert {p: p.read_bytes() for p in whole.iterdir() if p.is_file()} == before


def test_without_its_record_the_tables_are_enough(tmp_path: Path, whole: Path) -> None:
    for path in whole.glob("*.parquet"):
        shutil.copy(path, tmp_path)
    for trial in ("search-near-001", "confirm-far-000", "search-boom-000", "search-bad-001"):
        found = rerun(tmp_path, trial)
        assert found.equal
        assert found.surroundings == ("threads: not recorded then, 1 now (--threads N for others)",)
    assert "test_score" in rerun(tmp_path, "confirm-far-000").columns
    assert "cost" not in rerun(tmp_path, "confirm-far-000").columns  # seconds


def test_what_differs_is_named(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "t"))
    score = read_record(folder).trials["search-near-001"].rows[1]["score"]
    near = score + 2e-15
    assert near != score
    changed(folder, {"trial": "search-near-001", "epoch": 2}, score=near)
    changed(folder, {"event": "session"}, torch_version="1.0", threads=7)
    changed(folder, {"event": "end", "trial": "search-near-001"}, hardware="an abacus")
    assert main(["rerun", str(folder), "search-near-001"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"epoch 2, score: {near!r} is recorded, {score!r} now"
    assert lines[1].startswith("torch: 1.0 then, ")
    assert lines[2].startswith("hardware: an abacus then, ")
    assert "1 differences" in lines[3]
    assert main(["rerun", str(folder), "search-near-001", "--threads", "2"]) == 1
    assert "threads: 7 then, 2 now" in capsys.readouterr().out


def test_an_end_that_differs_is_named(tmp_path: Path, whole: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "t"))
    # One that ended by itself and goes on now; one that was stopped runs no further.
    lost = {"event": "end", "trial": "search-far-000"}
    changed(folder, lost, state="failed", reason="boom")
    record = folder / "record.jsonl"
    lines = events_of(record)
    cut = [e for e in lines if (e.get("trial"), e.get("epoch")) != ("search-far-000", 3)]
    assert len(cut) == len(lines) - 1
    rewrite(record, cut)
    found = rerun(folder, "search-far-000")
    said = [(d.epoch, d.column, d.recorded, d.again) for d in found.differences]
    ended = [(3, "state", "failed", "complete"), (3, "reason", "boom", None)]
    assert said == [(3, "epochs", 2, 3), *ended]
    changed(folder, lost, state="pruned", reason="stopped by the scheduler at epoch 2")
    assert rerun(folder, "search-far-000").equal
    assert rerun(folder, "search-far-000").epochs == 2


def test_a_curve_is_compared(tmp_path: Path) -> None:
    study = dataclasses.replace(STUDY, trainable=toy.Once, trials=1, confirm_seeds=1)
    conduct(study, tmp_path)
    found = rerun(tmp_path / "t", "confirm-near-000")
    assert found.equal
    assert found.artifacts == ("curve",)
    changed(tmp_path / "t", {"event": "artifact", "trial": "confirm-near-000"},
            columns={"step": [0, 1, 2], "value": [0.0, 9.0, 1.0]})  # fmt: skip
    (only,) = rerun(tmp_path / "t", "confirm-near-000").differences
    assert (only.column, only.recorded) == ("curve: value, row 1 and 0 more", 9.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["FOLDER", "search-near-01"], "unknown trial 'search-near-01' of "),
        (["FOLDER", "search-near-001", "--backend", "slurm"], "unknown backend 'slurm'"),
        (["FOLDER", "search-near-001", "--threads", "0"], "--threads >= 1 must hold, but got 0"),
        (["FOLDER/none", "search-near-001"], "no study here: expected "),
    ],
)
def test_what_cannot_be_repeated(
    whole: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["rerun", *(w.replace("FOLDER", str(whole)) for w in words)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_several_workers_need_ray(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "t"))
    changed(folder, {"event": "end", "trial": "search-near-001"}, workers=2)
    assert main(["rerun", str(folder), "search-near-001"]) == 2
    assert "Add --backend ray" in capsys.readouterr().err
