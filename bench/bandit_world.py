"""A world small enough for many seeds: a prompt is a point with one right answer of 16, the policy a small network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from avatar_verl.replay.entry import Entry

ANSWERS, DIMENSIONS = 16, 24
HELD_OUT, VISITS = 512, 16
CLIP = 0.2


class World:
    """Prompts, their right answers, and a policy that twelve steps of supervised training taught half of the rule.

    Args:
        prompts: how many; at least as many as the run visits, and each is visited once.
        dual_clip: verl's ``clip_ratio_c``: a negative advantage counts at most so many times; 1e9: no bound.
    """

    def __init__(self, seed: int, prompts: int, learning_rate: float, dual_clip: float = 3.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.num_prompts, self.dual_clip = prompts, dual_clip
        torch.manual_seed(seed)
        rule = torch.randn(DIMENSIONS, ANSWERS)
        self.points = torch.randn(prompts + HELD_OUT, DIMENSIONS)
        self.right = (self.points @ rule).argmax(1)
        self.policy = torch.nn.Sequential(
            torch.nn.Linear(DIMENSIONS, 96), torch.nn.Tanh(), torch.nn.Linear(96, ANSWERS)
        )
        optimizer = torch.optim.Adam(self.policy.parameters(), lr=1e-2)
        for _ in range(12):
            some = torch.randint(0, min(prompts, 256), (64,))
            loss = torch.nn.functional.cross_entropy(self.policy(self.points[some]), self.right[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=learning_rate)

    def batches(self) -> Iterator[list[int]]:
        """The prompts of each step: all of them in random order, then again."""
        while True:
            order = self.rng.permutation(self.num_prompts)
            yield from (chunk.tolist() for chunk in order[: len(order) // VISITS * VISITS].reshape(-1, VISITS))

    @torch.no_grad()
    def success(self, prompts: list[int] | slice) -> torch.Tensor:
        """Probability of the right answer under the present policy."""
        return torch.softmax(self.policy(self.points[prompts]), 1).gather(1, self.right[prompts, None])[:, 0].double()

    def accuracy(self) -> tuple[float, float]:
        """Mean chance of the right answer on up to 256 trained prompts, and on prompts never trained."""
        trained = slice(0, min(256, self.num_prompts))
        held_out = slice(self.num_prompts, None)
        return float(self.success(trained).mean()), float(self.success(held_out).mean())

    @torch.no_grad()
    def generate(self, prompts: list[int], num: int, step: int) -> list[list[Entry]]:
        """A group of ``num`` completions for each prompt."""
        log_probs = torch.log_softmax(self.policy(self.points[prompts]).double(), 1).numpy()
        noise = self.rng.gumbel(size=(num, *log_probs.shape))
        answers = (log_probs + noise).argmax(-1).T  # the largest of these is a draw from the policy
        rewards = (answers == self.right[prompts].numpy()[:, None]).astype(float)
        advantages = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + 1e-6)
        return [
            [
                Entry(
                    prompt_id=str(prompt),
                    group=f"{step}/{prompt}",
                    policy_version=step,
                    token_ids=answers[row, [column]],
                    behaviour_log_probs=log_probs[row, answers[row, [column]]],
                    reward=float(rewards[row, column]),
                    advantage=float(advantages[row, column]),
                    messages="[]",
                )
                for column in range(num)
            ]
            for row, prompt in enumerate(prompts)
        ]

    def ratios(self, rows: list[Entry]) -> torch.Tensor:
        """Chance of each row's answer under the present policy over that at its generation."""
        prompts = torch.tensor([int(row.prompt_id) for row in rows])
        answers = torch.tensor([int(row.token_ids[0]) for row in rows])
        behaviour = torch.tensor([float(row.behaviour_log_probs[0]) for row in rows])
        log_probs = torch.log_softmax(self.policy(self.points[prompts]), 1)
        return (log_probs.gather(1, answers[:, None])[:, 0] - behaviour).exp()

    def update(self, rows: list[Entry], advantages: torch.Tensor) -> None:
        """Two PPO steps with verl's clips, each on a half of the rows."""
        for half in np.array_split(self.rng.permutation(len(rows)), 2):
            ratio, own = self.ratios([rows[i] for i in half]), advantages[torch.from_numpy(half)]
            kept = torch.minimum(own * ratio, own * ratio.clamp(1 - CLIP, 1 + CLIP))
            kept = torch.where(own < 0, torch.maximum(kept, self.dual_clip * own), kept)
            self.optimizer.zero_grad()
            (-kept.mean()).backward()
            self.optimizer.step()
