"""The judge without a model: what it takes for good reasoning, by hand-computed numbers, and what does not fool it."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_verl.config import JudgeReward
from avatar_verl.rewards.judge import Judge
from avatar_verl.rewards.judge_rules import rule_based_score
from avatar_verl.rewards.parse import parse_completion
from avatar_verl.schema import PROBLEM_TYPES
from avatar_verl.types import RewardPart, Sample

HEARD = "heard low none high beep."  # names all words of the cues
SAW = f"Left: bar red bar Center: none Right: post blue post. {HEARD}"
HOPS = f"Left: bar red bar hop early Left: red Center: none Right: post blue post hop late Right: blue. {HEARD}"
BOTH = f"{SAW} so Left: red | Right: blue."


def score(
    think: str, answer: str, problem_type: str = "region", cues: str = "low beep, high beep", **more: str
) -> float:
    fields = {"ground_truth": "Left: red", "options": ("red", "blue"), **more}
    sample = Sample(
        f"<think>{think}</think><answer>{answer}</answer>", problem_type=problem_type, audio_cues=cues, **fields
    )  # type: ignore[arg-type]
    return rule_based_score(sample, parse_completion(sample.completion))


@pytest.mark.parametrize(
    ("think", "answer", "cue_use", "consistency", "agreement"),
    [
        pytest.param(BOTH, "Left: red | Right: blue", 1, 1, 1, id="all of it"),
        pytest.param(BOTH, "right: Blue; left: Red", 1, 1, 1, id="in another order and case"),
        pytest.param(BOTH, "unknown", 1, 1, 0, id="good reasoning, and no answer of its type"),
        pytest.param(BOTH, "red", 1, 1, 0, id="a word of it, but no place"),
        pytest.param(BOTH, "Left: red", 1, 1, 1 / 2, id="half of what was concluded"),
        pytest.param(BOTH, "Left: red | Right: green", 1, 1, 1 / 2, id="one place as concluded, one not"),
        pytest.param(BOTH, "Left: blue | Right: red", 1, 1, 0, id="the right words at the wrong places"),
        pytest.param(BOTH, "Left: red | Center: red | Right: blue", 1, 1, 2 / 3, id="one place too many"),
        pytest.param(f"{SAW} so Left: red | Right: green.", "Left: red", 1, 1 / 2, 1 / 2, id="half of it unfounded"),
        pytest.param(f"{SAW} so Left: blue.", "Left: blue", 1, 0, 1, id="seen, but at another place"),
        pytest.param(f"{SAW} so Center: none.", "Center: red", 1, 1, 0, id="nothing concluded"),
        pytest.param(f"{HEARD} so Left: blue.", "Left: blue", 1, 0, 1, id="a conclusion from nothing"),
        pytest.param(f"Left: bar red bar. {HEARD}", "Left: red", 1, 1, 0, id="no conclusion"),
        pytest.param("Left: red bar. heard high. so Left: red.", "Left: red", 1 / 3, 1, 1, id="one cue word of three"),
        pytest.param(f"{HOPS} so late Right: blue.", "Right: blue", 1, 1, 1, id="what led there was said of the place"),
        pytest.param(f"{HOPS} so late Left: red.", "Left: red", 1, 0, 1, id="what led there was said of another place"),
    ],
)
def test_places(think: str, answer: str, cue_use: float, consistency: float, agreement: float) -> None:
    assert score(think, answer) == pytest.approx((cue_use + consistency + agreement) / 3)


def test_a_question_for_all_places_wants_all_that_were_described() -> None:
    half = f"{SAW} so Left: red."
    assert score(half, "Left: red", question="Where is the source of the beep?") == pytest.approx(1)
    assert score(half, "Left: red", question="Where is each color?") == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert score(BOTH, "Left: red | Right: blue", question="Where is each color?") == pytest.approx(1)


@pytest.mark.parametrize(
    ("think", "answer", "problem_type", "expected"),
    [
        # cue use 1, support 1 (red), agreement 1
        (f"The bar is red. {HEARD} so the bar is red", "red", "multiple_choice", 1),
        (f"The bar is red. {HEARD} so the bar is red", "A", "multiple_choice", 1),  # the option's text
        (f"The bar is red. {HEARD} so the bar is red", "B", "multiple_choice", 1 / 3),  # blue is named nowhere
        (f"The bar is red. {HEARD} so the bar is red", "C", "multiple_choice", 1 / 3),  # no such option
        (f"Low, then high: 2. {HEARD} Therefore 2", "2", "count", 1),
        (f"Low, then high: 2. {HEARD} Therefore 2", "unknown", "count", 1 / 3),
        # pairs (low, high); the last sentence is the conclusion where no word marks one
        (f"{HEARD} First low and then high. It is low high", "low high", "free_text", 1),
        (f"{HEARD} First low and then high. It is high low", "low high", "free_text", 2 / 3),
    ],
)
def test_other_answers(think: str, answer: str, problem_type: str, expected: float) -> None:
    assert score(think, answer, problem_type) == pytest.approx(expected)


def test_without_cues_there_is_no_cue_to_use() -> None:
    assert score("Left: bar red bar. so Left: red.", "Left: red", cues="") == 1.0
    assert score("Left: bar red bar. so Left: red.", "Left: blue", cues="") == 0.5


def test_repetition_does_not_pay() -> None:
    # 18 words, 16 runs of three, 6 of them distinct: 6 / 16 / 0.8 of what the text earns said once
    assert score("low high beep left red then " * 3, "unknown") == pytest.approx(6 / 16 / 0.8 / 3)


def test_an_answer_that_is_right_earns_no_more_than_a_wrong_one() -> None:
    assert score(BOTH, "Left: red", ground_truth="Left: red") == score(BOTH, "Left: red", ground_truth="Left: blue")


_TEXT = st.text(max_size=60) | st.lists(
    st.sampled_from(["Left:", "Right:", "red", "so", ".", "|", "low", "beep", "none", "<think>", "unknown", ":"]),
    max_size=20,
).map(" ".join)


@given(_TEXT, _TEXT, _TEXT, st.sampled_from(sorted(PROBLEM_TYPES)), st.sampled_from(["Left: red", "x", ""]))
def test_any_text_has_a_score_that_the_ground_truth_cannot_move(
    think: str, answer: str, cues: str, problem_type: str, truth: str
) -> None:
    blind = score(think, answer, problem_type, cues, ground_truth="Right: blue")
    assert 0.0 <= blind <= 1.0
    assert blind == score(think, answer, problem_type, cues, ground_truth=truth)


def test_it_is_the_default_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not caplog: libraries that other tests import put handlers and levels of their own on the root logger.
    said: list[str] = []
    monkeypatch.setattr(logging.getLogger("avatar_verl.rewards.judge"), "warning", said.append)
    judge = Judge(JudgeReward())
    assert any("rule-based" in message for message in said)
    told = Sample("<think>Left: red. so Left: red.</think><answer>Left: red</answer>", "x", "region")
    silent = Sample("<answer>Left: red</answer>", "x", "region")
    assert judge.score_many([told, silent]) == [RewardPart(1.0, "rule_based"), RewardPart(0.0, "no_reasoning")]
