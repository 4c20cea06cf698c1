"""The trajectory picture: its planes, its numbers, its files and its drawing."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import same_color
from optuna.distributions import FloatDistribution
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from srsgd_ray.figures.style import NotYet, arm_styles
from srsgd_ray.paper import trajectory as trajectory_run
from srsgd_ray.paper.trajectory import (
    Picture,
    paths,
    plane_of,
    telling_seeds,
    write_tables,
)
from srsgd_ray.paper.trajectory_figure import TABLES, trajectory
from srsgd_ray.results import read_trials
from srsgd_ray.search_spaces import SearchSpace
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.options import Options
from srsgd_ray.study.run import execute
from srsgd_ray.trainables.minefield_config import MinefieldConfig
from srsgd_ray.trainables.spirals import (
    draw_spirals,
    logits,
    scores,
    spirals,
    train,
)

SMALL = MinefieldConfig(data_seed=3, points=40, width=5, steps=40, batch_size=8, every=4)
LRS = {"srsgd": 0.2, "sgd": 0.05}
TUNING = pd.DataFrame(
    [(arm, lr, 2, 5.0, 0.1, LRS[arm] == lr) for arm in LRS for lr in (0.05, 0.2)],
    columns=["optimizer", "lr", "runs", "val_error", "val_loss", "chosen"],
)
PICTURE = Picture(SMALL, LRS, range(3), TUNING, grid=9)


def run(config: MinefieldConfig, seeds: int = 3, grid: int = 9) -> dict[str, pd.DataFrame]:
    return paths(Picture(config, LRS, range(seeds), TUNING, grid))


def data_of(config: MinefieldConfig) -> Any:
    return spirals(config.data_seed, config.points, config.noise)


def trained(arm: str, lr: float, seeds: tuple[int, ...], data: Any, config: MinefieldConfig) -> Any:
    return train(dataclasses.replace(config, optimizer=arm, lr=lr), seeds, data)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return run(SMALL)


def flat_line(*points: tuple[float, ...]) -> Tensor:
    return torch.tensor(points, dtype=torch.float64)


# The plane.


def test_the_plane_of_two_known_paths() -> None:
    # Both end at distance 1 from the centre (1, 0, 0, 0), on either side in the second direction.
    one = flat_line((4, 0, 0, 0), (1, 1, 0, 0))
    two = flat_line((4, 0, 0, 0), (1, -1, 0, 0))
    plane = plane_of([one, two])
    assert plane.centre.tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(plane.axes.abs(), [[1, 0, 0, 0], [0, 1, 0, 0]], atol=1e-12)
    # Squared distances: 9 + 9 of the starts along the first, 1 + 1 of the ends along the second.
    assert plane.shares == pytest.approx((18 / 20, 2 / 20))
    # The axes point away from the start, which lies at 3 on one axis and 0 on the other.
    np.testing.assert_allclose(plane.project(one)[0], [-3, 0], atol=1e-12)
    np.testing.assert_allclose(plane.project(one)[1].abs(), [0, 1], atol=1e-12)
    np.testing.assert_allclose(plane.lift(plane.project(one)), one, atol=1e-12)


def test_axes_are_orthonormal_and_hold_the_most() -> None:
    generator = torch.Generator().manual_seed(0)
    paths = [torch.randn(30, 12, generator=generator, dtype=torch.float64) for _ in range(2)]
    plane = plane_of(paths)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)
    points = torch.cat(paths) - (paths[0][-1] + paths[1][-1]) / 2
    values = np.linalg.eigvalsh((points.T @ points).numpy())[::-1]
    assert plane.shares == pytest.approx(tuple(values[:2] / values.sum()))
    # The midpoint of the ends is the origin.
    feet = plane.project(torch.stack([path[-1] for path in paths]))
    np.testing.assert_allclose(feet.mean(0), [0, 0], atol=1e-12)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_plane_needs_paths_with_a_length(value: float) -> None:
    paths = [torch.full((3, 4), value, dtype=torch.float64)] * 2
    with pytest.raises(ValueError, match="paths need a finite length above 0 for a plane"):
        plane_of(paths)


# The problem and the training.


def test_spirals() -> None:
    x, labels = draw_spirals(400, 0.0, torch.Generator().manual_seed(1))
    assert x.shape == (400, 2)
    assert labels.sum() == 200
    distance = x.norm(dim=1)
    assert distance.max() <= 1
    # Without noise the angle follows from the distance, half a turn apart for the two classes.
    angle = torch.atan2(x[:, 1], x[:, 0])
    expected = 2 * math.pi * distance + math.pi * labels
    np.testing.assert_allclose(torch.cos(angle - expected), np.ones(400), atol=1e-9)


def test_networks_side_by_side_are_networks_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    flat = torch.randn(3, sum(SMALL.sizes), generator=generator, dtype=torch.float64)
    x, labels = draw_spirals(20, 0.1, generator)
    w1, b1, w2, b2, w3, b3 = torch.split_with_sizes(flat[1], SMALL.sizes)
    hidden = torch.tanh(x @ w1.view(2, 5) + b1)
    by_hand = torch.tanh(hidden @ w2.view(5, 5) + b2) @ w3 + b3
    torch.testing.assert_close(logits(flat, x, SMALL)[1], by_hand)
    loss, error = scores(flat, (x, labels), SMALL)
    assert loss[1] == pytest.approx(float(binary_cross_entropy_with_logits(by_hand, labels)))
    assert error[1] == 100 * float(((by_hand > 0) != (labels > 0.5)).double().mean())


def test_seeds_trained_together_are_seeds_trained_alone() -> None:
    data = data_of(SMALL)
    for arm in ("srsgd", "sgd"):
        both = trained(arm, 0.1, (5, 6), data.train, SMALL)
        assert both.shape == (11, 2, sum(SMALL.sizes))
        assert torch.equal(both[:, 1:], trained(arm, 0.1, (6,), data.train, SMALL))
    # As large as in the study: torch has other kernels for other sizes, and a digit grows on.
    whole = MinefieldConfig(steps=300)
    data = data_of(whole)
    both = trained("sgd", 0.8, (5, 6, 7), data.train, whole)
    assert torch.equal(both[:, 1:2], trained("sgd", 0.8, (6,), data.train, whole))


def test_optimizers_share_start_and_order_and_sgd_is_torchs() -> None:
    data = data_of(SMALL)
    one, other = (trained(arm, 0.1, (5,), data.train, SMALL)[:, 0] for arm in ("srsgd", "sgd"))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    # Restarted at each step (F1 = 1) SRSGD is SGD without momentum: the first step of both.
    plain = dataclasses.replace(SMALL, every=1, restart_f1=1)
    one, other = (trained(arm, 0.1, (5,), data.train, plain)[:, 0] for arm in ("srsgd", "sgd"))
    torch.testing.assert_close(one[1], other[1])


def test_the_learning_rate_falls() -> None:
    data = data_of(SMALL)
    moved = trained("sgd", 0.2, (5,), data.train, dataclasses.replace(SMALL, every=1, steps=80))
    steps = moved[1:, 0].sub(moved[:-1, 0]).norm(dim=1)
    assert steps[70:].mean() < 0.1 * steps[30:40].mean()


def test_settings_and_tuning_are_read_from_a_studys_trials(tmp_path: Path) -> None:
    """A real study: the grid, the choice by validation error, the confirmation's seeds."""
    small = {"points": 40, "width": 5, "steps": 40, "batch_size": 8, "every": 4}
    lrs = SearchSpace("lr", "Which?", {"lr": FloatDistribution(0.05, 0.2)}, {"lr": (0.05, 0.2)})
    arms = tuple(Arm(name, lrs, {"optimizer": name}) for name in ("srsgd", "sgd"))
    study = Study(
        "t", "Which?", arms,
        baseline="sgd", trainable="minefield", trials=2, searcher="grid", confirm_seeds=3,
        confirm_seed=4, base=small,
    )  # fmt: skip
    options = Options(results=tmp_path, backend="local", slots=1)
    assert execute(study, options, name="t", resume=False) == "finished"
    trials = read_trials(tmp_path / "t")
    picture = Picture.of(trials)
    assert (picture.seeds, picture.config.steps, picture.config.width) == ([4, 5, 6], 40, 5)
    chosen, tuning = picture.lrs, picture.tuning
    assert list(tuning["optimizer"]) == ["srsgd", "srsgd", "sgd", "sgd"]
    for arm in ("srsgd", "sgd"):
        mine = tuning[tuning["optimizer"] == arm]
        assert chosen[arm] in set(mine["lr"])
        assert mine.loc[mine["chosen"], "lr"].tolist() == [chosen[arm]]
        best = mine["val_error"].min()
        assert mine.loc[mine["chosen"], "val_error"].item() == best


