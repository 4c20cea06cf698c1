"""The clusters' files, offline: nothing here starts Ray, needs credentials or reaches a network."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import Any

import click
import jsonschema
import pytest
import ray.autoscaler
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "cluster.yaml"
LOCAL = ROOT / "cluster-local.yaml"
GUIDE = ROOT / "docs" / "cluster.md"
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def cluster() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(CLUSTER.read_text())
    return config


def head_and_workers(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    types = dict(config["available_node_types"])
    return types.pop(config["head_node_type"]), types


def start_commands(config: dict[str, Any]) -> dict[str, str]:
    """The one command of each kind of node that starts Ray."""
    found = {}
    for kind in ("head", "worker"):
        (found[kind],) = (c for c in config[f"{kind}_start_ray_commands"] if "ray start" in c)
    return found


def commands(config: dict[str, Any]) -> list[str]:
    return [c for key, value in config.items() if key.endswith("_commands") for c in value]


# Ray takes it


def test_rays_schema_and_launcher_accept_it(cluster: dict[str, Any]) -> None:
    jsonschema.validate(cluster, SCHEMA)
    prepared = prepare_config(cluster)
    validate_config(prepared)
    assert prepared["available_node_types"]["head"]["max_workers"] == 0


def break_head(config: dict[str, Any]) -> None:
    del config["available_node_types"]["head"]


def break_worker(config: dict[str, Any]) -> None:
    del config["available_node_types"]["gpu_spot"]["node_config"]


def break_provider(config: dict[str, Any]) -> None:
    del config["provider"]["type"]


def break_key(config: dict[str, Any]) -> None:
    config["idle_timeout"] = 5


def break_resources(config: dict[str, Any]) -> None:
    config["available_node_types"]["gpu_spot"]["resources"]["GPU"] = "one"


def break_bound(config: dict[str, Any]) -> None:
    config["available_node_types"]["gpu_spot"]["min_workers"] = config["max_workers"] + 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_head, "head_node_type"),
        (break_worker, "'node_config' is a required property"),
        (break_key, "'idle_timeout' was unexpected"),
        (break_resources, "is not of type 'integer'"),
        (break_bound, "smaller than the sum of `min_workers`"),
    ],
)
def test_a_broken_copy_is_refused(cluster: dict[str, Any], damage: Any, message: str) -> None:
    broken = copy.deepcopy(cluster)
    damage(broken)
    with pytest.raises((ValueError, jsonschema.ValidationError), match=re.escape(message)):
        validate_config(prepare_config(broken))


def test_a_provider_without_a_type_is_refused(cluster: dict[str, Any]) -> None:
    break_provider(cluster)
    with pytest.raises(jsonschema.ValidationError, match="'type' is a required property"):
        jsonschema.validate(cluster, SCHEMA)


# Machines of one's own


@pytest.fixture
def local() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(LOCAL.read_text())
    return config


def test_rays_launcher_takes_the_machines_of_ones_own_and_starts_all(local: dict[str, Any]) -> None:
    jsonschema.validate(local, SCHEMA)
    prepared = prepare_config(local)
    validate_config(prepared)
    (kind,) = prepared["available_node_types"].values()
    workers = len(local["provider"]["worker_ips"])
    assert (kind["min_workers"], kind["max_workers"]) == (workers, workers)
    assert prepared["max_workers"] == workers


def test_node_types_are_refused_for_machines_of_ones_own(
    local: dict[str, Any], cluster: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """If Ray takes them one day, cluster.yaml's way is the better one."""
    with pytest.raises(click.ClickException):
        prepare_config({**cluster, "provider": local["provider"]})
    assert "available_node_types is not supported" in capsys.readouterr().err


def test_the_two_files_do_the_same_on_a_node(
    local: dict[str, Any], cluster: dict[str, Any]
) -> None:
    for key in ("file_mounts", "rsync_exclude"):
        assert local[key] == cluster[key]
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert local[key] == cluster[key]
    clouds = [c for c in cluster["setup_commands"] if c not in local["setup_commands"]]
    assert [c.split()[0] for c in clouds] == ["cloud-init"]
    assert [c for c in local["setup_commands"] if c not in cluster["setup_commands"]] == []


