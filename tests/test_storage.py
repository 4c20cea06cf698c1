"""Where checkpoints lie: names of every kind of place, and a study on an S3 of this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shlex
import signal
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pyarrow.fs as pafs
import pytest
import test_local
from test_local import BARE, LINE, SLOW, STUDY, conduct, driver, rows

from srsgd_ray.backends.probe import NOT_THERE, answer, check_storage, probing, take
from srsgd_ray.backends.store import CheckpointStore, absolute, check_keys, is_uri, join
from srsgd_ray.cli import main
from srsgd_ray.results import read_record
from srsgd_ray.study import launch


@pytest.mark.parametrize(
    ("root", "below"),
    [
        ("/a/b", "/a/b/checkpoints-1/t x"),
        ("/a/b/", "/a/b/checkpoints-1/t x"),
        ("/a?b", "/a?b/checkpoints-1/t x"),  # a folder may have such a name
        ("file:///a/b", "file:///a/b/checkpoints-1/t%20x"),
        ("s3://b", "s3://b/checkpoints-1/t%20x"),
        ("s3://b/p/", "s3://b/p/checkpoints-1/t%20x"),
        ("gs://b/p", "gs://b/p/checkpoints-1/t%20x"),
        ("s3://b/p?region=r&scheme=http", "s3://b/p/checkpoints-1/t%20x?region=r&scheme=http"),
        ("s3://b/p/?region=r", "s3://b/p/checkpoints-1/t%20x?region=r"),
        ("s3://b?region=r", "s3://b/checkpoints-1/t%20x?region=r"),
        ("s3://b/p?endpoint_override=h/x?y", "s3://b/p/checkpoints-1/t%20x?endpoint_override=h/x?y"),
        ("gs://anonymous@b/p?scheme=http", "gs://anonymous@b/p/checkpoints-1/t%20x?scheme=http"),
    ],
)  # fmt: skip
def test_a_place_is_extended_before_its_query(root: str, below: str) -> None:
    assert join(root, "checkpoints-1", "t x") == below
    assert join(join(root, "checkpoints-1"), "t x") == below
    assert is_uri(below) == ("://" in root)
    assert is_uri(below) or Path(below).is_absolute()
    assert absolute(below) == below


@pytest.mark.parametrize("end", ["", "/", "?", "/?"])
def test_what_was_extended_is_where_arrow_finds_it(tmp_path: Path, end: str) -> None:
    place = CheckpointStore(join(f"file://{tmp_path}{end}", "checkpoints-1", "a b"))
    place.keep(
        lambda folder: (folder.mkdir(parents=True), (folder / "checkpoint.pt").write_bytes(b"x"))
    )
    assert (tmp_path / "checkpoints-1" / "a b" / "checkpoint.pt").is_file()
    with place.fetch() as found:
        assert found is not None
    place.remove()
    assert not (tmp_path / "checkpoints-1" / "a b").exists()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://AKIA:hidden@b/p?region=r", "s3://AKIA:***@b/p?region=r"),
        ("s3://:hidden@b/p", "s3://:***@b/p"),
        ("abfs://c@a/p?client_secret=hidden&x=1", "abfs://c@a/p?client_secret=***&x=1"),
        ("s3://b?region=r&Access_Key=hidden", "s3://b?region=r&Access_Key=***"),
        ("abfs://c@a/p?sas=hidden", "abfs://c@a/p?sas=***"),
    ],
)
def test_keys_in_a_uri_are_refused_and_not_said_again(given: str, shown: str) -> None:
    with pytest.raises(ValueError, match=re.escape(shown)) as error:
        check_keys(given)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    "place", ["gs://anonymous@b/p?scheme=http", "/a:b@c?token=d", "s3://b/key=1"]
)
def test_what_holds_no_key_is_taken(place: str) -> None:
    check_keys(place)


def test_a_node_and_the_driver_find_what_the_other_wrote(tmp_path: Path) -> None:
    place = str(tmp_path / "new" / "er")
    with probing(place, "mine") as probed:
        assert answer(probed, "mine", "1") == ""
        assert take(join(probed, "1")) == "mine"
        assert answer(probed, "other", "2") == NOT_THERE
        assert take(join(probed, "2")) is None, "no node writes elsewhere"
        assert answer(str(tmp_path / "away"), "mine", "1") == NOT_THERE
    assert list(tmp_path.iterdir()) == [], "nothing is left"


@pytest.mark.parametrize("method", ["keep", "fetch", "remove"])
def test_a_bucket_that_takes_for_ever_is_an_error_of_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    over = threading.Event()

    class Hung(pafs.LocalFileSystem):  # type: ignore[misc]
        def create_dir(self, *args: object, **more: object) -> None:
            over.wait(10)

        get_file_info = create_dir

    store = CheckpointStore(str(tmp_path / "a"))
    store._remote, store._path = Hung(), store.location
    monkeypatch.setattr("srsgd_ray.backends.store.STUCK", 0.1)
    monkeypatch.setattr("srsgd_ray.backends.store.AWAY", 0.1)
    with pytest.raises(OSError, match=r"no answer within 0\.1 s"):
        if method == "keep":
            store.keep(lambda folder: (folder / "checkpoint.pt").write_bytes(b"x"))
        elif method == "fetch":
            with store.fetch():
                pass
        else:
            store.remove()
    over.set()


BUCKET, SECRET = "checkpoints", "nobody-may-read-this"


@pytest.fixture(scope="module")
def s3(moto: tuple[str, Path]) -> tuple[str, Path]:
    """The address of moto's S3, with a bucket in it, and the file with its requests."""
    files = pafs.S3FileSystem(scheme="http", endpoint_override=moto[0], allow_bucket_creation=True)
    files.create_dir(BUCKET)
    return moto


