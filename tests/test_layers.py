"""Imports go down only, and importing does nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "srsgd_ray"

# Each layer may import itself and what stands in its row.
BELOW = {"config", "knobs", "restarts", "results", "table"}
LAYERS: dict[str, set[str]] = {
    "restarts": set(),
    "typed": set(),
    "knobs": set(),
    "fetch": set(),
    "table": {"knobs"},
    "import_path": {"knobs"},
    "trainable": {"knobs", "import_path"},
    "parts": {"knobs", "import_path"},
    "lr_schedules": {"parts"},
    "train_knobs": {"knobs", "parts", "lr_schedules"},
    "config": {"restarts", "knobs", "parts", "lr_schedules", "train_knobs"},
    "results": {"knobs", "trainable"},
    "analysis": BELOW,
    "figures": BELOW | {"analysis"},
    "pages": {"results", "analysis", "search_spaces", "typed"},
    "export": {"knobs", "typed", "table", "results", "analysis"},
    # The built-in networks and data sets, which parts finds by itself.
    "models": {"config", "knobs", "parts"},
    "image_lmdb": set(),
    "data": {"config", "knobs", "parts", "image_lmdb"},
    "datasets": {"parts", "data"},
    "optim": {"config", "knobs", "parts", "restarts"},
    "training": BELOW | {"trainable", "parts", "lr_schedules", "models", "data", "optim"},
    "search_spaces": set(),
    # The engine, backends and study, knows what it studies through the seam alone.
    "trainables": {
        "config",
        "knobs",
        "parts",
        "restarts",
        "trainable",
        "optim",
        "training",
        "data",
    },
    "backends": {"knobs", "trainable", "results"},
    "doctor": {"results", "backends", "typed"},
    "testing": {"knobs", "trainable", "backends"},
    "study": {
        "knobs",
        "progress",
        "import_path",
        "trainable",
        "results",
        "analysis",
        "search_spaces",
        "backends",
        "export",
        "table",
    },
    "progress": set(),
    # The publication: data, studies, comparison with ours, figures. Only commands import it.
    "paper": BELOW
    | {"typed", "trainable", "trainables", "analysis", "figures", "search_spaces", "study"},
    "cli": BELOW
    | {"progress", "trainable", "analysis", "figures", "image_lmdb", "training", "backends"}
    | {"pages", "export", "doctor", "fetch"}
    | {"study", "testing", "paper", "table", "import_path", "typed"},
}
KNOW_RAY = {"backends", "study"}
KNOW_TORCH = {
    "models", "data", "datasets", "optim", "paper", "training", "trainables", "backends", "testing",
}  # fmt: skip


def imports() -> list[tuple[str, str, str]]:
    """(importing layer, imported module, file) of every import in the package."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        layer = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if file.name == "__main__.py":  # a script, which nothing imports: python -m ... is a verb
            layer = "cli"
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                names = [node.module or ""]
                if node.module == "srsgd_ray":
                    names = [f"srsgd_ray.{alias.name}" for alias in node.names]
            else:
                continue
            found += [(layer, name, str(file.relative_to(PACKAGE))) for name in names]
    return found


def test_every_layer_is_listed() -> None:
    there = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.name[0] not in "_."}
    assert there - {"py.typed"} == set(LAYERS)


def test_imports_go_down_only() -> None:
    for layer, module, file in imports():
        if layer == "__init__" or not module.startswith("srsgd_ray."):
            continue
        target = module.split(".")[1]
        assert target == layer or target in LAYERS[layer], f"{file} imports {module}"


