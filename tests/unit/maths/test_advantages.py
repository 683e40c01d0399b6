"""Advantages: equality with verl's own GRPO, hand-computed VCRS, mixed groups, degenerate groups."""

import math
from uuid import UUID

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_verl.adapter import compat
from avatar_verl.maths.advantages import (
    broadcast_advantages,
    group_advantages,
    mixed_group_advantages,
    vcrs_advantages,
)


@pytest.fixture(scope="module")
def verl_grpo():
    """verl's estimator, imported as the project does it."""
    pytest.importorskip("verl")
    compat.install()
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    return compute_grpo_outcome_advantage


def random_batch(seed, sizes, width=9):
    """Rewards on the last response token as verl has them, shuffled groups of the given sizes."""
    rng = np.random.default_rng(seed)
    index = np.array([str(UUID(int=g)) for g, size in enumerate(sizes) for _ in range(size)], dtype=object)
    rng.shuffle(index)
    lengths = rng.integers(1, width + 1, len(index))
    rewards = torch.from_numpy(rng.choice([0.0, 0.1, 0.5, 1 / 3, 1.0, -1.0], len(index)).astype(np.float32))
    mask = (torch.arange(width) < torch.from_numpy(lengths)[:, None]).long()
    token_rewards = torch.zeros(len(index), width)
    token_rewards[torch.arange(len(index)), torch.from_numpy(lengths) - 1] = rewards
    return rewards, token_rewards, mask, index


@pytest.mark.parametrize("divide_by_std", [True, False])
@pytest.mark.parametrize("eps", [1e-6, 1e-4])
@pytest.mark.parametrize("sizes", [[8] * 16, [1, 2, 3, 5, 8, 13, 21, 64], [1] * 7, [2], [130, 1, 4, 4]])
def test_equals_verl_grpo_bit_for_bit(verl_grpo, sizes, eps, divide_by_std):
    for seed in range(5):
        rewards, token_rewards, mask, index = random_batch(seed, sizes)
        theirs, _ = verl_grpo(token_rewards, mask, index, eps, divide_by_std)
        ours = broadcast_advantages(group_advantages(rewards, index, eps, divide_by_std), mask)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
        assert torch.equal(torch.signbit(ours), torch.signbit(theirs))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=24))
def test_equals_verl_grpo_on_any_numbers(verl_grpo, rows):
    index = np.array([f"g{label}" for label, _ in rows], dtype=object)
    rewards = torch.tensor([value for _, value in rows], dtype=torch.float32)
    theirs, _ = verl_grpo(rewards[:, None].clone(), torch.ones(len(rows), 1), index)
    assert torch.equal(group_advantages(rewards, index), theirs[:, 0])


def test_groups_by_hand():
    # Group a: 1, 0, 0, 1 has mean .5, squares .25 * 4 = 1, variance 1 / 3, std .57735: +-.5 / .57735 = +-.866025.
    # Group b: 2, 4 has mean 3, variance 2, std 1.414214: +-.707107. Group c alone keeps its reward.
    rewards = torch.tensor([1.0, 2.0, 0.0, 0.0, 7.0, 4.0, 1.0])
    advantages = group_advantages(rewards, ["a", "b", "a", "a", "c", "b", "a"], eps=0.0)
    expected = torch.tensor([0.8660254, -0.7071068, -0.8660254, -0.8660254, 7.0, 0.7071068, 0.8660254])
    torch.testing.assert_close(advantages, expected)


def test_labels_may_be_a_list_an_array_or_a_tensor():
    rewards = torch.tensor([1.0, 0.0, 0.5, 0.25])
    expected = group_advantages(rewards, [3, 3, 9, 9])
    assert torch.equal(group_advantages(rewards, np.array([3, 3, 9, 9])), expected)
    assert torch.equal(group_advantages(rewards, torch.tensor([3, 3, 9, 9])), expected)
    assert torch.equal(group_advantages(rewards, (("p", 1), ("p", 1), ("q", 1), ("q", 1))), expected)


def test_row_order_only_permutes_the_result():
    rewards, _, _, index = random_batch(3, [4] * 6)
    by_group = np.argsort(index, kind="stable")
    assert torch.equal(group_advantages(rewards[by_group], index[by_group]), group_advantages(rewards, index)[by_group])


def test_groups_never_touch_each_other():
    rewards, _, _, index = random_batch(4, [5, 5, 5])
    whole = group_advantages(rewards, index)
    for label in set(index):
        rows = np.flatnonzero(index == label)
        assert torch.equal(whole[rows], group_advantages(rewards[rows], index[rows]))