def test_the_line_at_its_top_is_in_the_guide() -> None:
    (line,) = re.findall(r"(?m)^#     (RAY_UP\S+ ray up \S+)$", LOCAL.read_text())
    assert line in shell_lines()


# What it costs


def test_workers_are_spot_machines_with_gpus_and_none_when_idle(cluster: dict[str, Any]) -> None:
    _, workers = head_and_workers(cluster)
    spot, usual = workers.pop("gpu_spot"), workers.pop("gpu_on_demand")
    assert not workers
    assert 0 == spot["min_workers"] < spot["max_workers"] <= cluster["max_workers"]
    assert spot["resources"]["GPU"] >= 1
    assert re.match(r"(g|p)\d", spot["node_config"]["InstanceType"])
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    # The same on demand: none, until the user wants some.
    assert spot.pop("priority") > usual.get("priority", 0)
    assert usual == {**spot, "max_workers": 0}
    assert 0 < cluster["max_workers"] <= 8
    assert 0 < cluster["idle_timeout_minutes"] <= 30


def test_the_head_does_no_gpu_work_and_cannot_be_taken_away(cluster: dict[str, Any]) -> None:
    head, _ = head_and_workers(cluster)
    assert head["resources"]["GPU"] == 0
    assert re.match(r"[cmrt]\d", head["node_config"]["InstanceType"])
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head.get("max_workers", 0) == 0


def test_nothing_costs_on_after_down(cluster: dict[str, Any]) -> None:
    assert cluster["provider"]["cache_stopped_nodes"] is False
    for node in cluster["available_node_types"].values():
        for disk in node["node_config"]["BlockDeviceMappings"]:
            assert disk["Ebs"]["DeleteOnTermination"] is True


# Who gets in

SECRETS = {
    "access key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "secret key": r"(?i)aws_(secret|session|access)",
    "private key": r"-----BEGIN",
    "key file": r"(?m)^\s*(ssh_private_key|ssh_public_key|KeyName)\s*:",
    "token": r"RAY_AUTH_TOKEN\b|\b[0-9a-f]{32,}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    "account": r"\b\d{12}\b",
    "address": r"\b(?!127\.0\.0\.1\b)\d{1,3}(\.\d{1,3}){3}\b",
    "cloud id": r"\b(ami|sg|subnet|vpc|fs|i|key)-[0-9a-f]{8,}\b",
    "web address": r"https?://(?!127\.0\.0\.1:)",
    "not ASCII": r"[^\x00-\x7f]",
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("file", [CLUSTER, LOCAL, GUIDE], ids=lambda file: file.name)
def test_no_secret_and_nothing_of_one_account(file: Path, kind: str) -> None:
    found = re.search(SECRETS[kind], file.read_text())
    if file == LOCAL and kind == "key file":  # what SSH itself would take
        assert yaml.safe_load(LOCAL.read_text())["auth"]["ssh_private_key"] == "~/.ssh/id_ed25519"
    else:
        assert not found


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("access key", "AKIA" + "A1B2C3D4E5F6G7H8"),
        ("private key", "-----BEGIN " + "RSA PRIVATE KEY-----"),
        ("key file", "  ssh_private_key: ~/.ssh/mine.pem"),
        ("token", "0123456789abcdef" * 4),
        ("account", "arn:aws:iam::" + "123412341234" + ":role/x"),
        ("address", "head_ip: 10.0.0.7"),
        ("cloud id", "ImageId: ami-" + "0a1b2c3d4e5f6a7b8"),
    ],
)
def test_the_search_for_secrets_finds_them(kind: str, text: str) -> None:
    assert re.search(SECRETS[kind], text)


def test_the_dashboard_listens_on_loopback_only(cluster: dict[str, Any]) -> None:
    words = shlex.split(start_commands(cluster)["head"])
    assert [w for w in words if w.startswith("--dashboard-host")] == ["--dashboard-host=127.0.0.1"]


