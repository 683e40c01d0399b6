"""``recipe/launch/slurm.sbatch`` on a real SLURM of two nodes; a small program stands in for Ray and the run.

Needs Debian's packages slurmctld, slurmd, slurm-client and munge, and root.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.slurm import SlurmCluster, lacking

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(lacking()), reason=", ".join(lacking()))]

ROOT = Path(__file__).parents[2]
#: In place of Python: Ray's nodes live, the run waits for USR1 and "saves"; started again it resumes and ends.
STAND_IN = """#!/bin/bash
case "$*" in
*health-check*) exit 0 ;;
*"scripts start"*) echo "ray node on $SLURMD_NODENAME: $*"; exec sleep 600 ;;
*psutil*) echo 127.0.0.1 ;;
*doctor*) echo "doctor on $SLURMD_NODENAME"; exit "${DOCTOR_CODE:-0}" ;;
*avatar_verl.main*)
    echo "run at $RAY_ADDRESS: $*"
    [ -e "$OUTPUTS/saved" ] && { echo resumed; exit 0; }
    trap 'touch "$OUTPUTS/saved"; exit 75' USR1
    touch "$OUTPUTS/started"
    for i in $(seq 300); do sleep 0.2 & wait $!; done
    exit 1 ;;
esac
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[SlurmCluster]:
    with SlurmCluster(2) as cluster:
        yield cluster


class Batch:
    """One job."""

    def __init__(self, slurm: SlurmCluster, folder: Path, **variables: str) -> None:
        self._slurm, self.outputs = slurm, folder / "outputs"
        self.outputs.mkdir()
        program = folder / "python"
        program.write_text(STAND_IN)
        program.chmod(0o755)
        given = {"OUTPUTS": str(self.outputs), "MODEL_PATH": "/m", "TRAIN_FILES": "/t", "VAL_FILES": "/v"}
        given |= {"PROFILE": "cpu", "GPUS_PER_NODE": "1", "INTERFACE": "lo", "PYTHON": str(program), **variables}
        script = str(ROOT / "recipe" / "launch" / "slurm.sbatch")
        places = [f"--chdir={ROOT}", f"--output={self.outputs}/job.log"]
        self.number = slurm("sbatch", "--parsable", *places, script, "stage1", "data.seed=7", **given).strip()
        assert self.number.isdigit(), self.number

    @property
    def log(self) -> str:
        file = self.outputs / "job.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def wait_for(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log + self._slurm.logs()
            time.sleep(0.2)

    def started(self) -> bool:
        return (self.outputs / "started").exists()

    def ended(self) -> bool:
        return self._slurm.state(self.number) not in ("RUNNING", "PENDING")


def test_the_signal_saves_queues_again_and_resumes(slurm: SlurmCluster, tmp_path: Path) -> None:
    batch = Batch(slurm, tmp_path)
    batch.wait_for(batch.started)
    slurm("scancel", "--signal=USR1", "--batch", batch.number)  # as --signal=B:USR1@900 does before the time runs out
    batch.wait_for(lambda: slurm.state(batch.number) == "PENDING")
    first = batch.log
    slurm.start_now(batch.number)
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
        assert first.count(f"ray node on {node}: ") == 1
    assert "trainer.nnodes=2 trainer.n_gpus_per_node=1" in first
    assert "data.seed=7" in first
    assert "resumed" in batch.log.removeprefix(first)
    batch.wait_for(lambda: not list(batch.outputs.glob(".avatar-*")))  # the token is gone


def test_a_lost_node_ends_the_job_at_once(slurm: SlurmCluster, tmp_path: Path) -> None:
    batch = Batch(slurm, tmp_path)
    batch.wait_for(lambda: batch.started() and "ray node on n2" in batch.log)  # a step that starts loses signals
    steps = slurm("squeue", "-h", "-s", "-j", batch.number, "-o", "%i %N").splitlines()
    (worker,) = [line.split()[0] for line in steps if line.endswith(" n2")]
    slurm("scancel", "--signal=KILL", worker)
    batch.wait_for(lambda: "a node of Ray ended before the run did" in batch.log, 30)
    batch.wait_for(batch.ended, 60)


def test_a_sick_node_ends_the_job_before_ray_starts(slurm: SlurmCluster, tmp_path: Path) -> None:
    batch = Batch(slurm, tmp_path, DOCTOR_CODE="1")
    batch.wait_for(batch.ended)
    assert "doctor on n" in batch.log
    assert "Ray's head" not in batch.log
    assert not batch.started()
