"""Training by ``recipe/launch/slurm.sbatch`` on a real SLURM: Ray, vLLM and FSDP over its two nodes.

One run loses a node, is submitted again, meets SLURM's time limit, is queued again and ends; it must end as the run of
the same command that nothing happened to. Needs what ``test_slurm_batch.py`` needs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.batch import Batch
from support.checkpoints import largest_difference
from support.runs import RunResult, completions
from support.sameness import of_the_training
from support.slurm import SlurmCluster, lacking

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(lacking()), reason=", ".join(lacking())),
]

STEPS = 3
START_S = 600.0  # from sbatch to a step; alone on two cores it takes 100 s


class Stage:
    """Stage 1 of the short run, submitted as often as needed."""

    def __init__(self, slurm: SlurmCluster, world: Path, outputs: Path, overrides: list[str]) -> None:
        self.latest = outputs / "stage1" / "latest"
        self._slurm, self._outputs, self._words = slurm, outputs, ["stage1", *overrides]
        self._variables = {
            "MODEL_PATH": str(world / "model"),
            "TRAIN_FILES": str(world / "train.parquet"),
            "VAL_FILES": str(world / "val.parquet"),
            "PYTHON": sys.executable,
            "OBJECT_STORE_BYTES": "200000000",
            "RAY_health_check_failure_threshold": "100",  # a slow machine is no reason to give a node up
        }

    def submit(self) -> Batch:
        return Batch(self._slurm, self._outputs, self._words, **self._variables)

    def saved(self) -> list[int]:
        """Steps whose checkpoints are whole."""
        marks = self.latest.glob("checkpoints/global_step_*/complete.json")
        return sorted(int(mark.parent.name.removeprefix("global_step_")) for mark in marks)

    def result(self, batch: Batch, seconds: float) -> RunResult:
        """Wait for the end of a job that should end well."""
        took = batch.wait_for(batch.ended, seconds)
        log = self.latest / "log.txt"
        tail = log.read_text(errors="replace")[-6000:] if log.exists() else "(no log)"
        code = int(batch.outcome().split()[1].partition(":")[0])
        return RunResult(self.latest.resolve(), code, batch.log, took, batch.number, tail)


def _of_job(number: str) -> Iterator[psutil.Process]:
    """Living processes of a job, on either node."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_JOB_ID") == number and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


@dataclass(frozen=True)
class Disturbed:
    """The two jobs of one command."""

    noticed_s: float  # from the loss of a node to the line that says so
    lost: RunResult  # the job it happened to; its seconds run from that line to the end
    lost_outcome: str
    left: list[str]  # processes that outlived it
    saved_by_lost: list[int]
    limited: str  # log of the job that met its time limit, up to when it was queued again
    saved_by_limited: list[int]
    result: RunResult


@pytest.fixture(scope="module")
def undisturbed(
    slurm: SlurmCluster, world: Path, short_run: list[str], tmp_path_factory: pytest.TempPathFactory
) -> RunResult:
    stage = Stage(slurm, world, tmp_path_factory.mktemp("undisturbed"), short_run)
    return stage.result(stage.submit(), 2 * START_S)


@pytest.fixture(scope="module")
def disturbed(
    slurm: SlurmCluster, world: Path, short_run: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Disturbed:
    stage = Stage(slurm, world, tmp_path_factory.mktemp("disturbed"), short_run)
    first = stage.submit()
    first.wait_for(lambda: 1 in stage.saved() or first.ended(), START_S)
    (raylet,) = [
        process
        for process in _of_job(first.number)
        if process.name() == "raylet" and process.environ()["SLURMD_NODENAME"] == "n2"
    ]
    raylet.kill()
    noticed = first.wait_for(lambda: "a node of Ray ended before the run did" in first.log)
    lost = stage.result(first, 120)
    left = [str(process) for process in _of_job(first.number)]
    outcome, saved = first.outcome(), stage.saved()

    second = stage.submit()
    second.wait_for(lambda: "stage1: resuming" in second.log or second.ended(), START_S)
    second.near_the_limit()
    second.wait_for(lambda: second.state != "RUNNING", START_S)
    second.wait_for(lambda: second.state in ("PENDING", ""))
    limited, saved_by_limited = second.log, stage.saved()
    second.start_again()
    return Disturbed(noticed, lost, outcome, left, saved, limited, saved_by_limited, stage.result(second, 2 * START_S))


def test_a_run_trains_on_both_nodes(undisturbed: RunResult) -> None:
    assert undisturbed.code == 0, undisturbed.output[-3000:] + undisturbed.log_tail
    assert list(undisturbed.metrics) == [1, 2, 3]
    actor = undisturbed.folder / "checkpoints" / f"global_step_{STEPS}" / "actor"
    assert len(list(actor.glob("model_world_size_2_rank_*.pt"))) == 2
    assert "phase: ended with exit code 0" in undisturbed.output


def test_a_lost_node_ends_the_job_within_seconds(disturbed: Disturbed) -> None:
    assert re.search(r"n2 \(join, \S+\): Ray ended by itself", disturbed.lost.output), disturbed.lost.output
    assert disturbed.lost_outcome == "FAILED 4:0"
    assert disturbed.noticed_s < 30
    assert disturbed.lost.seconds < 60
    assert disturbed.left == []
    assert disturbed.saved_by_lost == [1]


def test_the_time_limit_saves_the_step_and_queues_the_job_again(disturbed: Disturbed) -> None:
    said = ["stage1: resuming", "phase: asked to stop", "stage1 stopped as asked", "phase: queueing again"]
    places = [disturbed.limited.find(line) for line in said]
    assert -1 not in places, disturbed.limited
    assert places == sorted(places)
    assert disturbed.saved_by_limited == [1, 2]


def test_the_queued_job_ends_the_same_run(disturbed: Disturbed) -> None:
    result = disturbed.result
    assert result.code == 0, result.output[-3000:] + result.log_tail
    assert result.output.count(f"stage1: resuming {disturbed.lost.folder}") == 2
    assert result.folder == disturbed.lost.folder
    assert (result.folder / "finished.json").exists()


def test_it_ends_as_the_undisturbed_run(disturbed: Disturbed, undisturbed: RunResult) -> None:
    ours, theirs = disturbed.result.metrics, undisturbed.metrics
    assert list(ours) == list(theirs) == [1, 2, 3]
    for step in theirs:
        assert completions(disturbed.result.samples()[step]) == completions(undisturbed.samples()[step]), step
        assert len(of_the_training(theirs[step])) > 40
        assert of_the_training(ours[step]) == pytest.approx(of_the_training(theirs[step]), rel=1e-3, abs=1e-5), step
    assert largest_difference(disturbed.result.folder, undisturbed.folder, STEPS) <= 1e-6
