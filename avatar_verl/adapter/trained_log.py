"""What each update was made of, as lines of JSON: every row with its advantage, and of some rows every token.

``trained.jsonl`` has one record a row of the batch, fresh or replayed. A fresh one names its completion in
``samples.jsonl`` by group and session; a replayed one carries its text. Tokens are costly to keep, so only
``avatar.log.token_rows`` rows a step have them.

Letters: B rows of the batch, T response tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from avatar_verl.config import AvatarConfig
from avatar_verl.maths.shaping import position_weights
from avatar_verl.replay.entry import Entry

#: A character of UTF-8 has at most 4 bytes, so at most as many tokens.
_MOST_TOKENS_OF_A_CHARACTER = 4


class TrainedRows:
    """Collects the rows of one step and hands them out as records.

    Args:
        config: the run's ``avatar`` node.
        shaped: the estimator shapes advantages over tokens (``algorithm.adv_estimator`` is ``avatar``).
    """

    def __init__(self, config: AvatarConfig, shaped: bool) -> None:
        self._log = config.log
        self._shaping = config.shaping
        self._strength = config.shaping.strength if shaped else 0.0
        self._texts: dict[int, str] = {}
        self.start(0)

    def start(self, step: int) -> None:
        """Forget the last step."""
        self._step = step
        self._drawn: dict[str, Entry] = {}
        self._tokens: dict[str, dict[str, list[float]]] = {}
        self._rows: list[dict[str, Any]] = []

    def drawn(self, entries: dict[str, Entry]) -> None:
        """The replayed completions of this step, by key of their row."""
        self._drawn = entries

    def log_probs(
        self, keys: Sequence[str], replayed: Sequence[bool], old: torch.Tensor, new: torch.Tensor, mask: torch.Tensor
    ) -> None:
        """Keep the log-probs of the rows whose tokens will be logged: half of them fresh, half replayed.

        Args:
            keys: [B].
            replayed: [B].
            old: float [B, T] at generation, nats.
            new: float [B, T] of the present policy, by the trainer.
            mask: [B, T].
        """
        for i in _choose(keys, replayed, self._log.token_rows if self._due() else 0):
            inside = mask[i] != 0
            gaps = (new[i] - old[i])[inside].tolist()
            self._tokens[keys[i]] = {"log_probs": _brief(old[i][inside].tolist()), "gaps": _brief(gaps)}

    def _due(self) -> bool:
        return self._step % self._log.token_every == 0

    def collect(
        self,
        keys: Sequence[str],
        tags: Sequence[dict[str, Any]],
        responses: Sequence[torch.Tensor],
        advantages: Sequence[torch.Tensor],
        rewards: torch.Tensor,
        reference: torch.Tensor,
        tokenizer: Any,
    ) -> None:
        """Take over the rows with their advantages.

        Args:
            keys: [B].
            tags: [B], ``is_padding`` and ``prompt_id`` are read.
            responses: B tensors of token ids.
            advantages: B tensors, one value per token, after shaping.
            rewards: float [B].
            reference: float [B], Rbar of replayed rows.
            tokenizer: of the policy.
        """
        for i, (key, tag) in enumerate(zip(keys, tags, strict=True)):
            if tag.get("is_padding"):
                continue
            label, session, _ = key.split("_")
            record = {"group": label, "session": int(session), "prompt_id": tag.get("prompt_id", "")}
            record |= {"reward": _short(float(rewards[i])), "advantage": _short(self._of_row(advantages[i]))}
            if key in self._drawn:
                record |= self._origin(self._drawn[key], float(reference[i]), tokenizer)
            if key in self._tokens:
                record["tokens"] = self._token_texts(responses[i].tolist(), tokenizer)
                record |= {"advantages": _brief(advantages[i].tolist()), **self._tokens[key]}
            self._rows.append(record)

    def _of_row(self, advantages: torch.Tensor) -> float:
        """The row's advantage before shaping: the first token's over its weight, which is at least 1."""
        mask = torch.ones(1, len(advantages))
        weight = position_weights(mask, self._strength, self._shaping.shape, self._shaping.mean_one)[0, 0]
        return float(advantages[0] / weight)

    def _origin(self, entry: Entry, reference: float, tokenizer: Any) -> dict[str, Any]:
        """What a replayed row was when it was fresh."""
        ids = entry.token_ids.tolist()
        ended = bool(ids) and ids[-1] == tokenizer.eos_token_id
        return {
            "replayed": True,
            "reference": _short(reference),
            "tier": entry.tier,
            "age": self._step - entry.policy_version,
            "from_group": entry.group,
            "hint_used": entry.hint_used,
            "parts": {name: _short(value) for name, value in entry.reward_parts.items()},
            "completion": tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=False),
        }

    def _token_texts(self, ids: Sequence[int], tokenizer: Any) -> list[str]:
        """The text of each token. A character of several tokens stands at its last one."""
        texts: list[str] = []
        pending: list[int] = []
        for token in ids:
            pending.append(token)
            text = self._decode(pending, tokenizer)
            whole = not text.endswith("\ufffd") or len(pending) == _MOST_TOKENS_OF_A_CHARACTER
            texts.append(text if whole else "")
            pending = [] if whole else pending
        return texts

    def _decode(self, ids: list[int], tokenizer: Any) -> str:
        if len(ids) > 1:
            return str(tokenizer.decode(ids))
        if ids[0] not in self._texts:
            self._texts[ids[0]] = str(tokenizer.decode(ids))
        return self._texts[ids[0]]

    def records(self, standings: Mapping[str, tuple[str, float]]) -> list[dict[str, Any]]:
        """The step's rows.

        Args:
            standings: prompt id -> tier and reference score of the prompts that were visited, after this step's
                rewards. A replayed row has the tier of its entry instead.
        """
        return [{"step": self._step, **self._standing(standings.get(row["prompt_id"])), **row} for row in self._rows]

    def _standing(self, found: tuple[str, float] | None) -> dict[str, Any]:
        return {"tier": ""} if found is None else {"tier": found[0], "score": _short(found[1])}


def _choose(keys: Sequence[str], replayed: Sequence[bool], most: int) -> list[int]:
    """Places of up to ``most`` rows: whole groups where they come in order, fresh and replayed ones alike."""
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    fresh, old = [i for i in order if not replayed[i]], [i for i in order if replayed[i]]
    num_old = min(len(old), max(most // 2, most - len(fresh)))
    return fresh[: most - num_old] + old[:num_old]


def _short(value: float) -> float:
    """Four digits are more than a page shows."""
    return float(f"{value:.4g}")


def _brief(values: list[float]) -> list[float]:
    return [float(f"{value:.3g}") for value in values]
