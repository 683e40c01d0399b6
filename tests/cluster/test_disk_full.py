"""A disk that fills up while a checkpoint is saved: the last good one stays, and the run goes on once there is room.

The disk is a small tmpfs, which only root may mount.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.runs import Job, RunResult

from avatar_verl.run_folder import newest_checkpoint, torn

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk"),
]

ROOM_MIB = 46  # two checkpoints of 18 MiB fit, the third one does not; two are kept, so a save needs room for three


@dataclass(frozen=True)
class Filled:
    """The three starts of one command."""

    full: RunResult  # the third save has no room
    good: str  # newest whole checkpoint then
    refused: str  # why the third one is none
    still_full: RunResult
    kept: bool  # the run's configuration outlived a start on the full disk
    result: RunResult  # with room


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = (
        tmp_path_factory.mktemp("outputs") / "stage1"
    )  # what the commands print lies beside it, where there is room
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_MIB}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def filled(disk: Path, world: Path, short_run: list[str]) -> Filled:
    given = [
        f"actor_rollout_ref.model.path={world}/model",
        f"run.train_files={world}/train.parquet",
        f"run.val_files={world}/val.parquet",
        *short_run,
        "actor_rollout_ref.rollout.agent.num_workers=1",
    ]
    job = Job(given, disk.parent, "stage1")
    full = job.wait()
    checkpoints, config = job.folder / "checkpoints", job.folder / "config.yaml"
    good, before = newest_checkpoint(checkpoints), config.read_text()
    _fill(disk / "filler")
    still_full = Job(given, disk.parent, "stage1").wait(60)
    kept = config.read_text() == before
    refused = torn(checkpoints / "global_step_3")
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", f"remount,size={3 * ROOM_MIB}m", str(disk)], check=True)
    result = Job(given, disk.parent, "stage1").wait()
    return Filled(full, good.name if good else "", refused, still_full, kept, result)


def _fill(path: Path) -> None:
    """Take what is left, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    continue
            except OSError:
                continue


def test_a_full_disk_ends_the_run_and_keeps_the_last_good_checkpoint(filled: Filled) -> None:
    assert filled.full.code not in (0, 75), filled.full.output
    assert filled.good == "global_step_2"
    assert "ended while it was being written" in filled.refused


def test_a_start_on_the_full_disk_says_so_and_harms_nothing(filled: Filled) -> None:
    assert filled.still_full.code != 0
    assert "No space left on device" in filled.still_full.output
    assert filled.kept


def test_with_room_the_same_command_resumes_and_ends(filled: Filled) -> None:
    result = filled.result
    assert result.code == 0, result.output + result.log_tail
    assert result.folder == filled.full.folder
    assert f"resuming {result.folder}" in result.output
    assert "not resumed from: global_step_3 has no complete.json" in result.log()
    assert list(result.metrics) == [1, 2, 3]
