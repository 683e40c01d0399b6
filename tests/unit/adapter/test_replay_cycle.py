"""A stage that begins with another stage's replay state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_verl.adapter.estimator import row_advantages
from avatar_verl.adapter.replay_cycle import ReplayCycle
from avatar_verl.config import AvatarConfig
from avatar_verl.replay.entry import Entry

CONFIG = AvatarConfig.from_mapping({"replay": {"capacity": 40, "min_size": 1}, "hint": {"enable": True}})


def entry(prompt_id: str, step: int, reward: float) -> Entry:
    return Entry(
        prompt_id=prompt_id,
        group=f"{prompt_id}@{step}",
        policy_version=step,
        token_ids=np.arange(3),
        behaviour_log_probs=-np.ones(3),
        reward=reward,
        advantage=reward - 0.5,
        messages="[]",
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The state after step 7 of a run: two prompts, one of which has failed once."""
    cycle = ReplayCycle(CONFIG, seed=3)
    cycle.harvest([entry("a", 5, 1.0), entry("a", 5, 0.0)], {"a@5": False}, {"a@5": [1.0, 0.0]})
    cycle.harvest([entry("b", 7, 0.0), entry("b", 7, 0.0)], {"b@7": False}, {"b@7": [0.0, 0.0]})
    cycle.buffer.drop(0, "media_changed")
    cycle.save(tmp_path / "state", step=7)
    return tmp_path / "state"


def test_entries_scores_and_hint_records_are_there_and_steps_begin_anew(saved: Path) -> None:
    cycle = ReplayCycle(CONFIG, seed=3)
    cycle.inherit(saved)
    # Written at step 7: what the policy of step 5 generated is two steps old at step 0.
    assert [(e.prompt_id, e.policy_version) for e in cycle.buffer] == [("a", -2), ("b", 0), ("b", 0)]
    assert cycle.scores.mean("a") == 0.5
    assert cycle.hints.record("b").zero_streak == 1
    assert not cycle.buffer.departures, "what left is the earlier run's to count"
    drawn = cycle.draw(1, 1, [("step1visit0", "a", [1.0])])
    assert len(drawn) == 3
    assert cycle.metrics()["avatar/replay/age/max"] == 3.0
    cycle.buffer.check_invariants()
    # Scores .5 and 0: nearest ranks round(.4 x 1) = 0 and round(.75 x 1) = 1 of the sorted two.
    thresholds = [cycle.metrics()[f"avatar/vcrs/threshold/{name}"] for name in ("hard", "medium")]
    assert thresholds == [0.0, 0.5]
    assert cycle.standings(["a", "b"]) == {"a": ("medium", 0.5), "b": ("hard", 0.0)}


def test_the_seed_of_the_new_run_decides_what_is_drawn(saved: Path) -> None:
    """A resume goes on with the saved random state, a new stage does not."""
    fresh = ReplayCycle(CONFIG, seed=4)
    before = fresh.buffer.get_state()["rng"]
    fresh.inherit(saved)
    assert fresh.buffer.get_state()["rng"] == before
    resumed = ReplayCycle(CONFIG, seed=4)
    resumed.load(saved)
    assert resumed.buffer.get_state()["rng"] != before


@pytest.mark.parametrize(("prior", "advantages"), [(0.0, [0.0, 0.0]), (2.0, [0.25, 0.25])])
def test_a_flat_group_has_a_signal_in_replay_when_its_reference_is_shrunk(
    prior: float, advantages: list[float]
) -> None:
    config = AvatarConfig.from_mapping(
        {"replay": {"capacity": 40, "min_size": 1}, "vcrs": {"alpha": 1.0, "prior": prior}}
    )
    cycle = ReplayCycle(config, seed=3)
    rows = [entry("right", 1, 1.0), entry("right", 1, 1.0), entry("wrong", 1, 0.0), entry("wrong", 1, 0.0)]
    success = {"right@1": [1.0, 1.0], "wrong@1": [0.0, 0.0]}
    cycle.harvest(rows, dict.fromkeys(success, False), success)
    # Rbar of "right" is 1; the recent mean reward of all is .5: (2 * 1 + 2 * .5) / 4 = .75, and 1 - .75 = .25.
    context = cycle.context([False, True, True], ["wrong", "right", "right"])
    found = row_advantages(torch.tensor([1.0, 1.0, 1.0]), np.array(["a", "b", "c"]), context)
    assert found[1:].tolist() == pytest.approx(advantages)
    assert context.reference[0] == 0.0, "fresh rows have no reference"


def test_what_is_saved_beside_the_state_comes_back(tmp_path: Path) -> None:
    ReplayCycle(CONFIG, seed=3).save(tmp_path / "state", step=7, usual_entropy=1.25)
    assert ReplayCycle(CONFIG, seed=4).load(tmp_path / "state") == {"global_step": 7, "usual_entropy": 1.25}
