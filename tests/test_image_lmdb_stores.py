"""Readers of every layout: the same images, whatever process or thread asks; nothing is written."""

from __future__ import annotations

import gc
import os
import pickle
import random
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from lmdb_images import CLASSES, datum, encoded, files, make_caffe, make_original, make_tree

from srsgd_ray.image_lmdb import (
    DataError,
    FolderStore,
    ImageLmdb,
    Options,
    Store,
    build,
    jpeg,
    open_pair,
    open_store,
)
from srsgd_ray.image_lmdb.data_file import DataFile, LmdbFile
from srsgd_ray.image_lmdb.frames import frame_of
from srsgd_ray.image_lmdb.layout import ENTRY, Header, checksum, key_of, padded, trailer
from srsgd_ray.image_lmdb.places import find


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def layouts(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The training images in each layout."""
    folder, train = tmp_path_factory.mktemp("layouts"), tree / "train"
    build(train, folder / "own.lmdb", workers=1)
    build(train, folder / "decoded.lmdb", Options("decoded", 500), workers=1)
    return {
        "folder": train,
        "original": make_original(train, folder / "train_faster_imagefolder.lmdb"),
        "caffe": make_caffe(train, folder / "caffe"),
        "raw": make_caffe(train, folder / "raw", raw=True),
        "own": folder / "own.lmdb",
        "decoded": folder / "decoded.lmdb",
    }


LAYOUTS = ["folder", "original", "caffe", "raw", "own", "decoded"]
KINDS = {"raw": "caffe", "own": "srsgd_ray", "decoded": "srsgd_ray"}


def pixels(store: Store, index: int) -> Any:
    data = store.read(index)
    return jpeg.decode(data, "") if isinstance(data, bytes) else data


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_holds_the_same(
    layouts: dict[str, Path], layout: str
) -> None:
    store, source = open_store(layouts[layout]), FolderStore(layouts["folder"])
    assert store.kind == KINDS.get(layout, layout)
    assert (len(store), store.classes) == (12, CLASSES)
    assert store.labels.tolist() == source.labels.tolist()
    for n in range(12):
        assert np.array_equal(pixels(store, n), pixels(source, n))
        if layout not in ("raw", "decoded"):
            assert store.read(n) == source.read(n)
        assert source.key(n) in store.key(n) and store.key(n) in store.name(n)


def read_some(store: Store) -> list[bytes]:
    data = [store.read(n) for n in (3, 0, 11)]
    return [d if isinstance(d, bytes) else d.tobytes() for d in data]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_and_spawned_processes_read_the_same(layouts: dict[str, Path], layout: str) -> None:
    store = open_store(layouts[layout])
    wanted = read_some(store)
    assert read_some(pickle.loads(pickle.dumps(store))) == wanted
    with ThreadPoolExecutor(8) as pool:
        assert all(found == wanted for found in pool.map(read_some, [store] * 50))


def test_spawned_and_forked_processes_read_the_same(layouts: dict[str, Path]) -> None:
    stores = [open_store(layouts[layout]) for layout in LAYOUTS]
    wanted = [read_some(store) for store in stores]
    with get_context("spawn").Pool(1) as pool:
        assert pool.map(read_some, stores) == wanted
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = [read_some(store) for store in stores] == wanted
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [read_some(store) for store in stores] == wanted


def test_reading_writes_nothing_and_opens_no_pickle(layouts: dict[str, Path]) -> None:
    folder = layouts["original"].parent
    mark = folder / "opened"
    trap = pickle.dumps(Trap(str(mark)))
    (folder / "train_faster_imagefolder.lmdb.pt").write_bytes(trap)
    (folder / "fid_mean_cov.npz").write_bytes(trap)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    for layout in LAYOUTS:
        store = open_store(layouts[layout])
        store.prefetch(range(12))
        read_some(store)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert not mark.exists()


class Trap:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("layout", ["original", "caffe", "own"])
def test_a_file_that_is_deleted_or_cut_meanwhile(
    layouts: dict[str, Path], layout: str, tmp_path: Path
) -> None:
    for action in ("delete", "cut"):
        path = tmp_path / action
        source = layouts[layout]
        (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
        store = open_store(path)
        wanted = read_some(store)
        file = path / "data.mdb" if path.is_dir() else path
        if action == "delete":
            file.unlink()
            assert read_some(store) == wanted  # what is open stays readable
        else:
            os.truncate(file, 5000)
            with pytest.raises(DataError, match=r"ends before: it was cut short. Copy it anew"):
                read_some(store)
            with pytest.raises(DataError, match=r"was changed or replaced|cut short"):
                pickle.loads(pickle.dumps(store)).read(0)
            with pytest.raises(DataError, match=r"is damaged: .*cut short"):
                open_store(path)


def test_a_file_of_a_tree_that_is_deleted_meanwhile(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "train", tmp_path / "train")
    store = open_store(tmp_path / "train")
    files(tmp_path / "train")[3].unlink()
    store.prefetch([3])
    with pytest.raises(DataError, match=r"_3\.JPEG must be readable, but: No such file"):
        store.read(3)


def test_pairs_are_found(tree: Path, tmp_path: Path) -> None:
    ways: dict[str, Callable[[Path, str], Any]] = {
        "original": lambda folder, part: make_original(
            tree / part, folder / f"{part}_faster_imagefolder.lmdb"
        ),
        "caffe": lambda folder, part: make_caffe(
            tree / part, folder / f"ilsvrc12_{part}_lmdb",
            # Validation images lie in no class folder, and are known by their label alone.
            **({"key": lambda n, file: f"{n:08d}_{file.name}"} if part == "val" else {}),
        ),
        "srsgd_ray": lambda folder, part: build(tree / part, folder / f"{part}.lmdb", workers=1),
        "folder": lambda folder, part: shutil.copytree(tree / part, folder / part),
    }  # fmt: skip
    for kind, make in ways.items():
        (tmp_path / kind).mkdir()
        for part in ("train", "val"):
            make(tmp_path / kind, part)
        train, val = open_pair(tmp_path / kind)
        assert train.kind == val.kind == kind
        assert train.classes == val.classes == CLASSES
        assert val.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_caffes_classes_are_numbers_where_keys_do_not_tell(tree: Path, tmp_path: Path) -> None:
    flat = make_caffe(tree / "train", tmp_path / "a", key=lambda n, file: f"{n:08d}_{file.name}")
    bare = make_caffe(tree / "train", tmp_path / "b", key=lambda n, file: f"{n:010d}")
    for path in (flat, bare):
        store = open_store(path)
        assert (store.kind, store.classes) == ("caffe", ("0", "1", "2"))
    assert open_store(flat, CLASSES).classes == CLASSES
    with pytest.raises(DataError, match=r"every label must be one of 2 classes, but .* has 2"):
        open_store(flat, CLASSES[:2])


def database(path: Path, records: dict[bytes, bytes]) -> Path:
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=2**28) as env,
        env.begin(write=True) as txn,
    ):
        for key, value in records.items():
            txn.put(key, value)
    return path


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({}, "must hold images, but is empty"),
        ({b"justaname.JPEG": b"x"}, "a key must be a path with the class as its folder"),
        ({b"a/b/c": b"some text", b"a/b/d": b""},
         "must hold image files or Datum records of Caffe, but the value of b'a/b/c' begins with"),
        ({b"00000000_a/x.JPEG": datum(b"x", -1)},
         "a label must be a number from 0 to 999999, but .*00000000_a/x.JPEG has -1. Build"),
        ({b"00000000_a/x.JPEG": datum(b"x", 2**31)}, "x.JPEG has 2147483648. Build"),
        ({b"00000000_a/x.JPEG": datum(b"x", 2**32 + 3)}, "x.JPEG has 4294967299. Build"),
        ({b"00000000_a/x.JPEG": b"\x22\x7fabc", b"00000001_a/y.JPEG": datum(b"x", 0)},
         "00000000_a/x.JPEG must be a Datum record of Caffe, but: a field reaches beyond its end"),
        ({b"00000000_a/x.JPEG": datum(b"x", 0), b"00000001_a/y.JPEG": b"\x22\x7fabc"},
         "00000001_a/y.JPEG must be a Datum record of Caffe, but: a field reaches beyond its end"),
        ({b"header": b"[" * 100_000}, "has a damaged header: it is no JSON object with format and"),
        ({b"header": b" " * 2**20 + b"{}"}, "is damaged: a header of 1048578 bytes"),
        ({b"header": b"{}"}, "has a damaged header: it is no JSON object with format and version"),
        ({b"header": b'{"format": "other", "version": 1}'}, "must be of format 'srsgd_ray image_l"),
        ({b"header": b'{"format": "srsgd_ray image_lmdb", "version": 2}'},
         "version 1 of the format can be read, but .* has version 2. Use the srsgd_ray that made"),
        ({key_of(0): b"x"}, "must have a header, but has none: it is half built"),
    ],
)  # fmt: skip
def test_bad_databases_are_one_message(
    tmp_path: Path, records: dict[bytes, bytes], message: str
) -> None:
    path = database(tmp_path / "x.lmdb", records)
    with pytest.raises(DataError, match=message):
        open_store(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must be a database or a folder, but is not there"),
        (b"", "must be an LMDB database .0.9, 64-bit., but does not begin as one does"),
        (b"some text\n" * 900, "must be an LMDB database .0.9, 64-bit., but does not begin as one"),
    ],
)
def test_what_is_no_database_is_said(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.lmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_store(path)


def test_one_damaged_value_does_not_change_the_layout(tmp_path: Path) -> None:
    values = {f"a/{n}.JPEG".encode(): encoded(n) for n in range(3)}
    store = open_store(database(tmp_path / "x.lmdb", values | {b"a/0.JPEG": datum(b"x", 0)}))
    assert (store.kind, store.classes, len(store)) == ("original", ("a",), 3)


def test_a_path_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening one waits for a writer
    with pytest.raises(DataError, match=r"pipe must be a file, but is a device or a pipe. Correct"):
        open_store(tmp_path / "pipe")
    long = tmp_path / ("a" * 300)
    for act in (open_store, open_pair, FolderStore):
        with pytest.raises(DataError, match=r"must be readable, but: File name too long. Correct"):
            act(long)


def train_and_val(folder: Path, val: list[tuple[str, int]], train: str = "ab") -> Path:
    """A pair of Caffe's, of images in folders and with labels as given."""
    folder.mkdir()
    of_train = list(zip(train, range(len(train)), strict=True))
    for part, images in (("train", of_train), ("val", val)):
        (folder / f"ilsvrc12_{part}_lmdb").mkdir()
        keys = [f"{n:08d}_{place}/{n}.JPEG" for n, (place, _) in enumerate(images)]
        records = [datum(encoded(n), label) for n, (_, label) in enumerate(images)]
        database(
            folder / f"ilsvrc12_{part}_lmdb" / "data.mdb",
            dict(zip((key.encode() for key in keys), records, strict=True)),
        )
    return folder


def test_labels_of_caffe_that_mean_another_class_in_the_other_part(tmp_path: Path) -> None:
    right = {
        "same": [("b", 1), ("a", 0), ("a", 0)],
        "one": [("b", 1)],
        "numbers": [("1", 1), ("0", 0)],
        "all in one folder": [("val", 0), ("val", 1)],
        "one in one folder": [("val", 1)],
    }
    for name, val in right.items():
        train, found = open_pair(train_and_val(tmp_path / name, val))
        assert train.classes == found.classes == ("a", "b")
        assert found.labels.tolist() == [label for _, label in val]
    for name, val in {"swapped": [("a", 1), ("b", 0)], "others": [("b", 0), ("d", 1)]}.items():
        with pytest.raises(DataError, match=r"must mean the same .* 0 is a in the one and b in"):
            open_pair(train_and_val(tmp_path / name, val))
    with pytest.raises(DataError, match=r"every label must be one of 2 classes, but .* has 2"):
        open_pair(train_and_val(tmp_path / "more", [("a", 0), ("c", 2)]))
    # Where the training keys name no class, those of validation cannot contradict it.
    train, found = open_pair(train_and_val(tmp_path / "bare", [("a", 1), ("b", 0)], train="xx"))
    assert train.classes == found.classes == ("0", "1")


def test_raw_records_of_a_wrong_size_or_of_floats(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8)
    store = open_store(
        database(
            tmp_path / "x.lmdb",
            {
                b"00000000_a/x": datum(grey.tobytes(), 0, (1, 3, 4)),
                b"00000001_a/y": datum(b"short", 0, (3, 3, 4)),
                b"00000002_a/z": datum(b"", 0, (3, 1, 1)) + b"\x35\0\0\0\0",
                b"00000003_a/f": datum(bytes(8), 0, (2, 2, 2)),
            },
        )
    )
    found = store.read(0)
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, np.repeat(grey.reshape(3, 4, 1), 3, axis=2))
    messages = {
        1: r"must hold \(3, 3, 4\) bytes, but holds 5",
        2: "but holds floats",
        3: r"must hold bytes of 1 or 3 channels, but holds \(2, 2, 2\)",
    }
    for index, message in messages.items():
        with pytest.raises(DataError, match=message):
            store.read(index)


