"""``recipe/launch/slurm.sbatch`` on a real SLURM of two nodes; a small program stands in for Ray and the run.

Needs Debian's packages slurmctld, slurmd, slurm-client and munge, and root.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.batch import ROOT, Batch
from support.slurm import SlurmCluster, lacking

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(lacking()), reason=", ".join(lacking()))]

#: In place of Python: Ray's nodes live, the run waits for USR1 and "saves"; started again it resumes and ends.
STAND_IN = """#!/bin/bash
case "$*" in
*health-check*) exit 0 ;;
*"scripts start"*) exec sleep 600 ;;
*psutil*) echo 127.0.0.1 ;;
*doctor*)
    echo "doctor on $SLURMD_NODENAME, code of ${PYTHONPATH%%:*}: $*"
    sleep "${DOCTOR_S:-0}"
    exit "${DOCTOR_CODE:-0}" ;;
*avatar_verl.main*)
    echo "run at $RAY_ADDRESS: $*"
    [ -e "$OUTPUTS/saved" ] && { echo resumed; exit 0; }
    trap 'touch "$OUTPUTS/saved"; exit 75' USR1
    touch "$OUTPUTS/started"
    for i in $(seq 300); do sleep 0.2 & wait $!; done
    exit 1 ;;
esac
"""


#: In place of Apptainer: checks how it is called, and runs the program outside.
CONTAINER = """#!/bin/bash
[ "$1 $2 $3" = "exec --nv --bind" ] && [ "$5" = image.sif ] || { echo "apptainer: $*" >&2; exit 9; }
echo "container on $SLURMD_NODENAME binds $4" >&2
exec "${@:6}"
"""

Submit = Callable[..., Batch]


def _program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def submit(slurm: SlurmCluster, tmp_path: Path) -> Submit:
    """``submit(NAME="value")``: a job with these variables; the run is the stand-in."""

    def start(**variables: str) -> Batch:
        given = {"MODEL_PATH": "/models/m", "TRAIN_FILES": "/data/a/t,/data/b/t", "VAL_FILES": "/data/c/v"}
        given["PYTHON"] = _program(tmp_path / "python", STAND_IN)
        return Batch(slurm, tmp_path / "outputs", ["stage1", "data.seed=7"], **given, **variables)

    return start


def _started(tmp_path: Path) -> bool:
    return (tmp_path / "outputs" / "started").exists()


def test_the_time_limit_saves_queues_again_and_resumes(slurm: SlurmCluster, submit: Submit, tmp_path: Path) -> None:
    batch = submit()
    batch.wait_for(lambda: _started(tmp_path))
    batch.near_the_limit()
    batch.wait_for(lambda: batch.state == "PENDING")
    first = batch.log
    batch.start_again()
    batch.wait_for(lambda: "ended with exit code 0" in batch.log)

    phases = [
        "canary",
        "health",
        "Ray's head on n1",
        "Ray's workers on n2",
        "training",
        "asked to stop",
        "queueing again",
    ]
    places = [first.find(f"phase: {phase}") for phase in [*phases, "queueing again"]]
    assert -1 not in places, first
    assert places == sorted(places)
    for node in ("n1", "n2"):  # one doctor and one Ray on each node, no more
        assert first.count(f"doctor on {node}") == 1
        assert len(re.findall(rf"{node} \(.*\): Ray starts", first)) == 1
    assert "trainer.nnodes=2 trainer.n_gpus_per_node=1" in first
    assert "data.seed=7" in first
    assert "resumed" in batch.log.removeprefix(first)
    batch.wait_for(lambda: not list((tmp_path / "outputs").glob(".avatar-*")))  # the token is gone
    batch.wait_for(lambda: not list(slurm.folder.glob(f"ray-{batch.number}-*")), 30)  # and so are Ray's folders


def test_a_lost_node_ends_the_job_at_once(slurm: SlurmCluster, submit: Submit, tmp_path: Path) -> None:
    batch = submit()
    batch.wait_for(lambda: _started(tmp_path) and "n2 (join" in batch.log)  # a step that starts loses signals
    steps = slurm("squeue", "-h", "-s", "-j", batch.number, "-o", "%i %N").splitlines()
    (worker,) = [line.split()[0] for line in steps if line.endswith(" n2")]
    slurm("scancel", "--signal=KILL", worker)
    batch.wait_for(lambda: "a node of Ray ended before the run did" in batch.log, 30)
    batch.wait_for(batch.ended, 60)


def test_a_sick_node_ends_the_job_before_ray_starts(slurm: SlurmCluster, submit: Submit, tmp_path: Path) -> None:
    batch = submit(DOCTOR_CODE="1")
    batch.wait_for(batch.ended)
    assert "doctor on n" in batch.log
    assert "Ray's head" not in batch.log
    assert "a node is not fit for this run" in batch.log
    assert batch.outcome() == "FAILED 3:0"
    assert not _started(tmp_path)


def test_a_signal_before_the_training_queues_again_too(slurm: SlurmCluster, submit: Submit, tmp_path: Path) -> None:
    batch = submit(DOCTOR_S="5")
    batch.wait_for(lambda: "doctor on n2" in batch.log)
    slurm("scancel", "--signal=USR1", "--batch", batch.number)
    batch.wait_for(lambda: batch.state == "PENDING")
    assert "phase: queueing again" in batch.log
    assert not _started(tmp_path)


def test_everything_runs_in_the_container(slurm: SlurmCluster, submit: Submit, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    _program(programs / "apptainer", CONTAINER)
    batch = submit(CONTAINER="image.sif", PATH=f"{programs}:{slurm.environment['PATH']}")
    batch.wait_for(lambda: _started(tmp_path) and "n2 (join" in batch.log)
    slurm("scancel", batch.number)
    batch.wait_for(batch.ended)
    bound = f"{ROOT},{tmp_path}/outputs,/models/m,{slurm.folder},/data/a,/data/b,/data/c"
    for node in ("n1", "n2"):
        assert f"container on {node} binds {bound}\n" in batch.log
        assert f"doctor on {node}, code of {ROOT}: -m avatar_verl.doctor stage1 profile=cpu " in batch.log
    assert "apptainer: " not in batch.log
