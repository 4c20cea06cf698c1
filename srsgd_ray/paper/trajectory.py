"""The trajectory picture of a study of the minefield: paths of its runs, tables, and a drawing.

The study says which learning rates were chosen and which seeds were run; the paths follow from
these bit for bit, so they are computed again rather than stored.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from srsgd_ray.results import provenance, read_trials
from srsgd_ray.results.tables import replace_table
from srsgd_ray.trainables.spirals import (
    ARMS,
    Plane,
    Settings,
    Spirals,
    logits,
    plane_of,
    scores,
    train,
)

__all__ = ["TABLES", "draw_picture", "paths", "settings_of", "telling_seeds", "write_tables"]

TABLES = ("trajectory", "surface", "boundary", "points", "tuning")
MARGIN = 0.3  # of a surface around the paths, as a part of their width and height
SIDE = 1.3  # the boundary is drawn over the square from -SIDE to SIDE
DOTS = 120  # of it, along each side
Tables = dict[str, pd.DataFrame]


def draw_picture(folder: Path) -> None:
    """Make the picture's tables from a finished study, print their summary, and draw."""
    trials = read_trials(folder)
    settings, lrs, tuning = settings_of(trials)
    if set(lrs) != set(ARMS):
        print("No picture: it takes a confirmed run of each optimizer.")
        return
    tables = paths(settings, lrs, tuning)
    write_tables(folder, tables, settings)
    print("\n" + "\n".join(_summary(tables)))
    _draw(folder)


def settings_of(trials: pd.DataFrame) -> tuple[Settings, dict[str, float], pd.DataFrame]:
    """Of a study's trials: the settings, the learning rate of each arm, and what tuning found."""
    confirm = trials[(trials["phase"] == "confirm") & (trials["state"] == "complete")]
    search = trials[trials["phase"] == "search"].sort_values(["arm", "lr"], ascending=[False, True])
    one = (confirm if len(confirm) else trials).iloc[0]
    names = ("points", "width", "steps", "batch_size", "every", "restart_f1")
    settings = Settings(
        seed=int(one["data_seed"]),
        noise=float(one["noise"]),
        weight_decay=float(one["weight_decay"]),
        runs=max(1, confirm["seed"].nunique()),
        first=int(confirm["seed"].min()) if len(confirm) else 0,
        **{name: int(one[name]) for name in names},
    )
    lrs = {str(row["arm"]): float(row["lr"]) for _, row in confirm.iterrows()}
    tuning = search[["optimizer", "lr", "runs", "val_error", "val_loss"]].reset_index(drop=True)
    chosen = [
        lrs.get(str(o)) == lr for o, lr in zip(tuning["optimizer"], tuning["lr"], strict=True)
    ]
    return settings, lrs, tuning.assign(chosen=chosen)


def paths(settings: Settings, lrs: Mapping[str, float], tuning: pd.DataFrame) -> Tables:
    """Train, and measure; on one thread, so that a seed gives the same numbers.

    Args:
        settings: the problem, and the seeds of the runs.
        lrs: learning rate of each optimizer.
        tuning: how these were chosen, for the record.

    Returns:
        Tables by name. ``trajectory``, a row for each recorded point of each path: ``optimizer``,
        ``lr`` (of its first stage), ``seed``, ``step``, ``x``, ``y`` (in the plane of its seed, see
        ``plane_of``), ``off_plane`` (distance from the plane), ``loss`` and ``train_error`` (%) on
        the training set, ``plane_loss`` (loss at the foot on the plane), ``test_loss``,
        ``test_error``, ``share_x`` and ``share_y`` (of the squared distances, that each direction
        holds). ``surface``, for one or two seeds (see ``telling_seeds``): ``seed``, ``why``, ``x``,
        ``y``, ``loss``, ``train_error``, ``test_error``. ``boundary``, of these: ``seed``,
        ``optimizer``, ``u``, ``v``, ``probability`` of class 1. ``points``, the training set:
        ``u``, ``v``, ``label``. ``tuning``: ``optimizer``, ``lr``, ``runs``, ``val_error``,
        ``val_loss``, ``chosen``.

    Raises:
        ValueError: for settings that break a rule, or if a run diverged.
    """
    settings.check()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = Spirals.of(settings)
        seeds = range(settings.first, settings.first + settings.runs)
        trained = {arm: train(arm, lrs[arm], seeds, data.train, settings) for arm in ARMS}
        planes = [plane_of([trained[arm][:, i] for arm in ARMS]) for i in range(len(seeds))]
        trajectory = pd.concat(
            [
                _path_rows(arm, lrs[arm], seed, trained[arm][:, i], planes[i], data, settings)
                for i, seed in enumerate(seeds)
                for arm in ARMS
            ],
            ignore_index=True,
        )
        surfaces, boundaries = [], []
        for why, seed in telling_seeds(trajectory).items():
            i, own = seed - settings.first, trajectory[trajectory["seed"] == seed]
            surface = _surface(own, planes[i], data, settings)
            surfaces.append(surface.assign(seed=seed, why=why))
            for arm in ARMS:
                boundary = _boundary(trained[arm][-1, i : i + 1], settings)
                boundaries.append(boundary.assign(seed=seed, optimizer=arm))
    finally:
        torch.set_num_threads(threads)
    x, labels = data.train
    return {
        "trajectory": trajectory,
        "surface": pd.concat(surfaces, ignore_index=True),
        "boundary": pd.concat(boundaries, ignore_index=True),
        "points": pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "label": labels.int()}),
        "tuning": tuning,
    }


