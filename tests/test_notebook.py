"""The notebook: stripped of outputs, and it runs from top to bottom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    return list(found["cells"])


def test_there_is_one() -> None:
    assert [path.name for path in NOTEBOOKS] == ["figures.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_nothing_but_the_source_is_stored(path: Path) -> None:
    assert len({cell["id"] for cell in cells(path)}) == len(cells(path))
    for cell in cells(path):
        assert cell["cell_type"] in ("markdown", "code")
        assert cell["metadata"] == {}
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs_from_top_to_bottom(path: Path) -> None:
    """In a kernel of its own and in the notebook's folder, as Jupyter runs it."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(pictures) >= 5
    assert all(out["data"]["image/png"].startswith("iVBORw0KGgo") for out in pictures)
    assert "srsgd" in "".join(out.get("text", "") for out in outputs).lower()
    assert not [out for out in outputs if out.get("name") == "stderr"]
