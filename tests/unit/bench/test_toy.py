"""The toy world in one process: its numbers are those of the thinker, of verl's GRPO and of the configuration."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from avatar_verl.adapter.engine import MASKED_LOGIT
from avatar_verl.adapter.replay_cycle import ReplayCycle
from avatar_verl.main import load
from avatar_verl.omni.prompt import PromptInputs
from avatar_verl.omni.tokens import MediaTokens
from avatar_verl.replay.entry import Entry

END = 2
PLAIN = ["preset=grpo", "algorithm.adv_estimator=avatar"]


@pytest.fixture(scope="module")
def policy_module(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("toy_policy")


@pytest.fixture
def policy(policy_module: ModuleType, thinker: Any) -> Any:
    return policy_module.ToyPolicy(copy.deepcopy(thinker), END)


@pytest.fixture
def make_world(bench: Callable[[str], ModuleType], toy_world: Path) -> Callable[..., Any]:
    """``make_world("preset=grpo", ..)``: a world of stage 1 on the small toy world, sampling 6 tokens at most."""

    def make(*overrides: str) -> Any:
        files = [f"run.{name}_files={toy_world / name}.parquet" for name in ("train", "val")]
        words = [*files, f"actor_rollout_ref.model.path={toy_world / 'model'}", "data.max_response_length=6"]
        return bench("toy_world").World(load("stage1", [*words, *overrides], "unused"), seed=3)

    return make


def forced_log_probs(thinker: Any, prompt: PromptInputs, tokens: list[int]) -> torch.Tensor:
    """Of a completion, by the thinker's own forward pass over the whole sequence, alone in its batch."""
    features = {name: value for name, value in prompt.features.items() if name != "video_second_per_grid"}
    start = int(prompt.position_ids[1:].max()) + 1
    tail = torch.arange(start, start + len(tokens)).expand(3, -1)
    logits = thinker(
        input_ids=torch.cat([prompt.input_ids, torch.tensor(tokens)])[None],
        attention_mask=torch.ones(1, len(prompt.input_ids) + len(tokens)),
        position_ids=torch.cat([prompt.position_ids[1:], tail], 1)[:, None],
        **features,
    ).logits[0, len(prompt.input_ids) - 1 : -1]
    never = torch.tensor(MediaTokens.from_config(thinker.config).never_sampled)
    log_probs: torch.Tensor = logits.index_fill(-1, never, MASKED_LOGIT).log_softmax(-1)
    return log_probs[torch.arange(len(tokens)), torch.tensor(tokens)]


def test_sampled_and_trained_log_probs_are_the_thinkers(policy: Any, thinker: Any, prompts: dict[str, Any]) -> None:
    chosen = list(prompts.values())  # text, sounds, images, clips: padded together, and read once for two rows each
    index = torch.arange(len(chosen)).repeat_interleave(2)
    with torch.no_grad():
        prefix = policy.read(chosen)
        sampled = policy.sample(prefix, index, 9, torch.Generator().manual_seed(0))
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row.token_ids) for row in sampled], batch_first=True)
        trained = policy.log_probs(prefix, index, tokens)
    assert len(chosen) >= 6
    assert len({tuple(row.token_ids) for row in sampled}) > len(chosen)
    for row, (completion, prompt) in enumerate(zip(sampled, index.tolist(), strict=True)):
        with torch.no_grad():
            expected = forced_log_probs(thinker, chosen[prompt], completion.token_ids)
        assert torch.tensor(completion.log_probs) == pytest.approx(expected, abs=1e-4)
        assert trained[row, : len(expected)] == pytest.approx(expected, abs=1e-4)


def test_finished_rows_end_with_the_end_token_and_the_others_go_on(policy: Any, prompts: dict[str, Any]) -> None:
    policy.thinker.lm_head.weight.data[END] *= 6  # ends often
    index = torch.zeros(24, dtype=torch.long)
    with torch.no_grad():
        prefix = policy.read([prompts["text"]])
        sampled = policy.sample(prefix, index, 12, torch.Generator().manual_seed(0))
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row.token_ids) for row in sampled], batch_first=True)
        trained = policy.log_probs(prefix, index, tokens)
    lengths = [len(row.token_ids) for row in sampled]
    assert len(set(lengths)) > 3
    for row, completion in enumerate(sampled):
        *before, last = completion.token_ids
        assert END not in before
        assert last == END or lengths[row] == 12
        # A row that another one's end had moved in the batch would have other log-probs.
        assert torch.tensor(completion.log_probs) == pytest.approx(trained[row, : lengths[row]], abs=1e-4)