def own(
    path: Path,
    values: list[bytes],
    *,
    labels: list[int] | None = None,
    header: dict[str, Any] | None = None,
    sealed: bool = False,
    **replace: bytes,
) -> Path:
    """A database of our layout, written from its description alone; without trailer as at first."""

    samples = {key_of(n): padded(value) for n, value in enumerate(values)}
    database(path, samples)
    entries = np.zeros(len(values), ENTRY)
    for n, place in enumerate(find(LmdbFile(path))):
        label = labels[n] if labels else 0
        entries[n] = (place.offset, len(values[n]), checksum(values[n]), 1, 1, label, 0)
    found = {
        b"index": entries.tobytes(),
        b"labels": entries["label"].astype("<i4").tobytes(),
        b"names": b"",
        b"classes": b'["a", "b"]',
    }
    found |= {name.encode(): value for name, value in replace.items()}
    sums = {key.decode(): checksum(value) for key, value in found.items()}
    fields = {"count": len(values), "store": "encoded", "largest_side": None, "quality": None}
    made = Header(**{**fields, "repacked": False, "checksums": sums, **(header or {})})
    database(path, found | {b"header": made.dump()})
    if sealed:
        places = {place.key: (place.offset, place.length) for place in find(LmdbFile(path))}
        with path.open("ab") as file:
            file.write(trailer(places))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 2]}, "a label is not one of its 2 classes"),
        ({"labels": [-1, 0]}, "a label is not one of its 2 classes"),
        ({"classes": b'{"a": 1}'}, "classes is no JSON list of names"),
        ({"classes": b"["}, "classes is no JSON list"),
        ({"classes": b"[" * 100_000}, "classes is no JSON list"),
        ({"index": bytes(32)}, "index is not of 2 samples"),
        ({"index": bytes(64)}, "sample . lies elsewhere than its index says .mdb_copy -c does"),
        ({"index": b"\xff" * 64}, "sample . is said to lie beyond its end"),
        ({"header": {"count": 3}}, "index is not of 3 samples"),
        ({"header": {"count": 0}}, "count, largest_side and quality must be positive integers"),
        ({"header": {"store": "zip"}}, "store must be one of encoded, decoded, not 'zip'"),
        ({"header": {"repacked": 1}}, "repacked must be true or false"),
        ({"header": {"checksums": {}}}, "checksums must be of classes, index, labels, names"),
        ({"header": {"checksums": {"index": 0, "labels": 0, "names": 0, "classes": 0}}},
         "the checksum of labels is wrong"),
    ],
)  # fmt: skip
def test_damaged_databases_of_ours(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert len(ImageLmdb(own(tmp_path / "right.lmdb", [b"x", b"y" * 9000]))) == 2
    with pytest.raises(DataError, match=message):
        open_store(own(tmp_path / "x.lmdb", [b"x", b"y" * 9000], **changes))


def test_a_compacted_copy_is_refused(tree: Path, tmp_path: Path) -> None:
    build(tree / "train", tmp_path / "x.lmdb", workers=1)
    with lmdb.open(str(tmp_path / "x.lmdb"), subdir=False, readonly=True, lock=False) as env:
        env.copy(str(tmp_path / "copy.lmdb"), compact=True)
        env.copy(str(tmp_path / "plain.lmdb"))
    store = open_store(tmp_path / "x.lmdb")
    # One that keeps the places lacks the trailer, and is found by LMDB's tree.
    assert read_some(open_store(tmp_path / "plain.lmdb")) == read_some(store)
    with pytest.raises(DataError, match="must be a byte for byte copy of what was built, but samp"):
        open_store(tmp_path / "copy.lmdb")
    make_original(tree / "train", tmp_path / "o")  # of other layouts it may be compacted
    with lmdb.open(str(tmp_path / "o"), readonly=True, lock=False) as env:
        (tmp_path / "copy").mkdir()
        env.copy(str(tmp_path / "copy"), compact=True)
    assert read_some(open_store(tmp_path / "copy")) == read_some(open_store(tmp_path / "o"))


def test_a_database_that_was_repacked_is_read_as_any_other(tmp_path: Path) -> None:
    """Restart markers and a table of their places, as ``--repack`` wrote them until version 0.1."""
    table = b"\xff\xea" + (2 + 15 + 4).to_bytes(2, "big") + b"srsgd_ray runs\0" + bytes(4)
    plain = [encoded(n, quality=80) for n in range(4)]
    files = [encoded(n, quality=80, restart_marker_blocks=2) for n in range(4)]
    repacked = [data[:2] + table + data[2:] for data in files]
    store = open_store(own(tmp_path / "x.lmdb", repacked, header={"repacked": True}))
    for n, source in enumerate(plain):
        wanted, data = jpeg.decode(source, ""), store.read(n)
        assert isinstance(data, bytes) and np.array_equal(jpeg.decode(data, ""), wanted)
        frame = frame_of(data)
        assert frame is not None and frame.plain
        crop = jpeg.decode_box(data, frame, (8, 20, 30, 40))
        assert crop is not None and np.array_equal(crop, wanted[8:38, 20:60])


def test_bytes_that_changed_are_found_by_their_checksum(tree: Path, tmp_path: Path) -> None:
    build(tree / "train", tmp_path / "x.lmdb", workers=1)
    store = ImageLmdb(tmp_path / "x.lmdb")
    with (tmp_path / "x.lmdb").open("r+b") as file:
        file.seek(store.entry(7).offset + 100)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    for n in range(12):
        if n == 7:
            with pytest.raises(DataError, match="must have the checksum of its index, but has an"):
                store.read(n)
        else:
            store.read(n)


@pytest.mark.parametrize(("labels", "told"), [((0, 1, 900_000), 2), ((0, 1, 5, 3), 2)])
def test_labels_without_images_are_told(tmp_path: Path, labels: tuple[int, ...], told: int) -> None:
    records = {
        f"{n:08d}_a.JPEG".encode(): datum(encoded(n), label) for n, label in enumerate(labels)
    }
    path = database(tmp_path / "c", records)
    with pytest.raises(DataError, match=rf"00000002_a.JPEG has label .*, such as {told}\. Build"):
        open_store(path)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_database_that_was_replaced_is_noticed_where_it_is_opened_again(
    tmp_path: Path, sealed: bool
) -> None:
    """Also if the new one has as many samples of the same sizes."""
    path = tmp_path / "replaced.lmdb"
    data = encoded(0)
    own(path, [data] * 5, sealed=sealed)
    store = ImageLmdb(path)
    sent, before = pickle.dumps(store), store.read(0)
    assert pickle.loads(sent).read(0) == before
    path.unlink()
    own(path, [data] * 4 + [data[:-1] + b"x"], sealed=sealed)
    assert store.read(0) == before  # the open file is still the old one
    with pytest.raises(DataError, match=r"replaced.lmdb must stay as it is while it is in use"):
        pickle.loads(sent)
    path.unlink()
    own(path, [data] * 7, sealed=sealed)
    with pytest.raises(DataError, match="was changed or replaced"):
        pickle.loads(sent)


def private() -> int:
    """Bytes that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return 1024 * (sizes["Private_Clean"] + sizes["Private_Dirty"])


def growth(store: Store) -> int:
    """How much larger this process becomes by reading all samples."""
    store.read(0)
    gc.collect()
    before = private()
    for index in range(len(store)):
        store.read(index)
        store.label(index)
    return private() - before


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """20,000 samples in our layout and the original's."""
    folder = tmp_path_factory.mktemp("large")
    data = encoded(0)[:1500]
    other = {f"train/n{n % 9}/{n}.JPEG".encode(): data for n in range(20_000)}
    return {
        "own": own(folder / "own", [data] * 20_000, sealed=True),
        "original": database(folder / "original", other),
    }


@pytest.mark.parametrize("layout", ["own", "original"])
def test_a_reader_takes_a_few_bytes_a_sample_and_does_not_grow(
    large: dict[str, Path], layout: str
) -> None:
    store = open_store(large[layout])
    # What a spawned worker is sent and keeps: of the original's, keys, places and labels.
    assert len(pickle.dumps(store)) < {"own": 2000, "original": 60 * len(store)}[layout]
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(growth, (store,)) < 2e6
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(send, str(growth(store)).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        assert int(pipe.read()) < 2e6
    os.waitpid(child, 0)


def test_opening_reads_neither_index_nor_samples(
    large: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = DataFile.read

    def counted(self: DataFile, offset: int, length: int) -> bytes:
        sizes.append(length)
        return real(self, offset, length)

    monkeypatch.setattr(DataFile, "read", counted)
    monkeypatch.setattr(subprocess, "run", None)  # nor LMDB's tree
    open_store(large["own"])
    assert sum(sizes) < 4 * 20_000 + 40 * 4096 and len(sizes) < 60


def test_places_are_those_of_the_file(tmp_path: Path) -> None:
    """Of empty values, small ones within a leaf, and large ones on pages of their own."""
    draw = random.Random(0)
    records = {
        draw.randbytes(draw.randrange(1, 40)): draw.randbytes(draw.choice((0, 1, 48, 900, 9000)))
        for _ in range(3000)
    }
    records |= {b"\0": b"", b"\xff" * 40: b"last"}  # none has an address of its own at first
    file = LmdbFile(database(tmp_path / "x", records))
    found = {place.key: file.read(place.offset, place.length) for place in find(file)}
    assert found == records and list(found) == sorted(records)
    some = [*draw.sample(sorted(records), 5), b"absent"]
    assert [place.key for place in find(file, some)] == some[:5]


@pytest.mark.parametrize("dupsort", [True, False])
def test_databases_for_other_purposes_are_said(tmp_path: Path, dupsort: bool) -> None:
    path = tmp_path / "x"
    with lmdb.open(str(path), subdir=False, lock=False, max_dbs=2, map_size=2**20) as env:
        inner = None if dupsort else env.open_db(b"inner")
        with env.begin(write=True, db=inner) as txn:
            txn.put(b"a/b/c", b"1")
    if dupsort:  # py-lmdb makes none: the flag in both meta pages
        data = bytearray(path.read_bytes())
        data[92] |= 4
        data[4096 + 92] |= 4
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"x is damaged: it holds .* another purpose. Copy or"):
        open_store(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_tree_that_ends_lmdb_is_a_message(
    layouts: dict[str, Path], tmp_path: Path, share: float
) -> None:
    """The process that trains, or verifies, is ended by no signal: a child is."""
    shutil.copytree(layouts["original"], tmp_path / "o")
    file = tmp_path / "o" / "data.mdb"
    data = bytearray(file.read_bytes())
    for page in range(2, len(data) // 4096):
        if data[page * 4096 + 10] == 2:  # a leaf: keys of up to 64 kB, nodes anywhere
            at = page * 4096 + 16
            data[at : at + 200] = random.Random(share).randbytes(200)
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"data.mdb is damaged: .* Copy or build it anew"):
        open_store(tmp_path / "o")
