"""Studies on SLURM and Kubernetes: slurm/study.sbatch with stand-ins, kubernetes/rayjob.yaml."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args
from test_local import SCRIPT, json_events

ROOT = Path(__file__).resolve().parents[1]
SBATCH = ROOT / "slurm" / "study.sbatch"
RAYJOB = ROOT / "kubernetes" / "rayjob.yaml"
SCHEMA = Path(
    os.environ.get("RAYJOB_CRD", ROOT.parent / "shared" / "cluster" / "rayjobs-crd.yaml.gz")
)

# SLURM

SRUN = """#!/bin/bash
echo "$@" > srun.txt
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""
# It runs the study as symmetric-run does, but that the study is told to do without Ray.
RAY = """#!/bin/bash
printf '%s\\n' "$@" > ray.txt
[ "$1" = symmetric-run ] || exit 0
while [ "$1" != -- ]; do shift; done
shift
words=("$@")
for i in "${!words[@]}"; do
  [ "${words[i]}" = --address ] && words[i]=--backend && words[i + 1]=local
done
"${words[@]}" --no-figures
"""


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of one node, in a folder with stand-ins for srun and Ray."""
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    main = "from srsgd_ray.cli import main; raise SystemExit(main())"
    stand_ins = {
        "srun": SRUN,
        "ray": RAY,
        "python": f'#!/bin/bash\nexec {shlex.quote(sys.executable)} "$@"\n',
        "srsgd-ray": f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -c "{main}" "$@"\n',
    }
    for name, text in stand_ins.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    (bin_folder / "activate").write_text(f"PATH={shlex.quote(str(bin_folder))}:$PATH\n")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("no token")
    (tmp_path / "mine.py").write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    return {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_NAME": "t",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_PER_TASK": "2",
    }


def test_slurms_end_of_time_stops_a_study_in_order(tmp_path: Path, job: dict[str, str]) -> None:
    record = tmp_path / "results" / "t" / "record.jsonl"
    # As long as the verb that stops it may take to start on a busy machine, and longer.
    begun = subprocess.Popen(
        [SBATCH, "mine.py", "--set", "wait=1"],
        cwd=tmp_path,
        env=job,
        text=True,
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not record.exists() or record.read_text().count('"event": "epoch"') < 3:
        assert begun.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begun.send_signal(signal.SIGTERM)  # to the script alone, as SLURM does for B:
    said, _ = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert "--resume" in said
    assert json_events(record)[-1] == "pause"


def test_symmetric_run_and_the_study_get_their_words_and_a_study_that_fails_fails_the_job(
    tmp_path: Path, job: dict[str, str]
) -> None:
    wrong = [SBATCH, "mine.py", "--nosuch"]
    done = subprocess.run(wrong, cwd=tmp_path, env=job, timeout=60, capture_output=True)
    assert done.returncode == 2
    assert b"--nosuch" in done.stderr
    assert (tmp_path / "srun.txt").read_text().startswith("--nodes=1 --ntasks-per-node=1 ")
    words = (tmp_path / "ray.txt").read_text().split("\n")[1:-1]
    at = words.index("--")
    assert curate_and_validate_ray_start_args(words[:at]) == ["--num-cpus=2", "--num-gpus=0"]
    assert words[at + 1 :] == [
        "python", "mine.py", "--nosuch", "--address", "auto", "--name", "t",
        "--results", f"{tmp_path}/results", "--storage", f"{tmp_path}/results",
    ]  # fmt: skip


# Kubernetes


@pytest.fixture
def rayjob() -> dict[str, Any]:
    # Through JSON: what YAML shares by an alias is a copy then.
    config: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(RAYJOB.read_text())))
    return config


def strict(schema: Any) -> Any:
    """A schema of Kubernetes as one of JSON, in which a field that it does not name is refused."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


@pytest.fixture(scope="module")
def crd() -> dict[str, Any]:
    if not SCHEMA.exists():
        pytest.skip("KubeRay's published schema is not here; RAYJOB_CRD names it")
    text = gzip.decompress(SCHEMA.read_bytes())
    versions = yaml.load(text, yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = (v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1")
    found: dict[str, Any] = strict(schema)
    found["properties"]["metadata"] = {}
    return found


def test_the_operators_schema_accepts_it(rayjob: dict[str, Any], crd: dict[str, Any]) -> None:
    schema = jsonschema.Draft202012Validator(crd)
    schema.validate(rayjob)
    for key, value in (("maxReplica", 1), ("maxReplicas", "four")):
        broken = copy.deepcopy(rayjob)
        broken["spec"]["rayClusterSpec"]["workerGroupSpecs"][0][key] = value
        with pytest.raises(jsonschema.ValidationError):
            schema.validate(broken)


def test_its_study_knows_the_options_and_fits_its_workers(rayjob: dict[str, Any]) -> None:
    words = shlex.split(rayjob["spec"]["entrypoint"])
    assert words[:2] == ["python", "/srsgd-ray/studies/quickstart.py"]
    command = [sys.executable, words[1].replace("/srsgd-ray", str(ROOT)), "--help"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [word for word in words if word.startswith("--") and word not in known] == []
    given = dict(itertools.pairwise(words))
    (group,) = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert int(given["--slots"]) <= group["maxReplicas"]
    (container,) = group["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert int(given["--cpus-per-worker"]) < int(limits["cpu"])
    assert given["--gpus-per-worker"] == limits["nvidia.com/gpu"]
    (mount,) = container["volumeMounts"]
    for place in ("--results", "--storage"):
        assert given[place].startswith(mount["mountPath"] + "/")


def test_its_ray_is_the_projects_with_a_token(rayjob: dict[str, Any]) -> None:
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert f"\nray=={cluster['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()
    assert cluster["authOptions"] == {"mode": "token"}
