"""The buffer by example: tiers, eviction, quotas, shortages, scope prompt, state."""

import numpy as np
import pytest

from avatar_verl.config import ReplayConfig
from avatar_verl.replay.buffer import StratifiedReplay
from avatar_verl.replay.vcrs import ReferenceScores


def new_buffer(seed=0, **fields):
    return StratifiedReplay(ReplayConfig(**fields), np.random.default_rng(seed))


def three_tiers(**rewards):
    """Prompts h, m, e with Rbar 0, .5, 1: thresholds at ranks round(.8) = 1 and round(1.5) = 2 of 0, .5, 1 would be
    (.5, 1), so two more hard prompts make 0, 0, 0, .5, 1 with ranks round(1.6) = 2 and round(3) = 3: (0, .5)."""
    scores = ReferenceScores()
    for prompt, reward in {"h": 0.0, "h2": 0.0, "h3": 0.0, "m": 0.5, "e": 1.0, **rewards}.items():
        scores.update(prompt, [reward])
    return scores


@pytest.fixture
def full(make_entry):
    """Capacity 20: easy 5, medium 7, hard 8. All tiers full, ids in the order easy, medium, hard."""
    buffer = new_buffer(capacity=20)
    fresh = [make_entry(prompt, step=step) for prompt, n in (("e", 5), ("m", 7), ("h", 8)) for step in range(1, n + 1)]
    buffer.add(fresh, three_tiers())
    assert buffer.tier_sizes() == {"easy": 5, "medium": 7, "hard": 8}
    return buffer


def test_entries_are_placed_and_stamped(make_entry):
    buffer = new_buffer(capacity=20)
    stored = buffer.add([make_entry("m", reuse_count=9, entry_id=77), make_entry("e"), make_entry("h")], three_tiers())
    assert [(e.entry_id, e.tier, e.reference_score, e.reuse_count) for e in stored] == [
        (0, "medium", 0.5, 0),
        (1, "easy", 1.0, 0),
        (2, "hard", 0.0, 0),
    ]
    assert list(buffer) == stored
    assert buffer.ids_of("e") == [1]
    assert 2 in buffer
    assert 3 not in buffer
    buffer.check_invariants()


def test_each_tier_evicts_its_own_oldest(full, make_entry):
    full.add([make_entry("e", step=9), make_entry("e", step=9)], three_tiers())
    assert full.ids_of("e") == [2, 3, 4, 20, 21]  # 0 and 1 were the oldest easy ones
    assert len(full.ids_of("m")) == 7
    assert len(full) == 20
    assert dict(full.departures) == {"evicted": 2}
    full.check_invariants()


def test_a_tier_is_frozen_and_new_completions_are_promoted(full, make_entry):
    better = three_tiers()
    better.update("h", [1.0] * 40)
    (newer,) = full.add([make_entry("h", step=9)], better)
    # Rbar is now 0, 0, .5, 1, 1: the medium threshold is the score at rank 3, 1, and a tie is the harder tier.
    assert newer.tier == "medium"
    assert {entry.tier for entry in full if entry.prompt_id == "h"} == {"hard", "medium"}


def test_an_unscored_prompt_is_hard(make_entry):
    (entry,) = new_buffer().add([make_entry("unknown")], ReferenceScores())
    assert (entry.tier, entry.reference_score) == ("hard", 0.0)


def test_refusals_are_counted_not_raised(make_entry):
    buffer = new_buffer(capacity=2)  # .5, .7, .8: easy gets no seat
    broken = [make_entry("h", length=0), make_entry("h", reward=float("nan")), make_entry("e")]
    assert buffer.add(broken, three_tiers()) == []
    assert dict(buffer.departures) == {"empty": 1, "nonfinite": 1, "no_room": 1}
    (kept,) = buffer.add([make_entry("h")], three_tiers())
    assert kept.entry_id == 0


def test_a_sample_meets_the_quotas_without_repeats(full):
    draw = full.sample(8, step=9)  # 2.0, 2.8, 3.2: floors 2, 2, 3 and the last seat goes to medium
    assert draw.quotas == draw.drawn == {"easy": 2, "medium": 3, "hard": 3}
    assert [entry.tier for entry in draw.entries] == ["easy"] * 2 + ["medium"] * 3 + ["hard"] * 3
    assert len({entry.entry_id for entry in draw.entries}) == 8
    assert (draw.num_filled, draw.shortfall) == (0, 0)