def objects(server: str) -> list[str]:
    """What lies in the bucket."""
    files = pafs.S3FileSystem(scheme="http", endpoint_override=server)
    found = files.get_file_info(pafs.FileSelector(BUCKET, recursive=True))
    return [each.path for each in found if each.type == pafs.FileType.File]


@pytest.mark.usefixtures("in_memory")
def test_a_study_on_s3_that_is_killed_and_resumed_is_the_uncut_one(
    tmp_path: Path, s3: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, log = s3
    storage = f"s3://{BUCKET}/mine/?region=eu-west-1&scheme=http&endpoint_override={server}"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    monkeypatch.setattr(test_local, "BARE", {**BARE, **keys})
    line = f"{LINE} --no-figures --results r --storage {shlex.quote(storage)}"
    killed = driver(tmp_path, line, 2)
    name = re.compile(
        rf"{BUCKET}/mine/checkpoints-\w{{8}}/((?:search|confirm)-\w+-\d+)/checkpoint.pt"
    )
    deadline, found = time.monotonic() + 60, []
    while not found:  # within a trial whose checkpoint is there: it is written beside the training
        assert time.monotonic() < deadline
        killed.send_signal(signal.SIGCONT)
        time.sleep(0.02)
        killed.send_signal(signal.SIGSTOP)
        trials = read_record(tmp_path / "r" / "t").trials
        stored = filter(None, map(name.fullmatch, objects(server)))
        found = [match[0] for match in stored if trials[match[1]].end is None]
    killed.kill()
    killed.communicate()
    told, (checkpoint,) = rows(tmp_path / "r" / "t"), found
    seen = len(log.read_text())
    assert conduct(SLOW, tmp_path / "r", resume=True, storage=storage).status == "finished"
    assert f"GET /{checkpoint} HTTP" in log.read_text()[seen:]
    assert objects(server) == []
    conduct(SLOW, tmp_path / "whole")
    after = rows(tmp_path / "r" / "t")
    assert after == rows(tmp_path / "whole" / "t")
    assert all(after[trial][: len(old)] == old for trial, old in told.items())
    written = [path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()]
    assert len(written) > 4 and not any(SECRET.encode() in text for text in written)


def test_data_are_fetched_from_a_bucket_from_where_an_earlier_call_stopped(
    tmp_path: Path, s3: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server, log = s3
    data, source = (
        bytes(range(256)) * 4000,
        f"s3://{BUCKET}/data/?scheme=http&endpoint_override={server}",
    )
    store = pafs.S3FileSystem(scheme="http", endpoint_override=server)
    total = hashlib.sha256(data).hexdigest()
    for name, value in (("train.lmdb", data), ("SHA256SUMS", f"{total}  train.lmdb\n".encode())):
        with store.open_output_stream(f"{BUCKET}/data/{name}") as stream:
            stream.write(value)
    (tmp_path / f".train.lmdb.{total[:8]}.part").write_bytes(data[:500_000])
    seen = len(log.read_text())
    assert main(["fetch", source, str(tmp_path)]) == 0
    assert (tmp_path / "train.lmdb").read_bytes() == data
    assert "GET /checkpoints/data/train.lmdb" in log.read_text()[seen:]
    (tmp_path / "train.lmdb").unlink()
    with store.open_output_stream(f"{BUCKET}/data/train.lmdb") as stream:
        stream.write(data[:-1])
    assert main(["fetch", source, str(tmp_path)]) == 2
    assert "damaged" in capsys.readouterr().err and not (tmp_path / "train.lmdb").exists()
    assert (
        main(["fetch", f"s3://nosuch/x?scheme=http&endpoint_override={server}", str(tmp_path)]) == 2
    )
    assert "SHA256SUMS" in capsys.readouterr().err
    store.delete_dir(f"{BUCKET}/data")


@pytest.mark.usefixtures("in_memory")
def test_a_bucket_that_fails_stops_the_study_and_fails_no_trial(
    tmp_path: Path, s3: tuple[str, Path], monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """As when it is away for longer than the client tries by itself, some 15 s each time."""
    storage = f"s3://{BUCKET}/away?region=eu-west-1&scheme=http&endpoint_override={s3[0]}"
    words = ["--backend", "local", "--results", str(tmp_path / "r"), "--storage", storage]
    few = dataclasses.replace(STUDY, trials=1, confirm_seeds=0)
    failing = Mock(side_effect=OSError("AWS Error NETWORK_CONNECTION during HeadObject operation"))
    whole = CheckpointStore.__init__

    def away(self: CheckpointStore, location: str) -> None:
        whole(self, location)
        if "/checkpoints-" in location:  # the probe before the study is answered
            self._remote = Mock(get_file_info=failing)

    monkeypatch.setattr(CheckpointStore, "__init__", away)
    assert launch(few, [*words, "--no-figures"], command=["p"]) == 2
    out, error = capfd.readouterr()
    assert "Stopped. Resume with:" in out
    assert error.startswith(f"p: checkpoints can be neither stored nor read at s3://{BUCKET}/away")
    assert "HeadObject operation" in error and error.count("\n") == 1
    assert error.endswith("Resume when it answers again.\n")
    assert "failed" not in {t.state for t in read_record(tmp_path / "r" / "t").trials.values()}
    monkeypatch.undo()
    assert launch(few, [*words, "--no-figures", "--resume"], command=["p"]) == 0
    assert {t.state for t in read_record(tmp_path / "r" / "t").trials.values()} == {"complete"}


def test_an_endpoint_may_stand_in_the_environment_and_a_bucket_that_is_not_there_is_refused(
    s3: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3[0]}")
    check_storage(f"s3://{BUCKET}/new?region=eu-west-1")
    with pytest.raises(ValueError, match=r"can be written, but s3://nosuch/new.* is not"):
        check_storage("s3://nosuch/new?region=eu-west-1")
    assert objects(s3[0]) == []