def telling_seeds(trajectory: pd.DataFrame) -> dict[str, int]:
    """Which seeds are drawn, so that nobody picks: by SRSGD - SGD in training loss at the end.

    Returns:
        ``middle``, the seed with the median difference (of two the higher), and ``largest``, that
        with the largest difference in size of the others, if there are others.
    """
    ends = trajectory[trajectory["step"] == trajectory["step"].max()]
    loss = ends.pivot(index="seed", columns="optimizer", values="loss")
    apart = (loss["srsgd"] - loss["sgd"]).sort_values(kind="stable")
    middle = apart.index[len(apart) // 2]
    others = apart.drop(middle).abs()
    return {"middle": int(middle), **({"largest": int(others.idxmax())} if len(others) else {})}


def _path_rows(
    arm: str, lr: float, seed: int, path: Tensor, plane: Plane, data: Spirals, settings: Settings
) -> pd.DataFrame:
    feet = plane.project(path)
    lifted = plane.lift(feet)
    loss, train_error = scores(path, data.train, settings)
    test_loss, test_error = scores(path, data.test, settings)
    return pd.DataFrame(
        {
            "optimizer": arm,
            "lr": lr,
            "seed": seed,
            "step": range(0, settings.steps + 1, settings.every),
            "x": feet[:, 0],
            "y": feet[:, 1],
            "off_plane": (path - lifted).norm(dim=1),
            "loss": loss,
            "train_error": train_error,
            "plane_loss": scores(lifted, data.train, settings)[0],
            "test_loss": test_loss,
            "test_error": test_error,
            "share_x": plane.shares[0],
            "share_y": plane.shares[1],
        }
    )


def _surface(paths: pd.DataFrame, plane: Plane, data: Spirals, settings: Settings) -> pd.DataFrame:
    """Losses over a square around the paths of one seed, as large as they need."""
    middle = [(paths[k].max() + paths[k].min()) / 2 for k in ("x", "y")]
    half = (0.5 + MARGIN) * max(paths[k].max() - paths[k].min() for k in ("x", "y"))
    line = torch.linspace(-half, half, settings.grid, dtype=torch.float64)
    spots = torch.cartesian_prod(line + middle[0], line + middle[1])
    flat = plane.lift(spots)
    loss, train_error = scores(flat, data.train, settings)
    return pd.DataFrame(
        {
            "x": spots[:, 0],
            "y": spots[:, 1],
            "loss": loss,
            "train_error": train_error,
            "test_error": scores(flat, data.test, settings)[1],
        }
    )


def _boundary(end: Tensor, settings: Settings) -> pd.DataFrame:
    line = torch.linspace(-SIDE, SIDE, DOTS, dtype=torch.float64)
    spots = torch.cartesian_prod(line, line)
    chance = torch.sigmoid(logits(end, spots, settings))[0]
    return pd.DataFrame({"u": spots[:, 0], "v": spots[:, 1], "probability": chance})


def write_tables(folder: Path, tables: Tables, settings: Settings) -> None:
    """Write each table as ``NAME.parquet``; its metadata hold the settings and where it is from."""
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"settings": dataclasses.asdict(settings), **provenance()}
    for name, frame in tables.items():
        bare = frame.copy(deep=False)
        bare.attrs = {}  # a study's frame carries its schema there, which Arrow cannot write
        made = pa.Table.from_pandas(bare, preserve_index=False)
        made = made.replace_schema_metadata({"srsgd_ray_trajectory": json.dumps(facts)})
        replace_table(folder / f"{name}.parquet", made)


def _summary(tables: Tables) -> list[str]:
    """A line about each optimizer at its end, and about the planes."""
    paths = tables["trajectory"]
    lines = []
    for arm, own in paths[paths["step"] == paths["step"].max()].groupby("optimizer", sort=False):
        tried = tables["tuning"]["lr"]
        edge = ", the edge of the grid" if own["lr"].iloc[0] in (tried.min(), tried.max()) else ""
        said = [f"{own[k].mean():.3g} ± {own[k].std():.2g}" for k in ("loss", "test_error")]
        lines.append(
            f"{arm:5}  learning rate {own['lr'].iloc[0]:g}{edge}  training loss {said[0]}  "
            f"test error {said[1]} %  ({len(own)} runs)"
        )
    share = 100 * (paths["share_x"] + paths["share_y"])
    lines.append(f"planes hold {share.min():.1f} to {share.max():.1f} % of the squared distances")
    return lines


def _draw(folder: Path) -> int:
    """Draw in a process that knows no torch; its exit status."""
    command = [sys.executable, "-m", "srsgd_ray.figures", "appfig7", str(folder)]
    command += ["--out", str(folder / "figures")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    print((done.stdout + done.stderr).strip())
    return done.returncode