def test_an_empty_tier_is_filled_from_the_others(make_entry):
    buffer = new_buffer(capacity=20)
    buffer.add([make_entry("h") for _ in range(6)] + [make_entry("e")], three_tiers())
    draw = buffer.sample(5, step=1)  # 1.25, 1.75, 2.0: one easy, two medium, two hard
    assert draw.quotas == {"easy": 1, "medium": 2, "hard": 2}
    assert draw.drawn == {"easy": 1, "medium": 0, "hard": 4}
    assert (draw.num_filled, draw.shortfall) == (2, 0)
    assert len({entry.entry_id for entry in draw.entries}) == 5


def test_fewer_entries_than_asked_all_come_back(make_entry):
    buffer = new_buffer(capacity=20)
    assert buffer.sample(4, step=1).shortfall == 4
    buffer.add([make_entry("h"), make_entry("e")], three_tiers())
    draw = buffer.sample(9, step=1)
    assert sorted(entry.entry_id for entry in draw.entries) == [0, 1]
    assert draw.shortfall == 7
    assert buffer.sample(0, step=1).entries == ()


@pytest.mark.parametrize(
    ("fields", "chance"),
    [
        # Scores: 1 * 1 - .1 * 0 = 1; 1 * 1 - .1 * 20 = -1; so the odds of the first draw are e^2 = 7.389 to 1.
        ({}, 0.8808),
        ({"priority_temperature": 4.0}, 0.6225),  # e^(2 / 4) = 1.649 to 1
        ({"priority_kl_weight": 0.0}, 0.5),
        ({"priority_reward_weight": 9.0}, 0.8808),  # both have advantage 1: it cancels
    ],
)
@pytest.mark.parametrize("scope", ["any", "prompt"])
def test_high_priority_is_drawn_more_often_and_kl_counts_against(make_entry, fields, chance, scope):
    buffer = new_buffer(capacity=20, **fields)
    buffer.add([make_entry("h", advantage=1.0), make_entry("h", advantage=1.0, kl=20.0)], three_tiers())
    if scope == "any":
        first = [buffer.sample(1, step=1).entries[0].entry_id for _ in range(3000)]
    else:
        first = [buffer.sample_for_prompt("h", 1, step=1, prefer="priority")[0].entry_id for _ in range(3000)]
    assert first.count(0) / 3000 == pytest.approx(chance, abs=0.037)  # 4 standard errors at .5


def test_stale_entries_stay_but_are_not_drawn(make_entry):
    buffer = new_buffer(capacity=20, max_age=3)
    buffer.add([make_entry("h", step=step) for step in (1, 2, 5, 6)], three_tiers())
    drawn = {entry.policy_version for _ in range(20) for entry in buffer.sample(3, step=6).entries}
    assert drawn == {5, 6}  # ages 5 and 4 are over the limit, 1 and 0 are not
    assert {entry.policy_version for entry in buffer.sample_for_prompt("h", 9, step=6)} == {5, 6}
    assert len(buffer.sample_for_prompt("h", 9, step=5)) == 3
    assert len(buffer) == 4


def test_draws_count_as_reuse(full):
    drawn = full.sample(20, step=9).entries
    assert {entry.reuse_count for entry in drawn} == {1}
    assert {entry.reuse_count for entry in full.sample(20, step=9).entries} == {2}
    assert {entry.reuse_count for entry in full} == {2}


def test_a_dropped_entry_is_gone_and_counted(full):
    full.drop(3, "media_changed")
    assert 3 not in full
    assert full.departures["media_changed"] == 1
    assert all(entry.entry_id != 3 for entry in full.sample(20, step=9).entries)
    full.check_invariants()
    with pytest.raises(KeyError):
        full.drop(3, "media_changed")


