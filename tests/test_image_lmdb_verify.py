"""Verification says what is wrong with which image; info says what there is."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest
from lmdb_images import CLASSES, datum, encoded, files, make_caffe, make_original, make_tree

from srsgd_ray.cli import main
from srsgd_ray.image_lmdb import DataError, FolderStore, ImageLmdb, Options, build
from srsgd_ray.image_lmdb.data_file import LmdbFile
from srsgd_ray.image_lmdb.info import info
from srsgd_ray.image_lmdb.layout import ENTRY, key_of
from srsgd_ray.image_lmdb.places import Place, find
from srsgd_ray.image_lmdb.verify import verify


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"), parts=("train",)) / "train"


@pytest.fixture
def database(tree: Path, tmp_path: Path) -> Path:
    build(tree, tmp_path / "x.lmdb", workers=1)
    return tmp_path / "x.lmdb"


def kinds(path: Path, **options: object) -> dict[str, int]:
    return dict(Counter(problem.kind for problem in verify(path, **options).problems))  # type: ignore[arg-type]


def edit(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_sound_is_said_to_be(tree: Path, tmp_path: Path, workers: int) -> None:
    build(tree, tmp_path / "x.lmdb", workers=1)
    build(tree, tmp_path / "small.lmdb", Options("decoded", 40), workers=1)
    original = make_original(tree, tmp_path / "original")
    caffe = make_caffe(tree, tmp_path / "caffe")
    raw = make_caffe(tree, tmp_path / "raw", raw=True)
    told: list[tuple[int, int]] = []
    for path in (tmp_path / "x.lmdb", tmp_path / "small.lmdb", original, caffe, raw, tree):
        found = verify(path, against=tree, workers=workers, progress=lambda *at: told.append(at))
        assert (found.samples, found.problems, found.doubled) == (12, [], [])
    assert told[0] == (0, 12) and told[-1] == (12, 12)


def test_damaged_images_are_named(tree: Path, database: Path) -> None:
    store = ImageLmdb(database)
    edit(database, store.entry(6).offset + 700, b"\0\0\xff\xd9")
    edit(database, store.entry(8).offset, b"no image")
    found = verify(database)
    texts = [problem.text for problem in found.problems]
    assert all(store.key(6) in text or store.key(8) in text for text in texts)
    assert {problem.kind for problem in found.problems if store.key(8) in problem.text} >= {
        "unreadable"
    }
    assert [p.kind for p in found.problems if store.key(6) in p.text][-1] in (
        "checksum", "unreadable",
    )  # fmt: skip


def test_truncated_images_of_others_are_named(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    cut, bare = files(tmp_path / "tree")[6], files(tmp_path / "tree")[7]
    cut.write_bytes(cut.read_bytes()[:-300])
    bare.write_bytes(bare.read_bytes()[:-2])  # decodes, but has lost its end
    path = make_original(tmp_path / "tree", tmp_path / "o")
    found = verify(path)
    assert {p.kind for p in found.problems if cut.name in p.text} == {"truncated", "unreadable"}
    assert "truncated" in {p.kind for p in found.problems if bare.name in p.text}
    assert all(cut.name in p.text or bare.name in p.text for p in found.problems)


def test_damage_that_pillow_passes_over_is_named(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    file = sorted((tmp_path / "tree").rglob("*_1.JPEG"))[0]
    data = bytearray(file.read_bytes())
    data[-300:-284] = b"\xff\x00" * 8  # ones only, which are no code
    file.write_bytes(data)
    (problem,) = verify(tmp_path / "tree").problems
    assert problem.kind == "damaged" and file.name in problem.text
    assert ": Corrupt JPEG data: " in problem.text


@pytest.mark.parametrize("how", ["swapped", "zeros behind", "years"])
def test_no_false_alarm_and_none_missed(tree: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    found = files(tmp_path / "tree")
    if how == "zeros behind":  # some writers round up
        found[6].write_bytes(found[6].read_bytes() + bytes(100))
    if how == "years":  # folders that begin with a number, as Caffe's keys do, and like names
        for n, name in enumerate(CLASSES):
            (tmp_path / "tree" / name).rename(tmp_path / "tree" / f"{2019 + n}_cats")
            for k, file in enumerate(files(tmp_path / "tree")[4 * n : 4 * n + 4]):
                file.rename(file.with_name(f"{k}.JPEG"))
    for n, options in enumerate((Options(), Options(quality=75), Options("decoded", 50))):
        build(tmp_path / "tree", tmp_path / f"{n}.lmdb", options, workers=1)
        assert verify(tmp_path / f"{n}.lmdb", against=tmp_path / "tree").problems == []
    if how == "swapped":  # one photograph's piece for the other's
        found[6].write_bytes(encoded(7))
        for n in range(3):
            (problem,) = verify(tmp_path / f"{n}.lmdb", against=tmp_path / "tree").problems
            assert problem.kind == "differs" and found[6].name in problem.text


def test_keys_that_are_doubled_or_misplaced_are_named(
    tree: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sys.modules["srsgd_ray.image_lmdb.verify_names"]
    monkeypatch.setattr(names, "find", lambda file: [*find(file)][:5] + [*find(file)][4:])
    (problem,) = [p for p in verify(database).problems if "comes twice" in p.text]
    assert problem.kind == "key" and repr(key_of(4)) in problem.text

    def moved(file: LmdbFile) -> Iterator[Place]:
        for n, place in enumerate(find(file)):
            yield place._replace(offset=place.offset + 4096) if n == 7 else place

    monkeypatch.setattr(names, "find", moved)
    (problem,) = verify(database).problems
    assert problem.text.endswith("lies elsewhere than its index says")
    assert ImageLmdb(database).key(7) in problem.text


def test_index_and_labels_that_contradict(database: Path) -> None:
    store = ImageLmdb(database)
    at = store.records[b"index"][0] + 5 * ENTRY.itemsize
    entry = np.frombuffer(store.file.read(at, ENTRY.itemsize), ENTRY).copy()
    entry["label"], entry["height"], entry["checksum"] = 2, 1, 0
    edit(database, at, entry.tobytes())
    found = verify(database)
    assert Counter(p.kind for p in found.problems) == {
        "record": 1, "label": 1, "checksum": 1, "size": 1,
    }  # fmt: skip
    assert all(store.key(5) in p.text for p in found.problems if p.kind != "record")


@pytest.mark.parametrize(("field", "value"), [("offset", 2**40), ("name_end", 2**31)])
def test_an_index_entry_that_cannot_be_is_told_with_all_else(
    database: Path, field: str, value: int
) -> None:
    store = ImageLmdb(database)
    at = store.records[b"index"][0] + 5 * ENTRY.itemsize
    entry = np.frombuffer(store.file.read(at, ENTRY.itemsize), ENTRY).copy()
    entry[field] = value
    edit(database, store.entry(8).offset + 700, b"\0\0\xff\xd9")
    edit(database, at, entry.tobytes())
    found = verify(database)
    texts = [problem.text for problem in found.problems if problem.kind == "record"]
    assert "the checksum of index is wrong" in texts
    wanted = "sample 5 is said to lie" if field == "offset" else "the name of sample 5 is nowhere"
    assert sum(wanted in problem.text for problem in found.problems) == 1
    assert any(store.key(8) in problem.text for problem in found.problems)


def test_bytes_are_compared_where_they_are_kept(tree: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tree, tmp_path / "other")
    file = files(other)[6]
    file.write_bytes(file.read_bytes() + b"\0")  # the same pixels
    build(other, tmp_path / "x.lmdb", workers=1)
    found = verify(tmp_path / "x.lmdb", against=tree)
    assert [problem.kind for problem in found.problems] == ["differs"]
    assert file.name in found.problems[0].text and "has other bytes than" in found.problems[0].text
    assert kinds(make_original(other, tmp_path / "o"), against=tree) == {}


def test_missing_and_extra_keys_are_named(database: Path) -> None:
    with (
        lmdb.open(str(database), subdir=False, lock=False, map_size=2**36) as env,
        env.begin(write=True) as txn,
    ):
        txn.delete(key_of(4))
        txn.put(key_of(99), bytes(3000))
    found = verify(database)
    texts = [problem.text for problem in found.problems if problem.kind == "key"]
    assert "sample 4 is missing" in texts
    assert f"{key_of(99)!r} is the number of no sample" in texts
    assert len(texts) == 2


def test_a_tree_that_ends_lmdb_is_a_problem_of_a_database_that_can_be_read(database: Path) -> None:
    data = bytearray(database.read_bytes())
    for page in range(2, len(data) // 4096 - 1):
        if data[page * 4096 + 10] & 3 and data[page * 4096 + 11] == 0:  # of the tree
            data[page * 4096 + 12 : page * 4096 + 20] = b"\xff" * 8  # its bounds, first nodes
    database.write_bytes(data)
    store = ImageLmdb(database)
    assert [store.read(n) for n in range(12)]
    (problem,) = verify(database).problems
    assert problem.kind == "record" and "is damaged: " in problem.text


def test_wrong_labels_and_gaps_of_caffe_are_named(tree: Path, tmp_path: Path) -> None:
    path = make_caffe(tree, tmp_path / "caffe")
    with lmdb.open(str(path), map_size=2**26, lock=False) as env, env.begin(write=True) as txn:
        keys = list(txn.cursor().iternext(values=False))
        txn.delete(keys[5])
        txn.put(keys[2], datum(encoded(2), 1))
        txn.put(b"00000007_again/y.JPEG", datum(encoded(7), 1))
    found = verify(path)
    texts = {kind: [p.text for p in found.problems if p.kind == kind] for kind in ("key", "label")}
    assert texts["key"] == ["number 7 is doubled", "number 5 is missing"]
    (label,) = texts["label"]
    assert keys[2].decode() in label and f"has label 1 (1), but lies in {CLASSES[0]}" in label


@pytest.mark.parametrize("key", ["{n:010d}", "{n:08d}_{name}", "image{n:02d}"])
def test_caffes_keys_need_not_tell_a_class(tree: Path, tmp_path: Path, key: str) -> None:
    path = make_caffe(tree, tmp_path / "x", key=lambda n, file: key.format(n=n, name=file.name))
    assert verify(path).problems == []
    with lmdb.open(str(path), map_size=2**26, lock=False) as env, env.begin(write=True) as txn:
        txn.delete(list(txn.cursor().iternext(values=False))[5])
    wanted = [] if key.startswith("image") else ["number 5 is missing"]
    assert [problem.text for problem in verify(path).problems] == wanted


def test_a_name_that_contradicts_its_folder_and_doubled_names(tree: Path, tmp_path: Path) -> None:
    path = make_original(tree, tmp_path / "o")
    with lmdb.open(str(path), map_size=2**26, lock=False) as env, env.begin(write=True) as txn:
        first = next(txn.cursor().iternext(values=False))
        txn.put(b"train/" + CLASSES[1].encode() + b"/n09999999_1.JPEG", encoded(50))
        txn.put(b"elsewhere/" + b"/".join(first.split(b"/")[-2:]), txn.get(first))
    found = verify(path)
    assert Counter(p.kind for p in found.problems) == {"label": 1, "key": 2}
    (label,) = [p.text for p in found.problems if p.kind == "label"]
    assert f"lies in {CLASSES[1]}, but is named as one of n09999999" in label
    assert len(found.doubled) == 1


def test_a_source_tells_what_is_missing_extra_or_other(
    tree: Path, database: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(tree, tmp_path / "other")
    gone, changed, moved = files(other)[0], files(other)[6], files(other)[9]
    gone.unlink()
    changed.write_bytes(encoded(77))
    (other / CLASSES[0] / "new.JPEG").write_bytes(encoded(5))
    shutil.move(moved, other / CLASSES[0] / moved.name)
    found = verify(database, against=other)
    by_kind = {kind: [p.text for p in found.problems if p.kind == kind] for kind in
               ("missing", "extra", "differs")}  # fmt: skip
    assert len(found.problems) == 5 and len(by_kind["missing"]) == 2 == len(by_kind["extra"])
    assert "new.JPEG is not in" in by_kind["missing"][0] + by_kind["missing"][1]
    assert gone.name in by_kind["extra"][0] and moved.name in by_kind["extra"][1]
    assert changed.name in by_kind["differs"][0]


def test_doubled_images_are_a_note(tree: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tree, tmp_path / "other")
    shutil.copy(files(other)[6], other / CLASSES[2] / "copy.JPEG")
    found = verify(other)
    assert found.problems == []
    assert found.doubled == [(f"{CLASSES[2]}/copy.JPEG", FolderStore(tree).key(6))]


def test_the_command_says_it_and_its_status_too(
    tree: Path, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["lmdb", "verify", str(database), "--workers", "1"]) == 0
    assert capsys.readouterr().out == (
        "note: 1 of 12 images: CMYK or another colour space, brought to RGB without a profile\n"
        "12 images checked, 0 problems, 0 with the bytes of another\n"
    )
    shutil.copytree(tree, tmp_path / "other")
    for file in files(tmp_path / "other"):
        file.write_bytes(b"no image")
    assert main(["lmdb", "verify", str(tmp_path / "other"), "--workers", "1"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("12 x unreadable (cannot be read, or decoded whole):\n  every image")
    assert said.count("note: ") == 11
    for words, message in (
        (["verify", str(tmp_path / "gone")], "must be a database or a folder, but is not there"),
        (["verify", str(database), "--against", str(tmp_path / "gone")], "but is not there"),
        (["verify", str(database), "--workers", "-2"], "0 <= --workers must hold, but got -2"),
        (["info", str(tmp_path / "gone")], "must be a database or a folder, but is not there"),
    ):
        assert main(["lmdb", *words]) == 2
        said = capsys.readouterr().err
        assert message in said and said.startswith(f"srsgd-ray lmdb {words[0]}: ")
        assert said.count("\n") == 1


def test_info_of_every_layout(tree: Path, database: Path, tmp_path: Path) -> None:
    found = info(database)
    assert found["layout"] == "srsgd_ray, made by srsgd-ray lmdb build"
    assert found["images"] == "12" and found["classes"] == f"3 ({CLASSES[0]} to {CLASSES[2]})"
    assert found["images a class"] == "4 to 4" and found["store"] == "encoded"
    assert found["left to Pillow, or unreadable"] == "4 of 12"  # CMYK, grey, progressive, PNG
    for make, kind in ((make_original, "original"), (make_caffe, "caffe")):
        assert info(make(tree, tmp_path / kind))["layout"].startswith(kind)
    assert info(tree)["layout"] == "folder, a folder a class"
    with pytest.raises(DataError, match="is not there"):
        info(tmp_path / "gone")


def test_the_benchmark_of_reading_measures_what_is_there(
    database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    reading = importlib.import_module("lmdb_reading")
    words = [str(database), "--images", "8", "--rounds", "2", "--size", "32"]
    assert reading.main([*words, "--threads", "2", "--cold"]) == 0
    said = capsys.readouterr().out
    assert "of them are no usual JPEG files, and are decoded by Pillow" in said
    lines = {line[:44].strip(): line[44:].split() for line in said.splitlines()[3:]}
    assert lines["Pillow, RandomResizedCrop, one core"][-3] == "1.00"
    for name in ("our loader, one thread", "our loader, 2 threads", "reading, cached"):
        assert float(lines[name][0].replace(",", "")) > 0
    assert "reading, cold" in lines
    for words, message in (
        ([str(database.parent / "gone")], "must be a database or a folder, but is not there"),
        ([str(database), "--images", "0"], "1 <= --images must hold, but got 0"),
    ):
        assert reading.main(words) == 2
        assert message in capsys.readouterr().err
