"""A user's own words in other languages: shells, mathtext, LaTeX, Markdown, CSV, files, help."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from made_results import confirm_runs, made_table, made_trial
from optuna.distributions import FloatDistribution

from srsgd_ray import figures
from srsgd_ray.analysis import render
from srsgd_ray.backends.store import trial_folder
from srsgd_ray.cli import main
from srsgd_ray.cli.guard import guarded
from srsgd_ray.cli.launch import _command, _Pictures, _report, resume_command
from srsgd_ray.cli.parser import new_parser
from srsgd_ray.cli.studies import load_file, recorded
from srsgd_ray.cli.study_options import add_options
from srsgd_ray.config import TrainConfig
from srsgd_ray.figures.save import draw
from srsgd_ray.figures.style import settings
from srsgd_ray.results import Record, arrow_schema, read_trials, write_tables
from srsgd_ray.results.place import check_writable
from srsgd_ray.study import Arm, Study
from srsgd_ray.study.arm import LONGEST, check_name
from srsgd_ray.table import table
from srsgd_ray.training import single

ROOT = Path(__file__).parents[1]
X = {"x": FloatDistribution(0.0, 1.0)}
STUDY = Study("mine", "?", (Arm("a", X), Arm("b", X)), trainable=toy.toy, trials=1)

# Names.

NEVER = ("", " ", " a", "a ", ".", "..", "a/b", "a/../../b", "a\\b", "two\nlines", "nul\0",
         "\u202ea", "\udc80", "a" * (LONGEST + 1), "é" * 51)  # fmt: skip
SHOWN = ("cost $2 {low$", "srsgd $F_1$", "[red]", "a|b", "a&b", "100 %", "%s {0}", "#1", "<b>",
         "lr=0.1, late", "שלום", "a^2", "'q\"", "*", "~", "v1.")  # fmt: skip


@pytest.mark.parametrize("what", ["a study", "an arm", "a protocol"])
@pytest.mark.parametrize("name", NEVER)
def test_no_name_may_leave_its_place(name: str, what: str) -> None:
    changed: dict[str, Any] = {
        "a study": {"name": name},
        "an arm": {"arms": (Arm(name, X),)},
        "a protocol": {"protocols": {name: {}}, "protocol": name},
    }[what]
    with pytest.raises(ValueError, match="name must be"):
        dataclasses.replace(STUDY, **changed).check()


@pytest.mark.parametrize("name", ["-a", ".a", "a.", *SHOWN[:-1]])
def test_the_name_of_a_study_is_that_of_a_folder_which_is_typed(name: str) -> None:
    if name != "שלום":
        with pytest.raises(ValueError, match="a study's name must be of letters, digits"):
            check_name(name)


@pytest.mark.parametrize("name", SHOWN)
def test_an_arm_may_be_called_so(name: str) -> None:
    assert dataclasses.replace(STUDY, arms=(Arm(name, X),)).check().arms[0].name == name


def test_a_trials_folder_has_room_for_the_longest_name(tmp_path: Path) -> None:
    (tmp_path / trial_folder(f"confirm-{'é' * (LONGEST // 2)}-000")).mkdir()
    (tmp_path / trial_folder(f"confirm-{'a b' * (LONGEST // 3)}-000000")).mkdir()


@pytest.mark.parametrize("names", [("a_b", "a b"), ("srsgd", "SRSGD"), ("e\u0301", "é")])
def test_arms_that_look_the_same_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="names that a table can tell apart"):
        dataclasses.replace(STUDY, arms=tuple(Arm(name, X) for name in names)).check()


# Commands that a message gives to be typed.


@pytest.mark.parametrize("script", ["my study.py", "a'b.py", "x?.py", "$HOME.py", "plain.py"])
def test_a_command_is_typed_as_it_was(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    command = shlex.split(resume_command(_command(), ["--results", "sp ace", "--name=x"]))
    assert command[1:] == [script, "--results", "sp ace", "--name=x", "--resume"]
    assert Path(command[0]).absolute().parent == Path(sys.executable).parent


OURS = Path(sys.executable).parent
TYPED = "from srsgd_ray.typed import typed; print(typed('python', 'a b.py'), typed('srsgd-ray'))"


@pytest.mark.parametrize(
    ("path", "here", "expected"),
    [
        ("/usr/bin:/bin", "/usr", f"{OURS}/python 'a b.py' {OURS}/srsgd-ray"),
        ("/usr/bin:/bin", f"{OURS.parent}", "bin/python 'a b.py' bin/srsgd-ray"),
        (f"{OURS}:/usr/bin", "/usr", "python 'a b.py' srsgd-ray"),
        (f"OTHER:{OURS}", "/usr", f"{OURS}/python 'a b.py' {OURS}/srsgd-ray"),
    ],
)
def test_a_printed_command_is_of_the_environment_that_printed_it(
    path: str, here: str, expected: str, tmp_path: Path
) -> None:
    """OTHER is an environment of the same Python, whose programs come first."""
    for name in ("python", "python3", "srsgd-ray"):
        (tmp_path / name).symlink_to(OURS / name if name == "srsgd-ray" else sys.executable)
    path = path.replace("OTHER", str(tmp_path))
    env = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *sys.path)))}
    command = [sys.executable, "-c", TYPED]
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
    names = shlex.split(expected)
    for word in (names[0], names[2]):
        found = shutil.which(word, path=path) or shutil.which(str(Path(here, word)))
        assert found is not None and Path(found).absolute().parent == OURS


@pytest.mark.parametrize("place", ["runs?1", "50%41", "h#1", "sp ace", "-lead", "$HOME"])
def test_the_dashboard_finds_the_database_of_any_folder(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    made(Path(place), [made_trial("a", 0, val_error=1.0)])
    Record.create(Path(place), {"study": "s", "spec": {}}).close()
    Path(place, "optuna.db").touch()
    _report(Path(place), _Pictures(Path(place), wanted=False))
    (line,) = (n for n in capsys.readouterr().out.splitlines() if "optuna-dashboard" in n)
    command = re.sub(r"&& \S*optuna-dashboard", "&& echo", line.partition(":")[2]) + " && ls"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    there = ["epochs.parquet", "optuna.db", "record.jsonl", "trials.parquet"]
    assert done.stdout.split() == ["sqlite:///optuna.db", *there]


def test_options_of_a_record_may_begin_with_a_dash(tmp_path: Path) -> None:
    header = {"study": "s", "spec": STUDY.to_dict(), "options": {"storage": "-x"}}
    Record.create(tmp_path / "s", header).close()
    assert "--storage=-x" in recorded(tmp_path / "s")[1]


@pytest.mark.parametrize("name", ["random.py", "statistics.py", "torch.py", "my.study.py"])
def test_a_script_that_workers_would_not_find_by_its_name(name: str, tmp_path: Path) -> None:
    before = sys.modules.get(Path(name).stem)
    (tmp_path / name).write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"imported by its name, but that of .* Rename it"):
        load_file(tmp_path / name)
    assert sys.modules.get(Path(name).stem) is before


def test_help_shows_texts_as_they_are() -> None:
    odd = dataclasses.replace(
        STUDY, question="Is 50 % of %(prog)s {0} enough?", searcher="50%", protocols={"5 %d": {}},
        arms=(Arm("a", X, labels={"kind": "100 %s"}),), protocol="5 %d",
    )  # fmt: skip
    parser = new_parser("p", odd.question)
    add_options(parser, odd)
    text = " ".join(parser.format_help().split())
    assert all(part in text for part in (odd.question, "[50%]", "[5 %d]", "100 %s"))


# Figures.


def made(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    trials = pa.Table.from_pylist(rows, schema=arrow_schema("trials"))
    with (folder / "trials.parquet").open("wb") as file:
        pq.write_table(trials, file)
    pq.write_table(arrow_schema("epochs").empty_table(), folder / "epochs.parquet")
    return folder


def compared(arm: str) -> list[dict[str, Any]]:
    searched = [made_trial(arm, n, val_error=5.0 + n, lr=0.1 * (n + 1)) for n in range(2)]
    mine, other = confirm_runs(arm, [3.0, 3.2, 3.1]), confirm_runs("sgd", [3.5, 3.6, 3.7])
    return [*searched, *mine, *other]


def test_figures_and_tables_show_names_as_they_are() -> None:
    """All in one figure: each takes half a second to draw."""
    runs = [run for name in SHOWN[:12] for run in confirm_runs(name, [3.0, 3.2])]
    trials = made_table(runs)
    figure = figures.confirmation(trials, baseline="#1")
    out = io.BytesIO()
    with settings():
        figure.savefig(out, format="svg")
    parts = re.findall(r"<(?:text|tspan)[^>]*>([^<]+)<", out.getvalue().decode())
    said, shown = html.unescape(" ".join(parts)), render(trials)
    for name in SHOWN[:12]:
        words = name.replace("_", " ").split()
        assert all(word in said for word in words), name
        assert name.replace("_", " ") in shown


def test_a_unit_of_dollars_and_a_very_long_name_leave_a_figure() -> None:
    trials = made_table(compared("b" * LONGEST))
    figures.best_so_far(trials).savefig(io.BytesIO())
    figures.confirmation(trials, baseline="sgd").savefig(io.BytesIO())  # a warning is an error


RC = {
    "text.usetex": "True", "figure.dpi": "10", "savefig.bbox": "tight", "xtick.bottom": "False",
    "axes.unicode_minus": "False", "text.color": "red", "lines.markersize": "20",
    "axes.formatter.use_locale": "True", "axes.formatter.limits": "0, 0",
}  # fmt: skip


def test_no_setting_of_matplotlibs_leaks_in(tmp_path: Path) -> None:
    folder = made(tmp_path / "s", compared("srsgd"))
    plain = [path.read_bytes() for path in draw(folder, None, ("svg",), tmp_path / "plain")]
    with mpl.rc_context(RC):
        same = [path.read_bytes() for path in draw(folder, None, ("svg",), tmp_path / "own")]
        assert mpl.rcParams["text.usetex"]
    assert same == plain
    assert len(plain) == 3


# Variables that torchrun or a cluster's script left in the shell.


@pytest.mark.parametrize(
    ("left", "missing"),
    [
        ({"RANK": "0"}, "WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not set. Start it by torchrun"),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "h"}, "MASTER_PORT is not set"),
    ],
)
def test_what_torchrun_left_in_part_is_told(
    left: dict[str, str],
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    words = ["train", "--dataset", "digits", "--epochs", "1", "--lr-milestones"]
    assert main([*words, "--out", str(tmp_path / "x")]) == 2
    assert missing in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_that_waits_for_others_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "5"}
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in whole.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(single.dist, "init_process_group", lambda backend: None)
    monkeypatch.setattr(single.dist, "destroy_process_group", lambda: None)
    with single._process_group(TrainConfig(device="cpu")):
        pass
    said = "Process 0 of 2: waiting for the others at h:5. For a run alone, unset RANK.\n"
    assert capsys.readouterr().out == said


# Tables.

CELLS = ("[x] $a$", "*x*", "a|b\\", "_x_ a_b", "--", "<b>&lt;", "two\nlines\r", "\x1b[31m", "`c`")


def test_every_format_shows_a_cell_as_it_is() -> None:
    rows = pd.DataFrame({"arm": CELLS, "a|b": range(len(CELLS))})
    expected = [cell.encode("unicode_escape").decode() for cell in CELLS]
    expected = [e.replace("\\\\", "\\") for e in expected]
    assert [line.rpartition("  ")[0].strip() for line in table(rows).splitlines()[1:]] == expected
    lines = table(rows, "markdown").splitlines()
    cells = [re.split(r"(?<!\\)(?:\\\\)*\|", line)[1].strip() for line in lines]
    assert [re.sub(r"\\(.)", r"\1", cell) for cell in cells[2:]] == expected
    # What is no letter is escaped, but for underscores within words.
    assert not re.search(r"(?<!\\)[*<>\[$`&]", "".join(cells))
    assert cells[5] == r"\_x\_ a_b"
    assert r"a\|b |" in lines[0]
    latex = table(rows, "latex").splitlines()
    assert latex[4].startswith(r"{[}x] \$a\$ &") and latex[5].startswith("{*}x{*} &")
    assert latex[8].startswith("-{}- &")
    assert len(latex) == len(CELLS) + 6


def test_csv_is_read_back() -> None:
    rows = pd.DataFrame({"arm": CELLS, "n": range(len(CELLS))})
    read = list(csv.reader(io.StringIO(table(rows, "csv"), newline="")))
    assert [row[0] for row in read[1:]] == list(CELLS)


def test_texts_that_utf8_has_not_are_shown_in_the_tables(tmp_path: Path) -> None:
    knobs = {"seed": 1, "kind": "\udc80", "x": 1.0}
    with Record.create(tmp_path, {"study": "s", "spec": {}}) as record:
        record.begin("t", "search", "a", 0, knobs)
        record.epoch("t", {"epoch": 1, "score": 1.0})
        record.end("t", "failed", "no file /data/\udcff.png")
        write_tables(tmp_path, record.contents, STUDY.columns())
    found = read_trials(tmp_path).iloc[0]
    assert (found["kind"], found["reason"]) == (r"\udc80", r"no file /data/\udcff.png")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_encoding_of_a_terminal_ends_a_command(encoding: str) -> None:
    code = (
        "import sys; from srsgd_ray.cli.guard import guarded\n"
        "sys.exit(guarded('p', lambda: print('n ± 1 … שלום \\udc80')))"
    )
    own = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=own, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u05e9" in done.stdout and b"\\udc80" in done.stdout


# Places that cannot be written.


@pytest.mark.parametrize("place", ["file", "file/x", "/proc/x", "/dev/full", "n" * 300])
def test_a_place_that_cannot_be_written_is_one_message(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    made(Path("s"), compared("srsgd"))
    verbs = [
        (["figures", "s", "best_so_far", "--out", place], "--out"),
        (["figures", "fig1", "--out", place], "--out"),
        (["lmdb", "build", "s", f"{place}/x.lmdb"], ""),
    ]
    for words, cure in verbs:
        assert main(words) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert cure in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "s"]


def test_a_file_in_the_way_of_a_figure_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path / "s", compared("srsgd"))
    (folder / "figures" / "best_so_far.png").mkdir(parents=True)
    assert main(["figures", str(folder), "best_so_far"]) == 2
    assert "best_so_far.png: Is a directory" in capsys.readouterr().err


def test_asking_whether_a_folder_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", "results", "--results")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_behind_the_output_is_one_message() -> None:
    code = "import sys; from srsgd_ray.cli import main; sys.exit(main(['columns']))"
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("srsgd-ray columns: No space left on device")
    assert len(done.stderr.splitlines()) == 1


def test_an_error_of_the_disk_is_told_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise OSError(28, "No space left on device", "/disk/x")

    assert guarded("p", work) == 2
    assert capsys.readouterr().err.startswith("p: /disk/x: No space left on device. ")


def test_text_files_are_opened_with_an_encoding() -> None:
    """Else the locale's is taken."""
    found = []
    for file in (ROOT / "srsgd_ray").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for call in re.findall(r"\.(?:read_text|write_text)\([^\n]*", text):
            found += [f"{file.name}: {call}"] if "encoding=" not in call else []
    assert not found
    assert json.dumps("é") == '"\\u00e9"'  # what the record is written in