def test_no_module_imports_itself_through_others() -> None:
    files = {
        ".".join(f.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): f
        for f in PACKAGE.rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for module, file in files.items():
        needed = graph.setdefault(module, set())
        for node in ast.parse(file.read_text()).body:  # imports in functions are none at its import
            if isinstance(node, ast.ImportFrom):
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                needed |= {part if part in files else str(node.module) for part in parts}
            elif isinstance(node, ast.Import):
                needed |= {alias.name for alias in node.names}
        needed &= files.keys() - {module}
    TopologicalSorter(graph).prepare()  # CycleError: the modules of a cycle


def test_ray_and_torch_stay_in_their_layers() -> None:
    for layer, module, file in imports():
        top = module.split(".")[0]
        assert top != "ray" or layer in KNOW_RAY, f"{file} imports {module}"
        assert top not in ("torch", "torchvision") or layer in KNOW_TORCH, f"{file}: {module}"


def test_what_mypy_skips_is_imported_nowhere() -> None:
    """Its types would be Any without a word."""
    root = PACKAGE.parent
    mypy = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mypy"]
    skipped = tuple(
        name.removesuffix("*")
        for part in mypy["overrides"]
        if part.get("follow_imports") == "skip"
        for name in part["module"]
    )
    assert skipped
    for file in (file for folder in mypy["files"] for file in (root / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}." for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [f"{alias.name}." for alias in node.names]
            found = [name for name in names if name.startswith(skipped)]
            assert not found, f"{file} imports {found}, which pyproject.toml has mypy skip"


# What the import of a module must not bring. The modules of a list are imported in its order by
# one process: what is not there after one of them was not brought by those before it either.
UNWANTED: list[dict[str, str]] = [
    {
        "srsgd_ray.trainable": "torch ray pandas pyarrow optuna",
        "srsgd_ray.table": "torch ray pandas rich",
        "srsgd_ray": "torch ray pandas optuna",
        "srsgd_ray.trainables.image": "torch ray pandas",
        "srsgd_ray.backends.ray.process": "torch ray pandas optuna",
        "srsgd_ray.cli": "torch ray pandas",
        "srsgd_ray.backends.local": "torch ray optuna",
        "srsgd_ray.paper": "torch ray optuna matplotlib",
        "srsgd_ray.results": "torch ray",
        "srsgd_ray.analysis": "torch ray optuna matplotlib seaborn",
        "srsgd_ray.export": "torch ray optuna matplotlib tensorboard mlflow wandb",
        "srsgd_ray.search_spaces": "torch ray",
        "srsgd_ray.figures": "torch ray",
        "srsgd_ray.study": "torch ray",
    },
    {"srsgd_ray.training": "ray optuna", "srsgd_ray.optim": "ray"},
]
CHILD = """
import importlib, sys
for module, unwanted in {modules}.items():
    importlib.import_module(module)
    print(module, [name for name in unwanted.split() if name in sys.modules])
"""


@pytest.mark.parametrize("modules", UNWANTED, ids=lambda modules: next(iter(modules)))
def test_importing_brings_nothing_unwanted(modules: dict[str, str]) -> None:
    command = [sys.executable, "-c", CHILD.format(modules=modules)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{module} []" for module in modules]


def test_no_file_is_too_long() -> None:
    lines = {str(f): len(f.read_text().splitlines()) for f in PACKAGE.rglob("*.py")}
    assert not {file: count for file, count in lines.items() if count > 300}


def test_no_twelve_lines_stand_twice() -> None:
    """Lines that are neither blank nor of an import, in a row, spaces at their ends left away."""
    seen: dict[tuple[str, ...], str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text()
        imported = {
            line
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        lines = [
            (number, line.strip())
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and number not in imported
        ]
        for some in zip(*(lines[shift:] for shift in range(12)), strict=False):
            place = f"{file.relative_to(PACKAGE)}:{some[0][0]}"
            first = seen.setdefault(tuple(line for _, line in some), place)
            assert first == place, f"the 12 lines from {place} on also stand at {first}"


def test_study_scripts_hold_no_logic() -> None:
    for script in (PACKAGE.parent / "studies").glob("*.py"):
        if script.stem == "own_model":  # a user's file: its own network, data and loop
            continue
        assert len(script.read_text().splitlines()) <= 60, script
