"""What docs/reward-guide.md says: its own reward works, its names and reasons exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from avatar_verl.config import AvatarConfig, RewardConfig
from avatar_verl.rewards.compose import BUILT_REWARDS, GROUP_REWARDS, SAMPLE_REWARDS, RewardComposer
from avatar_verl.types import RewardPart, Sample

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "reward-guide.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first fenced block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("tokens", "part"), [(100, RewardPart(1.0, "short")), (400, RewardPart(0.25, "long"))], ids=["short", "long"]
)
def test_the_guides_own_reward_works(tokens: int, part: RewardPart, tmp_path: Path) -> None:
    file = tmp_path / "brevity.py"
    file.write_text(block("python"), encoding="utf-8")
    composer = RewardComposer(RewardConfig(weights={"format": 1.0, "custom": 0.2}, custom=str(file)))
    sample = Sample("<think>t</think><answer>3</answer>", "3", "count", num_tokens=tokens)
    breakdown = composer.score(sample)
    assert breakdown.parts["custom"] == part
    assert breakdown.total == pytest.approx(1.0 + 0.2 * part.value)


def test_the_guides_settings_are_settings() -> None:
    AvatarConfig.from_mapping(yaml.safe_load(block("yaml"))["avatar"])


def test_the_guide_names_every_reward_and_no_other() -> None:
    table = GUIDE[GUIDE.index("| part |") : GUIDE.index("Stage 1 is")]
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    named = set(re.findall(r"`(\w+)`", " ".join(first_cells)))
    assert named == {*SAMPLE_REWARDS, *GROUP_REWARDS, *BUILT_REWARDS}


def test_every_reason_that_is_named_exists() -> None:
    listed = GUIDE[GUIDE.index("- format and answer:") : GUIDE.index("A part that is **absent**")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "avatar_verl" / "rewards").glob("*.py"))
    # The judge's client puts its name before the reasons of the endpoint, and before those of its own.
    asked = "\n".join((ROOT / "avatar_verl" / name).read_text() for name in ("chat.py", "rewards/judge_client.py"))
    code += "".join(f'"judge_{reason}"' for reason in re.findall(r'ChatError\("([a-z_]+)"', asked))
    reasons = re.findall(r"`([a-z_]+)`", listed)
    assert len(reasons) > 25
    assert [reason for reason in reasons if f'"{reason}"' not in code] == []


def test_the_numbers_of_fs_grpo_are_the_defaults() -> None:
    settings = RewardConfig().fs_grpo
    rows = re.findall(r"\| `(direct|perception|full)` \|[^|]*\| (1[ +.\d]*) \| (-?[\d.]+) \|", GUIDE)
    assert len(rows) == 3
    for name, right, wrong in rows:
        assert sum(map(float, right.split("+"))) == settings.right + settings.bonus[name]
        assert float(wrong) == settings.wrong + settings.penalty[name]
    assert f"`free_tokens` ({settings.free_tokens})" in GUIDE
