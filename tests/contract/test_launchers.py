"""The launchers: sound shell, and a dry run that says what would happen and touches nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "recipe" / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch"), *ROOT.glob("*.sh")])
PLACES = {"OUTPUTS": "/o", "MODEL_PATH": "/m", "TRAIN_FILES": "/t", "VAL_FILES": "/v"}


def dry(script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "RAY_"))}
    return subprocess.run(
        ["bash", str(LAUNCH / script), *words],
        cwd=ROOT,
        env={**known, "DRY_RUN": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("shellcheck")), "-x", str(script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_slurm_says_what_each_phase_would_run() -> None:
    done = dry("slurm.sbatch", "stage2", "data.seed=7", SLURM_JOB_NUM_NODES="3", GPUS_PER_NODE="4", **PLACES)
    assert done.returncode == 0, done.stderr
    phases = [line.partition("phase: ")[2] for line in done.stdout.splitlines() if "phase: " in line]
    assert [phase.split()[0] for phase in phases] == ["canary:", "health", "Ray's", "Ray's", "training:"]
    (train,) = [line for line in done.stdout.splitlines() if "avatar_verl.main" in line]
    for word in ("'stage2'", "'trainer.nnodes=3'", "'trainer.n_gpus_per_node=4'", "'run.outputs=/o'", "'data.seed=7'"):
        assert word in train
    assert "'--nodelist=node2,node3'" in done.stdout
    assert not Path("/o").exists()


def test_slurm_gives_some_of_its_nodes_to_the_rollout_alone() -> None:
    places = {**PLACES, "SLURM_JOB_NUM_NODES": "3", "GPUS_PER_NODE": "8"}
    done = dry("slurm.sbatch", "stage1", "profile=gpu_4x8_separated", ROLLOUT_NODES="2", **places)
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if "avatar_verl.main" in line or "avatar_verl.doctor" in line]
    assert len(commands) == 2
    rollout = "actor_rollout_ref.rollout"
    for word in ("'trainer.nnodes=1'", f"'{rollout}.nnodes=2'", f"'{rollout}.n_gpus_per_node=8'"):
        assert all(word in command for command in commands), word
    assert rollout not in dry("slurm.sbatch", "stage1", **places).stdout
    done = dry("slurm.sbatch", "stage1", ROLLOUT_NODES="3", **places)
    assert done.returncode == 2
    assert "leaves none of the job's 3 nodes for training" in done.stderr


def test_slurm_can_run_in_a_container() -> None:
    done = dry("slurm.sbatch", "stage1", CONTAINER="image.sif", **PLACES)
    assert "'apptainer' 'exec' '--nv'" in done.stdout
    assert "'image.sif' 'python' '-m' 'avatar_verl.main' 'stage1'" in done.stdout


def test_ray_uploads_code_and_configuration_alone() -> None:
    done = dry("ray_submit.sh", "stage1", "data.where.problem_type=[a b]", RAY_ADDRESS="http://head:8265", **PLACES)
    assert done.returncode == 0, done.stderr
    files = [line for line in done.stdout.splitlines() if line.startswith("./")]
    assert {"./avatar_verl/main.py", "./recipe/config/stage1.yaml"} <= set(files)
    assert {Path(name).parts[0] for name in files} == {"avatar_verl", "data_prep", "recipe"}
    assert not [name for name in files if name.endswith((".parquet", ".mp4", ".safetensors", ".jsonl", ".pyc"))]
    assert "'data.where.problem_type=[a b]'" in done.stdout


@pytest.mark.parametrize("name", ["RAY_ADDRESS", *PLACES])
def test_what_ray_needs_is_asked_for(name: str) -> None:
    given = {"RAY_ADDRESS": "http://head:8265", **PLACES}
    done = dry("ray_submit.sh", "stage1", **{key: value for key, value in given.items() if key != name})
    assert done.returncode != 0
    assert f"set {name}" in done.stderr


def test_ray_refuses_a_path_that_means_nothing_on_another_machine() -> None:
    done = dry("ray_submit.sh", "stage1", RAY_ADDRESS="http://head:8265", **{**PLACES, "OUTPUTS": "outputs"})
    assert done.returncode == 2
    assert "outputs: a job starts in a folder of its own" in done.stderr
