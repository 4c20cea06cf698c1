"""What a person sees of a study that runs: the terminal's lines, and the log."""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import pty
import re
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyte
import pytest
import toy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from srsgd_ray import progress
from srsgd_ray.results import Record, read_record, read_trials
from srsgd_ray.results.log import LOG
from srsgd_ray.study import Arm, Study, run
from srsgd_ray.study.display import Display
from srsgd_ray.study.options import Options
from srsgd_ray.study.run import execute

X = {"x": FloatDistribution(0.0, 1.0)}
STUDY = Study(
    name="t",
    question="Is it near?",
    trainable=toy.toy,
    arms=(
        Arm("near", X),
        Arm("far", {"x": FloatDistribution(-2.0, -1.0)}),
        Arm("bad", fixed={"wrong": "diverge"}, trials=1, confirm_seeds=0),
        Arm("worse", fixed={"wrong": "value"}, trials=1, confirm_seeds=0),
    ),
    baseline="far",
    trials=6,
    epochs=4,
    scheduler="asha",
    confirm_seeds=2,
)
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"

pytestmark = pytest.mark.usefixtures("in_memory")


def test_the_log_has_a_line_for_every_begin_and_end(tmp_path: Path) -> None:
    folder = run(STUDY, results=tmp_path, backend="local").folder
    lines = (folder / LOG).read_text().splitlines()
    assert all(re.match(rf"{MOMENT}  \S", line) for line in lines)
    said = [line[21:] for line in lines]
    assert said[0].startswith("session 1 of t begins on ") and said[0].endswith(": Is it near?")
    assert said[-1] == "the session ends"
    trials = read_trials(folder)
    begun = [line.split(" begins: ")[0] for line in said if " begins: " in line]
    assert begun == trials["trial"].tolist()
    ended = dict(re.findall(r"^(\S+) ends (\w+)", "\n".join(said), re.MULTILINE))
    assert ended == dict(zip(trials["trial"], trials["state"], strict=True))
    assert set(ended.values()) == {"complete", "pruned", "diverged", "failed"}
    for row in trials.to_dict("records"):
        (begin,) = (line for line in said if line.startswith(f"{row['trial']} begins"))
        (end,) = (line for line in said if line.startswith(f"{row['trial']} ends"))
        assert f"arm {row['arm']}" in begin
        if row["arm"] in ("near", "far"):
            assert f"x {row['x']}" in begin  # as searched, to the last digit
            assert f"score {row['score']:.6g}" in end
        if row["phase"] == "confirm":
            assert f"seed {row['seed']}" in begin
        assert f"{row['epochs_done']} epoch" in end
        if row["state"] != "complete":
            assert f", {row['reason']}: " in end


def test_the_log_says_what_a_later_session_goes_on_with_and_has_no_colours(
    tmp_path: Path,
) -> None:
    spec = replace(STUDY, arms=STUDY.arms[:2]).check().to_dict()
    with Record.create(tmp_path / "t", {"study": "t", "spec": spec}) as record:
        record.session(host="here")
        record.begin("search-near-000", "search", "near", 0, {"x": 0.25})
        record.epoch("search-near-000", {"epoch": 1, "score": 3.5})
        record.pause()
    with Record.reopen(tmp_path / "t") as record:
        record.session(host="there")
        record.end("search-near-000", "failed", "\x1b[36mno \x1b[0m\nroom", host="there")
        said = [line[21:] for line in (tmp_path / "t" / LOG).read_text().splitlines()]
        assert said[2:4] == [
            "the session ends",
            "session 2 of t begins on there; it goes on with search-near-000 after epoch 1",
        ]
        assert re.fullmatch(
            r"search-near-000 ends failed, no room: score 3.5, 1 epoch, 0.0 s, on there", said[4]
        )
        record.retry(["search-near-000"])
        record.enqueue("near", 0, 1, {"x": 0.5})
        record.select(0, {"near": ["search-near-001"], "far": []})
        said = [line[21:] for line in (tmp_path / "t" / LOG).read_text().splitlines()]
        assert said[5:] == [
            "search-near-000 is to run again; it had ended failed, no room",
            "arm near is to try x 0.5, in search 0",
            "search 0 has ended: search-near-001 to confirm",
        ]
        (tmp_path / "t" / LOG).unlink()
        (tmp_path / "t" / LOG).mkdir()  # cannot be written: the record goes on
        assert record.begin("search-far-000", "search", "far", 0, {"x": -1.5})
    assert list(read_record(tmp_path / "t").trials) == ["search-near-000", "search-far-000"]


KNOBS = X | {
    "slope": FloatDistribution(0.5, 2.0),
    "kind": CategoricalDistribution(("plain", "a-name-that-is-rather-long-for-a-terminal")),
    "sizes.0": IntDistribution(1, 64),
}
LONG = Study(
    name="t",
    question="?",
    trainable=toy.toy,
    arms=(
        Arm("an arm with a name of several words", KNOBS),
        Arm("bad", X, fixed={"wrong": "diverge"}),
    ),
    trials=2,
    confirm_seeds=1,
    epochs=3,
    base={"wait": 0.2},
)


