"""Experience replay around verl's step: what to draw, how a drawn completion becomes a row again, what to keep.

The trainer calls, in this order: :meth:`ReplayCycle.draw` (which entries join this step), ``rebuild`` of the agent loop
workers (features are made there, never here), :meth:`context` for the advantage estimator, and :meth:`harvest` with
the fresh rows after the update. All randomness and all state live here and are saved with each checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avatar_verl.adapter.estimator import ReplayContext
from avatar_verl.config import AvatarConfig
from avatar_verl.maths.tiers import Thresholds, assign_tier
from avatar_verl.replay import store
from avatar_verl.replay.buffer import StratifiedReplay
from avatar_verl.replay.entry import Entry, MediaRef
from avatar_verl.replay.hints import HintPolicy
from avatar_verl.replay.vcrs import ReferenceScores
from avatar_verl.types import Tier

#: The released code's offset of the buffer's seed from the run's.
SEED_OFFSET = 17
#: Completions whose mean reward is "recent" for ``vcrs.prior``: so few that it follows the policy.
RECENT = 256


class ReplayCycle:
    """Buffer, reference scores and hints of one run.

    Args:
        config: the run's ``avatar`` node.
        seed: of the buffer's random generator and the hint lottery.
    """

    def __init__(self, config: AvatarConfig, seed: int) -> None:
        self.config = config
        self.buffer = StratifiedReplay(config.replay, np.random.default_rng(seed + SEED_OFFSET))
        self.scores = ReferenceScores(config.vcrs.window)
        self.hints = HintPolicy(config.hint, seed)
        self._drawn: tuple[Entry, ...] = ()
        self._metrics: dict[str, float] = {}

    @property
    def on(self) -> bool:
        """Whether replay takes part at all."""
        return self.config.replay.off_policy_batches > 0

    @property
    def ready(self) -> bool:
        """Whether this step may replay."""
        return self.on and len(self.buffer) >= max(1, self.config.replay.min_size)

    def draw(
        self, step: int, num_prompts: int, visits: Sequence[tuple[str, str, Sequence[float]]] = ()
    ) -> list[tuple[Entry, str]]:
        """Choose what this step replays.

        Args:
            step: trainer step, from 1.
            num_prompts: prompts of the batch.
            visits: (group label, prompt id, fresh rewards) of each prompt; only scope ``prompt`` looks at them.

        Returns:
            Entries with the group label each one joins; an own label for scope ``any``.
        """
        share = self.config.replay.off_policy_batches
        self._metrics = {"avatar/replay/active": 0.0}
        if not self.ready:
            self._drawn = ()
            return []
        chosen: list[tuple[Entry, str]] = []
        if self.config.replay.scope == "any":
            drawn = self.buffer.sample(share * num_prompts, step)
            chosen = [(entry, f"replay{step}x{i}") for i, entry in enumerate(drawn.entries)]
            for tier, quota in drawn.quotas.items():
                self._metrics[f"avatar/replay/quota/{tier}"] = float(quota)
                self._metrics[f"avatar/replay/drawn/{tier}"] = float(drawn.drawn[tier])
            self._metrics["avatar/replay/filled"] = float(drawn.num_filled)
        else:
            for label, prompt_id, rewards in visits:
                entries = self.buffer.sample_for_prompt(prompt_id, share, step, rewards)
                chosen.extend((entry, label) for entry in entries)
        self._drawn = tuple(entry for entry, _ in chosen)
        ages = [step - entry.policy_version for entry in self._drawn]
        self._metrics.update(
            {
                "avatar/replay/active": float(bool(chosen)),
                "avatar/replay/shortfall": float(share * num_prompts - len(chosen)),
                "avatar/replay/age/mean": float(np.mean(ages)) if ages else 0.0,
                "avatar/replay/age/max": float(max(ages, default=0)),
                "avatar/replay/reuse/mean": float(np.mean([e.reuse_count for e in self._drawn])) if chosen else 0.0,
            }
        )
        return chosen

    def dropped(self, failures: Sequence[tuple[int, str]]) -> None:
        """Remove entries whose media changed, vanished or broke since, and count why."""
        for entry_id, reason in failures:
            if entry_id in self.buffer:
                self.buffer.drop(entry_id, reason)

    def context(self, replayed: Sequence[bool], prompt_ids: Sequence[str]) -> ReplayContext:
        """What the advantage estimator must know of a batch, in its order."""
        recent = self.buffer.recent_reward(RECENT)
        reference = self.scores.shrunk(prompt_ids, recent, self.config.vcrs.prior)
        flags = torch.tensor(list(replayed), dtype=torch.bool)
        return ReplayContext(self.config, flags, torch.from_numpy(reference).float() * flags)

    def harvest(self, entries: Sequence[Entry], hinted: dict[str, bool], accuracy: dict[str, list[float]]) -> None:
        """Learn from the fresh completions of a step.

        Args:
            entries: all of them, grouped by ``group``.
            hinted: group -> the visit had its hint.
            accuracy: group -> what counts as success for hints, one value per completion.
        """
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.group, []).append(entry)
        for group, members in groups.items():
            prompt_id = members[0].prompt_id
            self.scores.update(prompt_id, [member.reward for member in members])
            kl = float(np.mean([member.kl for member in members]))
            self.hints.observe(prompt_id, accuracy[group], hinted[group], kl)
        if self.on:
            self.buffer.add(entries, self.scores)

    def _thresholds(self) -> Thresholds:
        return self.scores.thresholds(self.config.replay.hard_quantile, self.config.replay.medium_quantile)

    def standings(self, prompt_ids: Iterable[str]) -> dict[str, tuple[Tier, float]]:
        """Tier of each prompt among all prompts, and the reference score that puts it there, as of now."""
        thresholds, scores = self._thresholds(), {name: self.scores.mean(name) for name in prompt_ids}
        return {name: (assign_tier(score, thresholds), score) for name, score in scores.items()}

    def metrics(self) -> dict[str, float]:
        """``avatar/replay``, ``avatar/vcrs`` and ``avatar/hint`` of the last step."""
        lift = self.hints.lift()
        found = dict(self._metrics)
        found["avatar/replay/size"] = float(len(self.buffer))
        found.update({f"avatar/replay/tier/{tier}": float(n) for tier, n in self.buffer.tier_sizes().items()})
        found.update({f"avatar/replay/left/{reason}": float(n) for reason, n in self.buffer.departures.items()})
        found["avatar/vcrs/prompts"] = float(len(self.scores))
        if len(self.scores):
            thresholds = self._thresholds()
            found["avatar/vcrs/threshold/hard"] = thresholds.hard
            found["avatar/vcrs/threshold/medium"] = thresholds.medium
        if lift.num_prompts:
            found["avatar/hint/lift"] = lift.lift
            found["avatar/hint/lift_prompts"] = float(lift.num_prompts)
        return found

    def log_line(self) -> str:
        """The line that the AVATAR README promises its users."""
        replay = self.config.replay
        return (
            f"[AVATAR] replay={int(self._metrics.get('avatar/replay/active', 0))} on={replay.on_policy_batches} "
            f"off={replay.off_policy_batches} buffer={len(self.buffer)} vcrs_prompts={len(self.scores)}"
        )

    def save(self, folder: Path, step: int, **more: Any) -> None:
        """Write all state into ``folder``, whole or not at all; ``more`` is what :meth:`load` is to return."""
        store.save(folder, self.buffer, self.scores, self.hints, {"global_step": step, **more})

    def inherit(self, folder: Path) -> None:
        """Begin with what another run saved: entries, reference scores and hint records, the random state aside.

        Steps are counted from 1 again, so the entries' policy versions are moved back: ages stay right. Rewards and
        scores stay those of the earlier run's rewards; both leave with its entries and as prompts are visited again.

        Raises:
            StoreError: see :func:`avatar_verl.replay.store.read`.
        """
        saved = store.read(folder)
        self.buffer.set_state({**saved.buffer, "rng": self.buffer.get_state()["rng"], "departures": {}})
        self.buffer.shift_policy_versions(-int(saved.info["global_step"]))
        self.scores.set_state(saved.scores)
        self.hints.set_state(saved.hints)

    def load(self, folder: Path) -> dict[str, Any]:
        """Restore what :meth:`save` wrote; see :func:`avatar_verl.replay.store.load` for what it raises."""
        return store.load(folder, self.buffer, self.scores, self.hints)


def make_entry(
    columns: dict[str, Any],
    response_ids: Sequence[int],
    behaviour_log_probs: Sequence[float],
    ref_log_probs: Sequence[float] | None,
    reward: float,
    advantage: float,
) -> Entry:
    """An entry of one fresh row of the batch.

    Args:
        columns: the row's ``extra_fields``, as the agent loop wrote them: ``replay_row`` (JSON), ``messages`` (JSON),
            ``media``, ``prompt_id``, ``group``, ``hint_used``, ``reward_extra_info``, ``max_global_steps``.
        response_ids: R token ids.
        behaviour_log_probs: R log-probs at generation, nats.
        ref_log_probs: R log-probs of the reference model, or None without one.
        reward: total.
        advantage: before shaping.
    """
    behaviour = np.asarray(behaviour_log_probs, np.float32)
    reference = None if ref_log_probs is None else np.asarray(ref_log_probs, np.float32)
    return Entry(
        prompt_id=columns["prompt_id"],
        group=columns["group"],
        policy_version=int(columns["max_global_steps"]) + 1,  # weights of step s generate for step s + 1
        token_ids=np.asarray(response_ids, np.int32),
        behaviour_log_probs=behaviour,
        ref_log_probs=reference,
        reward=reward,
        reward_parts={k: float(v) for k, v in columns["reward_extra_info"].items() if k not in ("score", "acc")},
        advantage=advantage,
        kl=0.0 if reference is None else float((behaviour - reference).mean()),
        hint_used=bool(columns["hint_used"]),
        messages=columns["messages"],
        media=tuple(MediaRef(*media) for media in columns["media"]),
        row=columns["replay_row"],
    )


def replay_row(row: dict[str, Any]) -> str:
    """The columns of a data set row that a replayed trajectory needs again, as JSON."""
    names = ("data_source", "ability", "reward_model", "extra_info", "prompt_id", "use_audio_in_video", "media_root")
    return json.dumps({name: row[name] for name in names}, default=_plain)


def _plain(value: Any) -> Any:
    """numpy scalars and arrays of a row as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value)} in a data set row")
