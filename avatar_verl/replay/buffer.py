"""Stratified experience replay: entries in three tiers of fixed capacity, by the difficulty of their prompt.

Paper section "Stratified replay". What the paper leaves open follows the released code unless a docstring says so.

Life of an entry:

| event | what happens |
|---|---|
| ``add`` | refused and counted when empty or not finite; else tier from Rbar and its quantiles, at this moment |
| tier full | the oldest entry of that tier leaves, counted as ``evicted`` |
| ``sample`` | drawn copies come back, ``reuse_count`` rises; the entry stays |
| older than ``max_age`` steps | never drawn again; stays until it is evicted |
| ``drop`` | leaves at once, counted under the caller's reason (its clip changed or vanished) |

A tier is frozen at insertion: when a prompt gets easier its new completions enter an easier tier, and the old failures
stay with the hard ones. Entries are immutable; ids rise and are never reused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np

from avatar_verl.config import ReplayConfig
from avatar_verl.maths.tiers import assign_tier, quotas, replay_scores
from avatar_verl.replay.entry import Entry
from avatar_verl.replay.sampling import draw_by_softmax, draw_uniformly
from avatar_verl.replay.tier_queue import Ids, TierQueue
from avatar_verl.replay.vcrs import ReferenceScores
from avatar_verl.types import TIERS, Tier

Prefer = Literal["priority", "newest", "uniform"]

#: Rewards this close are the same reward: one may have passed through float32.
SAME_REWARD = 1e-6


@dataclass(frozen=True, slots=True)
class Draw:
    """What a call of ``sample`` brought."""

    entries: tuple[Entry, ...]  # easy first, then medium, hard and the filled-up ones
    quotas: dict[Tier, int]  # seats asked from each tier; they sum to the number asked for
    drawn: dict[Tier, int]  # entries that came from each tier
    num_filled: int  # seats that a tier could not take and others filled
    shortfall: int  # seats that stayed empty because too few entries are young enough


class StratifiedReplay:
    """The buffer.

    Args:
        config: capacity, shares, quantiles, priority weights, ``max_age``. A tier's capacity is its share of the whole
            by largest remainder, so all together are exactly ``capacity``.
        rng: source of all randomness; its state is part of the buffer's state.
    """

    def __init__(self, config: ReplayConfig, rng: np.random.Generator) -> None:
        self.config = config
        self.capacities = quotas(config.capacity, config.shares)
        self.departures: Counter[str] = Counter()  # reason -> entries refused, evicted or dropped, since the start
        self._rng = rng
        self._entries: dict[int, Entry] = {}  # by rising id
        self._queues: dict[Tier, TierQueue] = {tier: TierQueue() for tier in TIERS}
        self._ids_by_prompt: dict[str, dict[int, None]] = {}  # dicts, to keep the order of insertion
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, entry_id: int) -> bool:
        return entry_id in self._entries

    def __iter__(self) -> Iterator[Entry]:
        """All entries, oldest first."""
        return iter(self._entries.values())

    def tier_sizes(self) -> dict[Tier, int]:
        """Entries in each tier."""
        return {tier: len(queue) for tier, queue in self._queues.items()}

    def ids_of(self, prompt_id: str) -> list[int]:
        """Ids of a prompt's entries, oldest first."""
        return list(self._ids_by_prompt.get(prompt_id, ()))

    def recent_reward(self, num: int) -> float:
        """Mean reward of the newest ``num`` entries; 0 for an empty buffer."""
        rewards = [entry.reward for entry in islice(reversed(self._entries.values()), num)]
        return sum(rewards) / len(rewards) if rewards else 0.0

    def add(self, entries: Sequence[Entry], scores: ReferenceScores) -> list[Entry]:
        """Insert fresh completions, in order.

        Args:
            entries: their ``entry_id``, ``tier``, ``reference_score`` and ``reuse_count`` are set here.
            scores: reference scores that already know the rewards of this step.

        Returns:
            The entries as stored, without the refused ones. ``departures`` counts the refused: ``empty``, ``nonfinite``
            (a broken model must not crash the run), ``no_room`` (the tier's capacity is 0).
        """
        thresholds = scores.thresholds(self.config.hard_quantile, self.config.medium_quantile)
        stored = []
        for entry, score in zip(entries, self._replay_scores(entries), strict=True):
            reference_score = scores.mean(entry.prompt_id)
            tier = assign_tier(reference_score, thresholds)
            reason = entry.defect() or ("no_room" if self.capacities[tier] == 0 else None)
            if reason is not None:
                self.departures[reason] += 1
                continue
            placed = entry.stamped(entry_id=self._next_id, tier=tier, reference_score=reference_score, reuse_count=0)
            self._next_id += 1
            self._insert(placed, score)
            stored.append(placed)
        return stored

    def _insert(self, entry: Entry, score: float) -> None:
        queue = self._queues[entry.tier]
        while len(queue) >= self.capacities[entry.tier]:
            self.drop(queue.oldest(), "evicted")
        queue.append(entry.entry_id, score, entry.policy_version)
        self._entries[entry.entry_id] = entry
        self._ids_by_prompt.setdefault(entry.prompt_id, {})[entry.entry_id] = None

    def drop(self, entry_id: int, reason: str) -> None:
        """Remove an entry and count why.

        Raises:
            KeyError: if it is not here.
        """
        entry = self._entries.pop(entry_id)
        self._queues[entry.tier].remove(entry_id)
        siblings = self._ids_by_prompt[entry.prompt_id]
        del siblings[entry_id]
        if not siblings:
            del self._ids_by_prompt[entry.prompt_id]
        self.departures[reason] += 1

    def sample(self, num: int, step: int) -> Draw:
        """Draw ``num`` different entries from any prompt (scope ``any``, the paper's).

        Each tier gives its quota, by softmax over replay scores. Seats that a tier cannot take are filled uniformly
        from all other young entries. If there are fewer than ``num`` of those, all of them come back.

        Args:
            num: entries wanted, >= 0.
            step: present trainer step, for ``max_age``.
        """
        wanted = quotas(num, self.config.shares)
        chosen: list[int] = []
        pools: list[Ids] = []
        for tier in TIERS:
            ids, scores = self._queues[tier].candidates(self._oldest_version(step))
            drawn = draw_by_softmax(ids, scores, wanted[tier], self.config.priority_temperature, self._rng)
            chosen += drawn.tolist()
            pools.append(ids)
        fill: list[int] = []
        if len(chosen) < num:
            others = np.setdiff1d(np.concatenate(pools), chosen, assume_unique=True)
            fill = draw_uniformly(others, num - len(chosen), self._rng).tolist()
        entries = self._take(chosen + fill)
        origin = Counter(entry.tier for entry in entries)
        return Draw(entries, wanted, {tier: origin[tier] for tier in TIERS}, len(fill), num - len(entries))

    def sample_for_prompt(
        self, prompt_id: str, num: int, step: int, fresh_rewards: Sequence[float] = (), prefer: Prefer = "newest"
    ) -> tuple[Entry, ...]:
        """Draw past completions of one prompt (scope ``prompt``, beyond the paper), each at most once.

        When the fresh group is all right or all wrong, completions whose reward differs from the group's come first:
        they are what gives the group a signal. The rest follows.

        Args:
            prompt_id: the data set's id.
            num: entries wanted, >= 0; fewer come back when the prompt has fewer young ones.
            step: present trainer step, for ``max_age``.
            fresh_rewards: rewards of the prompt's fresh completions; empty: no reward is missing.
            prefer: order within both parts: ``newest`` (closest to the present policy), ``uniform``, or ``priority`` by
                softmax over replay scores. The last prefers past successes, which lifts the group mean that the fresh
                completions are measured against.
        """
        oldest = self._oldest_version(step)
        young = [
            entry
            for entry in map(self._entries.__getitem__, self.ids_of(prompt_id))
            if oldest is None or entry.policy_version >= oldest
        ]
        ids = self._ranked(young, prefer)
        if fresh_rewards and max(fresh_rewards) - min(fresh_rewards) <= SAME_REWARD:
            # sorted() is stable: True sorts after False, the ranking stays within both parts.
            ids = sorted(ids, key=lambda key: abs(self._entries[key].reward - fresh_rewards[0]) <= SAME_REWARD)
        return self._take(ids[:num])

    def _ranked(self, entries: Sequence[Entry], prefer: Prefer) -> list[int]:
        ids = np.array([entry.entry_id for entry in entries], np.int64)
        if prefer == "newest":
            return [int(entry_id) for entry_id in ids[::-1]]
        if prefer == "uniform":
            return [int(entry_id) for entry_id in draw_uniformly(ids, len(ids), self._rng)]
        scores = np.array(self._replay_scores(entries), np.float64)
        drawn = draw_by_softmax(ids, scores, len(ids), self.config.priority_temperature, self._rng)
        return [int(entry_id) for entry_id in drawn]

    def _replay_scores(self, entries: Sequence[Entry]) -> list[float]:
        advantages = np.array([entry.advantage for entry in entries], np.float64)
        kl = np.array([entry.kl for entry in entries], np.float64)
        config = self.config
        scores = replay_scores(advantages, kl, config.priority_reward_weight, config.priority_kl_weight)
        return [float(score) for score in scores]

    def _oldest_version(self, step: int) -> int | None:
        return step - self.config.max_age if self.config.max_age else None

    def _take(self, ids: Sequence[int]) -> tuple[Entry, ...]:
        for entry_id in ids:
            entry = self._entries[entry_id]
            self._entries[entry_id] = entry.stamped(reuse_count=entry.reuse_count + 1)
        return tuple(self._entries[entry_id] for entry_id in ids)

    def shift_policy_versions(self, steps: int) -> None:
        """Add ``steps`` to every policy version. A stage that counts its steps from 1 again passes minus the last step
        of the stage before, so that ages stay right."""
        state = self.get_state()
        state["entries"] = [entry.stamped(policy_version=entry.policy_version + steps) for entry in state["entries"]]
        self.set_state(state)

    def get_state(self) -> dict[str, Any]:
        """Plain containers: entries (oldest first), next_id, departures, and the bit generator's state as rng.

        ``config`` is there for whoever reads a saved buffer on its own; ``set_state`` does not look at it.
        """
        return {
            "config": self.config.model_dump(mode="json"),
            "entries": list(self._entries.values()),
            "next_id": self._next_id,
            "departures": dict(self.departures),
            "rng": self._rng.bit_generator.state,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a saved state, all or nothing.

        Capacities and priority weights are the present configuration's: where the saved buffer holds more than a tier
        may, its oldest entries leave and are counted as ``evicted``.

        Raises:
            ValueError: if ids do not rise, reach ``next_id``, or the state is of another bit generator.
        """
        ids = [entry.entry_id for entry in state["entries"]]
        if any(a >= b for a, b in zip([-1, *ids], [*ids, state["next_id"]], strict=True)):
            raise ValueError("entry ids must rise from 0 and stay below next_id")
        if state["rng"]["bit_generator"] != self._rng.bit_generator.state["bit_generator"]:
            raise ValueError(f"the random state is of {state['rng']['bit_generator']}, not of this generator")
        restored = StratifiedReplay(self.config, self._rng)
        restored.departures = Counter(state["departures"])
        for entry, score in zip(state["entries"], self._replay_scores(state["entries"]), strict=True):
            if self.capacities[entry.tier]:
                restored._insert(entry, score)
            else:
                restored.departures["no_room"] += 1
        self._rng.bit_generator.state = state["rng"]
        self._next_id = state["next_id"]
        self.departures = restored.departures
        self._entries, self._queues = restored._entries, restored._queues
        self._ids_by_prompt = restored._ids_by_prompt

    def check_invariants(self) -> None:
        """Compare the three views of the entries (storage, tiers, prompts) and their bounds.

        Raises:
            AssertionError: naming what is broken. Always a bug of this class.
        """
        ids = list(self._entries)
        _require(ids == sorted(ids), "ids rise")
        _require(not ids or (ids[0] >= 0 and ids[-1] < self._next_id), "ids are below next_id")
        _require(all(entry.entry_id == key for key, entry in self._entries.items()), "entries know their id")
        for tier, queue in self._queues.items():
            members = [entry.entry_id for entry in self if entry.tier == tier]
            _require(queue.candidates()[0].tolist() == members, f"the {tier} queue holds the {tier} entries in order")
            _require(len(queue) == len(members) <= self.capacities[tier], f"{tier} is within its capacity")
        by_prompt: dict[str, list[int]] = {}
        for entry in self:
            by_prompt.setdefault(entry.prompt_id, []).append(entry.entry_id)
        _require(
            by_prompt == {prompt: list(i) for prompt, i in self._ids_by_prompt.items()}, "prompts know their entries"
        )
        _require(sum(self.capacities.values()) == self.config.capacity, "capacities sum to the capacity")
        _require(all(entry.defect() is None for entry in self), "only sound entries are stored")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(f"replay buffer invariant broken: {what}")
