"""ImageNet reading now against that of an older commit, on the same databases, in turn.

Two processes live through the whole run: one with the code of this checkout, one with that of the
commit. In each round either passes each database once on one core, the order turned round every
other time. JPEG files and the original's LMDB are made as in imagenet.py; our databases are built
by the older code, so that both can read them. Times are of the processor, which other work on the
machine changes least. A ratio above 1 says that reading is slower now.

    python benchmarks/imagenet_before.py [--commit 8a37a27] [--images 400] [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rows import ratios, row

ROOT = Path(__file__).resolve().parents[1]
BEFORE_SIMPLER = "8a37a27"  # the last commit with a parser of LMDB's pages of our own
STORES = ("original", "encoded", "decoded-side-256")
WAYS = ("reads alone", "crops, uint8", "crops, floats")
# Runs beside either imagenet.py: what the two commits call things differs, that file's functions
# do not.
CHILD = """
import functools, sys, time
from pathlib import Path
sys.path.insert(0, "benchmarks")
import imagenet, torch
from srsgd_ray.image_lmdb import open_store
torch.set_num_threads(1)
folder, count = Path(sys.argv[1]), int(sys.argv[2])
if not (folder / "tree").exists():
    imagenet.make_tree(folder / "tree", count)
    imagenet.make_original(folder / "tree", folder / "original.lmdb")
    list(imagenet.stores(folder))
store = functools.cache(lambda name: open_store(folder / f"{name}.lmdb"))
print("ready", flush=True)
for line in sys.stdin:
    way, name, turn = line.strip().split("|")
    own, began = store(name), time.process_time()
    if way == "reads alone":
        for again in range(10):
            imagenet.read_all(own.read, len(own), 10 * int(turn) + again)
    else:
        imagenet.streamed(own, 1, way == "crops, floats", int(turn))
    print(time.process_time() - began, flush=True)
"""


class Reader:
    """A process that reads with the code in ``tree``."""

    def __init__(self, tree: Path, folder: Path, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(count)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        while (line := self._answer()) != "ready":  # imagenet.py may have something to say first
            print(line)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a reader ended with status {self._process.wait()}.")
        return line.strip()

    def seconds(self, way: str, store: str, turn: int) -> float:
        """How long one pass takes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{way}|{store}|{turn}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def unpacked(commit: str, where: Path) -> Path:
    """The tree of a commit, in a new folder."""
    archive = where / "tree.tar"
    command = ["git", "-C", str(ROOT), "archive", "--output", str(archive), commit]
    subprocess.run(command, check=True)
    (where / "before").mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(where / "before")], check=True)
    return where / "before"


def main() -> None:
    """Print the ratio of each way over each database."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commit", default=BEFORE_SIMPLER)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        before = Reader(unpacked(given.commit, folder), folder, given.images)
        readers = {"before": before, "now": Reader(ROOT, folder, given.images)}
        print(
            f"{given.images} images, one core, {given.commit} and now; n = {given.rounds} "
            f"interleaved rounds after 1 to warm up; medians [quartiles]"
        )
        pairs = [(way, store) for way in WAYS for store in STORES]
        took: dict[tuple[str, str, str], list[float]] = {}
        for turn in range(-1, given.rounds):
            order = list(readers.items())
            for way, store in pairs:
                for name, reader in order if turn % 2 else reversed(order):
                    seconds = reader.seconds(way, store, max(turn, 0))
                    if turn >= 0:
                        took.setdefault((way, store, name), []).append(seconds)
        for reader in readers.values():
            reader.end()
    for way, store in pairs:
        now, then = took[way, store, "now"], took[way, store, "before"]
        row(f"reading over that of {given.commit}, {way}, {store}", ratios(now, then), goal=1.0)


if __name__ == "__main__":
    main()
