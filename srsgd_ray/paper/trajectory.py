"""The trajectory picture (Appendix Figure 7) of a study of the minefield: paths, tables, drawing.

The paper's figure shows the paths of optimizers over a "minefield" of bad minima; which network and
settings it had is not known. The study says which learning rates were selected and which seeds were
run; the paths follow from these bit for bit, so they are computed again rather than stored.
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from srsgd_ray.analysis.rows import rows
from srsgd_ray.knobs import knob_types, make
from srsgd_ray.results import provenance, read_trials
from srsgd_ray.results.tables import replace_table
from srsgd_ray.trainables.minefield_config import OPTIMIZERS, MinefieldConfig
from srsgd_ray.trainables.spirals import Spirals, logits, one_thread, scores, spirals, train

MARGIN = 0.3  # of a surface around the paths, as a part of their width and height
SIDE = 1.3  # the boundary is drawn over the square from -SIDE to SIDE
DOTS = 120  # of it, along each side
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Picture:
    """What the tables are made of.

    ``config`` is all but optimizer and learning rate; ``lrs`` has the rate of each optimizer, and
    ``tuning`` how it was selected, for the record; a surface has ``grid`` points along each axis.
    """

    config: MinefieldConfig
    lrs: Mapping[str, float]
    seeds: Sequence[int]
    tuning: pd.DataFrame
    grid: int = 81

    @classmethod
    def of(cls, trials: pd.DataFrame) -> Picture:
        """From the trials of a study; ``lrs`` lacks an optimizer that was not confirmed."""
        confirm = rows(trials, "confirm").query("state == 'complete'")
        search = rows(trials, "search")
        search = search.sort_values(["arm", "lr"], ascending=[False, True])
        one = (confirm if len(confirm) else trials).iloc[0]
        lrs = {str(row["arm"]): float(row["lr"]) for _, row in confirm.iterrows()}
        tuning = search[["optimizer", "lr", "runs", "val_error", "val_loss"]].reset_index(drop=True)
        selected = tuning["optimizer"].map(lrs) == tuning["lr"]
        return cls(
            make(MinefieldConfig, {name: one[name] for name in knob_types(MinefieldConfig)}),
            lrs,
            sorted(map(int, confirm["seed"].unique())),
            tuning.assign(chosen=selected),
        )


def draw_picture(folder: Path) -> None:
    """Make the picture's tables from a finished study, print their summary, and draw."""
    picture = Picture.of(read_trials(folder))
    if set(picture.lrs) != set(OPTIMIZERS):
        print("No picture: it takes a confirmed run of each optimizer.")
        return
    tables = paths(picture)
    write_tables(folder, tables, picture)
    print("\n" + "\n".join(_summary(tables)))
    _draw(folder)


def paths(picture: Picture) -> Tables:
    """Train, and measure; on one thread, so that a seed gives the same numbers.

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
        ValueError: for a configuration that breaks a rule, or if a run diverged.
    """
    config, seeds = picture.config, picture.seeds
    runs = [
        dataclasses.replace(config, optimizer=name, lr=picture.lrs[name]).check()
        for name in OPTIMIZERS
    ]
    data = spirals(config.data_seed, config.points, config.noise)
    surfaces, boundaries = [], []
    with one_thread():
        trained = [train(run, seeds, data.train) for run in runs]
        planes = [plane_of([made[:, i] for made in trained]) for i in range(len(seeds))]
        trajectory = pd.concat(
            [
                _path_rows(run, seed, made[:, i], planes[i], data)
                for i, seed in enumerate(seeds)
                for run, made in zip(runs, trained, strict=True)
            ],
            ignore_index=True,
        )
        for why, seed in telling_seeds(trajectory).items():
            i, own = list(seeds).index(seed), trajectory[trajectory["seed"] == seed]
            surface = _surface(own, planes[i], data, picture)
            surfaces.append(surface.assign(seed=seed, why=why))
            for run, made in zip(runs, trained, strict=True):
                boundary = _boundary(made[-1, i : i + 1], run)
                boundaries.append(boundary.assign(seed=seed, optimizer=run.optimizer))
    x, labels = data.train
    return {
        "trajectory": trajectory,
        "surface": pd.concat(surfaces, ignore_index=True),
        "boundary": pd.concat(boundaries, ignore_index=True),
        "points": pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "label": labels.int()}),
        "tuning": picture.tuning,
    }