class Terminal:
    """A pseudo-terminal of a size, and all that stood on it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.emulator = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream, self.seen = pyte.ByteStream(self.emulator), [""]
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen = os.fdopen(theirs, "w", buffering=1, encoding="utf-8")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # as Linux says that the other end is closed
            while data := os.read(self._ours, 65536):
                self._stream.feed(data)
                lines = "\n".join(line.rstrip() for line in self.emulator.display)
                self.seen.append(lines.strip())

    def close(self) -> str:
        """What stands there at the end."""
        self.screen.close()
        self._reader.join(10)
        os.close(self._ours)
        return self.seen[-1]


@pytest.fixture
def on_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[str], str]]:
    """Runs a study as the command line does, on a terminal of a size: what was seen, and last."""

    def conduct(study: Study, columns: int = 80, rows: int = 24, slots: int = 1) -> Any:
        terminal = Terminal(columns, rows)
        running = sys.modules["srsgd_ray.study.run"]
        monkeypatch.setattr(running, "all_output_to", lambda path: nullcontext(terminal.screen))
        monkeypatch.setattr(progress, "SHOW_EVERY", 0.02)
        monkeypatch.setattr(progress, "SHOW_SHARE", 0.0)
        options = Options(results=tmp_path, backend="local", slots=slots, plan="no")
        execute(study, options, name="t", resume=False, quiet=False)
        end = terminal.close()
        return terminal.seen, end

    return conduct


def test_a_terminal_of_80_columns_shows_two_lines_a_slot_and_loses_nothing(
    tmp_path: Path, on_terminal: Callable[..., tuple[list[str], str]]
) -> None:
    seen, end = on_terminal(LONG)
    trials = read_trials(tmp_path / "t")
    for row in trials.to_dict("records"):
        mine = [re.sub(r"\s+", " ", s) for s in seen if f"\n{row['trial']}  " in s]
        wanted = [f"x {row['x']:.4g}"]
        if row["arm"] != "bad":
            sizes = f"sizes.0 {row['sizes'][0]}"
            wanted += [f"slope {row['slope']:.4g}", f"kind {row['kind']}", sizes]
            wanted += ["1 of 3 epochs, score "]
        assert any(all(text in said for text in wanted) for said in mine), row
    two = r"(?m)^search-bad-000  x 0\.\d+\n \S+ [01] of 3 epochs, "  # lines, where they fit
    assert any(re.search(two, s) for s in seen)
    assert counts_in(end) == dict(trials["state"].value_counts())
    assert f"{len(trials)}/{len(trials)} trials | " in end
    best = trials[(trials["phase"] == "search") & (trials["state"] == "complete")]["score"].max()
    assert f"highest score: an arm with a name of several words {best:.4g}" in end


def counts_in(text: str) -> dict[str, int]:
    found = re.findall(r"(\d+) (complete|pruned|diverged|failed)", text)
    assert len(found) == 4
    return {state: int(count) for count, state in found if count != "0"}


def test_a_terminal_that_is_too_low_shows_a_summary(
    on_terminal: Callable[..., tuple[list[str], str]],
) -> None:
    seen, end = on_terminal(replace(LONG, confirm_seeds=0), rows=4)
    assert any("1 run now, with 1 to 1 epochs done" in s for s in seen)
    assert not any("\nsearch-" in s for s in seen)
    assert counts_in(end) == {"complete": 2, "diverged": 2}


def test_without_a_terminal_there_is_one_line_with_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    running = sys.modules["srsgd_ray.study.run"]
    monkeypatch.setattr(running, "all_output_to", lambda path: nullcontext(screen))
    options = Options(results=tmp_path, backend="local", plan="no")
    execute(STUDY, options, name="t", resume=False, quiet=False)
    line = screen.getvalue().splitlines()[-1]
    assert counts_in(line) == dict(read_trials(tmp_path / "t")["state"].value_counts())
    assert "\x1b" not in screen.getvalue()


def test_lines_come_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    seldom, lines = progress._Seldom(), []
    while now < 7200:
        now += 1.0
        if seldom.due():
            lines.append(now)
    gaps = [b - a for a, b in itertools.pairwise([0.0, *lines])]
    assert gaps[0] == 16 and gaps[-1] == 301 and gaps == sorted(gaps)
    assert len(lines) < 60


def test_a_slot_keeps_its_place() -> None:
    shown = Display(Mock())
    for running, places in (("ab", "ab"), ("bc", "cb"), ("b", "b"), ("bde", "bde"), ("fe", "fe")):
        assert "".join(shown._placed(dict.fromkeys(running))) == places  # type: ignore[arg-type]


def test_what_is_printed_meanwhile_stands_above(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(40, 10)
    monkeypatch.setattr(progress, "SHOW_EVERY", 0.02)
    shown = progress.Overview(["1/2 trials", "so far"], [progress.Piece(["a"], 1, 2, ["1 of 2"])])
    with progress.watched(terminal.screen, lambda: shown) as screen:
        time.sleep(0.1)
        print("Stopping.", file=screen)
        time.sleep(0.1)
    lines = terminal.close().splitlines()
    assert [lines[0], lines[1], lines[2]] == ["Stopping.", "1/2 trials | so far", "a"]
    assert lines[3].endswith("1 of 2") and len(lines) == 4
