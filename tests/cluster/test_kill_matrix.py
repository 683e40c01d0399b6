"""Three kills of the kill matrix, for real: the run resumes each time and ends with the undisturbed run's numbers."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from support.victims import PHASES, START_UP


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
