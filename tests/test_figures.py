"""The figures: what they draw against the tables of the analysis, and what they leave behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import seaborn as sns
from made_results import confirm_runs, made_epochs, made_table, made_trial, searched
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from srsgd_ray import analysis, figures
from srsgd_ray.cli import main
from srsgd_ray.figures.style import STYLES, arm_styles
from srsgd_ray.results import arrow_schema

MILESTONES = [5, 8]
RUNS = [
    *confirm_runs("srsgd", (3.0, 3.1, 3.5), lr_milestones=MILESTONES, restart_f1=20.0),
    *confirm_runs("sgd", (3.5, 3.9, 3.7), lr_milestones=MILESTONES),
]
EMPTY = made_table([])
NO_EPOCHS = made_table([], "epochs")


def epochs_of(runs: list[dict[str, Any]], **more: Any) -> pd.DataFrame:
    return made_table(made_epochs(runs, **more), "epochs")


def points(axes: Axes) -> set[tuple[float, float]]:
    """Positions of all scattered points."""
    return {
        (round(float(x), 9), round(float(y), 9))
        for drawn in axes.collections
        for x, y in np.ma.getdata(drawn.get_offsets())
        if len(drawn.get_offsets()) and not isinstance(drawn, LineCollection)
    }


def lines(axes: Axes, colour: str) -> list[tuple[list[float], list[float]]]:
    """Data of the lines of a colour that have more than one point."""
    found = [line for line in axes.lines if mpl.colors.same_color(line.get_color(), colour)]
    data = [(list(np.asarray(i.get_xdata(), float)), list(np.asarray(i.get_ydata(), float)))
            for i in found]  # fmt: skip
    return [(x, y) for x, y in data if len(x) > 1]


def marks(axes: Axes, label: str) -> set[tuple[float, float]]:
    """Points drawn as a line without a line, by label."""
    found = [line for line in axes.lines if line.get_label() == label]
    return {(float(x), float(y)) for i in found for x, y in np.asarray(i.get_xydata())}


def all_text(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_best_so_far_draws_the_table() -> None:
    table = analysis.best_so_far(searched())
    figure = figures.best_so_far(searched())
    upper, lower = figure.axes
    styles = arm_styles(["srsgd", "sgd"])
    for arm, own in table.dropna(subset=["best_val_error"]).groupby("arm"):
        drawn = lines(upper, styles[str(arm)].colour)
        expected = (list(own["epochs"]), list(own["best_val_error"]))
        assert drawn == ([expected] if len(own) > 1 else [])
    assert {line.get_drawstyle() for line in upper.lines} == {"steps-post"}
    complete = table.dropna(subset=["val_error"])
    assert points(upper) == set(zip(complete["epochs"], complete["val_error"], strict=True))
    assert marks(lower, "diverged") == {(2, 0)}
    assert marks(lower, "pruned") == {(25, 0)}
    assert marks(lower, "failed") == {(0, 1)}
    assert "SRSGD, best 4.00 %" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_sensitivity_map_draws_the_table() -> None:
    figure = figures.sensitivity_map(searched())
    left, right = figure.axes[:2]
    assert points(left) == {(5, 0.01), (500, 0.1)}
    assert marks(left, "diverged") == {(30, 1.0)}
    assert marks(left, "pruned") == {(30, 0.1)}
    assert [y for _, y in points(right)] == [0.2]
    assert [y for _, y in marks(right, "failed")] == [0.3]
    assert left.get_xscale() == left.get_yscale() == right.get_yscale() == "log"
    assert left.get_ylim() == right.get_ylim()
    # The colours are of one scale over both panels: 4, 8 and, of SGD, 6 %.
    scale, norm = mpl.colormaps["viridis"], Normalize(4.0, 8.0)
    shown = {
        (round(float(position[1]), 9)): colour
        for axes in (left, right)
        for position, colour in zip(
            axes.collections[0].get_offsets(), axes.collections[0].get_facecolors(), strict=True
        )
    }
    for lr, error in ((0.01, 8.0), (0.1, 4.0), (0.2, 6.0)):
        np.testing.assert_allclose(shown[lr], scale(norm(error)), atol=0.01)
    ring = left.collections[-1]
    assert ring.get_label() == "best"
    np.testing.assert_array_equal(ring.get_offsets(), [[500, 0.1]])


@pytest.mark.parametrize("validated", [True, False])
def test_training_curves_draw_the_table(validated: bool) -> None:
    trials, epochs = made_table(RUNS), epochs_of(RUNS, validated=validated)
    figure = figures.training_curves(epochs, trials)
    loss, error, strip = figure.axes
    metric = "val_error" if validated else "train_error"
    assert error.get_ylabel() == ("validation" if validated else "training") + " error (%)"
    for axes, name in ((loss, "train_loss"), (error, metric)):
        table = analysis.seed_curves(epochs, trials, name)
        for arm, style in arm_styles(["srsgd", "sgd"]).items():
            own = table[table["arm"] == arm]
            ((x, y),) = [d for d in lines(axes, style.colour) if len(d[0]) == 10]
            assert x == list(own["epoch"])
            assert y == pytest.approx(list(own["mean"]))
            band = next(c for c in axes.collections if c.get_label() == f"band of {arm}")
            corners = band.get_paths()[0].vertices[:, 1]
            assert set(own["low"]) | set(own["high"]) <= set(corners)
    assert loss.get_yscale() == "log"
    dotted = [line.get_xdata()[0] for line in loss.lines if line.get_linestyle() == ":"]
    assert dotted == MILESTONES
    ticks = next(c for c in strip.collections if isinstance(c, LineCollection))
    expected = [step / 18 for step in analysis.restart_steps(RUNS[0], 180, 18)]
    assert 5 in expected and len(expected) > 5
    assert [segment[0][0] for segment in ticks.get_segments()] == pytest.approx(expected)


def test_dense_restarts_become_blocks_of_stages() -> None:
    runs = confirm_runs("srsgd", (3.0,), lr_milestones=MILESTONES)
    figure = figures.training_curves(epochs_of(runs, steps=391), made_table(runs))
    strip = figure.axes[-1]
    assert len(analysis.restart_steps(runs[0], 3910, 391)) > 60
    assert not [c for c in strip.collections if isinstance(c, LineCollection)]
    assert [t.get_text() for t in strip.texts] == ["F = 30 steps", "F = 60 steps", "F = 90 steps"]
    spans = sorted(
        (path.vertices[:, 0].min(), path.vertices[:, 0].max())
        for c in strip.collections
        for path in c.get_paths()
    )
    assert spans == [(0, 5), (5, 8), (8, 10)]


def test_many_short_stages_share_a_name() -> None:
    runs = confirm_runs("srsgd", (3.0,), lr_milestones=[5], restart_decay=True, epochs=10)
    figure = figures.training_curves(epochs_of(runs), made_table(runs))
    assert [t.get_text() for t in figure.axes[-1].texts] == ["F = 30 steps", "F = 60 to 1 steps"]


def test_confirmation_draws_the_runs_and_the_verdict() -> None:
    trials = made_table(RUNS)
    found = analysis.confirmation(trials)
    (compared,) = found.comparisons
    figure = figures.confirmation(trials)
    left, right = figure.axes
    assert {y for _, y in points(left)} == {3.0, 3.1, 3.5, 3.9, 3.7}
    pairs = [y for _, y in lines(left, "0.6")]
    assert sorted(pairs) == [[3.0, 3.5], [3.1, 3.9], [3.5, 3.7]]
    assert sorted(y for _, y in points(right)) == pytest.approx([-0.8, -0.5, -0.2])
    assert compared.verdict in all_text(figure)
    for axes, estimates in ((left, [arm.estimate for arm in found.arms]),
                            (right, [compared.estimate])):  # fmt: skip
        bars = [
            c.get_segments()[0][:, 1] for c in axes.collections if isinstance(c, LineCollection)
        ]
        np.testing.assert_allclose(bars, [(e.low, e.high) for e in estimates])
    assert right.get_ylabel() == "difference in test error (points)"


def test_confirmation_says_what_it_lost() -> None:
    runs = [*confirm_runs("srsgd", (3.0, None, 3.2)), *confirm_runs("sgd", (3.5, 3.9, 3.6))]
    figure = figures.confirmation(made_table(runs))
    assert "not counted: SRSGD 1 diverged (seed 2)" in all_text(figure)
    assert "n = 2 pairs" in figure.axes[1].get_xticklabels()[0].get_text()
    curves = figures.training_curves(epochs_of(runs), made_table(runs))
    assert "Not complete: SRSGD 1 diverged (seed 2)." in all_text(curves)


def test_equal_test_errors_do_not_hide_each_other() -> None:
    runs = [*confirm_runs("srsgd", (3.0, 3.0, 3.0)), *confirm_runs("sgd", (3.5, 3.5, 3.5))]
    left, right = figures.confirmation(made_table(runs)).axes
    assert len(points(left)) == 6
    assert len(points(right)) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: figures.best_so_far(EMPTY), "no search trial is complete"),
        (lambda: figures.sensitivity_map(EMPTY), "no search trial has ended"),
        (lambda: figures.confirmation(EMPTY), "no confirmation run is complete"),
        (lambda: figures.confirmation(searched()), "no confirmation run is complete"),
        (lambda: figures.training_curves(NO_EPOCHS, EMPTY), "has finished an epoch"),
        (
            lambda: figures.best_so_far(made_table([made_trial("sgd", 0, "diverged")])),
            "no search trial is complete",
        ),
    ],
)
def test_not_yet(make: Any, message: str) -> None:
    with pytest.raises(figures.NotYet, match=message):
        make()


def test_arms_differ_in_colour_line_and_marker() -> None:
    for trait in ("colour", "dashes", "marker"):
        assert len({getattr(style, trait) for style in STYLES}) == len(STYLES)
    styles = arm_styles(["adam", "sgd", "srsgd_late", "srsgd"])
    assert styles["srsgd"] == STYLES[0]
    assert styles["sgd"] == STYLES[1]
    assert len(set(styles.values())) == 4


def test_nothing_global_is_left_behind() -> None:
    import matplotlib.pyplot as plt

    with mpl.rc_context({"axes.grid": False, "savefig.dpi": 77.0, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        figures.training_curves(epochs_of(RUNS), made_table(RUNS))
        figures.best_so_far(searched())
        figures.sensitivity_map(searched())
        figures.confirmation(made_table(RUNS))
        assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    assert sns.color_palette() == sns.color_palette("tab10")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's folder, without a confirmation yet."""
    rows = searched().astype(object).where(searched().notna(), None).to_dict("records")
    pq.write_table(
        pa.Table.from_pylist(rows, schema=arrow_schema("trials")), tmp_path / "trials.parquet"
    )
    pq.write_table(arrow_schema("epochs").empty_table(), tmp_path / "epochs.parquet")
    return tmp_path


