"""The toy world of a run in one process: its model, prompts, rewards and update, without Ray, vLLM and queues.

What decides learning is the real loop's own: the composed configuration, the data set, prompts and features, rewards,
entries, verl's clipped loss and KL, its learning-rate schedule, mini-batches in verl's order. What is missing is
processes: a step takes a second or two of one core. :mod:`toy_policy` samples and takes log-probs.
"""

from __future__ import annotations

import copy
import functools
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, open_dict
from toy_policy import Completion, Prefix, ToyPolicy
from verl.trainer.ppo.core_algos import agg_loss, get_adv_estimator_fn, get_policy_loss_fn, kl_penalty
from verl.utils.torch_functional import get_constant_schedule_with_warmup

from avatar_verl.adapter.dataset import AvatarDataset
from avatar_verl.adapter.estimator import CONTEXT, ReplayContext, row_advantages
from avatar_verl.adapter.hinting import with_hint
from avatar_verl.adapter.node import avatar_config
from avatar_verl.adapter.replay_cycle import make_entry
from avatar_verl.config import MediaConfig
from avatar_verl.media import FrameBudget, make_decoder
from avatar_verl.omni.prompt import PromptBuilder, PromptInputs
from avatar_verl.omni.thinker import load_thinker
from avatar_verl.replay.entry import Entry
from avatar_verl.rewards import RewardComposer
from avatar_verl.types import RewardBreakdown, Sample

#: (data set row, with its hint).
Key = tuple[int, bool]
READ_AT_ONCE = 32  # held-out prompts


class Data:
    """Rows of one parquet file and their prompts, each decoded and encoded once and kept."""

    def __init__(self, file: str, config: DictConfig, processor: Any, builder: PromptBuilder) -> None:
        self._dataset = AvatarDataset(
            data_files=file, tokenizer=processor.tokenizer, processor=processor, config=config.data
        )
        self.rows: list[dict[str, Any]] = [self._dataset[i] for i in range(len(self._dataset))]
        self._builder = builder
        self._prompts: dict[Key, PromptInputs] = {}

    def messages(self, key: Key) -> list[dict[str, Any]]:
        """Of a row, with its hint if ``key`` says so."""
        number, hinted = key
        row = self.rows[number]
        messages: list[dict[str, Any]] = row["raw_prompt"]
        return with_hint(messages, row["extra_info"]["hint"]) if hinted else messages

    def prompt(self, key: Key) -> PromptInputs:
        """As the agent loop builds it."""
        if key not in self._prompts:
            row, plain = self.rows[key[0]], self._prompts.get((key[0], False))
            messages = self.messages(key)
            self._prompts[key] = (
                self._builder.encode(messages, plain.media)
                if plain
                else self._builder.build(messages, row["media_root"], bool(row["use_audio_in_video"]))
            )
        return self._prompts[key]


@functools.cache
def load_data(model: str, train_file: str, val_file: str, media: MediaConfig) -> tuple[Any, Data, Data]:
    """Tokenizer, training and held-out data; kept for all runs of this process."""
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniProcessor

    from avatar_verl.main import load

    processor: Any = Qwen2_5OmniProcessor.from_pretrained(model)
    omni: Any = Qwen2_5OmniConfig.from_pretrained(model)
    files = [f"run.train_files={train_file}", f"run.val_files={val_file}"]
    config = load("stage1", [*files, f"actor_rollout_ref.model.path={model}"], "unused")
    builder = PromptBuilder(processor, omni.thinker_config, FrameBudget.from_config(media), make_decoder(media.cache))
    return (
        processor.tokenizer,
        Data(train_file, config, processor, builder),
        Data(val_file, config, processor, builder),
    )


@dataclass(frozen=True)
class Visit:
    """A prompt of a step."""

    label: str
    number: int  # row of the data set
    prompt_id: str
    hinted: bool


