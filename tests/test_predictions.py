"""Predictions of confirmation runs: stored whole, in the order of the images, on any rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import toy
from optuna.distributions import FloatDistribution

from srsgd_ray.backends.base import Assignment, Slot
from srsgd_ray.backends.trial import TrialRun
from srsgd_ray.config import TrainConfig
from srsgd_ray.data import Dataset, load_dataset
from srsgd_ray.results import Record, RecordError, read_predictions, read_table, read_trials
from srsgd_ray.study import Arm, Study, run
from srsgd_ray.testing import Played
from srsgd_ray.training import train

LR = {"lr": FloatDistribution(0.05, 0.3)}
TINY = {"model": "own_parts:Tiny", "batch_size": 128}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the digits: one trial and two seeds of an arm."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = Study(
        name="t", question="?", arms=(Arm("sgd", LR, {"optimizer": "sgd"}),), baseline="sgd",
        base=TINY, epochs=2, trials=1, confirm_seeds=2,
    )  # fmt: skip
    return run(study, results=tmp_path_factory.mktemp("results"), backend="local").folder


def test_each_confirmation_run_has_those_of_its_error(digits: Path) -> None:
    found, trials = read_predictions(digits), read_trials(digits)
    data = load_dataset(TrainConfig())
    assert isinstance(data, Dataset)
    labels = data.test_labels.tolist()
    assert sorted(found["trial"].unique()) == ["confirm-sgd-000", "confirm-sgd-001"]
    for trial, own in found.groupby("trial", observed=True):
        assert own["image"].tolist() == list(range(360)) and own["label"].tolist() == labels
        error = 100 * (own["label"] != own["predicted"]).mean()
        told = trials.set_index("trial").loc[trial, "test_error"]
        assert error == pytest.approx(told) and 0 < error < 90
    assert "predictions" not in (digits / "record.jsonl").read_text()


def test_a_folder_without_any_gives_none_and_no_folder_is_an_error(tmp_path: Path) -> None:
    found = read_predictions(tmp_path)
    assert found.empty and list(found) == ["trial", "image", "label", "predicted"]
    with pytest.raises(RecordError, match="expected a study's folder"):
        read_predictions(tmp_path / "none")
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "confirm-sgd-000.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(RecordError, match=r"cannot read the predictions in .*confirm-sgd-000"):
        read_predictions(tmp_path)


def test_a_run_that_leaves_out_images_tells_none(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(**TINY, epochs=1, lr_milestones=(), evaluate_test=True, threads=1)
    data = load_dataset(config)
    counts = iter(range(100))
    monkeypatch.setattr(type(data), "skipped", lambda self: next(counts))
    told: list[Any] = []
    train(config, lambda *_: None, load=lambda _: data, predictions=lambda *both: told.append(both))
    assert not told


def trial(final: bool) -> TrialRun:
    given = Assignment("confirm-near-000", {}, 0, 3, 1, final)
    return TrialRun(toy.toy, given, Played(), Slot())


@pytest.mark.parametrize(
    ("final", "columns", "message"),
    [
        (False, {"label": [1], "predicted": [1]}, "Store them only `if run.final`"),
        (True, {"label": [1]}, "columns label and predicted, but got label"),
        (True, {"label": [1], "predicted": [1], "x": [1]}, "Give an artifact with other columns"),
        (True, {"label": [1, 2], "predicted": [1]}, "equal length"),
    ],
)
def test_what_is_no_prediction_is_refused(final: bool, columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trial(final).artifact("predictions", **columns)


@pytest.mark.parametrize("column", ["x", "seed", "arm"])
def test_no_column_of_an_artifact_is_lost(column: str) -> None:
    with pytest.raises(ValueError, match=f"as columns already, but got {column}. Choose other"):
        trial(True).artifact("curve", **{"step": [1], column: [2]})


@toy.as_trainable(metrics=toy.METRICS, place="actor")
def telling(config: toy.ToyConfig, run: Any) -> None:
    """Tell predictions with each report, as words."""
    for epoch in range(run.resume(), config.epochs):
        if run.final:
            run.artifact("predictions", label=["cat", "dog"], predicted=["cat", f"{epoch}"])
        last = run.final and epoch + 1 == config.epochs
        run.report(score=1.0, cost=1.0, test_score=1.0 if last else None)


TOLD = Study(
    name="t", question="?", trainable=telling, arms=(Arm("a", {"x": FloatDistribution(0, 1)}),),
    baseline="a", trials=1, confirm_seeds=1,
)  # fmt: skip


def test_a_loop_of_ones_own_stores_its_own(tmp_path: Path) -> None:
    """The last report's count; an artifact of another name is a table as before."""
    folder = run(TOLD, results=tmp_path, backend="local").folder
    found = read_predictions(folder)
    assert found["label"].tolist() == ["cat", "dog"]
    assert found["predicted"].tolist() == ["cat", "2"]
    with pytest.raises(RecordError):
        read_table(folder, name="predictions")


class Died(BaseException):
    """Stands for the end of the driver."""


def test_they_are_written_before_the_report_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that dies while it records the last report has them; the resumed run has too."""
    epoch = Record.epoch

    def dies(record: Record, trial: str, row: Any) -> bool:
        if trial.startswith("confirm") and row["epoch"] == 3:
            assert read_predictions(record.folder)["predicted"].tolist() == ["cat", "2"]
            raise Died
        return epoch(record, trial, row)

    monkeypatch.setattr(Record, "epoch", dies)
    with pytest.raises(Died):
        run(TOLD, results=tmp_path, backend="local")
    monkeypatch.undo()
    (tmp_path / "t" / "predictions" / "confirm-a-000.parquet").unlink()  # as if not yet written
    folder = run(TOLD, results=tmp_path, backend="local", resume=True).folder
    assert read_predictions(folder)["predicted"].tolist() == ["cat", "2"]
