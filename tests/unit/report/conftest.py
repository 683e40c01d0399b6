"""Run folders for the report: written as a run writes them, with numbers that can be worked out by hand."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from avatar_verl.config import AvatarConfig
from avatar_verl.rewards.records import to_record
from avatar_verl.run_folder import append_jsonl
from avatar_verl.types import RewardBreakdown, RewardPart, Sample

#: Text that would do harm if a page took it for markup.
HARMFUL = '</script><script>window.harmed = 1</script><img src=x onerror="window.harmed = 1"><b>bold</b> &amp; "quoted"'

MakeRun = Callable[..., Path]


def completion(step: int, visit: int, session: int, right: bool, **about: Any) -> dict[str, Any]:
    """A line of ``samples.jsonl``. Every prompt comes again each 5 steps."""
    number = (visit + 2 * step) % 10
    text = f"<think>I hear beep {session} of prompt {number}.</think><answer>{'B' if right else 'A'}</answer>"
    sample = Sample(
        completion=about.get("text", text),
        ground_truth="B",
        problem_type="multiple_choice",
        prompt_id=f"toy/{number:03d}",
        group=f"step{step}visit{visit}",
        question=f"How many beeps are there in clip {number}?",
        options=("one", "two"),
        audio_cues="two beeps",
        media=tuple(about.get("media", ())),
        num_tokens=9,
        mean_log_prob=-0.25,
        step=step,
    )
    parts = {
        "accuracy": RewardPart(float(right), "right" if right else "wrong_letter"),
        "format": RewardPart(1.0, "ok"),
    }
    record = to_record(sample, RewardBreakdown(0.5 * right + 0.5, parts, "B" if right else "A"))
    record |= {"split": about.get("split", "train"), "session": session, "family": "beeps", "difficulty": "easy"}
    return record | {"modality": "audio_in_video", "hint": about.get("hint", "")}


def trained(record: dict[str, Any], advantage: float, with_tokens: bool) -> dict[str, Any]:
    """The line of ``trained.jsonl`` of a fresh completion, shaped by the parabola of strength 0.3."""
    found = {
        "step": record["step"],
        "group": record["group"],
        "session": record["session"],
        "tier": "hard",
        "score": 0.25,
    }
    found |= {"prompt_id": record["prompt_id"], "reward": record["reward"], "advantage": round(advantage, 4)}
    if with_tokens:
        tokens = [*(word + " " for word in record["completion"].split(" ")), "<|im_end|>"]
        across = [2 * i / (len(tokens) - 1) - 1 for i in range(len(tokens))]
        found["tokens"] = tokens
        found["advantages"] = [round(advantage * (1 + 0.3 * x * x), 4) for x in across]
        found["log_probs"] = [-0.25] * len(tokens)
        found["gaps"] = [0.05 if i == 1 else 1e-7 for i in range(len(tokens))]
    return found


def replayed(step: int, place: int, right: bool) -> dict[str, Any]:
    """A line of a completion of step 1 that was drawn again: its reference score is 0.6."""
    return {
        "step": step,
        "group": f"replay{step}x{place}",
        "session": 1_000_000 + place,
        "prompt_id": f"toy/{place + 2:03d}",  # as visit `place` of step 1 was
        "tier": "medium",
        "reward": 0.5 + 0.5 * right,
        "advantage": round(0.6 * (0.5 + 0.5 * right - 0.6) / (math.sqrt(0.125) + 1e-4), 4),
        "replayed": True,
        "reference": 0.6,
        "age": step - 1,
        "from_group": f"step1visit{place}",
        "hint_used": False,
        "parts": {"accuracy": float(right), "format": 1.0},
        "completion": f"<think>replayed {place}</think><answer>B</answer>",
    }


def metrics_of(step: int, samples: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> dict[str, Any]:
    """A line of ``metrics.jsonl`` with the families of names that a real one has."""
    rewards = [sample["reward"] for sample in samples]
    found: dict[str, Any] = {"step": step, "time": 1_000_000.0 + 36.0 * step}
    if samples:
        found |= {
            "avatar/train/reward": statistics.fmean(rewards),
            "avatar/reward/total/mean": statistics.fmean(rewards),
            "avatar/reward/total/std": statistics.pstdev(rewards),
            "avatar/groups/fresh": 2.0,
            "avatar/groups/zero_std": 1.0,
            "avatar/groups/rescued": 0.0,
            "avatar/parity/correlation": 0.99999,
            "avatar/replay/tier/easy": float(step),
            "avatar/replay/tier/hard": 2.0 * step,
            "avatar/vcrs/threshold/hard": 0.5,
            "avatar/vcrs/threshold/medium": 0.75,
            "actor/entropy": 1.0 / step,
            "timing_s/gen": 2.0,
            "timing_s/step": 3.0,
        }
        found |= {f"filler/{i}": math.sin(step / (i + 1)) for i in range(120)}
    if held_out:
        found["avatar/val/accuracy"] = statistics.fmean(s["parts"]["accuracy"] for s in held_out)
        found["avatar/val/reward"] = statistics.fmean(s["reward"] for s in held_out)
    return found


def write_run(folder: Path, steps: int = 6, group: int = 4, visits: int = 2, **about: Any) -> Path:
    """A run of ``steps`` steps. Of each step's visits the even ones have one right completion, the odd ones none.

    ``about``: ``media`` paths of every prompt, ``text`` of the last completion, ``state`` (finished or running).
    """
    folder.mkdir(parents=True)
    node = AvatarConfig.from_mapping({"replay": {"capacity": 500}}).model_dump(mode="json")
    config = {"avatar": node, "algorithm": {"adv_estimator": "avatar"}, "trainer": {"total_training_steps": steps}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for step in range(steps + 1):
        fresh = [
            completion(step, visit, session, right=visit % 2 == 0 and session == 0, media=about.get("media", ()))
            | ({"hint": "zero_streak"} if visit == 1 else {})
            for visit in range(visits if step else 0)
            for session in range(group)
        ]
        if step == steps and "text" in about:
            fresh[-1]["completion"] = about["text"]
        # Held-out accuracy goes from 1 in 8 to 7 in 8.
        rights = {0: 1, steps: 7}.get(step, 0)
        held_out = [
            completion(step, 100 + i, 0, i < rights, split="val", media=about.get("media", ()))
            for i in range(8 if rights else 0)
        ]
        append_jsonl(folder / "samples.jsonl", fresh + held_out)
        append_jsonl(folder / "metrics.jsonl", [metrics_of(step, fresh, held_out)])
        # Rewards 1, .5, .5, .5: mean .625, sample deviation .25, so the right one has 1.5 and the others -0.5.
        rows = [
            trained(
                s, 0.0 if "visit1" in s["group"] else (1.5 if s["reward"] == 1 else -0.5), with_tokens=s["step"] > 1
            )
            for s in fresh
        ]
        append_jsonl(folder / "trained.jsonl", rows + [replayed(step, i, i == 0) for i in range(2) if step > 2])
    bad = [("clip <b>3</b> is torn", "unreadable"), ("too long", "prompt_too_long"), ("torn", "unreadable")]
    append_jsonl(
        folder / "bad_rows.jsonl",
        [
            {"step": 2 * i + 1, "split": "train", "prompt_id": f"bad/{i}", "reason": reason, "detail": detail}
            for i, (detail, reason) in enumerate(bad)
        ],
    )
    if about.get("state", "finished") == "finished":
        (folder / "finished.json").write_text(json.dumps({"steps": steps}))
    return folder


@pytest.fixture
def make_run() -> MakeRun:
    return write_run


@pytest.fixture(scope="session")
def harmful() -> str:
    return HARMFUL