def test_equal_rewards_give_nothing_and_an_empty_batch_is_fine():
    assert not group_advantages(torch.ones(4), ["g"] * 4).any()
    assert group_advantages(torch.ones(0), []).shape == (0,)
    with pytest.raises(ValueError, match="one label per row"):
        group_advantages(torch.ones(3), ["a", "b"])


def test_vcrs_by_hand():
    # R - Rbar = .5, -.25, .75; rewards 1, 0, 1: mean 2/3, squares 1/9 + 4/9 + 1/9 = 2/3, variance 1/3, std .577350.
    # .6 * .5 / .57735 = .519615, .6 * -.25 / .57735 = -.259808, .6 * .75 / .57735 = .779423.
    rewards, reference = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.5, 0.25, 0.25])
    advantages = vcrs_advantages(rewards, reference, alpha=0.6, eps=0.0)
    torch.testing.assert_close(advantages, torch.tensor([0.5196152, -0.2598076, 0.7794229]))


@pytest.mark.parametrize("rewards", [[1.0], [0.3], [0.1] * 7, [0.0, 0.0]])
def test_vcrs_divides_by_one_without_a_spread(rewards):
    rewards = torch.tensor(rewards)
    reference = torch.full_like(rewards, 0.25)
    assert torch.equal(vcrs_advantages(rewards, reference, alpha=0.5), 0.5 * (rewards - 0.25))


def test_vcrs_keeps_a_signal_where_the_group_has_none():
    # All four are right; the prompt was right half of the time before. GRPO sees nothing, VCRS sees 1 - .5.
    rewards = torch.ones(4)
    assert not group_advantages(rewards, ["q"] * 4).any()
    assert vcrs_advantages(rewards, torch.full((4,), 0.5)).tolist() == [0.5] * 4


def test_vcrs_reduces_to_group_advantages():
    # With the batch's own mean as reference and alpha 1 it is GRPO over one group of everything.
    rewards = torch.tensor([0.0, 1.0, 0.5, 1.0])
    vcrs = vcrs_advantages(rewards, rewards.mean().expand(4), alpha=1.0, eps=1e-6)
    torch.testing.assert_close(vcrs, group_advantages(rewards, [0] * 4), rtol=1e-6, atol=1e-7)
    assert not vcrs_advantages(rewards, torch.zeros(4), alpha=0.0).any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 10, width=32), st.floats(-10, 10, width=32)), max_size=12))
def test_vcrs_is_always_finite(rows):
    rewards = torch.tensor([reward for reward, _ in rows], dtype=torch.float32)
    reference = torch.tensor([score for _, score in rows], dtype=torch.float32)
    assert torch.isfinite(vcrs_advantages(rewards, reference, alpha=0.6)).all()


def test_vcrs_refuses_unequal_shapes():
    with pytest.raises(ValueError, match="both be"):
        vcrs_advantages(torch.ones(2), torch.ones(3))


def test_a_mixed_group_gives_an_all_wrong_visit_a_signal():
    # Four fresh zeros and one replayed success: mean .2, squares 4 * .04 + .64 = .8, variance .2, std .447214.
    rewards = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    replayed = torch.tensor([False, False, False, False, True])
    advantages = mixed_group_advantages(rewards, ["q"] * 5, replayed, alpha=0.5, eps=0.0)
    fresh, old = -0.2 / math.sqrt(0.2), 0.5 * 0.8 / math.sqrt(0.2)
    torch.testing.assert_close(advantages, torch.tensor([fresh] * 4 + [old]))


def test_a_mixed_group_without_replay_or_with_alpha_one_is_grpo():
    rewards, _, _, index = random_batch(5, [4, 4, 2])
    plain = group_advantages(rewards, index)
    assert torch.equal(mixed_group_advantages(rewards, index, torch.zeros(10, dtype=torch.bool), alpha=0.3), plain)
    assert torch.equal(mixed_group_advantages(rewards, index, torch.ones(10, dtype=torch.bool), alpha=1.0), plain)
    with pytest.raises(ValueError, match="shape of rewards"):
        mixed_group_advantages(rewards, index, torch.zeros(9, dtype=torch.bool))


def test_broadcast_by_hand():
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    weights = torch.tensor([[1.5, 1.0, 0.0], [0.0, 1.0, 1.5]])
    advantages = torch.tensor([2.0, -1.0])
    assert broadcast_advantages(advantages, mask).tolist() == [[2.0, 2.0, 0.0], [0.0, -1.0, -1.0]]
    assert broadcast_advantages(advantages, mask, weights).tolist() == [[3.0, 2.0, 0.0], [0.0, -1.0, -1.5]]
    for bad in ((torch.ones(3), mask, None), (advantages, mask, weights[:, :2])):
        with pytest.raises(ValueError, match="do not fit"):
            broadcast_advantages(*bad)