def test_draw_writes_the_same_files_again_and_says_what_it_skips(study: Path) -> None:
    said: list[str] = []
    written = figures.draw(study, say=said.append)
    names = ["best_so_far.png", "best_so_far.svg", "sensitivity_map.png", "sensitivity_map.svg"]
    assert [path.relative_to(study / "figures").name for path in written] == names
    assert said == [
        "skipped training_curves: no confirmation run has finished an epoch",
        "skipped confirmation: no confirmation run is complete",
    ]
    again = figures.draw(study, ["best_so_far"], out=study / "again")
    for path in again:
        assert path.read_bytes() == (study / "figures" / path.name).read_bytes()
    svg = (study / "figures" / "best_so_far.svg").read_text()
    assert "validation error (%)</text>" in svg


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["losses"], "unknown figure 'losses'. Valid: best_so_far, sensitivity_map, "),
        (["--format", "gif"], "unknown format 'gif'. Valid: png, svg, pdf."),
    ],
)
def test_command_line_refuses(
    study: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", str(study), *words]) == 2
    assert message in capsys.readouterr().err
    assert main(["figures", str(study / "nowhere")]) == 2
    assert "no results: expected" in capsys.readouterr().err


def test_command_line_draws_without_torch_and_ray(study: Path) -> None:
    code = (
        "import sys; from srsgd_ray.cli import main; "
        "status = main(['figures', *sys.argv[1:]]); print(status, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(study), "best_so_far", "--format", "pdf"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert first == str(study / "figures" / "best_so_far.pdf")
    assert Path(first).read_bytes().startswith(b"%PDF")
    status, *loaded = second.split()
    assert status == "0"
    assert "seaborn" in loaded
    assert not {"torch", "ray", "optuna"} & set(loaded)


def test_curves_of_runs_that_name_no_milestones() -> None:
    runs = confirm_runs("sgd", (3.0, 3.5), lr_milestones=None)
    epochs = made_table(made_epochs(runs), "epochs")
    assert figures.training_curves(epochs, made_table(runs)).axes