def with_rewards(rows: list[Entry], rewards: list[float]) -> list[Entry]:
    return [row.stamped(reward=reward) for row, reward in zip(rows, rewards, strict=True)]


def test_neutral_gradient_is_that_of_grpo(
    make_world: Callable[..., Any], bench: Callable[[str], ModuleType], thinker: Any
) -> None:
    world = make_world(*PLAIN, "avatar.replay.on_policy_batches=2", "data.train_batch_size=2")
    cycle = ReplayCycle(world.avatar, 0)
    visits = world.visits(next(world.batches()), 1, cycle.hints, cycle.scores)
    groups = world.generate(visits, 2, 1)
    rows, labels, replayed, context = bench("curves").join(cycle, 1, groups)
    batch = world.batch(with_rewards(rows, [1.0, 0.0, 0.5, 0.0]), labels, replayed)
    advantages = world.advantages(batch, context)
    # Mean 1/2 and 1/4, std 1/sqrt(2) and 1/(2 sqrt(2)): both groups have 1/sqrt(2), -1/sqrt(2).
    half = 0.5**0.5
    assert advantages[:, 0].tolist() == pytest.approx([half, -half, half, -half], rel=1e-4)
    loss, found = world.loss(batch, torch.arange(4), advantages)
    loss.backward()

    thinker = copy.deepcopy(thinker)
    by_hand, count = torch.zeros(()), sum(len(row.token_ids) for row in rows)
    for row, sign, place in zip(rows, [half, -half, half, -half], [0, 0, 1, 1], strict=True):
        prompt = world.train.prompt((visits[place].number, False))
        by_hand = by_hand - sign * forced_log_probs(thinker, prompt, row.token_ids.tolist()).sum() / count
    by_hand.backward()
    assert found["kl"] == pytest.approx(0.0, abs=1e-6)  # the reference is the policy still
    named = dict(thinker.named_parameters())
    for name, parameter in world.policy.thinker.named_parameters():
        expected = named[name].grad
        assert (parameter.grad is None) == (expected is None), name
        if expected is not None:
            assert torch.allclose(parameter.grad, expected, rtol=1e-3, atol=1e-5 + 1e-3 * expected.abs().max()), name


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        (["preset=paper", "{mini}=2"], [4] * 4 + [8] * 4),  # 16 fresh rows in fours, then 16 + 16 in eights
        (["preset=paper", "{mini}=2", "{actor}.ppo_epochs=2"], [4] * 8 + [8] * 8),
        (["preset=paper", "{mini}=4"], [8] * 2 + [16] * 2),
    ],
)
def test_mini_batches_are_verls(
    make_world: Callable[..., Any],
    bench: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    overrides: list[str],
    sizes: list[int],
) -> None:
    actor = "actor_rollout_ref.actor"
    words = [word.format(actor=actor, mini=f"{actor}.ppo_mini_batch_size") for word in overrides]
    small = ["avatar.replay.on_policy_batches=2", "avatar.replay.off_policy_batches=2", "avatar.replay.min_size=16"]
    world = make_world(*words, *small)
    seen: list[list[int]] = []

    def loss(batch: Any, rows: torch.Tensor, advantages: torch.Tensor) -> Any:
        seen.append(rows.tolist())
        return sum(p.sum() for p in world.parameters) * 0.0, {"kl": 0.0}

    monkeypatch.setattr(world, "loss", loss)
    cycle, batches = ReplayCycle(world.avatar, 0), world.batches()
    for step in (1, 2):
        visits = world.visits(next(batches), step, cycle.hints, cycle.scores)
        groups = world.generate(visits, 2, step)
        rows, labels, replayed, _ = bench("curves").join(cycle, step, groups)
        assert sum(replayed) == (16 if step == 2 else 0)
        batch = world.batch(rows, labels, replayed)
        world.update(batch, torch.zeros_like(batch.old))
        cycle.harvest(rows[:16], {visit.label: False for visit in visits}, {visit.label: [0.0] for visit in visits})
    assert [len(rows) for rows in seen] == sizes
    assert seen[-1][-1] == 31  # in order, replayed rows last


