"""A record and a database that were damaged: found, named, and mended where that can be."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from made_results import events_of, rewrite
from test_local import STUDY, conduct, rows

from srsgd_ray.cli import main
from srsgd_ray.cli.doctor import _mended
from srsgd_ray.doctor.study import record
from srsgd_ray.results import RecordError, read_record
from srsgd_ray.results.crc import before, one_byte_mended
from srsgd_ray.results.lines import examine
from srsgd_ray.results.mending import mend, mended
from srsgd_ray.results.record import Record

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from damage import heavily, mutated


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    conduct(STUDY, folder)
    return folder / "t"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "t"))


def configs(folder: Path) -> dict[str, Any]:
    return {n: (t.config, len(t.rows), t.state) for n, t in read_record(folder).trials.items()}


def test_each_of_200_mutations_is_found_or_a_torn_last_line(folder: Path) -> None:
    path, rng = folder / "record.jsonl", random.Random(0)
    data = path.read_bytes()
    last = len(data.splitlines(keepends=True)[-1])
    found = 0
    for _ in range(200):
        path.write_bytes(damaged := mutated(data, rng))
        if data.startswith(damaged) and len(damaged) >= len(data) - last:
            read_record(folder)
            continue
        with pytest.raises(RecordError, match=r"line \d+ of .*record.jsonl is damaged: .*doctor"):
            read_record(folder)
        assert examine(path)[0]
        found += 1
    assert found > 150


@pytest.mark.parametrize("line", ["{}", "null", "123", '{"event": "epoch", "at": 1}'])
def test_a_line_that_is_no_event_is_named_in_a_record_of_format_1(folder: Path, line: str) -> None:
    path = folder / "record.jsonl"
    old = events_of(path)
    old[0]["format"] = 1
    text = [json.dumps(event) + "\n" for event in old]
    path.write_text("".join(text))
    with Record.reopen(folder) as record:
        record.pause()
    assert path.read_text().startswith("".join(text)) and "crc32" not in path.read_text()
    path.write_text("".join([*text[:4], line + "\n", *text[4:]]))
    with pytest.raises(RecordError, match=r"line 5 of .* is damaged"):
        read_record(folder)


def test_a_later_format_is_not_called_damaged(folder: Path) -> None:
    path = folder / "record.jsonl"
    rewrite(path, [events_of(path)[0] | {"format": 3}])
    with pytest.raises(RecordError, match="is a record of format 3, and this version reads 1 to 2"):
        read_record(folder)


def test_a_torn_first_line_is_begun_again(folder: Path) -> None:
    path = folder / "record.jsonl"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RecordError, match=r"the study never began\. Start it again, without"):
        read_record(folder)
    assert conduct(STUDY, folder.parent).status == "finished"


def test_the_doctor_names_lines_and_trials_and_its_cure_works(
    folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "record.jsonl"
    events = events_of(path)
    at = max(i for i, e in enumerate(events) if e.get("event") == "epoch")
    lost = events[at]["trial"]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[at] = lines[at].replace(b'"at": 1', b'"at": 2')
    path.write_bytes(b"".join(lines))
    assert main(["doctor", str(folder)]) == 1
    out = capsys.readouterr().out
    assert f"damaged: line {at + 1} of {path}; 9 trials whole" in out
    assert f"something lost of {lost}" in out
    damaged = path.read_bytes()
    assert f"doctor {folder} --mend && " in out and f"{len(lines)} lines are sound." in out
    main(["doctor", str(folder), "--mend"])
    assert "The damaged file is record.jsonl.set-aside-1 now." in capsys.readouterr().out
    assert path.read_bytes() == (whole / "record.jsonl").read_bytes()
    assert (folder / "record.jsonl.set-aside-1").read_bytes() == damaged
    assert "no line of record.jsonl is damaged, and nothing was changed" in _mended(folder)
    with Record.reopen(folder), pytest.raises(RecordError, match="another process is working"):
        mend(folder)


def test_a_crc_backwards() -> None:
    rng = random.Random(0)
    for _ in range(200):
        text, begun = rng.randbytes(rng.randrange(1, 400)), rng.getrandbits(32)
        crc, place = zlib.crc32(text, begun), rng.randrange(len(text))
        assert before(text, crc) == begun
        other = bytes([text[place] ^ rng.randrange(1, 256)])
        assert one_byte_mended(text[:place] + other + text[place + 1 :], begun, crc) == text


def test_a_mutation_of_one_byte_or_line_is_undone(folder: Path) -> None:
    path, rng, undone = folder / "record.jsonl", random.Random(3), []
    data = path.read_bytes()
    for _ in range(60):
        path.write_bytes(mutated(data, rng))
        if examine(path)[0]:  # else it is a torn last line
            try:
                undone.append(mended(folder).lines == data)
            except RecordError:
                assert data.partition(b"\n")[0] not in path.read_bytes()
    assert undone.count(True) > 30


@pytest.mark.parametrize("tables", [True, False])
def test_a_study_that_was_mended_is_resumed_to_the_same_rows(
    whole: Path, tmp_path: Path, in_memory: None, tables: bool
) -> None:
    """benchmarks/damage.py does so as often as one likes."""
    rng, said = random.Random(tables), []
    for number in range(7):
        folder = Path(shutil.copytree(whole, tmp_path / str(number) / "t"))
        for name in () if tables else ("trials", "epochs"):
            (folder / f"{name}.parquet").unlink()
        path = folder / "record.jsonl"
        path.write_bytes(heavily(path.read_bytes(), rng))
        said.append(mend(folder))
        conduct(STUDY, folder.parent, resume=True)
        assert (configs(folder), rows(folder)) == (configs(whole), rows(whole)), said[-1]
    wanted = ("as the tables say",) if tables else ("will run again", "before the damage are kept")
    assert all(any(words in each for each in said) for words in wanted)


def test_a_record_without_its_first_line_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "record.jsonl"
    path.write_bytes(damaged := path.read_bytes().partition(b"\n")[2])
    with pytest.raises(RecordError, match=r"cannot be mended: its first line is lost.*from a copy"):
        mend(folder)
    assert path.read_bytes() == damaged and not list(folder.glob("*.set-aside-*"))
    (found,) = record(folder)
    assert found.level == "error" and "its first line is lost" in found.value
    assert main(["list", str(folder.parent)]) == 0
    out = capsys.readouterr().out
    assert f"line 1 of {path} is damaged" in out and "RecordError" not in out


def unknown(database: sqlite3.Connection) -> None:
    """As the record of a backup has it: it ends before what the database knows."""


def other_value(database: sqlite3.Connection) -> None:
    database.execute("UPDATE trial_values SET value = value + 1 WHERE trial_value_id = 2")


def other_params(database: sqlite3.Connection) -> None:
    database.execute("UPDATE trial_params SET param_value = param_value / 2 WHERE param_id = 1")


def other_state(database: sqlite3.Connection) -> None:
    database.execute("UPDATE trials SET state = 'FAIL' WHERE trial_id = 1")


def lost_trial(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM trials WHERE trial_id = 1")


@pytest.mark.parametrize("damage", [unknown, other_value, other_params, other_state, lost_trial])
def test_a_database_that_contradicts_the_record_is_set_aside(
    folder: Path, whole: Path, damage: Callable[[sqlite3.Connection], None]
) -> None:
    path, events = folder / "record.jsonl", events_of(folder / "record.jsonl")
    ends = [i for i, event in enumerate(events) if event["event"] == "end"]
    cut = ends[4 if damage is not unknown else 2]
    lines = path.read_bytes().splitlines(keepends=True)
    for name in ["optuna.db", "record.jsonl"]:
        shutil.copy(whole / name, folder / name)
    path.write_bytes(b"".join(lines[: cut + 1]))
    with sqlite3.connect(folder / "optuna.db") as database:
        damage(database)
    conduct(STUDY, folder.parent, resume=True)
    assert configs(folder) == configs(whole)
    assert (folder / "optuna.db.set-aside-1").exists()
    assert (folder / "log.txt").read_text().count("optuna.db did not say what the record says") == 1
    conduct(STUDY, folder.parent, resume=True)
    assert not (folder / "optuna.db.set-aside-2").exists()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("trial_values SET value = value + 1", "confirm-near-000 is another one"),
        (
            """trial_user_attributes SET value_json = '"x"' WHERE key = 'trial' AND""",
            "x of the conf",
        ),
    ],
)
def test_a_confirmation_that_contradicts_the_record_is_made_anew(
    folder: Path, sql: str, why: str
) -> None:
    of = "trial_id = (SELECT min(trial_id) FROM trials JOIN studies USING (study_id) "
    of += "WHERE study_name = 't/confirmation')"
    with sqlite3.connect(folder / "optuna.db") as database:
        database.execute(f"UPDATE {sql} {'' if sql.endswith('AND') else 'WHERE'} {of}")
    conduct(STUDY, folder.parent, resume=True)
    assert why in (folder / "log.txt").read_text()
    assert (folder / "optuna.db.set-aside-1").exists()
    shown = optuna.load_study(study_name="t/confirmation", storage=f"sqlite:///{folder}/optuna.db")
    assert len(shown.trials) == 4


@pytest.mark.parametrize("how", ["page", "text", "missing"])
def test_a_database_that_is_none_is_made_anew_as_it_was(
    folder: Path, whole: Path, how: str
) -> None:
    file = folder / "optuna.db"
    data = bytearray(file.read_bytes())
    data[4096 : 2 * 4096] = b"\xab" * 4096
    file.write_bytes(data if how == "page" else b"no database" * 1000)
    if how == "missing":
        file.unlink()
    conduct(STUDY, folder.parent, resume=True)
    said = "optuna.db was missing" if how == "missing" else "did not say what the record says"
    assert said in (folder / "log.txt").read_text()
    for arm in ("near", "far", "confirmation"):
        name = f"t-{arm}" if arm != "confirmation" else "t/confirmation"
        was, now = (
            optuna.load_study(study_name=name, storage=f"sqlite:///{place}/optuna.db").trials
            for place in (whole, folder)
        )
        for one, again in zip(was, now, strict=True):
            for what in ("number", "state", "values", "params", "distributions",
                         "intermediate_values", "user_attrs"):  # fmt: skip
                assert getattr(one, what) == getattr(again, what), what


@pytest.mark.parametrize(
    ("event", "key"), [("end", "state"), ("epoch", "epoch"), ("trial", "phase")]
)
def test_an_event_without_its_key_after_a_lost_line_is_no_error_of_mending(
    folder: Path, event: str, key: str
) -> None:
    path = folder / "record.jsonl"
    events = events_of(path)
    at = max(place for place, each in enumerate(events) if each["event"] == event)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[at] = lines[at].replace(f'"{key}":'.encode(), f'"{key[:-2]}##":'.encode(), 1)
    path.write_bytes(b"".join([*lines[: at - 1], *lines[at:]]))
    assert examine(path)[0]
    mend(folder)
    assert conduct(STUDY, folder.parent, resume=True).status == "finished"
