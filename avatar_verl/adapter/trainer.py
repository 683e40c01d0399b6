"""verl's synchronous PPO trainer, with the narrowest overrides that replay, hints and rewards need.

A step, with what is ours in capitals: prompts are fetched (HINTS decided) and generated -> GROUP REWARDS -> REPLAYED
rows join the batch -> old log-probs (replayed rows keep their BEHAVIOUR log-probs) -> reference log-probs -> advantages
by the estimator ``avatar`` -> update -> fresh rows are HARVESTED into the buffer, replayed ones leave TransferQueue.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import open_dict
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1 import register_trainer
from verl.workers.utils.padding import response_to_nested

from avatar_verl.adapter.agent_loop import REPLAY_SESSION
from avatar_verl.adapter.agent_loop_manager import OmniAgentLoopManager
from avatar_verl.adapter.durable import DurableTrainer
from avatar_verl.adapter.estimator import CONTEXT, row_advantages
from avatar_verl.adapter.media_samples import log_media
from avatar_verl.adapter.node import avatar_config
from avatar_verl.adapter.parity import parity_metrics
from avatar_verl.adapter.queued import mute_replayed, put_rewards
from avatar_verl.adapter.replay_cycle import ReplayCycle, make_entry
from avatar_verl.adapter.replay_metrics import off_policy_metrics, signal_metrics
from avatar_verl.adapter.run_log import RunLog
from avatar_verl.adapter.trackers import LogTee
from avatar_verl.adapter.trained_log import TrainedRows
from avatar_verl.adapter.worker import OmniActorRolloutRefWorker
from avatar_verl.rewards import RewardComposer

logger = logging.getLogger(__name__)


@register_trainer("avatar")
class AvatarTrainer(DurableTrainer):
    """The trainer named by ``trainer.v1.trainer_mode=avatar``."""

    agent_loop_manager: OmniAgentLoopManager

    #: Seconds between two looks at the rollouts; verl's default of 2 s is most of a small step.
    POLL_INTERVAL_S = 0.05

    def __init__(self, config: Any) -> None:
        self.avatar = avatar_config(config)
        folder = Path(config.trainer.default_local_dir).parent
        self.run_log = RunLog(folder, self.avatar.media.max_bad_share, self.avatar.reward)
        seed = int(config.data.seed or 0) if self.avatar.seed is None else self.avatar.seed
        self.replay = ReplayCycle(self.avatar, seed)
        self.composer = RewardComposer(self.avatar.reward)
        self.trained = TrainedRows(self.avatar, shaped=config.algorithm.adv_estimator == "avatar")
        self._report_metrics: dict[str, float] = {}
        self._samples: dict[str, dict[str, Any]] = {}  # fresh completions of this step, by key
        self._rebuilding: list[tuple[Any, Any]] = []  # replayed completions that workers are making rows of
        self._seconds: dict[str, float] = {}  # what AVATAR's own parts of this step took
        self._visits: dict[str, str] = {}  # group label -> prompt id, in the order of the batch
        super().__init__(config)

    # verl compares the mode's name with "sync" in seven places, so a trainer under a name of its own would be
    # treated as an asynchronous one.
    @property
    def trainer_mode(self) -> str:
        return "sync"

    @trainer_mode.setter
    def trainer_mode(self, _: str) -> None: ...

    # verl builds its tracking inside fit(); this is the one place that sees every metric it logs.
    @property
    def logger(self) -> Any:
        return self._logger

    @logger.setter
    def logger(self, tracking: Any) -> None:
        self._logger = LogTee(tracking, self.run_log, self.first_logged)
        if self.owes_metrics:
            self._logger.log({}, self.global_steps)

    def _build_replay_buffer(self) -> Any:
        """verl's name for the poller of fresh groups; experience replay is ``self.replay``."""
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = self.POLL_INTERVAL_S
        return buffer

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        for role in self.role_worker_mapping:
            self.role_worker_mapping[role] = ray.remote(OmniActorRolloutRefWorker)

    # ---- fresh prompts

    def _next_train_batch(self, num_prompts: int | None = None) -> TensorDict:
        """Label visits by step and place, so that runs repeat, and decide who gets a hint."""
        batch = super()._next_train_batch(num_prompts)
        prompt_ids = list(batch["prompt_id"])
        self.run_log.drawn(prompt_ids)
        labels = [f"step{self.global_steps}visit{len(self._visits) + i}" for i in range(len(prompt_ids))]
        self._visits.update(zip(labels, prompt_ids, strict=True))
        infos = list(batch["extra_info"])
        triggers = [self._hint_trigger(p, info) for p, info in zip(prompt_ids, infos, strict=True)]
        batch["uid"] = NonTensorStack(*labels)
        batch["hint_trigger"] = NonTensorStack(*triggers)
        return batch

    def _hint_trigger(self, prompt_id: str, info: dict[str, Any]) -> str:
        if not info["hint"]:
            return ""
        return self.replay.hints.trigger(prompt_id, self.global_steps, self.replay.scores.mean(prompt_id)) or ""

    def _add_prompts_to_generate(self, num_prompts: int) -> int:
        """Called to replace bad rows: the limit on their share is checked before more are drawn."""
        self._take_reports()
        return super()._add_prompts_to_generate(num_prompts)

    # ---- one step

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> KVBatchMeta:
        self._visits, self._samples, self._report_metrics = {}, {}, {}
        self.trained.start(self.global_steps)
        self._seconds = dict.fromkeys(("draw", "join", "harvest"), 0.0)
        if self.avatar.replay.scope == "any":  # needs nothing of the fresh completions: rebuilt while those are made
            with self._timed("draw"):
                drawn = self.replay.draw(self.global_steps, self.config.data.train_batch_size)
            self._begin_replay(drawn)
        batch = super().step(metrics, timing_raw)
        with self._timed("harvest"):
            fresh = self._harvest(batch)
        timing_raw.update({f"avatar_{name}": seconds for name, seconds in self._seconds.items()})
        self.run_log.trained(self.trained.records(self.replay.standings(self._visits.values())))
        if self.avatar.log.media_every and self.global_steps % self.avatar.log.media_every == 0:
            log_media(self.logger, self.global_steps, list(self._samples.values()))
        metrics.update(self._report_metrics)
        metrics.update(self.replay.metrics())
        self._step_metrics, self._step_batch = metrics, fresh
        print(self.replay.log_line(), flush=True)
        return fresh

    def _balance_batch(  # type: ignore[override]  # the rest is passed on
        self, batch: KVBatchMeta, metrics: dict[str, Any], **kwargs: Any
    ) -> KVBatchMeta:
        """The first thing verl does with a batch of fresh rows: here they are put in order and replayed ones join."""
        order = {label: place for place, label in enumerate(self._visits)}
        batch.reorder(sorted(range(len(batch)), key=lambda i: _order_key(batch.keys[i], order)))
        self._take_reports()
        self._score_groups(batch)
        self._report_metrics = self.run_log.samples(
            self.global_steps, [self._samples[key] for key in batch.keys], "train"
        )
        batch = self._join_replayed(batch)
        with self._completions_per_prompt(batch):
            return super()._balance_batch(batch, metrics, **kwargs)

    def _score_groups(self, batch: KVBatchMeta) -> None:
        """Rewards that look at a whole group replace the totals that the agent loops gave."""
        if not self.composer.needs_group:
            return
        groups: dict[str, list[str]] = {}
        for key in batch.keys:
            groups.setdefault(key.split("_")[0], []).append(key)
        for keys in groups.values():
            reports = [self._samples[key] for key in keys]
            scored = self.composer.score_group([r["sample"] for r in reports], [r["breakdown"] for r in reports])
            for report, breakdown in zip(reports, scored, strict=True):
                report["breakdown"] = breakdown
        put_rewards(batch, [self._samples[key]["breakdown"].total for key in batch.keys])

    def _begin_replay(self, drawn: list[tuple[Any, str]]) -> None:
        self._rebuilding = self.agent_loop_manager.rebuild(drawn, self.global_steps)
        places = enumerate(drawn, start=REPLAY_SESSION)
        self.trained.drawn({f"{label}_{session}_0": entry for session, (entry, label) in places})

    def _join_replayed(self, batch: KVBatchMeta) -> KVBatchMeta:
        if self.avatar.replay.scope == "prompt":
            with self._timed("draw"):
                visits = self._fresh_rewards(batch)
                drawn = self.replay.draw(self.global_steps, len(visits), visits)
            self._begin_replay(drawn)
        if not self._rebuilding:
            return batch
        with self._timed("join"):
            rows, failures = self.agent_loop_manager.replay(self._rebuilding)
        self.replay.dropped(failures)
        rows.sort(key=lambda row: int(row[0].split("_")[1]))
        joined = KVBatchMeta(
            partition_id=batch.partition_id,
            keys=[*batch.keys, *(key for key, _ in rows)],
            tags=[*batch.tags, *(tag for _, tag in rows)],
        )
        joined.extra_info.update(batch.extra_info)
        return joined

    def _fresh_rewards(self, batch: KVBatchMeta) -> list[tuple[str, str, list[float]]]:
        """(group label, prompt id, rewards) of each prompt of the batch."""
        rewards: dict[str, list[float]] = {}
        for key in batch.keys:
            rewards.setdefault(key.split("_")[0], []).append(self._samples[key]["breakdown"].total)
        return [(label, self._visits[label], rewards[label]) for label in self._visits if label in rewards]

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to ``timing_s/avatar_<name>``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    @contextmanager
    def _completions_per_prompt(self, batch: KVBatchMeta) -> Iterator[None]:
        """verl counts rows per prompt by ``rollout.n``; with replayed rows a prompt has more of them."""
        rollout = self.config.actor_rollout_ref.rollout
        generated = rollout.n
        replayed = any(tag.get("replayed") for tag in batch.tags)
        with open_dict(self.config):
            rollout.n = generated + (self.avatar.replay.off_policy_batches if replayed else 0)
        try:
            yield
        finally:
            with open_dict(self.config):
                rollout.n = generated

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Replayed rows are compared with the policy that generated them: their PPO ratio is theta to behaviour."""
        tags = batch.tags
        batch = super()._compute_old_log_prob(batch, metrics)
        self._watch_entropy(metrics)
        fields = ["rollout_log_probs", "old_log_probs", "response_mask"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        behaviour, current, mask = (data[name].to_padded_tensor(0) for name in fields)
        replayed = _flags(tags, "replayed")
        fresh = ~replayed & ~_flags(tags, "is_padding")
        metrics.update(parity_metrics(behaviour[fresh], current[fresh], mask[fresh]))
        self.trained.log_probs(batch.keys, replayed.tolist(), behaviour, current, mask)
        if not replayed.any():
            return batch
        actor = self.config.actor_rollout_ref.actor
        metrics.update(off_policy_metrics(current, behaviour, mask, replayed, fresh, float(actor.clip_ratio)))
        if metrics["avatar/replay/effective_sample_size"] < self.avatar.guard.min_effective_sample_size:
            self._trip("effective sample size of replayed rows", metrics)
        denominator = behaviour
        if self.avatar.replay.ratio_cap:
            denominator = torch.maximum(behaviour, current - math.log(self.avatar.replay.ratio_cap))
        mixed = torch.where(replayed[:, None], denominator, current)
        nested = TensorDict({"old_log_probs": response_to_nested(mixed, data["response_mask"])}, len(batch))
        tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=nested)
        batch.fields = None
        return batch

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        tags = batch.tags
        context = self.replay.context(_flags(tags, "replayed").tolist(), [tag.get("prompt_id", "") for tag in tags])
        if self.avatar.guard.on_trip == "skip_replay" and metrics.get("avatar/guard/trips"):
            batch = mute_replayed(batch)
        token = CONTEXT.set(context)
        try:
            batch = super()._compute_advantage(batch, metrics)
        finally:
            CONTEXT.reset(token)
        metrics.update(self._signal(batch, tags, context.reference))
        return batch

    def _signal(self, batch: KVBatchMeta, tags: list[dict[str, Any]], reference: torch.Tensor) -> dict[str, float]:
        fields = ["responses", "advantages", "rm_scores"]
        data = tq.kv_batch_get(batch.keys, partition_id=batch.partition_id, select_fields=fields)
        batch.fields = None
        responses, advantages, scores = (data[name].unbind() for name in fields)
        # The first token's advantage tells sign and size of the row's; shaping only scales it.
        rows = torch.stack([row[0] for row in advantages])
        rewards = torch.stack([row.sum() for row in scores])
        self.trained.collect(batch.keys, tags, responses, advantages, rewards, reference, self.tokenizer)
        real = ~_flags(tags, "is_padding")
        prompts = np.array([tag.get("prompt_id", "") for tag in tags], dtype=object)
        replayed = _flags(tags, "replayed")
        return signal_metrics(rows[real], rewards[real], replayed[real], prompts[real.numpy()])

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        with self._completions_per_prompt(batch):
            batch = super()._update_actor(batch, metrics)
        if not all(math.isfinite(metrics.get(name, 0.0)) for name in ("actor/loss", "actor/grad_norm")):
            self._trip("loss or gradient is not finite", metrics, halt=self.avatar.guard.on_nonfinite == "halt")
        return batch

    # ---- guards

    def _watch_entropy(self, metrics: dict[str, Any]) -> None:
        """Stripped hints are known to blow entropy up; the running mean over ten steps or so is the yardstick."""
        entropy, factor = metrics["actor/entropy"], self.avatar.guard.max_entropy_rise
        usual = self._usual_entropy
        if factor and usual is not None and entropy > factor * usual:
            self._trip(f"entropy {entropy:.3f} is more than {factor} times the usual {usual:.3f}", metrics)
        else:
            self._usual_entropy = entropy if usual is None else 0.9 * usual + 0.1 * entropy

    def _trip(self, what: str, metrics: dict[str, Any], halt: bool | None = None) -> None:
        """A guard fired: say so, count it, and stop if that is configured."""
        metrics["avatar/guard/trips"] = metrics.get("avatar/guard/trips", 0.0) + 1.0
        print(f"[AVATAR] guard: {what} at step {self.global_steps}", flush=True)
        if halt or (halt is None and self.avatar.guard.on_trip == "halt"):
            raise RuntimeError(f"guard: {what} at step {self.global_steps}; the last checkpoint is whole")

    # ---- what is kept of a step

    def _harvest(self, batch: KVBatchMeta) -> KVBatchMeta:
        """Put fresh completions into the buffer and take replayed rows out of TransferQueue."""
        replayed = _flags(batch.tags, "replayed")
        padding = _flags(batch.tags, "is_padding")
        old_keys = [key for key, old in zip(batch.keys, replayed.tolist(), strict=True) if old]
        fresh = [i for i in range(len(batch)) if not replayed[i] and not padding[i]]
        self._keep(batch, fresh)
        if old_keys:
            tq.kv_clear(keys=old_keys, partition_id=batch.partition_id)
        kept = [i for i in range(len(batch)) if not replayed[i]]
        return KVBatchMeta(
            partition_id=batch.partition_id, keys=[batch.keys[i] for i in kept], tags=[batch.tags[i] for i in kept]
        )

    def _keep(self, batch: KVBatchMeta, fresh: list[int]) -> None:
        fields = ["responses", "rollout_log_probs", "ref_log_prob", "rm_scores", "extra_fields"]
        keys = [batch.keys[i] for i in fresh]
        data = tq.kv_batch_get(
            keys=keys,
            partition_id=batch.partition_id,
            select_fields=fields if self.use_reference_policy else [f for f in fields if f != "ref_log_prob"],
        )
        rewards = torch.stack([row.sum() for row in data["rm_scores"].unbind()])
        labels = np.array([key.split("_")[0] for key in keys], dtype=object)
        advantages = row_advantages(rewards, labels, None)
        extras = [getattr(extra, "data", extra) for extra in data["extra_fields"]]
        references: Any = data["ref_log_prob"].unbind() if self.use_reference_policy else [None] * len(keys)
        entries = []
        hinted: dict[str, bool] = {}
        success: dict[str, list[float]] = {}
        for i, key in enumerate(keys):
            breakdown = self._samples[key]["breakdown"]
            extra = {**extras[i], "reward_extra_info": _parts(breakdown)}
            entries.append(
                make_entry(
                    extra,
                    data["responses"][i].tolist(),
                    data["rollout_log_probs"][i].tolist(),
                    None if references[i] is None else references[i].tolist(),
                    float(rewards[i]),
                    float(advantages[i]),
                )
            )
            hinted[labels[i]] = bool(extra["hint_used"])
            accuracy = breakdown.parts.get("accuracy")
            success.setdefault(labels[i], []).append(accuracy.value if accuracy else breakdown.total)
        self.replay.harvest(entries, hinted, success)

    def _take_reports(self) -> None:
        reports = self.agent_loop_manager.take_reports()
        self.run_log.judge_costs(report for report in reports if report["kind"] == "judge_cost")
        reports = [report for report in reports if report["kind"] != "judge_cost"]
        self._samples.update((report["key"], report) for report in reports if report["kind"] == "sample")
        self.run_log.bad_rows(self.global_steps, reports)

    def _validate(self) -> dict[str, float]:
        self._samples = {}
        metrics = super()._validate()
        self._take_reports()
        return {**metrics, **self.run_log.samples(self.global_steps, list(self._samples.values()), "val")}


def _flags(tags: list[dict[str, Any]], name: str) -> torch.Tensor:
    return torch.tensor([bool(tag.get(name)) for tag in tags], dtype=torch.bool)


def _order_key(key: str, order: dict[str, int]) -> tuple[int, int]:
    label, session, _ = key.split("_")
    return order[label], int(session)


def _parts(breakdown: Any) -> dict[str, float]:
    return {name: part.value for name, part in breakdown.parts.items() if part.present}
