"""Three kills of the kill matrix, for real: the run resumes each time and ends with the undisturbed run's numbers."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.sameness import Sameness, compare
from support.victims import PHASES, START_UP, Moment, Watch

from avatar_verl.adapter.replay_cycle import ReplayCycle, make_entry
from avatar_verl.config import AvatarConfig
from avatar_verl.run_folder import mark_complete


@pytest.fixture(scope="module")
def kill_matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_matrix", Path(__file__).with_name("kill_matrix.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_matrix"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(5))
def test_twenty_kills_hit_all_targets_in_all_phases(kill_matrix: ModuleType, seed: int) -> None:
    drawn = kill_matrix.draw(20, seed)
    assert drawn == kill_matrix.draw(20, seed) != kill_matrix.draw(20, seed + 1)
    assert Counter(kill.phase for kill in drawn) == dict.fromkeys([*PHASES, START_UP], 5)
    groups = Counter(kill.target.split()[0] for kill in drawn)
    job = groups["whole"] + groups["driver"] + groups["command"]
    ray = groups["Ray"] + groups["raylet"]
    assert min(groups["rollout"], groups["FSDP"], groups["reward"], groups["queue"], ray, job) >= 3


@dataclass
class _Started:
    """What :class:`Watch` looks at of a start."""

    folder: Path


def test_the_moment_of_a_run_is_told_by_its_files(tmp_path: Path) -> None:
    """Resumed from step 2, behind a save of step 3 that was cut off."""
    run = tmp_path / "stage1" / "latest"
    checkpoints, log = run / "checkpoints", run / "log.txt"
    for step in (2, 3):
        (checkpoints / f"global_step_{step}" / "actor").mkdir(parents=True)
        (checkpoints / f"global_step_{step}" / "actor" / "weights").write_text("w")
    mark_complete(checkpoints / "global_step_2", {})
    log.write_text("Training Progress: 100%\n")  # of the start before
    watch, job = Watch(tmp_path, "stage1"), _Started(run)
    assert watch.moment(job) == Moment(0, START_UP)
    with log.open("a") as file:
        file.write("Training Progress: 0%\n")
    assert watch.moment(job) == Moment(3, "generation")
    (run / "samples.jsonl").write_text('{"step": 3, "split": "train"}\n')
    assert watch.moment(job) == Moment(3, "update")
    os.utime(checkpoints / "global_step_3" / "actor" / "weights")
    assert watch.moment(job) == Moment(3, "save")
    mark_complete(checkpoints / "global_step_3", {})
    assert watch.moment(job) == Moment(4, "generation")


def _finished(folder: Path, reward: float = 0.5, text: str = "a", weight: float = 1.0, entries: int = 2) -> Path:
    """A run of one step with all that :func:`compare` looks at."""
    checkpoint = folder / "checkpoints" / "global_step_1"
    (checkpoint / "actor" / "huggingface").mkdir(parents=True)
    save_file({"w": torch.tensor([weight])}, checkpoint / "actor" / "huggingface" / "model.safetensors")
    metrics = {"step": 1, "time": time.time(), "timing_s/step": time.time(), "reward": reward}
    (folder / "metrics.jsonl").write_text(json.dumps(metrics) + "\n")
    sample = {"step": 1, "prompt_id": "p", "session": 0, "completion": text, "hint": ""}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    cycle = ReplayCycle(AvatarConfig(), seed=0)
    row = {"prompt_id": "p", "group": "g", "max_global_steps": 0, "hint_used": False, "messages": "[]", "media": []}
    row.update(reward_extra_info={}, replay_row="{}")
    kept = [make_entry(row, [1, 2], [-0.5, -0.25], None, reward, 0.0) for _ in range(entries)]
    cycle.harvest(kept, {"g": False}, {"g": [1.0]})
    cycle.save(checkpoint / "avatar", 1)
    return folder


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"text": "b"}, ["step 1: other completions"]),
        ({"entries": 3}, ["other entries in the replay buffer"]),
    ],
)
def test_two_runs_that_said_or_kept_other_things_differ(
    changed: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    found = compare(_finished(tmp_path / "one", **changed), _finished(tmp_path / "other"), 1)
    assert found.notes == words


def test_two_runs_with_other_numbers_differ_by_as_much(tmp_path: Path) -> None:
    other = _finished(tmp_path / "other")
    assert compare(_finished(tmp_path / "same"), other, 1) == Sameness(compared=2)
    found = compare(_finished(tmp_path / "one", reward=0.75, weight=1.5), other, 1)
    assert (found.metrics, found.weights, found.notes) == (0.25, 0.5, [])


@pytest.mark.e2e
@pytest.mark.timeout(3600)
def test_a_run_that_is_killed_three_times_ends_as_the_undisturbed_one(kill_matrix: ModuleType, tmp_path: Path) -> None:
    kills = [
        kill_matrix.Kill("reward worker", "generation", 1, 0.0),  # nobody else would ever miss it
        kill_matrix.Kill("queue storage", "update", 0, 0.0),
        kill_matrix.Kill("Ray GCS", "save", 1, 0.0),
    ]
    rows, same, problems = kill_matrix.matrix(kills, tmp_path)
    assert problems == []
    assert [row.target for row in rows] == [kill.target for kill in kills]
    assert max(row.seconds_to_end for row in rows) < 120
    assert rows[-1].resumed_from >= 2
    (one,) = same
    assert one.compared > 1000
    assert (one.metrics, one.weights, one.log_probs) == pytest.approx((0.0, 0.0, 0.0), abs=1e-5)