def test_the_seeds_drawn_are_the_middle_and_the_largest() -> None:
    losses = {3: (0.1, 0.1), 4: (0.2, 0.1), 5: (0.1, 0.9), 6: (0.4, 0.1), 7: (0.15, 0.1)}
    rows = [
        {"seed": seed, "optimizer": arm, "step": step, "loss": loss * (step + 1)}
        for seed, both in losses.items()
        for arm, loss in zip(("srsgd", "sgd"), both, strict=True)
        for step in (0, 1)
    ]
    # SRSGD - SGD: -0.8, 0, 0.05, 0.1, 0.3.
    assert telling_seeds(pd.DataFrame(rows)) == {"middle": 7, "largest": 5}
    assert telling_seeds(pd.DataFrame(rows[:4])) == {"middle": 3}


# The tables.


def test_tables(tables: dict[str, pd.DataFrame]) -> None:
    assert set(tables) == set(TABLES)
    paths = tables["trajectory"]
    assert len(paths) == 3 * 2 * 11
    assert list(paths["step"].unique()) == list(range(0, 41, 4))
    starts = paths[paths["step"] == 0].groupby("seed")[["x", "y", "loss"]].nunique()
    assert (starts == 1).all().all()  # both optimizers start from one point
    assert (paths[["share_x", "share_y"]].sum(axis=1) <= 1 + 1e-12).all()
    assert (paths["share_x"] >= paths["share_y"]).all()
    ends = paths[paths["step"] == 40].groupby("seed")[["x", "y"]].mean()
    np.testing.assert_allclose(ends, 0, atol=1e-9)
    chosen = tables["tuning"][tables["tuning"]["chosen"]].set_index("optimizer")["lr"]
    assert (paths["lr"] == paths["optimizer"].map(chosen)).all()
    assert tables["surface"]["seed"].nunique() == 2
    assert len(tables["surface"]) == 2 * 81
    assert set(tables["boundary"]["optimizer"]) == {"srsgd", "sgd"}
    assert len(tables["points"]) == 40


