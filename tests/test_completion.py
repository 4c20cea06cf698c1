"""Completion by the Tab key: typed into a real shell, which has the script of ``completion``."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from srsgd_ray.cli import main
from srsgd_ray.cli.declared import VERBS
from srsgd_ray.results import Record

ECHO = 'srsgd-ray() { echo "<$*>"; }; PATH=/usr/bin:/bin'  # no Python of ours is found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and with results: two studies, and a folder that holds none."""
    folder: Path = tmp_path_factory.mktemp("place")
    for study in ("digits", "toys"):
        with Record.create(folder / "results" / study, {"study": study, "spec": {}}) as record:
            record.session()
            for arm in ("near", "far away"):
                for number in range(2):
                    name = f"search-{arm.replace(' ', '-')}-{number:03d}"
                    record.begin(name, "search", arm, number, {"x": 0.5, "arm": "other"})
    (folder / "results" / "figures").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "srsgd-ray").write_text('#!/bin/sh\necho "<$*>"\n')
    (folder / "bin" / "srsgd-ray").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def press(place: Path) -> Iterator[Callable[[str], str]]:
    """Types into an interactive bash; the words that the command then got."""
    with (place / "script").open("w") as file, redirect_stdout(file):
        assert main(["completion", "bash"]) == 0
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(place)
        env = {"PATH": "/usr/bin:/bin", "TERM": "dumb", "INPUTRC": "/dev/null", "HOME": str(place)}
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], env)

    def read(until: str) -> str:
        found, deadline = "", time.monotonic() + 20
        while until not in found and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                found += os.read(terminal, 65536).decode()
        assert until in found, found
        return found

    def typed(line: str) -> str:
        for part in line.split("\t"):  # as a person types: what comes after it ends a completion
            os.write(terminal, part.encode())
            os.write(terminal, b"\t" * (part != ""))
            while select.select([terminal], [], [], 0.3)[0]:
                os.read(terminal, 65536)
        os.write(terminal, b"\n")
        found = read(">\r\n")
        return found[found.rindex("<") + 1 : found.rindex(">\r\n")].strip()

    os.write(terminal, f"source ./script; {ECHO}; echo rea''dy\n".encode())
    read("ready")
    yield typed
    os.close(terminal)
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("srsgd-ray lmdb ver\t", "lmdb verify"),
        ("srsgd-ray train --lr-sched\t", "train --lr-schedule"),
        ("srsgd-ray status res\tt\t", "status results/toys/"),
        ("srsgd-ray rerun results/toys search-n\t1\t", "rerun results/toys search-near-001"),
        ("srsgd-ray best results/digits --arm n\t", "best results/digits --arm near"),
        ("srsgd-ray status else\t", "status elsewhere/"),
        ("bin/srsgd-ray tabl\t", "table"),
    ],
)
def test_tab_completes(press: Callable[[str], str], line: str, words: str) -> None:
    assert press(line) == words


def test_a_press_of_tab_costs_little_and_starts_no_python(place: Path) -> None:
    """Twenty presses for a trial, in bash's own time."""
    text = (place / "script").read_text()
    assert "python" not in text.lower()
    press = "COMP_WORDS=(srsgd-ray rerun results/toys se); COMP_CWORD=3; _shtab_srsgd_ray"
    work = f"cd {place}; . ./script; T=$EPOCHREALTIME; for i in {{1..20}}; do {press}; done; "
    work += "echo $(( (${EPOCHREALTIME/.} - ${T/.}) / 20 )) ${COMPREPLY[*]}"
    done = subprocess.run(["bash", "-c", work], capture_output=True, text=True, check=True)
    microseconds, *names = done.stdout.split()
    assert names == [f"search-{arm}-00{n}" for arm in ("far-away", "near") for n in (0, 1)]
    assert int(microseconds) < 200_000  # about 10 000 on a quiet machine


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_get_a_script_too(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert name.split()[-1] in text and verb.help.split("'")[-1][-12:] in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)
    assert main(["completion", "tcsh"]) == 2
    assert "Valid: bash, zsh, fish" in capsys.readouterr().err
