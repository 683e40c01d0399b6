"""The arithmetic on round numbers, and what it says about the shipped profiles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avatar_verl.memory.__main__ import composed, evaluate
from avatar_verl.memory.estimate import AGENT, ASLEEP, CONTEXT, GIB, PROCESS, ROLLOUT_WORK, estimate
from avatar_verl.memory.plan import Plan
from avatar_verl.memory.shapes import Shape

SHAPE = Shape(
    parameters=1_000_000,
    text=800_000,
    vision=150_000,
    audio=50_000,
    lora=1_000,
    layer=10_000,
    root=100_000,
    width=100,
    inner=400,
    layers=10,
    kv_width=50,
    vocabulary=1_000,
    vision_width=10,
    vision_layers=2,
    patch=1_176,
)
PLAN = Plan(
    nodes=1,
    gpus_per_node=4,
    trainer_bytes=2,
    compute_bytes=2,
    rollout_bytes=2,
    full_training=True,
    reference=True,
    offload_parameters=False,
    offload_optimizer=False,
    checkpointing=True,
    tokens=1_000,
    row=100,
    prompt=50,
    rollout_nodes=0,
    rollout_gpus=0,
    tensor_parallel=1,
    rollout_share=0.5,
    rollout_sleeps=True,
    rollout_tokens=100,
    bucket_bytes=1_000,
    rows=8,
    frames=4,
    pixels=28 * 28,
    audio_seconds=2.0,
    agent_workers=2,
)
GPU = 80.0 * GIB
SEPARATED = [f"gpu_{nodes}_separated" for nodes in ("1x8", "2x8", "4x8")]


def test_full_training_on_one_gpu_by_hand() -> None:
    update = estimate(SHAPE, PLAN, GPU).update
    assert update["weights"] == 1_000_000 * 2 / 4
    assert update["gradients"] == 1_000_000 * 2 / 4
    assert update["optimiser"] == 2 * 1_000_000 * 2 / 4
    assert update["gathered weights"] == 2 * (100_000 + 2 * 10_000)
    # a token: inputs of 10 layers of 100, and inside one layer 6 x 100 + 2 x 50 + 3 x 400 = 1900
    assert update["activations"] == 2 * 1_000 * (100 * 10 + 1_900)
    assert update["logits"] == 4 * 2 * 1_000 * 1_000
    # half of the tokens are prompts, of four patches each: 2000 patches; a patch: inputs of 2 layers of 10, inside one
    # layer 6 x 10 + 3 x 27 = 141, and 1176 pixel values in float32
    assert update["vision activations"] == pytest.approx(2_000 * (2 * (20 + 141) + 4 * 1_176))
    assert update["vLLM"] == ASLEEP
    assert update["context"] == CONTEXT


def test_adapters_are_trained_alone() -> None:
    lora = estimate(SHAPE, replace(PLAN, full_training=False, reference=False), GPU)
    assert lora.update["weights"] == 1_001_000 * 2 / 4
    assert lora.update["gradients"] == 1_000 * 2 / 4
    assert lora.update["optimiser"] == 2 * 1_000 * 2 / 4
    assert lora.host["reference"] == 0


def test_the_rollout_takes_its_share_beside_the_trainers_shards() -> None:
    result = estimate(SHAPE, PLAN, GPU)
    assert result.rollout["vLLM"] == 40 * GIB
    assert result.rollout["weights"] + result.rollout["optimiser"] == 500_000 + 1_000_000
    # a token: keys and values of 50 in 10 layers in 2 bytes = 2000
    assert result.kv_tokens == int((40 * GIB - 2_000_000 - ROLLOUT_WORK) / 2_000)
    assert result.sequences == result.kv_tokens / 100
    awake = estimate(SHAPE, replace(PLAN, rollout_sleeps=False), GPU)
    assert awake.update["vLLM"] == 40 * GIB


def test_offloaded_parts_move_to_the_host_for_the_rollout() -> None:
    plain = estimate(SHAPE, PLAN, GPU)
    moved = estimate(SHAPE, replace(PLAN, offload_parameters=True, offload_optimizer=True), GPU)
    assert moved.rollout["weights"] == moved.rollout["optimiser"] == 0
    assert moved.update == plain.update
    assert moved.host["offloaded"] == 4 * (500_000 + 1_000_000)


def test_the_host_by_hand() -> None:
    """4 frames of 28 x 28: two patches in time, 4 in space, 1176 values each; 2 s of sound: 128 x 200; in float32."""
    host = estimate(SHAPE, PLAN, GPU).host
    assert host["batch with media"] == 2 * 8 * 4 * (8 * 1_176 + 128 * 200)
    assert host["processes"] == 8 * PROCESS + 2 * AGENT
    assert host["reference"] == 4 * 500_000
    assert host["whole weights"] == 2_000_000
    halved = estimate(SHAPE, replace(PLAN, nodes=2), GPU).host
    assert halved["batch with media"] == host["batch with media"] / 2


def test_twice_the_ranks_halve_the_shards_and_nothing_else() -> None:
    one, two = (estimate(SHAPE, replace(PLAN, nodes=nodes), GPU).update for nodes in (1, 2))
    for name in ("weights", "gradients", "optimiser"):
        assert two[name] == one[name] / 2
    same = ("gathered weights", "activations", "logits", "vision activations")
    assert {name: two[name] for name in same} == {name: one[name] for name in same}


def test_what_does_not_fit_says_what_to_change() -> None:
    fits = estimate(SHAPE, PLAN, GPU)
    assert fits.problems(GPU, 1000 * GIB) == []
    wordy = replace(SHAPE, vocabulary=100_000)  # 4 x 2 bytes x 200,000 tokens x 100,000 words = 160 GB
    (problem,) = estimate(wordy, replace(PLAN, tokens=200_000), GPU).problems(GPU, 1000 * GIB)
    assert problem.startswith("update: ")
    assert "most of it logits: lower actor.ppo_max_token_len_per_gpu" in problem
    (problem,) = estimate(SHAPE, replace(PLAN, rollout_tokens=10**9), GPU).problems(GPU, 1000 * GIB)
    assert "not for one sequence" in problem
    (problem,) = fits.problems(GPU, 1 * GIB)
    assert problem.startswith("host: ")


def test_a_separated_rollout_has_gpus_and_nodes_of_its_own() -> None:
    together = estimate(SHAPE, PLAN, GPU)
    apart = estimate(SHAPE, replace(PLAN, rollout_nodes=3, rollout_gpus=8, rollout_share=0.8), GPU)
    assert apart.update == {**together.update, "vLLM": 0.0}, "the training knows nothing of vLLM"
    assert apart.rollout == {"context": CONTEXT, "vLLM": 64 * GIB, "buckets": 3_000.0}
    assert apart.kv_tokens == int((64 * GIB - 2_000_000 - ROLLOUT_WORK) / 2_000)
    # one process for each of four training GPUs, two for each of eight that generate; the rest over all four nodes
    batch = together.host["batch with media"] / 4
    assert apart.host["processes"] == 4 * PROCESS + 2 / 4 * AGENT
    assert apart.host["whole weights"] == together.host["whole weights"]
    assert apart.host["batch with media"] == batch
    assert apart.rollout_host == {"processes": 16 * PROCESS + 2 / 4 * AGENT, "batch with media": batch}
    (problem,) = apart.problems(GPU, 97 * GIB)
    assert problem.startswith("rollout host: ")


def test_two_pools_of_no_more_than_eight_gpus_share_a_node() -> None:
    plan = replace(PLAN, rollout_nodes=1, rollout_gpus=4)
    both = estimate(SHAPE, plan, GPU)
    assert both.rollout_host == {}
    assert both.host["processes"] == (4 + 2 * 4) * PROCESS + 2 * AGENT
    assert both.host["batch with media"] == estimate(SHAPE, PLAN, GPU).host["batch with media"]
    assert estimate(SHAPE, replace(plan, rollout_gpus=5), GPU).rollout_host


@pytest.mark.parametrize("profile", [f"gpu{nodes}" for nodes in ("", "_2x8", "_4x8")] + SEPARATED)
@pytest.mark.parametrize(("model", "size"), [("7b", []), ("3b", ["+size=3b"])])
def test_shipped_profiles_fit_into_80_gib(profile: str, model: str, size: list[str]) -> None:
    result = evaluate(composed([f"profile={profile}", *size]), model, 80.0)
    assert result.problems(80.0 * GIB, 1000.0 * GIB) == []
    assert result.sequences > 8
    if profile in SEPARATED:
        assert sum(result.rollout.values()) > 70 * GIB, "of 80: nobody else uses these GPUs"


def test_full_training_of_7b_wants_more_than_one_gpu() -> None:
    """Weights, gradients and two states in bf16 are 8 bytes a parameter: 71 GB for 8.9e9, before any activation."""
    lone = ["actor_rollout_ref.model.lora_rank=0", "trainer.n_gpus_per_node=1"]
    problems = evaluate(composed(lone), "7b", 80.0).problems(80.0 * GIB, 1000.0 * GIB)
    assert any(problem.startswith("update: ") for problem in problems)