@pytest.mark.parametrize("prefer", ["priority", "newest", "uniform"])
@pytest.mark.parametrize(("fresh", "missing"), [([0.0] * 4, 1.0), ([1.0] * 4, 0.0)])
def test_the_missing_reward_comes_first(make_entry, prefer, fresh, missing):
    buffer = new_buffer(capacity=40)
    rewards = [0.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    buffer.add([make_entry("h", reward) for reward in rewards] + [make_entry("e", missing)] * 9, three_tiers())
    for _ in range(20):
        drawn = buffer.sample_for_prompt("h", 4, 1, fresh, prefer)
        assert [entry.reward for entry in drawn] == [missing] * 3 + [fresh[0]]
        assert len({entry.entry_id for entry in drawn}) == 4
        assert {entry.prompt_id for entry in drawn} == {"h"}


def test_a_mixed_group_misses_nothing(make_entry):
    buffer = new_buffer(capacity=40)
    buffer.add([make_entry("h", reward) for reward in (0.0, 0.0, 0.0, 1.0)], three_tiers())
    newest = buffer.sample_for_prompt("h", 2, 1, [0.0, 1.0], "newest")
    assert [entry.entry_id for entry in newest] == [3, 2]
    assert [entry.entry_id for entry in buffer.sample_for_prompt("h", 3, 1, (), "newest")] == [3, 2, 1]
    assert buffer.sample_for_prompt("nobody", 3, 1) == ()


def test_rewards_that_passed_through_float32_are_the_same_reward(make_entry):
    buffer = new_buffer(capacity=40)
    buffer.add([make_entry("h", 0.1), make_entry("h", 0.9), make_entry("h", 0.1)], three_tiers())
    fresh = [float(np.float32(0.1)), 0.1]
    assert buffer.sample_for_prompt("h", 1, 1, fresh, "newest")[0].reward == 0.9


def test_a_restored_buffer_draws_what_the_original_would(full, make_entry):
    state = full.get_state()
    twin = new_buffer(seed=99, capacity=20)
    twin.set_state(state)
    for step in range(9, 14):
        ids = [entry.entry_id for entry in full.sample(6, step).entries]
        assert [entry.entry_id for entry in twin.sample(6, step).entries] == ids
        pair = [[e.entry_id for e in b.sample_for_prompt("m", 3, step, [0.0], "priority")] for b in (full, twin)]
        assert pair[0] == pair[1]
        for buffer in (full, twin):
            buffer.add([make_entry("m", step=step)], three_tiers())
    assert [(e.entry_id, e.reuse_count) for e in twin] == [(e.entry_id, e.reuse_count) for e in full]
    assert twin.departures == full.departures
    twin.check_invariants()


def test_a_smaller_buffer_keeps_the_newest_of_each_tier(full):
    small = new_buffer(capacity=4)  # easy 1, medium 1, hard 2
    small.set_state(full.get_state())
    assert [entry.entry_id for entry in small] == [4, 11, 18, 19]
    assert small.departures["evicted"] == 16
    small.check_invariants()
    tiny = new_buffer(capacity=1)  # hard 1
    tiny.set_state(full.get_state())
    assert [entry.entry_id for entry in tiny] == [19]
    assert tiny.departures["no_room"] == 12


def test_a_wrong_state_changes_nothing(full):
    good = full.get_state()
    before = [entry.entry_id for entry in full]
    for bad in (
        good | {"entries": good["entries"][::-1]},
        good | {"next_id": 19},
        good | {"entries": [good["entries"][0]] * 2},
        good | {"rng": np.random.Generator(np.random.MT19937(0)).bit_generator.state},
    ):
        with pytest.raises(ValueError, match=r"rise|generator"):
            full.set_state(bad)
    assert [entry.entry_id for entry in full] == before
    full.check_invariants()


def test_versions_shift_with_a_new_stage(make_entry):
    buffer = new_buffer(capacity=20, max_age=3)
    buffer.add([make_entry("h", step=step) for step in (8, 9, 10)], three_tiers())
    buffer.shift_policy_versions(-10)
    assert [entry.policy_version for entry in buffer] == [-2, -1, 0]
    assert [entry.policy_version for entry in buffer.sample_for_prompt("h", 9, 2)] == [0, -1]
    assert {entry.policy_version for entry in buffer.sample(9, 3).entries} == {0}
    buffer.check_invariants()


@pytest.mark.parametrize(
    "damage",
    [
        lambda buffer: buffer._entries.pop(3),
        lambda buffer: buffer._queues["hard"].remove(buffer.ids_of("h")[0]),
        lambda buffer: buffer._ids_by_prompt["m"].popitem(),
        lambda buffer: buffer._entries.update({500: buffer._entries.pop(19)}),
        lambda buffer: buffer.capacities.update(hard=1),
        lambda buffer: setattr(buffer, "_next_id", 3),
    ],
)
def test_the_invariant_check_can_fail(full, damage):
    full.check_invariants()
    damage(full)
    with pytest.raises(AssertionError, match="invariant broken"):
        full.check_invariants()


def test_the_recent_reward_is_that_of_the_newest_entries(make_entry):
    buffer = new_buffer(capacity=20)
    assert buffer.recent_reward(3) == 0.0
    buffer.add([make_entry("m", reward=reward) for reward in (0.0, 0.0, 1.0, 0.5)], three_tiers())
    assert buffer.recent_reward(3) == 0.5  # (0 + 1 + .5) / 3
    assert buffer.recent_reward(9) == 0.375
    buffer.sample(4, step=2)  # being drawn makes no entry newer
    assert buffer.recent_reward(1) == 0.5
