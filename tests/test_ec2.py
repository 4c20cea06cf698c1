"""cluster.yaml brought up and down at moto's EC2; machines that never are answer to no ssh."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.tags import (
    TAG_RAY_LAUNCH_CONFIG,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
GUIDE = (ROOT / "docs" / "cluster.md").read_text()
# Notes its words, answers nothing, and keeps the configuration that Ray sends to the head.
STAND_IN = """#!/bin/bash
echo "${0##*/} $*" >> "$HOME/said"
case $* in *:~/ray_bootstrap_config.yaml) cp "${@: -2:1}" "$HOME/bootstrap.yaml" ;; esac
"""


@pytest.fixture(scope="module")
def account(
    moto: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Path]]:
    """EC2 of an account with the roles of docs/cluster.md, and the home of who types there."""
    home = tmp_path_factory.mktemp("home")
    for name in ("ssh", "rsync"):
        (home / name).write_text(STAND_IN)
        (home / name).chmod(0o755)
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("no token")
    region = CLUSTER["provider"]["region"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{moto[0]}")
        patch.setenv("HOME", str(home))
        patch.setenv("PATH", str(home), prepend=":")
        patch.setenv("TMPDIR", str(home))  # where Ray keeps what it saw of an account
        patch.chdir(ROOT)  # the local paths under file_mounts start there
        iam = boto3.client("iam", region_name=region)
        trust = re.search(r"`trust.json`:\n\n```json\n(.*?)```", GUIDE, re.DOTALL)
        assert trust
        for role in ("srsgd-ray-head", "srsgd-ray-worker"):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust[1])
            iam.create_instance_profile(InstanceProfileName=role)
            iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)
        yield boto3.client("ec2", region_name=region), home


# What `ray` runs, but that it looks whether the machines are gone more often than every 5 s.
RAY = """
from ray.autoscaler._private import commands
from ray.scripts.scripts import main
commands.POLL_INTERVAL = 0.2
main()
"""


def ray(*words: str) -> None:
    """Type a command of Ray's."""
    command = [sys.executable, "-c", RAY, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def machines(ec2: Any) -> dict[str, list[dict[str, Any]]]:
    """What runs, by the name of its node type."""
    found: dict[str, list[dict[str, Any]]] = {}
    for reservation in ec2.describe_instances()["Reservations"]:
        for machine in reservation["Instances"]:
            machine["Tags"] = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
            if machine["State"]["Name"] != "terminated":
                found.setdefault(machine["Tags"][TAG_RAY_USER_NODE_TYPE], []).append(machine)
    return found


def start_spot_workers(count: int, config: dict[str, Any]) -> None:
    """As Ray's autoscaler does on the head."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    tags = {
        TAG_RAY_NODE_KIND: "worker",
        TAG_RAY_USER_NODE_TYPE: "gpu_spot",
        TAG_RAY_NODE_NAME: "ray-srsgd-ray-worker",
        TAG_RAY_NODE_STATUS: "uninitialized",
        TAG_RAY_LAUNCH_CONFIG: "any",
    }
    node_config = config["available_node_types"]["gpu_spot"]["node_config"]
    for _ in range(count):  # asked for one to two, moto starts one
        provider.create_node(node_config, tags, 1)


def test_up_two_spot_workers_and_down(account: tuple[Any, Path]) -> None:
    ec2, home = account
    ray("up", "cluster.yaml", "--yes", "--no-config-cache")
    (head,) = machines(ec2)["head"]
    assert head["Tags"]["ray-node-status"] == "up-to-date"
    told = (home / "said").read_text()
    for command in [*CLUSTER["setup_commands"], *CLUSTER["head_start_ray_commands"]]:
        assert shlex.quote(f"({command})")[2:-2] in told
    start_spot_workers(2, yaml.safe_load((home / "bootstrap.yaml").read_text()))
    workers = machines(ec2)["gpu_spot"]
    assert len(workers) == 2
    assert "InstanceLifecycle" not in head
    assert [worker["InstanceLifecycle"] for worker in workers] == ["spot", "spot"]
    for kind, machine in [("head", head), *(("worker", worker) for worker in workers)]:
        declared = CLUSTER["available_node_types"][machine["Tags"][TAG_RAY_USER_NODE_TYPE]]
        assert machine["InstanceType"] == declared["node_config"]["InstanceType"]
        assert machine["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/srsgd-ray-{kind}")
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        assert machine["Tags"]["ray-cluster-name"] == "srsgd-ray"
        assert machine["Tags"]["ray-node-type"] == kind
        (disk,) = machine["BlockDeviceMappings"]
        assert disk["Ebs"]["DeleteOnTermination"]
        (group,) = machine["SecurityGroups"]
        assert group["GroupName"] == "ray-autoscaler-srsgd-ray"
    volumes = ec2.describe_volumes()["Volumes"]
    assert [(volume["Size"], volume["VolumeType"]) for volume in volumes] == [(200, "gp3")] * 3
    (group,) = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    inside, ssh = sorted(group["IpPermissions"], key=lambda rule: rule["IpProtocol"])
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group["GroupId"]]
    assert not inside["IpRanges"]
    assert (ssh["FromPort"], ssh["ToPort"], ssh["UserIdGroupPairs"]) == (22, 22, [])
    ray("down", "cluster.yaml", "--yes")
    assert machines(ec2) == {}
    assert ec2.describe_volumes()["Volumes"] == []
