"""What is filed of each row of an update: its advantage before shaping, its tokens, and what replay brought."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from avatar_verl.adapter.run_log import RunLog
from avatar_verl.adapter.trained_log import TrainedRows
from avatar_verl.config import AvatarConfig
from avatar_verl.maths.shaping import shape_advantages
from avatar_verl.replay.entry import Entry
from avatar_verl.run_folder import whole_lines

KEYS = ["step3visit0_0_0", "step3visit0_1_0", "replay3x0_1000000_0"]
TAGS: list[dict[str, Any]] = [{"prompt_id": "a"}, {"prompt_id": "a"}, {"prompt_id": "b", "replayed": True}]
REWARDS = torch.tensor([1.0, 0.0, 0.5])


def config(strength: float = 0.3, **log: int) -> AvatarConfig:
    return AvatarConfig.from_mapping({"shaping": {"strength": strength}, "log": log})


def entry(tokenizer: Any, text: str) -> Entry:
    ids = [*tokenizer.encode(text), tokenizer.eos_token_id]
    return Entry(
        prompt_id="b",
        group="step1visit4",
        policy_version=1,
        token_ids=np.array(ids, np.int32),
        behaviour_log_probs=np.full(len(ids), -1.0, np.float32),
        reward=0.5,
        reward_parts={"accuracy": 0.5},
        advantage=0.0,
        messages="[]",
        tier="medium",
    )


def step_of(tokenizer: Any, settings: AvatarConfig, texts: list[str], shaped: bool = True) -> list[dict[str, Any]]:
    """File a step of three rows with the advantages 2, -1 and 0.5; the last row is replayed from step 1."""
    rows = TrainedRows(settings, shaped)
    rows.start(3)
    rows.drawn({KEYS[2]: entry(tokenizer, texts[2])})
    ids = [torch.tensor(tokenizer.encode(text)) for text in texts]
    longest = max(map(len, ids))
    mask = torch.stack([(torch.arange(longest) < len(row)).long() for row in ids])
    old = torch.full(mask.shape, -1.0)
    rows.log_probs(KEYS, [False, False, True], old, old + 0.25, mask)
    strength = settings.shaping.strength if shaped else 0.0
    advantages = shape_advantages(torch.tensor([2.0, -1.0, 0.5]), mask, strength)
    per_row = [row[: len(own)] for row, own in zip(advantages, ids, strict=True)]
    rows.collect(KEYS, TAGS, ids, per_row, REWARDS, torch.tensor([0.0, 0.0, 0.2]), tokenizer)
    return rows.records({"a": ("easy", 0.87654)})


@pytest.fixture
def tokenizer(processor: Any) -> Any:
    return processor.tokenizer


@pytest.mark.parametrize("shaped", [True, False], ids=["avatar", "another estimator"])
def test_the_advantage_of_a_row_is_the_one_before_shaping(tokenizer: Any, shaped: bool) -> None:
    records = step_of(tokenizer, config(), ["two low beeps", "no", "a red ball"], shaped)
    assert [r["advantage"] for r in records] == pytest.approx([2.0, -1.0, 0.5])
    assert [r["reward"] for r in records] == [1.0, 0.0, 0.5]
    # Both ends of a completion weigh 1 + 0.3 where the estimator shapes.
    assert records[0]["advantages"][0] == pytest.approx(2.6 if shaped else 2.0)
    assert records[0]["advantages"][-1] == records[0]["advantages"][0]
    assert (records[0]["group"], records[0]["session"], records[0]["step"]) == ("step3visit0", 0, 3)


def test_tokens_spell_the_completion_with_their_log_probs(tokenizer: Any) -> None:
    text = "<think>zwölf 🎵 beeps</think>"
    records = step_of(tokenizer, config(), [text, "x", "y"])
    first = records[0]
    assert "".join(first["tokens"]) == tokenizer.decode(tokenizer.encode(text))
    assert "\ufffd" not in "".join(first["tokens"])
    assert len(first["tokens"]) == len(first["advantages"]) == len(first["log_probs"]) == len(first["gaps"])
    assert set(first["log_probs"]) == {-1.0}
    assert set(first["gaps"]) == {0.25}


def test_a_replayed_row_says_where_it_comes_from(tokenizer: Any) -> None:
    fresh, _, replayed = step_of(tokenizer, config(), ["a", "b", "a red ball"])
    assert (fresh["tier"], fresh["score"]) == ("easy", 0.8765)
    assert "replayed" not in fresh
    assert replayed["replayed"] is True
    assert replayed["completion"] == tokenizer.decode(tokenizer.encode("a red ball"))  # without its end token
    assert (replayed["tier"], replayed["age"], replayed["from_group"]) == ("medium", 2, "step1visit4")
    assert replayed["reference"] == pytest.approx(0.2)
    assert replayed["parts"] == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("log", "traced"),
    [
        ({"token_rows": 0}, []),
        ({"token_rows": 1}, [0]),
        ({"token_rows": 2}, [0, 2]),  # half of them replayed
        ({"token_rows": 9}, [0, 1, 2]),
        ({"token_rows": 9, "token_every": 2}, []),  # this is step 3
    ],
)
def test_only_as_many_rows_as_wanted_have_tokens(tokenizer: Any, log: dict[str, int], traced: list[int]) -> None:
    records = step_of(tokenizer, config(**log), ["a", "b", "c"])
    assert [i for i, record in enumerate(records) if "tokens" in record] == traced
    assert len(records) == 3


def test_padding_is_left_out_and_a_new_step_starts_empty(tokenizer: Any) -> None:
    rows = TrainedRows(config(), shaped=True)
    rows.start(1)
    ids = torch.tensor(tokenizer.encode("beep"))
    rows.collect(["pad_0_0"], [{"is_padding": True}], [ids], [ids * 1.0], REWARDS[:1], REWARDS[:1], tokenizer)
    assert rows.records({}) == []
    rows.collect(["u_0_0"], [{}], [ids], [ids * 1.0], REWARDS[:1], REWARDS[:1], tokenizer)
    assert len(rows.records({})) == 1
    rows.start(2)
    assert rows.records({}) == []


def test_a_resumed_run_forgets_rows_behind_its_checkpoint(tmp_path: Any) -> None:
    log = RunLog(tmp_path, 0.1)
    log.trained([{"step": 1, "group": "a"}, {"step": 2, "group": "b"}])
    log.resume_at(1)
    assert [record["group"] for _, record in whole_lines(tmp_path / "trained.jsonl")] == ["a"]
