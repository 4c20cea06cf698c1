"""environment.sh with a project and constraints of a few kilobytes: installed, kept, fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "srsgd-ray"
version = "0.1"
dependencies = ["shtab"]
[project.optional-dependencies]
aws = []
dashboard = []
optimizers = []
[tool.setuptools]
py-modules = ["mine"]
"""
# The aws of `aws s3 ls`, `cp` and `mv`: BUCKET is a folder.
AWS = """#!/bin/bash
words=("${@/#s3:\\/\\//$BUCKET/}")
case $2 in
  ls) [ -e "${words[2]}" ] ;;
  cp) if [ "$4" = - ]; then cat > "${words[4]}"; else cat "${words[3]}"; fi ;;
  mv) mv "${words[3]}" "${words[4]}" ;;
esac
"""


def environment(node: Path, *cache: str, **more: str) -> str:
    """Set up the environment of a node, as cluster.yaml does, and give what is printed."""
    done = subprocess.run(
        ["bash", "srsgd-ray/environment.sh", "srsgd-ray-env", *cache],
        cwd=node,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def versions(node: Path) -> list[str]:
    """What the environment's Python has of the package and of its dependency."""
    code = "import mine, shtab; print(mine.VERSION, shtab.__version__, shtab.__file__)"
    command = [node / "srsgd-ray-env" / "bin" / "python", "-c", code]
    return subprocess.check_output(command, cwd="/", text=True).split()


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A folder with what cluster.yaml copies to a node, in small."""
    files = tmp_path / "srsgd-ray"
    files.mkdir()
    shutil.copy(ROOT / "environment.sh", files)
    (files / "pyproject.toml").write_text(PROJECT)
    (files / "constraints.txt").write_text("shtab==1.7.2\n")
    (files / "mine.py").write_text("VERSION = 1\n")
    return tmp_path


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs zstd")
def test_an_environment_is_made_once_kept_and_fetched_without_an_index(node: Path) -> None:
    (node / "bucket" / "mine").mkdir(parents=True)
    (node / "aws").write_text(AWS)
    (node / "aws").chmod(0o755)
    words = {"BUCKET": str(node / "bucket"), "PATH": f"{node}:{os.environ['PATH']}"}
    assert environment(node, "s3://mine", **words) == ""
    where = str(node / "srsgd-ray-env")
    assert versions(node)[:2] == ["1", "1.7.2"]
    (archive,) = (node / "bucket" / "mine").iterdir()
    held = subprocess.check_output(["tar", "--list", "--zstd", "--file", archive], text=True)
    assert "./bin/python" in held.split()
    assert ".digest" not in held  # written last: half an archive is never taken for whole

    # From here on pip has no index, and no package of its own that it could take.
    words |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(node), "PIP_NO_CACHE_DIR": "1"}
    (node / "srsgd-ray" / "mine.py").write_text("VERSION = 2\n")
    os.utime(node / "srsgd-ray" / "mine.py", (0, 0))  # as a commit that is older
    assert "nothing is installed" in environment(node, "s3://mine", **words)
    assert versions(node)[:2] == ["2", "1.7.2"]

    shutil.rmtree(where)  # the next node
    assert f"comes from s3://mine/{archive.name}" in environment(node, "s3://mine", **words)
    assert versions(node)[:2] == ["2", "1.7.2"]
    assert versions(node)[2].startswith(where)

    shutil.rmtree(where)  # half an archive, in a folder that is mounted: made anew, both
    half = node / "bucket" / archive.name
    half.write_bytes(archive.read_bytes()[:-5000])
    environment(node, str(node / "bucket"))
    assert versions(node)[:2] == ["2", "1.7.2"]
    assert half.stat().st_size > archive.stat().st_size - 5000
    assert sorted(p.name for p in (node / "bucket").iterdir()) == ["mine", half.name]


@pytest.mark.parametrize("cache", ["{}", "s3://mine"])
def test_a_tar_that_failed_leaves_no_archive(tmp_path: Path, cache: str) -> None:
    (tmp_path / "bucket" / "mine").mkdir(parents=True)
    for name, text in {"aws": AWS, "tar": "#!/bin/bash\necho half\nexit 2\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    archive = cache.format(tmp_path / "bucket") + "/env.tar.zst"
    said = f"""set -euo pipefail; folder={tmp_path} archive={archive}
    eval "$(sed -n '/^packed()/,/^}}/p; /^store()/,/^}}/p' {ROOT / "environment.sh"})"
    store || echo failed"""
    words = {"BUCKET": str(tmp_path / "bucket"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.check_output(["bash", "-c", said], env={**os.environ, **words}, text=True)
    assert done == "failed\n"
    assert not list((tmp_path / "bucket").rglob("*.zst"))
