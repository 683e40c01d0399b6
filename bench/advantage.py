"""Advantage and temporal shaping against verl's GRPO estimator, on the same tensors.

    python bench/advantage.py [--rows 4096 --tokens 2048 --group 8 --rounds 15 --threads 2]

Limits: not slower than verl's estimator alone, and at most 3 times reading the mask and writing the result once.
"""

from __future__ import annotations

import os

# Before torch: threads that wait must sleep. On a machine with other work the default, spinning, burns the very cores
# that the awaited thread needs, and every figure becomes a figure of the spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
import typer
from record import machine, report, time_side_by_side

from avatar_verl.adapter import compat
from avatar_verl.maths.advantages import broadcast_advantages, group_advantages
from avatar_verl.maths.shaping import position_weights, shape_advantages


def verl_grpo():
    """verl's estimator, imported as the project does it."""
    compat.install()
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    return compute_grpo_outcome_advantage


def textbook_weights(mask: torch.Tensor, strength: float) -> torch.Tensor:
    """The formula as one would write it down: whole-tensor operations, each through main memory."""
    inside = mask.float()
    length = inside.sum(dim=1, keepdim=True)
    x = 2 * (inside.cumsum(dim=1) - 1) / (length - 1).clamp(min=1) - 1
    return (1 + strength * x.square()) * inside


def main(rows: int = 4096, tokens: int = 2048, group: int = 8, rounds: int = 15, threads: int = 2) -> None:
    where = machine()
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, tokens + 1, (rows,), generator=generator)
    mask = (torch.arange(tokens) < lengths[:, None]).long()  # int64, as verl has it
    rewards = torch.rand(rows, generator=generator)
    token_rewards = torch.zeros(rows, tokens)
    token_rewards[torch.arange(rows), lengths - 1] = rewards
    index = np.array([f"uid-{row // group}" for row in range(rows)], dtype=object)
    estimator = verl_grpo()
    theirs, _ = estimator(token_rewards, mask, index)
    assert torch.equal(shape_advantages(group_advantages(rewards, index), mask, 0.0), theirs), "must equal verl"

    calls = {
        "read the mask, write the result": lambda: mask.to(torch.float32),
        "verl GRPO alone": lambda: estimator(token_rewards, mask, index),
        "verl GRPO, then textbook TAS": lambda: estimator(token_rewards, mask, index)[0] * textbook_weights(mask, 0.3),
        "ours, neutral": lambda: broadcast_advantages(group_advantages(rewards, index), mask),
        "ours with TAS": lambda: shape_advantages(group_advantages(rewards, index), mask, 0.3),
        "  group_advantages": lambda: group_advantages(rewards, index),
        "  position_weights": lambda: position_weights(mask, 0.3),
        "ours with TAS from the token rewards": lambda: shape_advantages(
            group_advantages(token_rewards.sum(dim=-1), index), mask, 0.3
        ),
    }
    times = time_side_by_side(calls, rounds)
    floor, verl = times["read the mask, write the result"], times["verl GRPO alone"]
    table = [
        {
            "what": name,
            **figures,
            "median / read+write": figures["median_ms"] / floor["median_ms"],
            "median / verl": figures["median_ms"] / verl["median_ms"],
        }
        for name, figures in times.items()
    ]
    settings = {
        "rows": rows,
        "tokens": tokens,
        "group": group,
        "threads": threads,
        "wait": os.environ["OMP_WAIT_POLICY"],
        "torch": torch.__version__,
    }
    report(f"advantage_{threads}_threads", settings, where, table)


if __name__ == "__main__":
    typer.run(main)
