"""The figures of the paper: what they draw, read back from the axes, against the published data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_results import confirm_runs, made_epochs, made_table, made_trial
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from srsgd_ray import analysis
from srsgd_ray.cli import main
from srsgd_ray.figures.style import NotYet
from srsgd_ray.knobs import UnknownNameError
from srsgd_ray.paper import curves, errors
from srsgd_ray.paper.figures import (
    PAPER_FIGURES,
    draw_numbers,
    draw_paper,
    paper_figure,
    paper_numbers,
)
from srsgd_ray.paper.numbers import figure_numbers
from srsgd_ray.results import RecordError
from srsgd_ray.typed import typed

# Which published figure each panel shows.
PANELS = {
    "fig1": ["Figure 1 left", "Figure 1 middle", "Figure 1 right"],
    "fig2": ["Figure 2 left", "Figure 2 middle", "Figure 2 right"],
    "fig3": ["Figure 3"],
    "fig4": ["Figure 4 left", "Figure 4 right"],
    "fig5": ["Figure 5 left", "Figure 5 right"],
    "fig6": ["Figure 6 left", "Figure 6 right"],
    "appfig1": ["Appendix Figure 1"],
    "appfig2": ["Appendix Figure 2 left", "Appendix Figure 2 right"],
    "appfig3": ["Appendix Figure 3 left", "Appendix Figure 3 right"],
    "appfig4": ["Appendix Figure 4"],
    "appfig5": ["Appendix Figure 5"],
    "appfig6": ["Appendix Figure 6"],
}
ALL_PANELS = [(n, i, f) for n, panels in PANELS.items() for i, f in enumerate(panels)]
WITH_ERRORS = {error.figure for error in errors()}
ERRORS = [
    *((*case, False) for case in ALL_PANELS if case[2] in WITH_ERRORS),
    *((*case, True) for case in ALL_PANELS if case[0] in ("appfig4", "appfig5")),
]
CURVES = [case for case in ALL_PANELS if case[2] not in WITH_ERRORS]
NETWORK = {"model": "preresnet", "block": "bottleneck", "width": 16, "batch_size": 128}
PUBLISHED = {
    **NETWORK, "dataset": "cifar10", "depth": 110, "epochs": 200, "lr_milestones": [80, 120, 160],
    "restart_kind": "linear", "restart_f1": 30.0, "restart_growth": 2.0, "restart_decay": False,
}  # fmt: skip


@cache
def drawn(name: str, as_plotted: bool = False) -> Figure:
    return paper_figure(name, as_plotted=as_plotted)


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    """Data of the one line of that label."""
    (found,) = [each for each in axes.lines if each.get_label() == label]
    x, y = np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)
    return list(x), list(y)


def band(axes: Axes, label: str) -> set[tuple[float, float]]:
    """Corners of a band."""
    (found,) = [c for c in axes.collections if c.get_label() == f"band of {label}"]
    return {(round(float(x), 6), round(float(y), 6)) for x, y in found.get_paths()[0].vertices}


def corners(x: list[float], low: list[float], high: list[float]) -> set[tuple[float, float]]:
    ends = [*zip(x, low, strict=True), *zip(x, high, strict=True)]
    return {(round(a, 6), round(b, 6)) for a, b in ends}


def our_points(axes: Axes, series: str) -> tuple[list[tuple[float, float]], list[Any]]:
    """Places of our points, and the ends of their intervals."""
    (found,) = [each for each in axes.containers if each.get_label() == f"ours {series}"]
    assert isinstance(found, ErrorbarContainer)
    mark, _, (bars,) = found.lines
    ends = [segment[:, 1] for segment in bars.get_segments() if len(segment)]
    return [(float(x), float(y)) for x, y in np.asarray(mark.get_xydata())], ends


def all_text(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def lines_of(figure: str) -> dict[str, list[Any]]:
    """The published errors of a figure by the label that their line should have."""
    found: dict[str, list[Any]] = {}
    for error in errors():
        if error.figure == figure:
            label = error.optimizer.upper()
            if error.x_name.endswith(("reduction", "stage")):
                kind = "ResNet" if error.dataset == "imagenet" else "PreResNet"
                label = f"{kind}-{error.depth}"
            found.setdefault(label, []).append(error)
    return found


@pytest.mark.parametrize(("name", "index", "figure", "as_plotted"), ERRORS)
def test_errors_are_drawn_as_published(
    name: str, index: int, figure: str, as_plotted: bool
) -> None:
    axes = drawn(name, as_plotted).axes[index]
    expected = lines_of(figure)
    assert sum(len(own) for own in expected.values()) >= 8
    for label, own in expected.items():
        own = sorted(own, key=lambda error: error.x if error.x is not None else error.depth)
        x = [float(error.depth if error.x is None else error.x) for error in own]
        ticks = [text.get_text() for text in axes.get_xticklabels()]
        assert ticks == [f"{value:g}" for value in x]
        if own[0].x_name == "F1":
            x = [float(place) for place in range(len(own))]
        assert line(axes, f"published {label}") == (x, [error.mean for error in own])
        std = [error.std_as_plotted if as_plotted else error.std for error in own]
        low = [error.mean - s for error, s in zip(own, std, strict=True)]
        high = [error.mean + s for error, s in zip(own, std, strict=True)]
        assert band(axes, f"published {label}") >= corners(x, low, high)
    assert len([each for each in axes.lines if each.get_marker() != "None"]) == len(expected)


@pytest.mark.parametrize("name", ["fig5", "appfig1", "appfig4", "appfig5", "appfig6"])
def test_level_lines_are_sgd_at_full_length(name: str) -> None:
    for axes, figure in zip(drawn(name).axes, PANELS[name], strict=True):
        dataset = next(error.dataset for error in errors() if error.figure == figure)
        sgd = {
            error.depth: error.mean
            for error in errors()
            if error.figure.startswith("Figure 1 ")
            and (error.dataset, error.optimizer) == (dataset, "sgd")
        }
        for label, own in lines_of(figure).items():
            _, y = line(axes, f"level of published {label}")
            assert y == [sgd[own[0].depth]] * 2
        assert len([each for each in axes.lines if each.get_linestyle() == "--"]) >= len(sgd)


@pytest.mark.parametrize(("name", "index", "figure"), CURVES)
def test_curves_are_drawn_as_published(name: str, index: int, figure: str) -> None:
    axes = drawn(name).axes[index]
    table = curves(figure).query("plotted")
    first = 1 if name in ("fig2", "fig3") else 0
    names = set(table["series"])
    assert {str(each.get_label()) for each in axes.lines} == {f"published {n}" for n in names}
    for label, own in table.groupby("series"):
        x, y = line(axes, f"published {label}")
        mean = own.groupby("step")["value"].mean()
        assert x == [step + first for step in mean.index]
        np.testing.assert_allclose(y, mean, rtol=1e-12)
        if own["run"].nunique() > 1:
            last = own[own["step"] == own["step"].max()]["value"]
            found = analysis.estimate([float(value) for value in last])
            assert found.n == 5
            ends = corners([x[-1]], [found.low], [found.high])
            assert ends <= band(axes, f"published {label}")
    assert axes.get_yscale() == "log"


def test_numbers_known_by_heart() -> None:
    left = paper_numbers("fig1").query("panel == 'left' and series == 'SRSGD' and x == 1001")
    assert left[["y", "std"]].to_numpy().tolist() == [[3.87, 0.07]]
    _, y = line(drawn("appfig2").axes[1], "published SRSGD")
    assert y[[1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90].index(50)] == 21.27
    axes = drawn("fig6").axes[1]
    assert axes.get_xticklabels()[4].get_text() == "30"
    assert line(axes, "published SRSGD")[1][4] == 4.372
    assert line(drawn("fig5").axes[1], "published ResNet-200")[1][-1] == 21.92
    assert line(drawn("appfig6").axes[0], "level of published ResNet-50")[1][0] == 24.11
    assert line(drawn("fig3").axes[0], "published NAG")[1][-1] == pytest.approx(60.44, abs=5e-3)
    assert [len(line(drawn("fig4").axes[0], f"published {o}")[0]) for o in ("SGD", "SRSGD")] == [
        194,
        197,
    ]
    limits = [axes.get_ylim() for axes in (*drawn("fig2").axes, *drawn("fig3").axes)]
    assert limits == [(1e-10, 1.0), (1e-4, 1.0), (1e-5, 10.0), (0.1, 100.0)]


def test_faults_are_named_and_can_be_drawn() -> None:
    filed = curves("Figure 6 left").query("plotted and series_as_filed == 'F1=20'")["value"]
    assert line(drawn("fig6").axes[0], "published F1=30")[1] == list(filed)
    assert line(drawn("fig6", True).axes[0], "published F1=20")[1] == list(filed)
    assert "F1 = 30 are swapped. Here they are swapped back." in all_text(drawn("fig6"))
    assert "F1 = 30 are swapped. Here as in the paper." in all_text(drawn("fig6", True))
    assert "mirrored place. Here each has its own." in all_text(drawn("appfig4"))
    assert "mirrored place. Here as in the paper." in all_text(drawn("appfig5", True))
    assert "are not of the runs whose errors are reported" in all_text(drawn("fig4"))
    assert "n not known" in all_text(drawn("fig1"))
    assert "left: single runs; right: mean and std" in all_text(drawn("appfig3"))
    assert "over the epochs, n = 2" in all_text(drawn("appfig3"))
    assert ", as plotted" in all_text(drawn("appfig5", True))


def test_our_errors_stand_over_the_published_ones() -> None:
    srsgd = confirm_runs("srsgd", (5.0, 5.2, 5.4), **PUBLISHED)
    others = [
        *confirm_runs("srsgd_other", (1.0, 1.1), **{**PUBLISHED, "epochs": 100}),
        *confirm_runs("srsgd_f1", (1.2,), **{**PUBLISHED, "restart_f1": 40.0}),
        *confirm_runs("srsgd_generated", (1.3,), **{**PUBLISHED, "data_dir": "generated"}),
        *confirm_runs("srsgd_diverged", (None,), **PUBLISHED),
        *confirm_runs("srsgd_infinite", (float("inf"),), **PUBLISHED),
        made_trial("srsgd", 9, test_error=1.4, **PUBLISHED),
    ]
    sgd = confirm_runs("sgd", (5.5,), **PUBLISHED)
    trials = made_table([*srsgd, *others, *sgd])
    assert "ours" not in set(figure_numbers("fig4", trials, made_table([], "epochs"))["source"])
    table = figure_numbers("fig1", trials)
    ours = table[table["source"] == "ours"]
    assert list(ours["panel"]) == ["left", "left"]
    found = analysis.estimate([5.0, 5.2, 5.4])
    (mean,) = ours[ours["series"] == "SRSGD"].to_dict("records")
    assert (mean["x"], mean["n"]) == (110, 3)
    assert [mean[k] for k in ("y", "std", "low", "high")] == pytest.approx(
        [found.mean, found.std, found.low, found.high]
    )
    assert "epoch: last, published best by test error" in mean["variant"]
    figure = draw_numbers(table)
    left = figure.axes[0]
    points, bars = our_points(left, "SRSGD")
    assert points == [(110, pytest.approx(5.2))]
    np.testing.assert_allclose(bars, [(found.low, found.high)])
    assert our_points(left, "SGD")[0] == [(110, 5.5)]
    assert "n = 1 to 3" in all_text(figure)
    reduced = figure_numbers("fig5", trials)
    ours = reduced[reduced["source"] == "ours"]
    assert list(zip(ours["role"], ours["series"], ours["x"], strict=True)) == [
        ("point", "PreResNet-110", 0.0),
        ("reference", "PreResNet-110", 0.0),
    ]


def test_the_best_test_epoch_is_drawn_where_that_is_asked_for() -> None:
    runs = confirm_runs(
        "srsgd", (5.0, 5.2), test_every_epoch=True, best_test_error=4.8, **PUBLISHED
    )
    trials = made_table(runs)
    for protocol, wanted in (("last", 5.1), ("as_published", 4.8)):
        table = figure_numbers("fig1", trials, protocol=protocol)
        ours = table[table["source"] == "ours"]
        assert list(ours["y"]) == pytest.approx([wanted])
        last = "epoch: last, published best by test error" in ours["variant"].iloc[0]
        assert last == (protocol == "last")


def test_runs_that_differ_in_more_than_the_seed_are_lines_of_their_own() -> None:
    other = {**PUBLISHED, "restart_convention": "as_published"}
    trials = made_table(
        [*confirm_runs("srsgd", (5.0,), **PUBLISHED), *confirm_runs("srsgd_2", (6.0,), **other)]
    )
    table = figure_numbers("fig1", trials)
    ours = table[table["source"] == "ours"]
    assert list(ours["y"]) == [5.0, 6.0]
    assert ours["variant"].nunique() == 2
    figure = draw_numbers(table)
    assert [t.get_text() for t in figure.legends[0].get_texts()][-2:] == ["ours (1)", "ours (2)"]
    assert "Ours, SRSGD (1): restarts: " in all_text(figure)


def test_our_training_loss_stands_at_the_same_epochs(tmp_path: Path) -> None:
    config = {**PUBLISHED, "depth": 290, "epochs_done": 10}
    runs = confirm_runs("srsgd", (4.4, 4.5, 4.3), **config)
    trials, epochs = made_table(runs), made_table(made_epochs(runs), "epochs")
    table = figure_numbers("fig6", trials, epochs)
    for name, read in (("trials", trials), ("epochs", epochs)):
        (tmp_path / "study").mkdir(exist_ok=True)
        read.to_parquet(tmp_path / "study" / f"{name}.parquet")
    pd.testing.assert_frame_equal(paper_numbers("fig6", [tmp_path]), table)
    ours = table[(table["source"] == "ours") & (table["panel"] == "left")]
    assert set(ours["series"]) == {"F1=30"}
    assert list(ours["x"]) == list(range(10))
    expected = [analysis.estimate([(2 + 0.1 * s) / e for s in (1, 2, 3)]) for e in range(1, 11)]
    for name in ("n", "std", "low", "high"):
        assert list(ours[name]) == pytest.approx([getattr(one, name) for one in expected])
    assert list(ours["y"]) == pytest.approx([one.mean for one in expected])
    axes = draw_numbers(table).axes
    assert line(axes[0], "ours F1=30")[1] == pytest.approx(list(ours["y"]))
    assert our_points(axes[1], "SRSGD")[0] == [(4, pytest.approx(4.4))]


def gap_curves() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"study": "made", "case": case, "method": "SRNAG", "seed": seed, "step": step,
             "value": (1.0 + seed) / (1 + step)}
            for case, seeds in (("exact", 1), ("decaying", 3))
            for seed in range(seeds)
            for step in (0, 1, 100)
        ]
    )  # fmt: skip


def test_our_curves_of_the_quadratic(tmp_path: Path) -> None:
    gap_curves().to_parquet(tmp_path / "curves.parquet")
    figure = paper_figure("fig2", [tmp_path])
    left, middle, right = figure.axes
    assert line(left, "ours SRNAG") == ([1, 2, 101], [1.0, 0.5, 1 / 101])
    assert line(right, "ours SRNAG")[1] == pytest.approx([2.0, 1.0, 2 / 101])
    assert "ours SRNAG" not in {each.get_label() for each in middle.lines}
    found = analysis.estimate([1.0, 2.0, 3.0])
    assert corners([1.0], [found.low], [found.high]) <= band(right, "ours SRNAG")
    assert "n = 1 to 3" in all_text(figure)


def test_the_trajectory_is_drawn_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotYet, match=r"run \S*python studies/trajectory\.py first"):
        paper_figure("appfig7")
    made = Figure()
    monkeypatch.setattr("srsgd_ray.paper.trajectory_figure.trajectory", lambda folder: made)
    with pytest.raises(NotYet, match="first"):
        paper_figure("appfig7", [tmp_path])
    (tmp_path / "trajectory.parquet").touch()
    assert paper_figure("appfig7", [tmp_path]) is made


def test_command_line_draws_from_the_parquet_that_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    gap_curves().to_parquet("mine/curves.parquet")
    assert main(["figures", "mine", "--format", "svg", "appfig5", "appfig7", "--as-plotted"]) == 0
    nothing, skipped, *written = capsys.readouterr().out.splitlines()
    assert nothing.startswith("appfig5: none of our runs in mine belongs there")
    command = typed("python", "studies/trajectory.py")
    assert skipped == f"skipped appfig7: run {command} first, and name its results folder"
    stem = Path("results/figures/appfig5_as_plotted")
    assert written == [f"{stem}.svg", f"{stem}.parquet"]
    again = draw_numbers(pd.read_parquet(f"{stem}.parquet"))
    label = "published PreResNet-110"
    before = drawn("appfig5", True).axes[0]
    assert line(again.axes[0], label) == line(before, label)
    assert band(again.axes[0], label) == band(before, label)
    assert ", as plotted</text>" in Path(f"{stem}.svg").read_text()


def test_command_line_sorts_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "srsgd_ray.figures.save.draw", lambda *given: asked.append(("study", *given)) or []
    )
    monkeypatch.setattr(
        "srsgd_ray.paper.figures.draw_paper",
        lambda *given: asked.append(("paper", *given)) or ["x"],
    )
    folder, png = str(tmp_path), ["png", "svg"]
    out = Path("results") / "figures"
    for words, expected in (
        ([folder], [("study", folder, None, png, None)]),
        ([folder, "confirmation"], [("study", folder, ["confirmation"], png, None)]),
        (["fig1", "fig1"], [("paper", ["fig1"], [], png, out, False, "last")]),
        (
            ["fig5", folder, "fig1"],
            [("paper", ["fig5", "fig1"], [folder], png, out, False, "last")],
        ),
        (["paper"], [("paper", list(PAPER_FIGURES), [], png, out, False, "last")]),
        (
            ["confirmation", "fig1", folder, "--out", "x"],
            [
                ("study", folder, ["confirmation"], png, "x"),
                ("paper", ["fig1"], [folder], png, "x", False, "last"),
            ],
        ),
    ):  # fmt: skip
        asked.clear()
        assert main(["figures", *words]) == 0
        assert asked == expected
    assert list(PAPER_FIGURES) == [*PANELS, "appfig7"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fig9"], "unknown figure 'fig9'. Valid: best_so_far, "),
        (["fig9"], "appfig7; all of the paper: paper; or a folder with results."),
        (["fig1", "no/where"], "no results: expected a folder 'no/where', or one of: best_so_far"),
        (["confirmation"], "figures of a study need its results folder"),
        (["fig1", "--protocol", "mine"], "unknown protocol 'mine'. Valid: last, as_published."),
        (["fig1", "--format", "gif"], "unknown format 'gif'. Valid: png, svg, pdf."),
        ([".", "..", "--out", "x"], "--out takes the figures of one study, but got 2"),
    ],
)
def test_command_line_refuses(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="must go into a folder that can be written"):
        draw_paper(["fig3"], out=tmp_path / "file" / "x")


def test_unknown_names_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown figure of the paper 'fig7'"):
        paper_figure("fig7")
    with pytest.raises(UnknownNameError, match="with numbers 'appfig7'"):
        figure_numbers("appfig7")
    with pytest.raises(RecordError, match="no results: expected"):
        paper_figure("fig1", [tmp_path])