def test_no_port_is_opened(cluster: dict[str, Any]) -> None:
    assert "security_group" not in cluster["provider"]
    for node in cluster["available_node_types"].values():
        assert not {"SecurityGroupIds", "NetworkInterfaces", "LaunchTemplate"} & set(
            node["node_config"]
        )


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_token_login_is_on(cluster: dict[str, Any], kind: str) -> None:
    before, _, _ = start_commands(cluster)[kind].partition("ray start")
    assert re.search(r"export [^;]*\bRAY_AUTH_MODE=token\b", before)


def test_the_token_is_a_reference_to_a_file(cluster: dict[str, Any]) -> None:
    from ray._private.authentication.authentication_token_setup import _get_default_token_path

    mounted = cluster["file_mounts"]["~/.ray/auth_token"]
    assert Path(mounted).expanduser() == _get_default_token_path()
    assert "chmod 600 ~/.ray/auth_token" in cluster["setup_commands"]


# What is copied to the nodes


def test_just_what_pip_needs_is_copied(cluster: dict[str, Any]) -> None:
    needed = {"environment.sh", "srsgd_ray", "pyproject.toml", "constraints.txt"}
    needed |= {PROJECT["readme"]}
    needed |= set(PROJECT["license-files"])
    mounts = {k: v for k, v in cluster["file_mounts"].items() if not k.startswith("~/.ray/")}
    assert mounts == {f"~/srsgd-ray/{name}": f"./{name}" for name in needed}


def test_everything_that_is_copied_exists(cluster: dict[str, Any]) -> None:
    ours = [local for local in cluster["file_mounts"].values() if local.startswith("./")]
    assert [local for local in ours if not (ROOT / local).exists()] == []


def test_no_exclude_hits_a_module_of_the_package(cluster: dict[str, Any]) -> None:
    """Rsync takes "data", and ".gitignore"'s "results/*", for srsgd_ray/data and /results too."""
    assert {".git", ".venv"} <= set(cluster["rsync_exclude"])
    assert not cluster.get("rsync_filter")
    names = {
        part for path in (ROOT / "srsgd_ray").rglob("*.py") for part in path.relative_to(ROOT).parts
    }
    for pattern in cluster["rsync_exclude"]:
        assert not [name for name in names if PurePosixPath(name).match(pattern)]


def test_a_submitted_job_leaves_data_and_results_at_home() -> None:
    """Ray leaves out .git and .venv by itself, the rest by .gitignore."""
    excludes = get_excludes_from_ignore_files(ROOT, include_gitignore=True)

    def left_out(path: str) -> bool:
        """Ray looks at each folder on the way, and does not enter one that is left out."""
        way = [ROOT / path, *(ROOT / path).parents]
        return any(exclude(p) for exclude in excludes for p in way if ROOT in p.parents)

    for path in ("results/mine/optuna.db", "data/cifar-10-python.tar.gz", ".venv/bin/python"):
        assert left_out(path), path
    for path in ("srsgd_ray/results/__init__.py", "srsgd_ray/data/__init__.py", "studies/a.py"):
        assert not left_out(path), path


# Versions


def test_rays_version_is_the_projects() -> None:
    (pin,) = re.findall(r"(?m)^ray==(\S+)", (ROOT / "constraints.txt").read_text())
    (wanted,) = (r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "ray")
    assert wanted.specifier.contains(Version(pin))


@pytest.mark.parametrize("file", [CLUSTER, LOCAL], ids=lambda file: file.name)
def test_one_script_installs(file: Path) -> None:
    config = yaml.safe_load(file.read_text())
    (line,) = (c for c in commands(config) if "environment.sh" in c)
    assert line == "bash ~/srsgd-ray/environment.sh ~/srsgd-ray-env"
    assert not [c for c in commands(config) if "pip" in c.split()]


