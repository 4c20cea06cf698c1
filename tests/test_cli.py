"""The one parser, the one end of a command's errors, and the one progress display."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import io
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import srsgd_ray
from srsgd_ray import progress
from srsgd_ray.cli import main
from srsgd_ray.cli.declared import VERBS
from srsgd_ray.cli.guard import guarded
from srsgd_ray.cli.parser import add_field, given_of, new_parser, pairs, parse, plainly
from srsgd_ray.knobs import knob, knob_types, one_of

QUICKSTART = str(Path(__file__).parents[1] / "studies" / "quickstart.py")


def test_every_verb_is_listed_and_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    for name, verb in VERBS.items():
        assert listed.count(f" {name} {verb.help}") == 1
        with pytest.raises(SystemExit) as stop:
            main([*name.split(), "--help"])
        assert stop.value.code == 0
        assert f"usage: srsgd-ray {name} " in capsys.readouterr().out
        parser = new_parser(name, verb.help)
        verb.arguments(plainly(parser.add_argument))
        helps = [verb.help, *(action.help or "" for action in parser._actions)]
        assert not [text for text in helps if not text or text.endswith(".")], "one style of help"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["figure"], "unknown command 'figure'. Valid: run, resume, "),
        (["figure"], "Did you mean 'figures'?"),
        (["lmdb", "verfy"], "Did you mean 'lmdb verify'?"),
        (["run", "--trials", "3", "x.py"], "options stand after the first argument, but got '--tr"),
        (["columns", "--trials"], "unknown option '--trials'. See: srsgd-ray columns --help"),
        (["columns", "a", "b"], "columns: unknown word 'b'. See: "),
        (["train", "--resum"], "train: unknown option '--resum'. Did you mean '--resume'? See: "),
        (["train", "--lr-sch=x"], "unknown option '--lr-sch'. Did you mean '--lr-schedule'?"),
        (["run", QUICKSTART, "--trails", "3"], "'--trails'. Did you mean '--trials'?"),
        (["run", QUICKSTART, "--gpus", "3"], "'--gpus'. Did you mean '--gpus-per-worker'?"),
        (["table"], "table: the following arguments are required: FOLDER|TABLE. See: "),
        (["train", "--depth", "x"], "argument --depth: invalid int value: 'x'. See: "),
    ],
)
def test_words_that_no_verb_takes(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: Any = main(words)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_the_version_names_what_a_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    ours, others = capsys.readouterr().out.splitlines()
    assert ours.startswith(f"srsgd-ray {srsgd_ray.__version__}")
    if (Path(__file__).parents[1] / ".git").exists():
        assert re.search(r"\(commit [0-9a-f]{40}(\+dirty)?\)$", ours)
    python = platform.python_version()
    named = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "ray", "optuna")]
    assert others == ", ".join([f"Python {python}", *named])


def test_a_wrong_name_among_many_gets_a_message_that_can_be_read() -> None:
    with pytest.raises(
        ValueError, match=r"trial-099, \.\.\. \(500 in all\)\. Did you mean 'trial-400'"
    ):
        one_of("trial", "trail-400", [f"trial-{n:03d}" for n in range(500)])


def refuse() -> None:
    raise ValueError("x must be small")


def interrupt() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()


@pytest.mark.parametrize(
    ("work", "status", "said"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (refuse, 2, "p: x must be small\n"),
        (interrupt, 130, "\np: interrupted.\nresume\n"),
        (terminate, 143, "\np: interrupted.\nresume\n"),
    ],
)
def test_a_command_ends_in_a_status_and_at_most_a_message(
    work: Any, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    assert guarded("p", work, lambda: print("resume", file=sys.stderr)) == status
    assert capsys.readouterr().err == said
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_that_is_no_message_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded("p", lambda: 1 // 0)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As ``srsgd-ray ... | head -1``, whose pipe is closed before the second line."""
    code = (
        "import sys; from srsgd_ray.cli.guard import guarded\n"
        "def work():\n"
        "    for n in range(100_000): print(n)\n"
        "sys.exit(guarded('p', work))"
    )
    command = (
        f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n0\n", "")


@dataclasses.dataclass(frozen=True)
class Config:
    lr: float = knob(0.1, "step size, 50 % of it")
    steps: tuple[int, ...] = knob((1, 2), "where it falls")
    nesterov: bool = knob(False, "look ahead")
    options: dict[str, Any] = knob({}, "options")
    name: str = knob("", "a name")


def test_a_field_is_an_option() -> None:
    types, fields = knob_types(Config), dataclasses.fields(Config)
    parser = new_parser("p", "")
    for field in fields:
        add_field(plainly(parser.add_argument), field, types[field.name])
    words = ["--lr", "0.5", "--steps", "3", "4", "--nesterov", "--options", "a=1", "b=x"]
    given = given_of(parse(parser, words), fields)
    assert given == {"lr": 0.5, "steps": [3, 4], "nesterov": True, "options": ["a=1", "b=x"]}
    assert given_of(parse(parser, ["--no-nesterov"]), fields) == {"nesterov": False}
    text = parser.format_help()
    assert "step size, 50 % of it [0.1]" in text and "a name [none]" in text


def test_options_may_stand_between_positional_arguments() -> None:
    parser = new_parser("p", "")
    parser.add_argument("words", nargs="+")
    parser.add_argument("--out")
    given = parse(parser, ["a", "--out", "x", "b"])
    assert given == argparse.Namespace(words=["a", "b"], out="x")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["lr=0.1", "name=text", "a.b=[1, 2]"], {"lr": 0.1, "name": "text", "a.b": [1, 2]}),
        (["on=True", "off=false"], {"on": True, "off": False}),
        (['{"eps": 0.001, "amsgrad": true}'], {"eps": 0.001, "amsgrad": True}),
        ([], {}),
    ],
)
def test_pairs_are_json_or_text(words: list[str], found: dict[str, Any]) -> None:
    assert pairs("--set", words, "lr=0.1") == found


@pytest.mark.parametrize("words", [["x"], ["=3"], ["a b=3"], ["{eps: 1}"], ["[1]"]])
def test_what_is_no_pair_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"--set must be NAME=VALUE pairs .* --set lr=0\.1\."):
        pairs("--set", words, "lr=0.1")


def test_progress_without_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    with progress.Progress(screen) as shown:
        for done in range(100):
            shown.show((f"[{done}] of 100", done, 100))
        shown.show(("[100] of 100", 100, 100), last=True)
    assert screen.getvalue() == "[100] of 100\n"
    monkeypatch.setattr(progress, "PLAIN_AT_LEAST", -1.0)
    with progress.Progress(screen) as shown:
        shown.show(("again", 1, 2))
    assert screen.getvalue().splitlines()[1:] == ["again"]


def test_the_pace_leaves_out_what_was_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((100.0, 102.0, 110.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    pace = progress.Pace()
    assert pace(50, 100) == (0.0, None)
    assert pace(50, 100) == (0.0, None)
    assert pace(70, 100) == (2.0, 15.0)


def test_all_output_goes_to_the_log_and_comes_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with progress.all_output_to(tmp_path / "output.txt") as screen:
        os.write(1, b"for the log\n")
        os.write(2, b"a library\n")
        print("for the user", file=screen)
    os.write(1, b"after\n")
    assert (tmp_path / "output.txt").read_text() == "for the log\na library\n"
    assert capfd.readouterr() == ("for the user\nafter\n", "")
