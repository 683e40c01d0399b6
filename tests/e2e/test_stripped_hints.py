"""Hints that are stripped: shown when a completion is generated, gone whenever it is trained on, replay included."""

from __future__ import annotations

import json

import pytest
from support.runs import Record, RunResult, run

from avatar_verl.replay import store
from avatar_verl.run_folder import saved_replay

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

#: Log-probs and their gaps are logged with three digits.
ROUNDING = 0.06


@pytest.fixture(scope="module")
def stripped(full_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Two steps of a policy that stays as it is: a completion is as likely in both. The second replays the first."""
    more = [
        "avatar.hint.mode=strip",
        "avatar.log.token_rows=64",
        "avatar.log.token_every=1",
        "actor_rollout_ref.actor.optim.lr=0",
        "trainer.total_training_steps=2",
        "trainer.test_freq=10",
    ]
    result = run("stage1", tmp_path_factory.mktemp("stripped"), *full_arguments, *more)
    assert result.code == 0, result.output + result.log_tail
    return result


def rows(stripped: RunResult, step: int, replayed: bool) -> list[Record]:
    """Rows of a step whose tokens are logged, fresh or replayed ones."""
    found = [row for row in stripped.lines("trained.jsonl") if row["step"] == step and "log_probs" in row]
    return [row for row in found if bool(row.get("replayed")) == replayed]


def trained(row: Record) -> list[float]:
    """Log-probs of a row's tokens under the prompt that it is trained on."""
    return [old + gap for old, gap in zip(row["log_probs"], row["gaps"], strict=True)]


def test_the_hint_was_shown(stripped: RunResult) -> None:
    samples = [sample for step in stripped.samples().values() for sample in step]
    assert len(samples) == 32
    assert {sample["hint"] for sample in samples} == {"always"}


def test_the_buffer_keeps_the_plain_prompt(stripped: RunResult) -> None:
    folder = saved_replay(stripped.folder)
    assert folder is not None
    entries = store.read(folder).buffer["entries"]
    assert len(entries) == 32
    assert all(entry.hint_used for entry in entries)
    hints = [json.loads(entry.row)["extra_info"]["hint"] for entry in entries]
    assert all(hints)
    assert not any(hint in entry.messages for hint, entry in zip(hints, entries, strict=True))


def test_the_prompt_that_is_trained_on_is_another_than_the_one_that_generated(stripped: RunResult) -> None:
    """Without that, the next test could not tell them apart."""
    gaps = [max(map(abs, row["gaps"])) for row in rows(stripped, 1, replayed=False)]
    assert len(gaps) == 16
    assert sum(gap > 3 * ROUNDING for gap in gaps) >= 8, gaps


def test_a_replayed_completion_is_trained_on_without_its_hint_too(stripped: RunResult) -> None:
    fresh = {(row["group"], *row["tokens"]): row for row in rows(stripped, 1, replayed=False)}
    again = rows(stripped, 2, replayed=True)
    assert len(again) == 16
    for row in again:
        origin = fresh[(row["from_group"], *row["tokens"])]
        assert row["log_probs"] == origin["log_probs"]  # at generation, with the hint
        assert trained(row) == pytest.approx(trained(origin), abs=ROUNDING)
