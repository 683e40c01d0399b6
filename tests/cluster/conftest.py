"""What the cluster tests share: a small world and a short run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.slurm import SlurmCluster
from support.world import toy_world

STEPS = 3


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy world; runs start from its untrained model, whose completions differ enough for a reward with a spread."""
    return toy_world(tmp_path_factory.mktemp("world") / "toy", 48)


@pytest.fixture(scope="session")
def short_run() -> list[str]:
    """Three steps of 4 prompts with replay, saved after each, on two nodes of one slot."""
    reward = Path(__file__).parents[1] / "e2e" / "support" / "reward.py"
    return [
        f"trainer.total_training_steps={STEPS}",
        "trainer.save_freq=1",
        "trainer.test_freq=-1",
        "trainer.val_before_train=false",
        "data.train_batch_size=4",
        "data.max_response_length=16",
        "avatar.replay.min_size=8",
        f"avatar.reward.custom={reward}",
        "avatar.reward.weights={accuracy: 0.5, format: 0.5, custom: 1.0}",
        # 4 prompts of 4 fresh completions over two ranks.
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.rollout.agent.num_workers=2",
    ]


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """Two nodes."""
    with SlurmCluster(2) as cluster:
        yield cluster