def test_the_surface_holds_the_paths_and_their_loss(tables: dict[str, pd.DataFrame]) -> None:
    fine = run(SMALL, seeds=1, grid=161)
    paths, surface = fine["trajectory"], fine["surface"]
    assert surface["x"].min() < paths["x"].min() and surface["x"].max() > paths["x"].max()
    assert surface["y"].min() < paths["y"].min() and surface["y"].max() > paths["y"].max()
    for _, point in paths.iterrows():
        near = ((surface["x"] - point["x"]) ** 2 + (surface["y"] - point["y"]) ** 2).idxmin()
        assert surface["loss"][near] == pytest.approx(point["plane_loss"], rel=0.02)
    # Where the plane holds nearly all of the distances, the loss on it is that of the path.
    assert paths["share_x"].iloc[0] + paths["share_y"].iloc[0] > 0.9
    np.testing.assert_allclose(paths["plane_loss"], paths["loss"], rtol=0.2)


def test_the_same_seed_gives_the_same_numbers(tables: dict[str, pd.DataFrame]) -> None:
    threads = torch.get_num_threads()
    again = run(SMALL)
    assert torch.get_num_threads() == threads
    for name in TABLES:
        pd.testing.assert_frame_equal(again[name], tables[name])
    other = run(dataclasses.replace(SMALL, data_seed=4))
    assert not np.allclose(other["trajectory"]["loss"], tables["trajectory"]["loss"])


# Bad input.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_seed": -1}, "0 <= data_seed < inf must hold, but got data_seed=-1"),
        ({"runs": 0}, "1 <= runs < inf must hold"),
        ({"steps": 3}, "4 <= steps < inf must hold"),
        ({"noise": -0.1}, "0 <= noise < inf must hold, but got noise=-0.1"),
        ({"weight_decay": math.inf}, "0 <= weight_decay < inf must hold"),
        ({"batch_size": 41}, "batch_size <= points must hold, but got batch_size=41 for points=40"),
        ({"every": 7}, "every must divide steps, but got every=7 for steps=40"),
    ],
)
def test_bad_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        run(dataclasses.replace(SMALL, **changes))
    assert message in str(error.value)


def test_an_unknown_optimizer() -> None:
    with pytest.raises(ValueError, match=r"unknown optimizer 'adam'. Valid: srsgd, sgd."):
        trained("adam", 0.1, (1,), data_of(SMALL).train, SMALL)


# The command and the drawing.


def test_the_figure_draws_the_tables(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    write_tables(tmp_path, tables, PICTURE)
    figure = trajectory(tmp_path)
    figure.savefig(tmp_path / "a.png")
    why = dict(zip(tables["surface"]["seed"], tables["surface"]["why"], strict=True))
    panels = [axes for axes in figure.get_axes() if "difference" in axes.get_title(loc="left")]
    assert len(panels) == 2
    paths, styles = tables["trajectory"], arm_styles(["srsgd", "sgd"])
    for panel, (seed, reason) in zip(panels, why.items(), strict=True):
        assert panel.get_title(loc="left") == f"seed {seed}: the {reason} difference"
        own = paths[paths["seed"] == seed]
        for arm, style in styles.items():
            (line,) = [
                i for i in panel.lines
                if same_color(i.get_color(), style.colour) and len(np.asarray(i.get_xdata())) > 1
            ]  # fmt: skip
            drawn = np.asarray(line.get_xydata())
            np.testing.assert_allclose(drawn, own.loc[own["optimizer"] == arm, ["x", "y"]])
        share = 100 * own["share_x"].iloc[0]
        assert panel.get_xlabel() == f"first direction ({share:.0f} %)"
    said = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "n = 3 pairs" in said
    assert "best of the same 2 by validation error" in said


def test_a_process_of_its_own_draws(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    write_tables(tmp_path, tables, PICTURE)
    assert trajectory_run._draw(tmp_path) == 0
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"appfig7.png", "appfig7.svg"}


def test_the_figure_waits_for_its_tables(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(NotYet, match=r"holds no trajectory.parquet"):
        trajectory(tmp_path)
    write_tables(tmp_path, tables, PICTURE)
    (tmp_path / "tuning.parquet").unlink()
    with pytest.raises(NotYet, match=r"holds no tuning.parquet"):
        trajectory(tmp_path)