# The script's own python3: its environment is a folder whose pip looks and installs nothing.
PYTHON3 = """#!/bin/bash
case $* in
  "-m venv --clear "*)
    mkdir -p "$4/bin"
    printf '#!/bin/bash\\nexec {python} -m pip install --dry-run --no-build-isolation "${{@:4}}"' \\
      > "$4/bin/python"
    chmod +x "$4/bin/python" ;;
  *) exec {python} "$@" ;;
esac
"""


def test_every_install_resolves(tmp_path: Path) -> None:
    """environment.sh itself, but that it installs nothing.

    It finds the packages that lie around this test: those of the constraints, as it holds first,
    which `make install` has found in a clean environment. The rest comes from the index.
    """
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text())
    around = {canonicalize_name(found.name): found.version for found in distributions()}
    differ = [f"{n}=={v}" for n, v in pins if around.get(canonicalize_name(n), v) != v]
    assert not differ, "run `make install`: other versions lie here than the constraints say"
    for name in ("environment.sh", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "srsgd_ray").mkdir()
    (tmp_path / "srsgd_ray" / "__init__.py").touch()
    (tmp_path / "python3").write_text(PYTHON3.format(python=shlex.quote(sys.executable)))
    (tmp_path / "python3").chmod(0o755)
    done = subprocess.run(
        ["bash", tmp_path / "environment.sh", tmp_path / "env"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "env" / ".digest").exists()


def test_the_container_in_the_comment_is_what_ray_takes(cluster: dict[str, Any]) -> None:
    block = re.search(r"(?m)^# docker:\n(#   .*\n)+", CLUSTER.read_text())
    assert block
    cluster |= yaml.safe_load(re.sub(r"(?m)^# ", "", block[0]))
    jsonschema.validate(cluster, SCHEMA)
    validate_config(prepare_config(cluster))
    assert cluster["docker"]["image"] in (ROOT / "kubernetes" / "rayjob.yaml").read_text()
    (line,) = (c for c in commands(cluster) if "environment.sh" in c)
    # Set-up finds there what the image has, and installs but the package.
    assert f"/{line.split()[-1].rpartition('/')[2]}" in (ROOT / "Containerfile").read_text()


def test_the_image_is_looked_up_and_not_rays_outdated_default(cluster: dict[str, Any]) -> None:
    nodes = cluster["available_node_types"].values()
    (image,) = {node["node_config"]["ImageId"] for node in nodes}
    assert re.fullmatch(r"resolve:ssm:/aws/service/deeplearning/ami/\S+/latest/ami-id", image)


# The guide's commands exist


def shell_lines() -> Iterator[str]:
    for block in re.findall(r"(?s)```sh\n(.*?)```", GUIDE.read_text()):
        yield from block.replace("\\\n", " ").splitlines()


RAY_LINES = [line for line in shell_lines() if line.startswith("ray ")]


def parse(command: click.Command, words: list[str]) -> list[str]:
    """Take the options as ``ray`` would, without running it; returns a job's entrypoint."""
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    context = click.Context(command)
    command.parse_args(context, words)
    entrypoint: Any = context.params.get("entrypoint", ())
    return list(entrypoint)


@pytest.mark.parametrize("line", RAY_LINES)
def test_rays_command_line_knows_it(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])[1:]
    entrypoint = parse(ray_cli, words)
    assert bool(entrypoint) == ("job submit" in line)


def test_the_study_knows_the_options_it_is_submitted_with() -> None:
    submitted = [shlex.split(line.partition(" -- ")[2]) for line in RAY_LINES if " -- " in line]
    assert submitted
    given = {word for words in submitted for word in words if word.startswith("--")}
    (script,) = {words[1] for words in submitted}
    command = [sys.executable, script, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not [option for option in given if option not in done.stdout]


def test_the_guide_says_first_that_no_cloud_has_run_it() -> None:
    assert "has not been run on a real cloud" in GUIDE.read_text()[:200]
    assert "NOT YET RUN ON A REAL CLOUD" in CLUSTER.read_text()[:300]
