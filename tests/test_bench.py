"""`make bench`: what benchmarks hand over, and the page that is made of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

HAND_OVER = "import os; open(os.environ['BENCH_ROWS'], 'a').write({!r} + chr(10))"
WORKS = "works.py", HAND_OVER
FAILS = "fails.py", HAND_OVER + "; raise OSError('no | disk')"
STAYS = "stays.py", HAND_OVER + "; import time; time.sleep(60)"


def test_a_row_has_quartiles_and_knows_whether_it_meets_its_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rows import FILE, Row, row

    monkeypatch.setenv(FILE, str(tmp_path / "rows"))
    slow = row("slow", [4.0, 2.0, 3.0, 5.0, 1.0], goal=2.5)
    fast = row("fast", [12000.0], "ms", goal=10000.0, least=True)
    assert (slow.result, slow.n, slow.missed) == ("3 times [2, 4]", 5, True)
    assert (fast.result, fast.aim, fast.missed) == (
        "12,000 ms [12,000, 12,000]", "at least 10,000 ms", False,
    )  # fmt: skip
    lines = (tmp_path / "rows").read_text(encoding="utf-8").splitlines()
    assert [Row(**json.loads(line)) for line in lines] == [slow, fast]


def test_one_that_fails_has_a_row_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench
    from rows import Row

    monkeypatch.setattr(bench, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    done = []
    for (name, text), seconds in ((WORKS, 20.0), (FAILS, 20.0), (STAYS, 1.0)):
        found = json.dumps(asdict(Row(f"of {name}", "ms", 2.0, False, 3, 1.0, 2.5, 3.0)))
        (tmp_path / "benchmarks" / name).write_text(text.format(found), encoding="utf-8")
        done.append(bench.take(bench.Bench(name, name, ""), name, seconds))
    assert done[2].seconds < 20
    text = bench.page(done, [bench.Bench("later.py", "", "")], ["- machine"], quick=False)
    for name in ("works", "fails", "stays"):
        assert f"| of {name}.py | 2.5 ms [1, 3] | 3 | at most 2 ms | **missed** |" in text
    assert "| fails | **failed**: exit status 1: OSError: no / disk | | | |" in text
    assert "| stays | **failed**: no end within the 1 s that were left | | | |" in text
    assert "| later | not run | | | |" in text


def test_what_is_run_is_there() -> None:
    import bench

    for one in bench.BENCHES:
        for words in (one.words, one.quick):
            assert (bench.ROOT / "benchmarks" / words.split()[0]).is_file()