@pytest.mark.parametrize("mode", ["keep", "strip"])
def test_a_stripped_hint_is_not_in_the_prompt_that_is_trained_on(
    make_world: Callable[..., Any], thinker: Any, mode: str
) -> None:
    world = make_world("preset=paper", "avatar.hint.always=true", f"avatar.hint.mode={mode}")
    cycle = ReplayCycle(world.avatar, 0)
    number = next(i for i, row in enumerate(world.train.rows) if row["extra_info"]["hint"])
    hint = world.train.rows[number]["extra_info"]["hint"]
    (visit,) = world.visits([number], 1, cycle.hints, cycle.scores)
    (group,) = world.generate([visit], 2, 1)
    assert visit.hinted
    assert all(hint in json.loads(row.messages)[-1]["content"][-1]["text"] for row in group)
    entry = group[0]
    fresh, replayed = (world.batch([entry], ["x"], [old]) for old in (False, True))
    hinted, plain = (
        forced_log_probs(thinker, world.train.prompt((number, used)), entry.token_ids.tolist()).detach()
        for used in (True, False)
    )
    assert not torch.allclose(hinted, plain, atol=1e-3)
    assert torch.tensor(entry.behaviour_log_probs) == pytest.approx(hinted, abs=1e-4)
    # Replayed it is compared with what generated it, as in the trainer; fresh with the prompt that is trained on.
    trained = hinted if mode == "keep" else plain
    assert replayed.old[0] == pytest.approx(hinted, abs=1e-4)
    assert fresh.old[0] == pytest.approx(trained, abs=1e-4)
    for batch in (fresh, replayed):
        assert batch.keys == [(number, mode == "keep")]
        assert batch.reference[0] == pytest.approx(trained, abs=1e-4)


def test_arms_make_four_optimiser_steps_on_64_rows(bench: Callable[[str], ModuleType]) -> None:
    tables = bench("toy").TABLES
    arms = tables["presets"] | {name: tables["ablation"][name] for name in ("6+2", "2+6", "GRPO of 2")}
    files = ["run.train_files=a", "run.val_files=b", "actor_rollout_ref.model.path=c"]
    for name, overrides in arms.items():
        config = load("stage1", [*files, *overrides], "unused")
        actor, replay, prompts = config.actor_rollout_ref.actor, config.avatar.replay, config.data.train_batch_size
        rows = prompts * (replay.on_policy_batches + replay.off_policy_batches) * actor.ppo_epochs
        assert (rows, prompts // actor.ppo_mini_batch_size * actor.ppo_epochs) == (64, 4), name


def test_the_table_reads_curves(bench: Callable[[str], ModuleType]) -> None:
    step = {"accuracy": 0.5, "fresh": 8.0, "zero_std": 4.0, "rescued": 1.0, "signal": 3.0, "kl": 0.1, "hinted": 0}
    curves = {"GRPO of 8": [(0, 0, 0.2, 0.0), (100, 4, 0.6, 10.0)], "paper": [(0, 0, 0.2, 0.0), (50, 4, 1.0, 20.0)]}
    runs = [{"arm": arm, "seed": 1, "curve": curve, "seen": [step]} for arm, curve in curves.items()]
    grpo, paper = bench("toy").summarise(runs, "GRPO of 8")
    # From 0.2 to 1.0 in 50 completions: 0.6 is half-way.
    for column in ("fresh to GRPO of 8's end", "fresh to GRPO of 8's end, mean curve"):
        assert (grpo[column], paper[column]) == pytest.approx((100, 25), abs=5)
    assert (grpo["at equal completions"], paper["at equal completions"]) == (0.4, 1.0)
    assert (grpo["at equal seconds"], paper["at equal seconds"]) == (0.6, 0.6)
    assert paper["flat groups"] == 0.5
    assert paper["of them rescued"] == 0.25
    assert bench("toy").by_figure([grpo, paper])[0] == {"figure": "seeds", "GRPO of 8": 1, "paper": 1}


def test_a_table_takes_what_another_has_run(
    bench: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVATAR_BENCH_RESULTS", str(tmp_path))
    settings = {"steps": 40, "prompts": "all", "samples": 2}
    made = [("paper", 1, 40), ("released", 1, 40), ("GRPO of 8", 1, 5), ("GRPO of 4", 1, 40)]
    runs = [{"arm": arm, "seed": seed, **settings, "steps": steps} for arm, seed, steps in made]
    (tmp_path / "toy_presets_runs.json").write_text(json.dumps(runs))
    own = {"arm": "GRPO of 4", "seed": 1, **settings, "of": "its own"}
    (tmp_path / "toy_ablation_runs.json").write_text(json.dumps([own]))
    found = bench("toy").made_before("ablation", settings)
    # Not released, which is no arm of this table; not GRPO of 8, which ran for five steps.
    assert found == [own, {"arm": "4+4, TAS", "seed": 1, **settings}]
    assert [run["arm"] for run in bench("toy").made_before("presets", settings)] == ["paper", "released", "GRPO of 4"]
