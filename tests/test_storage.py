"""Where checkpoints lie: names of every kind of place, and a study on an S3 of this machine."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import time
from pathlib import Path
from unittest.mock import Mock

import pyarrow.fs as pafs
import pytest
import test_local
from test_local import BARE, LINE, SLOW, STUDY, conduct, driver, rows

from srsgd_ray.backends.store import CheckpointStore, absolute, check_storage, is_uri, join
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
    place.keep(lambda folder: (folder.mkdir(parents=True), (folder / "checkpoint.pt").touch()))
    assert (tmp_path / "checkpoints-1" / "a b" / "checkpoint.pt").is_file()
    with place.fetch() as found:
        assert found is not None
    place.remove()
    assert not (tmp_path / "checkpoints-1" / "a b").exists()


BUCKET = "checkpoints"


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
    keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    monkeypatch.setattr(test_local, "BARE", {**BARE, **keys})
    line = f"{LINE} --no-figures --results r --storage {shlex.quote(storage)}"
    killed, deadline = driver(tmp_path, line, 5), time.monotonic() + 60
    while not any(path.endswith("checkpoint.pt") for path in objects(server)):
        assert time.monotonic() < deadline  # it is written beside the training
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    told = rows(tmp_path / "r" / "t")
    (checkpoint,) = (path for path in objects(server) if path.endswith("checkpoint.pt"))
    assert re.fullmatch(
        rf"{BUCKET}/mine/checkpoints-\w{{8}}/search-\w+-\d+/checkpoint.pt", checkpoint
    )
    seen = len(log.read_text())
    assert conduct(SLOW, tmp_path / "r", resume=True, storage=storage).status == "finished"
    assert f"GET /{checkpoint} HTTP" in log.read_text()[seen:]
    assert objects(server) == []
    conduct(SLOW, tmp_path / "whole")
    after = rows(tmp_path / "r" / "t")
    assert after == rows(tmp_path / "whole" / "t")
    assert all(after[trial][: len(old)] == old for trial, old in told.items())


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
