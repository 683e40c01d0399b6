"""Moving reference scores."""

import numpy as np
import pytest

from avatar_verl.maths.tiers import Thresholds
from avatar_verl.replay.vcrs import ReferenceScores


def test_the_window_moves():
    scores = ReferenceScores(window=4)
    scores.update("q", [1.0, 0.0])
    assert scores.mean("q") == 0.5
    scores.update("q", [1.0, 1.0, 1.0])  # now 0, 1, 1, 1: the first reward has left
    assert scores.mean("q") == 0.75
    assert scores.count("q") == 4
    scores.update("q", [0.25] * 9)
    assert scores.mean("q") == 0.25


def test_unseen_prompts_have_a_defined_score():
    scores = ReferenceScores()
    assert scores.mean("new") == 0.0
    assert ReferenceScores(unseen=0.5).means(["new"]).tolist() == [0.5]
    assert scores.count("new") == 0
    scores.update("new", [])
    assert len(scores) == 0
    assert scores.thresholds(0.4, 0.75) == Thresholds(float("inf"), float("inf"))


def test_means_keep_the_order_asked_for_and_repeats():
    scores = ReferenceScores()
    scores.update("a", [1.0])
    scores.update("b", [0.5, 0.0])
    assert scores.means(["b", "?", "a", "b"]).tolist() == [0.25, 0.0, 1.0, 0.25]


def test_shrunk_scores_leave_no_prompt_at_the_reward_of_all_its_completions():
    scores = ReferenceScores()
    scores.update("right", [1.0, 1.0])
    scores.update("mixed", [1.0, 0.0, 0.0, 1.0])
    # (2 * 1 + 2 * .4) / 4 = .7; (4 * .5 + 2 * .4) / 6 = 2.8 / 6; a prompt never seen has the common .4.
    assert scores.shrunk(["right", "mixed", "new"], 0.4, 2.0).tolist() == pytest.approx([0.7, 2.8 / 6, 0.4])
    asked = ["right", "mixed", "new"]
    assert scores.shrunk(asked, 0.4, 0.0).tolist() == scores.means(asked).tolist()


def test_thresholds_see_every_prompt_once():
    scores = ReferenceScores()
    for i in range(200):  # more than the first block of means
        scores.update(f"p{i}", [i / 200] * (1 + i % 3))
    # Ranks round(.4 * 199) = round(79.6) = 80 and round(.75 * 199) = round(149.25) = 149.
    assert scores.thresholds(0.4, 0.75) == Thresholds(80 / 200, 149 / 200)
    scores.update("p0", [0.9])  # (0 + .9) / 2 = .45: p0 moves up, below it everything shifts by one
    assert scores.thresholds(0.4, 0.75).hard == 81 / 200


def test_a_reward_that_is_not_a_number_is_refused_whole():
    scores = ReferenceScores()
    with pytest.raises(ValueError, match="not finite"):
        scores.update("q", [1.0, float("nan")])
    assert len(scores) == 0
    with pytest.raises(ValueError, match="window"):
        ReferenceScores(0)


def test_state_round_trip_and_a_shorter_window():
    scores = ReferenceScores(window=5)
    rng = np.random.default_rng(0)
    for _ in range(60):
        scores.update(f"p{rng.integers(9)}", rng.random(3))
    restored = ReferenceScores(window=5)
    restored.update("old", [1.0])
    restored.set_state(scores.get_state())
    assert restored.get_state() == scores.get_state()
    names = [f"p{i}" for i in range(9)]
    assert np.array_equal(restored.means(names), scores.means(names))
    assert "old" not in restored.get_state()["rewards"]
    shorter = ReferenceScores(window=2)
    shorter.set_state(scores.get_state())
    assert shorter.get_state()["rewards"]["p3"] == scores.get_state()["rewards"]["p3"][-2:]