@dataclass(frozen=True)
class Batch:
    """The rows of a step in the order of the real loop: fresh ones, then replayed ones."""

    rows: list[Entry]
    keys: list[Key]  # the prompt each row is trained on
    labels: Any  # object [B]
    old: torch.Tensor  # [B, T], log-probs that ratios are taken to
    reference: torch.Tensor  # [B, T], log-probs of the frozen cold start
    mask: torch.Tensor  # [B, T]
    tokens: torch.Tensor  # int64 [B, T]


class World:
    """One run's policy and what surrounds it.

    Args:
        config: a composed stage (:func:`avatar_verl.main.load`); its model is also the reference.
        seed: of sampling and of the order of prompts.
    """

    def __init__(self, config: DictConfig, seed: int) -> None:
        torch.manual_seed(seed)
        self.config, self.avatar = config, avatar_config(config)
        model = config.actor_rollout_ref.model.path
        self._tokenizer, self.train, self.held_out = load_data(
            model, config.run.train_files, config.run.val_files, self.avatar.media
        )
        thinker = load_thinker(Path(model), "float32", "cpu")
        self.policy = ToyPolicy(thinker, self._tokenizer.eos_token_id)
        frozen = copy.deepcopy(thinker).requires_grad_(False)
        self._frozen = ToyPolicy(frozen, self._tokenizer.eos_token_id)
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.Generator().manual_seed(seed)
        self._composer = RewardComposer(self.avatar.reward)
        self._numbers = {row["prompt_id"]: number for number, row in enumerate(self.train.rows)}
        self._max_tokens = int(config.data.max_response_length)
        self.actor = config.actor_rollout_ref.actor
        optim = self.actor.optim
        self.parameters = [parameter for parameter in thinker.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self.parameters, lr=optim.lr, betas=tuple(optim.betas), weight_decay=optim.weight_decay
        )
        self._schedule = get_constant_schedule_with_warmup(self._optimizer, optim.lr_warmup_steps)

    def batches(self) -> Iterator[list[int]]:
        """Row numbers of each step: all rows in random order, then again; the last part of an epoch is left out."""
        size, count = int(self.config.data.train_batch_size), len(self.train.rows)
        if 0 < (limit := int(self.config.data.train_max_samples)) < count:
            count = limit
        while True:
            order = torch.randperm(count, generator=self._order)
            yield from (part.tolist() for part in order[: count // size * size].reshape(-1, size))

    def visits(self, numbers: Sequence[int], step: int, hints: Any, scores: Any) -> list[Visit]:
        """The step's prompts, and who gets a hint."""
        found = []
        for place, number in enumerate(numbers):
            row = self.train.rows[number]
            prompt_id = row["prompt_id"]
            trigger = hints.trigger(prompt_id, step, scores.mean(prompt_id)) if row["extra_info"]["hint"] else None
            found.append(Visit(f"step{step}visit{place}", number, prompt_id, bool(trigger)))
        return found

    @torch.no_grad()
    def generate(self, visits: Sequence[Visit], num: int, step: int) -> list[list[Entry]]:
        """A group of ``num`` completions for each visit, as the entries that the buffer would get."""
        keys = [(visit.number, visit.hinted) for visit in visits]
        index = torch.arange(len(visits)).repeat_interleave(num)
        prompts = [self.train.prompt(key) for key in keys]
        completions = self.policy.sample(self.policy.read(prompts), index, self._max_tokens, self._generator)
        rows = [self.train.rows[visit.number] for visit in visits for _ in range(num)]
        scored = self._score(rows, completions)
        rewards = torch.tensor([breakdown.total for breakdown in scored])
        labels = [visit.label for visit in visits for _ in range(num)]
        advantages = row_advantages(rewards, labels, None).tolist()
        trained = [(number, hinted and self.avatar.hint.mode == "keep") for number, hinted in keys]
        reference = self.reference([trained[i] for i in index.tolist()], completions)
        entries = [
            self._entry(visits[i], completions[row], reference[row], scored[row], advantages[row], step)
            for row, i in enumerate(index.tolist())
        ]
        return [entries[start : start + num] for start in range(0, len(entries), num)]

    def _entry(
        self,
        visit: Visit,
        completion: Completion,
        reference: torch.Tensor,
        scored: RewardBreakdown,
        advantage: float,
        step: int,
    ) -> Entry:
        columns = {
            "prompt_id": visit.prompt_id,
            "group": visit.label,
            "hint_used": visit.hinted,
            "reward_extra_info": {name: part.value for name, part in scored.parts.items() if part.present},
            "max_global_steps": step - 1,
            "messages": json.dumps(self.train.messages((visit.number, visit.hinted))),
            "media": [],
            "replay_row": "{}",
        }
        length = len(completion.token_ids)
        return make_entry(
            columns,
            completion.token_ids,
            completion.log_probs,
            reference[:length].tolist(),
            scored.total,
            advantage,
        )

    def _score(self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]) -> list[RewardBreakdown]:
        return self._composer.score_many(
            [self._sample(row, completion.token_ids) for row, completion in zip(rows, completions, strict=True)]
        )

    def _sample(self, row: dict[str, Any], token_ids: list[int]) -> Sample:
        """What the agent loop shows to the rewards of stage 1."""
        info, ended = row["extra_info"], token_ids[-1] == self._tokenizer.eos_token_id
        return Sample(
            completion=self._tokenizer.decode(token_ids[:-1] if ended else token_ids, skip_special_tokens=False),
            ground_truth=row["reward_model"]["ground_truth"],
            problem_type=info["problem_type"],
            prompt_id=row["prompt_id"],
            question=info["question"],
            options=tuple(info["options"] or ()),
            audio_cues=info["audio_cues"] or "",
            num_tokens=len(token_ids),
            truncated=not ended,
        )

    @torch.no_grad()
    def reference(self, keys: Sequence[Key], completions: Sequence[Any]) -> torch.Tensor:
        """Log-probs [B, T] of the frozen cold start; completions have ``token_ids``."""
        prefix, index = _read(self._frozen, self.train, keys)
        return self._frozen.log_probs(prefix, index, _padded([list(row.token_ids) for row in completions]).long())

    @torch.no_grad()
    def batch(self, rows: list[Entry], labels: Any, replayed: Sequence[bool]) -> Batch:
        """Rows as they are trained on. Only a stripped hint makes the prompt another than the one that generated.

        Of a replayed row the log-probs at generation are those of the hinted prompt: that was the behaviour policy.
        """
        strip = self.avatar.hint.mode == "strip"
        keys = [(self._numbers[row.prompt_id], row.hint_used and not strip) for row in rows]
        tokens = _padded([row.token_ids.tolist() for row in rows]).long()
        old = _padded([row.behaviour_log_probs.tolist() for row in rows])
        reference = _padded([row.ref_log_probs.tolist() for row in rows if row.ref_log_probs is not None])
        for place in [i for i, row in enumerate(rows) if strip and row.hint_used and not replayed[i]]:
            prefix, index = _read(self.policy, self.train, [keys[place]])
            old[place] = self.policy.log_probs(prefix, index, tokens[place : place + 1])[0]
        lengths = torch.tensor([len(row.token_ids) for row in rows])
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        return Batch(rows, keys, labels, old, reference, mask, tokens)

    def advantages(self, batch: Batch, context: ReplayContext) -> torch.Tensor:
        """By the configured estimator, [B, T]."""
        rewards = torch.zeros(batch.old.shape)
        rewards[range(len(batch.rows)), batch.mask.sum(1) - 1] = torch.tensor([row.reward for row in batch.rows])
        token = CONTEXT.set(context)
        try:
            advantages, _ = get_adv_estimator_fn(self.config.algorithm.adv_estimator)(
                token_level_rewards=rewards,
                response_mask=batch.mask.float(),
                index=batch.labels,
                config=self.config.algorithm,
            )
        finally:
            CONTEXT.reset(token)
        return advantages

    def update(self, batch: Batch, advantages: torch.Tensor) -> dict[str, float]:
        """verl's ``update_actor``: mini-batches in order, epoch after epoch.

        Returns:
            ``updates``, the number of optimiser steps, and means over them: ``kl``, ``clipped`` (share of
            tokens without a gradient), ``grad_norm``.
        """
        rollout, actor = self.avatar.replay, self.actor
        fresh = int(self.config.data.train_batch_size) * rollout.on_policy_batches
        # With replayed rows a prompt has more of them, and the number of mini-batches stays.
        per_prompt = rollout.on_policy_batches + (rollout.off_policy_batches if len(batch.rows) > fresh else 0)
        size, seen = int(actor.ppo_mini_batch_size) * per_prompt, []
        order = torch.arange(len(batch.rows))
        shuffle = torch.Generator().manual_seed(int(actor.data_loader_seed))
        for _ in range(int(actor.ppo_epochs)):
            if actor.shuffle:
                order = torch.randperm(len(batch.rows), generator=shuffle)
            for rows in order.split(size):
                loss, found = self.loss(batch, rows, advantages)
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.actor.optim.clip_grad)
                self._optimizer.step()
                seen.append({**found, "grad_norm": float(norm)})
        self._schedule.step()
        return {"updates": len(seen)} | {name: statistics.mean(found[name] for found in seen) for name in seen[0]}

    def loss(self, batch: Batch, rows: torch.Tensor, advantages: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """verl's ``ppo_loss`` of some rows: its clipped policy loss and its KL term, averaged over their tokens."""
        width = int(batch.mask[rows].sum(1).max())
        prefix, index = _read(self.policy, self.train, [batch.keys[i] for i in rows.tolist()])
        log_probs = self.policy.log_probs(prefix, index, batch.tokens[rows, :width])
        mask, config = batch.mask[rows, :width], self.actor.copy()
        with open_dict(config):
            config.global_batch_info = {"dp_size": 1, "batch_num_tokens": int(mask.sum())}
        loss, found = get_policy_loss_fn(config.policy_loss.loss_mode)(
            old_log_prob=batch.old[rows, :width],
            log_prob=log_probs,
            advantages=advantages[rows, :width],
            response_mask=mask,
            loss_agg_mode=config.loss_agg_mode,
            config=config,
        )
        kl = kl_penalty(log_probs, batch.reference[rows, :width], config.kl_loss_type)
        kl_loss = agg_loss(kl, mask, config.loss_agg_mode, **config.global_batch_info)
        if config.use_kl_loss:
            loss = loss + config.kl_loss_coef * kl_loss
        return loss, {"kl": float(kl_loss.detach()), "clipped": found["actor/pg_clipfrac"]}

    @torch.no_grad()
    def log_probs(self, batch: Batch, rows: torch.Tensor) -> torch.Tensor:
        """Log-probs [rows, T] under the present policy."""
        prefix, index = _read(self.policy, self.train, [batch.keys[i] for i in rows.tolist()])
        return self.policy.log_probs(prefix, index, batch.tokens[rows])

    @torch.no_grad()
    def accuracy(self, samples: int) -> float:
        """Held-out accuracy of sampled completions, ``samples`` for each prompt."""
        data, found = self.held_out, []
        # Prompts of one length together, so that little is padded.
        numbers = sorted(range(len(data.rows)), key=lambda i: len(data.prompt((i, False)).input_ids))
        for start in range(0, len(numbers), READ_AT_ONCE):
            part = numbers[start : start + READ_AT_ONCE]
            prefix = self.policy.read([data.prompt((i, False)) for i in part])
            index = torch.arange(len(part)).repeat_interleave(samples)
            completions = self.policy.sample(prefix, index, self._max_tokens, self._generator)
            scored = self._score([data.rows[part[i]] for i in index.tolist()], completions)
            found += [breakdown.parts["accuracy"].value for breakdown in scored]
        return statistics.mean(found)


def _read(policy: ToyPolicy, data: Data, keys: Sequence[Key]) -> tuple[Prefix, torch.Tensor]:
    """Each prompt read once, and which of them each row has."""
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return policy.read([data.prompt(key) for key in places]), torch.tensor([places[key] for key in keys])


def _padded(rows: Sequence[Sequence[float]]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(list(row)) for row in rows], batch_first=True)
