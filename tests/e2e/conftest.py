"""Real runs of both drivers, shared by all tests of this folder: each proves many things.

Every run goes through ``python -m avatar_verl.main`` with Ray, vLLM, FSDP2, real clips and real parquet.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support import family
from support.runs import ColdStart, Job, RunResult, read_lines, run
from support.world import World, build_world

#: A reinforcement learning run: 5 steps of 4 prompts over a file of 15 good rows sees every row, the bad ones too.
STEPS = 5
COLD_STEPS = 12


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world") / "toy")


@pytest.fixture(scope="session")
def cold_start(world: World, tmp_path_factory: pytest.TempPathFactory) -> ColdStart:
    """The cold start, killed behind its first checkpoint and started again."""
    outputs = tmp_path_factory.mktemp("cold_start")
    arguments = [
        f"run.train_files={world.folder}/cold_start.parquet",
        f"model.path={world.folder}/model",
        f"trainer.total_training_steps={COLD_STEPS}",
        "trainer.save_freq=6",
        "data.train_batch_size=8",
        "data.micro_batch_size_per_gpu=8",
        "optim.lr_warmup_steps=2",
        "run.print_every=1",
    ]
    job = Job(arguments, outputs, "cold_start")
    job.wait_for(lambda folder: any(line["step"] >= 8 for line in read_lines(folder / "metrics.jsonl")))
    job.kill()
    left = family.wait_until_gone(job.mark, 30)
    killed_at = max(line["step"] for line in read_lines(job.folder / "metrics.jsonl"))
    return ColdStart(killed_at, left, run("cold_start", outputs, *arguments))


@pytest.fixture(scope="session")
def policy(cold_start: ColdStart) -> Path:
    """The exported model that reinforcement learning starts from."""
    assert cold_start.result.code == 0, cold_start.result.log_tail
    return cold_start.result.folder / "model"


@pytest.fixture(scope="session")
def full_arguments(world: World, policy: Path) -> list[str]:
    """AVATAR with everything on, over files with bad rows, validated at the start, after step 4 and at the end."""
    return [
        "preset=paper",
        f"actor_rollout_ref.model.path={policy}",
        f"run.train_files={world.mixed}",
        f"run.val_files={world.mixed_val}",
        "avatar.data.require_validated=false",
        "avatar.replay.min_size=16",
        "avatar.hint.always=true",
        "avatar.media.max_bad_share=0.9",
        f"avatar.reward.custom={Path(__file__).parent / 'support' / 'reward.py'}",
        "avatar.reward.weights={accuracy: 0.5, format: 0.5, custom: 1.0}",
        "data.max_response_length=24",
        "actor_rollout_ref.actor.optim.lr=1e-3",
        "actor_rollout_ref.actor.optim.lr_warmup_steps=0",
        "data.train_batch_size=4",
        f"trainer.total_training_steps={STEPS}",
        "trainer.save_freq=1",
        "trainer.test_freq=4",
    ]


@pytest.fixture(scope="session")
def undisturbed(full_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """That run from beginning to end."""
    return run("stage1", tmp_path_factory.mktemp("undisturbed"), *full_arguments)
