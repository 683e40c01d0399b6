"""The bandit's own arithmetic: its curves, its clip, and the interventions that tell causes apart."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from avatar_verl.adapter.estimator import ReplayContext


@pytest.fixture(scope="module")
def bandit(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("bandit")


def curve(*accuracies: float) -> dict[str, Any]:
    return {"curve": [(100 * i, 10 * i, value, value) for i, value in enumerate(accuracies)]}


def test_a_level_is_reached_on_the_straight_line_between_two_points(bandit: ModuleType) -> None:
    # From 0.4 at 100 to 0.8 at 200: 0.7 is three quarters of the way.
    assert bandit.fresh_to(curve(0.2, 0.4, 0.8), 0.7, 2) == pytest.approx(175)
    assert bandit.fresh_to(curve(0.2, 0.4, 0.8), 0.9, 2) == float("inf")
    # The first time counts, not the last.
    assert bandit.fresh_to(curve(0.2, 0.8, 0.2, 0.8), 0.5, 2) == pytest.approx(50)


def test_the_deepest_fall_is_from_the_best_point_before(bandit: ModuleType) -> None:
    assert bandit.deepest_fall(curve(0.2, 0.9, 0.6, 0.8, 0.7)) == pytest.approx(0.3)
    assert bandit.deepest_fall(curve(0.2, 0.3)) == 0.0


def test_a_target_that_was_never_reached_has_no_figure(bandit: ModuleType) -> None:
    inf = float("inf")
    found = bandit.spread([300.0, inf, 120.0], "x", -2)
    assert found == {"x": 300.0, "x, lowest": 100.0, "x, highest": None}


@pytest.mark.parametrize(("bound", "moves"), [(3.0, False), (1e9, True)])
def test_only_a_bound_stops_a_wrong_answer_that_the_policy_came_back_to(
    bandit: ModuleType, bound: float, moves: bool
) -> None:
    world = bandit.World(seed=1, prompts=16, learning_rate=0.1, dual_clip=bound)
    (group,) = world.generate([3], 2, step=1)
    # Generated with a chance 10 times smaller than today's: a ratio of 10, above the bound of 3.
    rows = [row.stamped() for row in group]
    for row in rows:
        object.__setattr__(row, "behaviour_log_probs", row.behaviour_log_probs - np.log(10.0))
    before = [parameter.clone() for parameter in world.policy.parameters()]
    world.update(rows, torch.full((2,), -1.0))
    changed = any(not torch.equal(a, b) for a, b in zip(before, world.policy.parameters(), strict=True))
    assert changed is moves


def test_interventions_change_replayed_rows_alone(bandit: ModuleType) -> None:
    world = bandit.World(seed=1, prompts=16, learning_rate=0.1)
    rows = [row for group in world.generate([0, 1, 2], 2, step=1) for row in group]
    rows = [row.stamped() for row in rows]
    for row, reward in zip(rows, [1.0, 0.0, 1.0, 0.0, 1.0, 1.0], strict=True):
        object.__setattr__(row, "reward", reward)
    labels = np.array(["a", "a", "b", "c", "d", "e"], dtype=object)
    replayed = torch.tensor([False, False, True, True, True, True])

    def advantages(**changes: Any) -> torch.Tensor:
        arm = bandit.Arm(2, 4, alpha=0.5, **changes)
        context = ReplayContext(arm.config(), replayed, 0.25 * replayed)
        found = bandit.advantages_of(arm, rows, labels, context, world)
        assert isinstance(found, torch.Tensor)
        return found

    # R - Rbar = .75, -.25, .75, .75; the std of 1, 0, 1, 1 is .5: half of 1.5, -.5, 1.5, 1.5.
    plain = advantages()
    assert plain[2:].tolist() == pytest.approx([0.75, -0.25, 0.75, 0.75], rel=1e-3)
    assert advantages(divide=False)[2:].tolist() == pytest.approx([0.375, -0.125, 0.375, 0.375])
    assert advantages(centre=True)[2:].tolist() == pytest.approx([0.25, -0.75, 0.25, 0.25], rel=1e-3)
    true = world.success([1, 1, 2, 2])
    expected = 0.5 * (torch.tensor([1.0, 0.0, 1.0, 1.0]) - true) / 0.5
    assert advantages(true_reference=True)[2:].tolist() == pytest.approx(expected.tolist(), rel=1e-3)
    for changes in ({"divide": False}, {"centre": True}, {"true_reference": True}):
        assert torch.equal(advantages(**changes)[:2], plain[:2])