@dataclass(frozen=True)
class Plane:
    """A plane in the space of parameters: ``centre`` (numbers) and ``axes`` (2, numbers).

    The axes are orthonormal; ``shares`` is what each holds of the squared distances of all path
    points from the centre, the midpoint of the paths' ends.
    """

    centre: Tensor
    axes: Tensor
    shares: tuple[float, float]

    def project(self, points: Tensor) -> Tensor:
        """Coordinates (points, 2) of the feet of ``points`` on the plane."""
        return (points - self.centre) @ self.axes.T

    def lift(self, coordinates: Tensor) -> Tensor:
        """Parameters at coordinates (points, 2)."""
        return self.centre + coordinates @ self.axes


def plane_of(paths: Sequence[Tensor]) -> Plane:
    """The plane through the midpoint of the paths' ends that lies closest to all their points.

    Its directions are the principal ones about that midpoint (not about the mean): near the ends,
    where the loss is low and feels a small distance most, the plane is then near to both paths.
    Each direction points away from the start of the first path.

    Raises:
        ValueError: if the paths hold no point but the centre, or values that are not finite.
    """
    centre = torch.stack([path[-1] for path in paths]).mean(0)
    points = torch.cat(list(paths)) - centre
    size = float(points.square().sum())
    if not 0 < size < math.inf:
        raise ValueError(
            f"paths need a finite length above 0 for a plane, but got a sum of squares {size}. "
            f"Use a smaller learning rate, or more steps."
        )
    _, values, directions = torch.linalg.svd(points, full_matrices=False)
    axes = directions[:2]
    signs = torch.where((paths[0][0] - centre) @ axes.T > 0, -1.0, 1.0)
    one, two = (values[:2].square() / size).tolist()
    return Plane(centre, axes * signs.double().unsqueeze(1), (one, two))


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
    config: MinefieldConfig, seed: int, path: Tensor, plane: Plane, data: Spirals
) -> pd.DataFrame:
    feet = plane.project(path)
    lifted = plane.lift(feet)
    return pd.DataFrame(
        {
            "optimizer": config.optimizer,
            "lr": config.lr,
            "seed": seed,
            "step": range(0, config.steps + 1, config.every),
            "x": feet[:, 0],
            "y": feet[:, 1],
            "off_plane": (path - lifted).norm(dim=1),
            **_scored(path, data, config),
            "plane_loss": scores(lifted, data.train, config)[0],
            "share_x": plane.shares[0],
            "share_y": plane.shares[1],
        }
    )


def _scored(flat: Tensor, data: Spirals, config: MinefieldConfig) -> dict[str, Tensor]:
    loss, train_error = scores(flat, data.train, config)
    test_loss, test_error = scores(flat, data.test, config)
    return {"loss": loss, "train_error": train_error, "test_loss": test_loss,
            "test_error": test_error}  # fmt: skip


def _surface(own: pd.DataFrame, plane: Plane, data: Spirals, picture: Picture) -> pd.DataFrame:
    """Losses over a square around the paths of one seed, as large as they need."""
    middle = [(own[k].max() + own[k].min()) / 2 for k in ("x", "y")]
    half = (0.5 + MARGIN) * max(own[k].max() - own[k].min() for k in ("x", "y"))
    line = torch.linspace(-half, half, picture.grid, dtype=torch.float64)
    spots = torch.cartesian_prod(line + middle[0], line + middle[1])
    found = _scored(plane.lift(spots), data, picture.config)
    del found["test_loss"]
    return pd.DataFrame({"x": spots[:, 0], "y": spots[:, 1], **found})


def _boundary(end: Tensor, config: MinefieldConfig) -> pd.DataFrame:
    line = torch.linspace(-SIDE, SIDE, DOTS, dtype=torch.float64)
    spots = torch.cartesian_prod(line, line)
    chance = torch.sigmoid(logits(end, spots, config))[0]
    return pd.DataFrame({"u": spots[:, 0], "v": spots[:, 1], "probability": chance})


def write_tables(folder: Path, tables: Tables, picture: Picture) -> None:
    """Write each table as ``NAME.parquet``; its metadata hold the settings and where it is from."""
    folder.mkdir(parents=True, exist_ok=True)
    more = {"seeds": list(picture.seeds), "grid": picture.grid}
    facts = {"settings": {**dataclasses.asdict(picture.config), **more}, **provenance()}
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
