"""What the documents say exists, exists."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lmdb_images import make_tree

from srsgd_ray.cli.studies import load_study
from srsgd_ray.image_lmdb import build
from srsgd_ray.results import Column, arrow_schema, columns, read_trials
from srsgd_ray.results.columns import SCHEMA_VERSION

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target.replace("\n", ""):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_named_files_exist(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"\b((?:studies|tests|benchmarks|docs)/\w+\.(?:py|md))\b", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


# What a block takes for granted, and what would take too long here.
STANDS_FOR = (
    ("results/NAME", "results/example"),
    ('"/data/lmdb/train.lmdb"', "DATABASE"),
    ('"train.lmdb"', "DATABASE"),
    ("num_workers=8", "num_workers=2"),
    ("range(90)", "range(2)"),
    ('torch.device("cuda")', 'torch.device("cpu")'),
)


def blocks() -> list[Any]:
    found = []
    for page in PAGES:
        parts = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
        found += [pytest.param(text, id=f"{page.name}-{n}") for n, text in enumerate(parts)]
    return found


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("docs")
    build(make_tree(folder / "tree", each=8), folder / "lmdb", workers=1)
    return str(folder / "lmdb" / "train.lmdb")


@pytest.mark.parametrize("text", blocks())
def test_python_in_the_documents_runs(
    text: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for theirs, ours in STANDS_FOR:
        text = text.replace(theirs, ours)
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "studies")  # own_model.py, as beside a user's test
    there: dict[str, Any] = {"DATABASE": database, "model": torch.nn.Linear(2, 2)}
    exec(text, there)
    if "images" in there:
        kind = torch.float32 if "batches" in there else torch.uint8
        assert there["images"].shape == (3, 3, 224, 224) and there["images"].dtype == kind
    if "jpeg" in there:
        assert there["jpeg"].startswith(b"\xff\xd8")


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = (ROOT / "README.md").read_text().split("## The tree", 1)[1].split("```")[1]
    named = set(re.findall(r"^  (\w+(?:\.py|/))", tree, re.M)) | {"data/", "figures/"}
    there = {
        p.name + "/" * p.is_dir()
        for p in (ROOT / "srsgd_ray").iterdir()
        if p.name[0] not in "_." and p.name != "py.typed"
    }
    assert named == there
    for top in re.findall(r"^([\w.]+/?)", tree, re.M):
        assert (ROOT / top).exists(), top


def test_results_page_is_the_schema() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    for table in ("trials", "epochs"):
        part = page.split(f"## {table}.parquet", 1)[1].split("\n## ", 1)[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) \| (.+) \|$", part, re.M)
        found = columns("trials" if table == "trials" else "epochs")
        assert rows == [(c.name, str(c.type), c.unit, c.doc) for c in found]


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_the_example_was_written_by_todays_version(table: str) -> None:
    """If it was not: ``python studies/quickstart.py --name example``, and README's numbers."""
    found = pq.read_table(ROOT / "results" / "example" / f"{table}.parquet")
    study = load_study(str(ROOT / "studies" / "quickstart.py"))
    assert tuple(map(Column.of_field, found.schema)) == study.columns()[table]
    assert found.schema.metadata[b"srsgd_ray_schema"].decode() == str(SCHEMA_VERSION)
    if table == "trials":
        assert found["schema_version"].unique().to_pylist() == [SCHEMA_VERSION]


# SHA-256, shortened, of the columns of image classification, by schema version; those of a version
# that was released never change. 1 and 2 are of the tables that were shipped.
DIGESTS = {1: "2200c4541c4d3bdb", 2: "f3dd1dac1347056b", 3: "0b8e024140d40a0e"}


def test_the_schema_version_changes_when_the_columns_do() -> None:
    """If it did not: count SCHEMA_VERSION up, or, before it is released, correct its digest."""
    said = [f"{t} {f.name} {f.type}" for t in ("trials", "epochs") for f in arrow_schema(t)]
    found = hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
    assert DIGESTS[SCHEMA_VERSION] == found
    assert sorted(DIGESTS) == list(range(1, SCHEMA_VERSION + 1))
    assert len(set(DIGESTS.values())) == len(DIGESTS)


def test_the_documented_sql_reads_older_folders_beside_newer_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    schema = arrow_schema("trials")
    row = {"arm": "sgd", "state": "complete", "lr": 0.1, "image_size": 32}
    # The confirmation's best is not what the search found.
    values = (("search", 5.0), ("search", 6.0), ("confirm", 4.0))
    # The first by name is the oldest: without union_by_name its columns would be all there are.
    for name, left_out in (("a_old", {"image_size", "search", "protocol"}), ("b_new", set())):
        kept = pa.schema([field for field in schema if field.name not in left_out])
        rows = [{**row, "study": name, "phase": phase, "val_error": v} for phase, v in values]
        made = pa.Table.from_pylist(rows, schema=kept)
        (tmp_path / "results" / name).mkdir(parents=True)
        pq.write_table(made, tmp_path / "results" / name / "trials.parquet")
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.S)
    assert sorted(duckdb.sql(query).fetchall()) == [("a_old", "sgd", 5.0), ("b_new", "sgd", 5.0)]
    table = re.search(r"read_parquet\(.*?\)", query)
    assert table is not None
    found = duckdb.sql(f"SELECT * FROM {table[0]} ORDER BY study")
    assert set(found.columns) == set(schema.names)
    frame = found.df().drop_duplicates("study").set_index("study")["image_size"]
    assert frame.isna()["a_old"] and frame["b_new"] == 32
    # A column that is null everywhere has the type that it has where it is filled.
    kinds = dict(zip(found.columns, map(str, found.types), strict=True))
    wanted = {"image_size": "BIGINT", "search": "BIGINT", "protocol": "VARCHAR", "lr": "DOUBLE"}
    wanted |= {"diverged_step": "BIGINT", "lr_milestones": "BIGINT[]", "pareto": "BOOLEAN"}
    assert {name: kinds[name] for name in wanted} == wanted
    both = read_trials("results")
    assert set(both.columns) == set(schema.names)


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for line in re.findall(r"^make (\w+)", page.read_text(), re.M):
            assert line in targets, f"{page.name}: make {line}"


def test_no_file_names_a_package_registry() -> None:
    for file in ("constraints.txt", "pyproject.toml", "Makefile", "README.md", "cluster.yaml"):
        text = (ROOT / file).read_text()
        for url in re.findall(r"\w+://[^\s)\"'`]+", text):
            assert re.match(r"(https://arxiv|http://127\.0\.0\.1|s3:|sqlite:)", url), (
                f"{file}: {url}"
            )


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(want for extra in extras for want in extra)]
    names = {re.split(r"[\[<>=]", want)[0].lower() for want in wanted}
    assert names <= pinned
