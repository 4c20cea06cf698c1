"""Mutated databases, records and keys: a result or one DataError, never anything else."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from lmdb_images import datum, encoded

from srsgd_ray.image_lmdb import DataError, ImageLmdb, Options, Store, build, jpeg, open_store
from srsgd_ray.image_lmdb.caffe import parse_datum
from srsgd_ray.image_lmdb.data_file import LmdbFile
from srsgd_ray.image_lmdb.layout import ENTRY, Header

places = sys.modules["srsgd_ray.image_lmdb.places"]


SERVER = """
import os, sys
sys.path.append(sys.argv[1])
from scan import REFUSED, Refused, scan
for line in sys.stdin:
    path, out, *keys = line.split()
    if (child := os.fork()) == 0:
        with open(path, "rb") as file, open(out, "wb") as found:
            try:
                found.write(scan(file.fileno(), [bytes.fromhex(key) for key in keys]))
            except Refused as refusal:
                found.write(str(refusal).encode())
                found.flush()
                os._exit(REFUSED)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Counter[int]]:
    """LMDB in forks of a small process, which begin ten times as fast; every 100th is a real one.

    Counts how they end.
    """
    ends: Counter[int] = Counter()
    real, out = places._scanned, tmp_path / "scanned"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(places.PROGRAM.parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None

    def scanned(file: LmdbFile, keys: list[bytes]) -> tuple[int, bytes, str]:
        if ends.total() % 100 == 0:
            status, found, said = real(file, keys)
        else:
            words = " ".join([str(file.path), str(out), *(key.hex() for key in keys)])
            server.stdin.write(words + "\n")
            server.stdin.flush()
            status, found = int(server.stdout.readline()), out.read_bytes()
            said = found.decode(errors="replace")
        ends[status] += 1
        return status, found, said

    monkeypatch.setattr(places, "_scanned", scanned)
    yield ends
    server.communicate()
    assert not ends[1] and ends[0] > 50


def use(path: Path) -> None:
    """Open a store, and read, decode and name each image."""
    store: Store = open_store(path)
    assert len(store.labels) == len(store) > 0
    assert store.labels.min() >= 0 and store.labels.max() < len(store.classes)
    store.prefetch(range(len(store)))
    for index in range(len(store)):
        data = store.read(index)
        assert isinstance(store.name(index), str)
        if isinstance(data, bytes):
            jpeg.decode(data, "x")
        else:
            assert data.dtype == np.uint8 and data.ndim == 3 and data.shape[2] == 3


def outcomes(count: int, cases: Iterator[Path], act: Callable[[Path], Any] = use) -> Counter[str]:
    """How ``count`` cases end; any other exception than DataError fails the test."""
    found: Counter[str] = Counter()
    for _ in range(count):
        try:
            act(next(cases))
            found["result"] += 1
        except DataError:
            found["error"] += 1
    assert found.total() == count
    return found


def mutated(data: bytes, draw: random.Random, early: int) -> bytes:
    """Some bytes changed, half of them among the first ``early``; sometimes cut, or lengthened."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5, 30))):
        if not out:
            break
        at = draw.randrange(min(len(out), early) if draw.random() < 0.5 else len(out))
        out[at] = draw.choice((0, 0xFF, 0x7F, 0x80, out[at] ^ 1 << draw.randrange(8)))
    kind = draw.random()
    if kind < 0.1:
        del out[draw.randrange(len(out) + 1) :]
    elif kind < 0.15:
        out += draw.randbytes(draw.randrange(1, 20))
    return bytes(out)


def write(path: Path, records: dict[bytes, bytes]) -> Path:
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=2**24, sync=False) as env,
        env.begin(write=True) as txn,
    ):
        for key, value in records.items():
            txn.put(key, value)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A database of each layout, of three small images."""
    folder = tmp_path_factory.mktemp("small")
    for n in range(3):
        (folder / "tree" / f"c{n % 2}").mkdir(parents=True, exist_ok=True)
        (folder / "tree" / f"c{n % 2}" / f"{n}.JPEG").write_bytes(encoded(n, quality=40))
    build(folder / "tree", folder / "own", workers=1)
    build(folder / "tree", folder / "decoded", Options("decoded", 40), workers=1)
    images = [encoded(n, quality=40) for n in range(3)]
    write(folder / "original", {f"a/c{n}/{n}.JPEG".encode(): d for n, d in enumerate(images)})
    write(
        folder / "caffe",
        {f"{n:08d}_c{n}/{n}.JPEG".encode(): datum(d, n) for n, d in enumerate(images)},
    )
    raw = {f"{n:08d}_c{n}/{n}.JPEG".encode(): datum(bytes(75), n, (3, 5, 5)) for n in range(3)}
    write(folder / "raw", raw)
    return {path.name: path for path in folder.iterdir() if path.is_file()}


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("layout", ["own", "decoded", "original", "caffe", "raw"])
def test_files_with_mutated_pages(small: dict[str, Path], layout: str, tmp_path: Path) -> None:
    whole, draw = small[layout].read_bytes(), random.Random(layout)
    pages = len(whole) // 4096
    # Pages of the trees, where a change matters most: not the images' own.
    trees = [n for n in range(pages) if whole[n * 4096 + 10] & 0xFB]

    def cases() -> Iterator[Path]:
        while True:
            data = bytearray(whole)
            kind = draw.random()
            if kind < 0.7:
                page = draw.choice(trees) * 4096
                data[page : page + 4096] = mutated(bytes(data[page : page + 4096]), draw, 40)[:4096]
            elif kind < 0.8:
                a, b = (draw.randrange(pages) * 4096 for _ in "ab")
                data[a : a + 4096], data[b : b + 4096] = data[b : b + 4096], data[a : a + 4096]
            elif kind < 0.9:
                del data[draw.randrange(len(data)) :]
            else:
                data = bytearray(mutated(whole, draw, len(whole)))
            path = tmp_path / "x"
            path.write_bytes(data)
            yield path

    found = outcomes(1200 if layout in ("own", "decoded") else 400, cases())
    assert min(found["result"], found["error"]) > 50


def test_4000_mutated_records_of_caffe() -> None:
    draw = random.Random(1)
    seeds = [datum(encoded(0)[:300], 3), datum(bytes(75), 70_000, (3, 5, 5)), b""]
    found: Counter[str] = Counter()
    for case in range(4000):
        data = mutated(seeds[case % 3], draw, 12)
        if draw.random() < 0.1:  # a length of up to 64 bits where the data begin
            data = data[:1] + bytes([0xFF] * draw.randrange(1, 10)) + data[1:]

        def get(at: int, length: int, data: bytes = data) -> bytes:
            assert at >= 0 and 0 < length <= 64 and at + length <= len(data)
            return data[at : at + length]

        try:
            record = parse_datum(get, len(data))
            assert record.at >= 0 and record.at + record.length <= len(data)
            found["result"] += 1
        except DataError:
            raise
        except ValueError:
            found["error"] += 1
    assert found.total() == 4000 and min(found.values()) > 300


@pytest.mark.usefixtures("forked")
def test_1000_databases_with_mutated_keys(tmp_path: Path) -> None:
    draw = random.Random(2)
    image, record = encoded(0, quality=30), datum(encoded(0, quality=30), 1)
    seeds = [b"train/n01440764/n01440764_10026.JPEG", b"00000007_n01440764/x.JPEG", b"00000001_v"]

    def cases() -> Iterator[Path]:
        number = 0
        while True:
            number += 1
            path = tmp_path / str(number)
            keys = set()
            for seed in draw.sample(seeds, draw.randrange(1, 4)):
                key = mutated(seed, draw, 20) if draw.random() < 0.8 else seed
                kind = draw.random()
                if kind < 0.1:
                    key = draw.randbytes(draw.randrange(1, 511))
                elif kind < 0.2:
                    key = draw.choice(
                        (b"/", b"a/", b"/a", b"//", b"\xff/\xff", b"header", b"a" * 511)
                    )
                keys.add(key or b"x")
            yield write(path, {key: draw.choice((image, record, b"", b"x")) for key in keys})
            path.unlink()

    found = outcomes(1000, cases())
    assert min(found["result"], found["error"]) > 50


def test_1000_mutated_records_beside_our_samples(small: dict[str, Path], tmp_path: Path) -> None:
    draw = random.Random(3)
    whole = small["own"].read_bytes()
    places = list(ImageLmdb(small["own"]).records.values())

    def cases() -> Iterator[Path]:
        while True:
            data = bytearray(whole)
            for offset, length in draw.sample(places, draw.randrange(1, 3)):
                part = slice(offset, offset + length)
                data[part] = mutated(bytes(data[part]), draw, 30)[:length].ljust(length, b" ")
            path = tmp_path / "x"
            path.write_bytes(data)
            yield path

    found = outcomes(1000, cases())
    assert min(found["result"], found["error"]) > 50


def test_500_mutated_headers_and_index_entries(small: dict[str, Path], tmp_path: Path) -> None:
    draw = random.Random(4)
    store = ImageLmdb(small["own"])
    header = store.record(b"header")
    found: Counter[str] = Counter()
    for _ in range(400):
        try:
            made = Header.parse(mutated(header, draw, 60), tmp_path)
            assert made.count > 0 and made.store in ("encoded", "decoded")
            found["result"] += 1
        except DataError:
            found["error"] += 1
    whole, extremes = small["own"].read_bytes(), (0, 1, 2**31 - 1, 2**31, 2**32 - 1)
    for _ in range(100):
        data = bytearray(whole)
        entries = np.frombuffer(data, ENTRY, 3, store.records[b"index"][0])
        field = draw.choice(ENTRY.names or ())
        bits = 64 if field == "offset" else 32
        value = draw.choice((*extremes, 2**63, 2**64 - 1)) % 2**bits
        entries[field].view(f"<u{bits // 8}")[draw.randrange(3)] = value
        (tmp_path / "x").write_bytes(data)
        try:
            use(tmp_path / "x")
            found["result"] += 1
        except DataError:
            found["error"] += 1
    assert found.total() == 500 and min(found.values()) > 20
