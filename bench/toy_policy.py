"""The toy world's Qwen2.5-Omni thinker as a policy in one process: sampling and log-probs, a prompt computed once.

All rows of a prompt share its keys and values, in sampling and, with gradients, in training: eight completions of a
prompt of 200 tokens cost one pass over the prompt and one over the completions. Everything is float32, so the
log-probs of sampling are those of training but for the order of sums.

Letters: P prompts, L tokens of the longest prompt (padded on the left), B rows, R tokens of the longest completion,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from avatar_verl.adapter.engine import MASKED_LOGIT
from avatar_verl.omni.prompt import PromptInputs
from avatar_verl.omni.tokens import MediaTokens

#: A keyword of the thinker's own positions; ours are given.
UNUSED = "video_second_per_grid"
#: Name under which transformers finds :func:`shared_attention`.
SHARED = "toy_shared_keys"


def shared_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention that does not copy keys for the queries that share them; no dropout.

    Args:
        query: [B, heads, Q, D].
        key, value: [B, key heads, K, D].
        attention_mask: bool [B, 1, Q, K].

    Returns:
        [B, Q, heads, D], and no weights.
    """
    rows, heads, queries, width = query.shape
    shares = heads // key.shape[1]
    grouped = query.reshape(rows, key.shape[1], shares * queries, width)
    scores = (grouped @ key.transpose(-1, -2)).mul(scaling)
    scores = scores.view(rows, key.shape[1], shares, queries, -1)
    scores = scores.masked_fill(~attention_mask[:, :, None], torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1).view(rows, key.shape[1], shares * queries, -1)
    return (weights @ value).view(rows, heads, queries, width).transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(SHARED, shared_attention)


class Keys:
    """Keys and values of every layer; what transformers' attention asks of a cache, and nothing else.

    Args:
        past: (keys, values), each [B, heads, past, D], of each layer; None: there is no past.
        room: tokens to come that are written in place, one call after the other (no gradients); 0: joined to the past.
    """

    def __init__(self, past: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None, room: int = 0) -> None:
        self.layers = [] if past is None else list(past)
        self.length = self.layers[0][0].shape[2] if self.layers else 0
        self._room = room
        if room:
            pad = (0, 0, 0, room)
            self.layers = [(_pad(keys, pad), _pad(values, pad)) for keys, values in self.layers]

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Add a layer's new keys and values; all of them, old and new."""
        if layer == len(self.layers):
            self.layers.append((keys, values))
            return keys, values
        old_keys, old_values = self.layers[layer]
        if not self._room:
            return torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)
        end = self.length + keys.shape[2]
        old_keys[:, :, self.length : end], old_values[:, :, self.length : end] = keys, values
        if layer == len(self.layers) - 1:
            self.length = end
        return old_keys[:, :, :end], old_values[:, :, :end]

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all other rows."""
        self.layers = [(keys[rows], values[rows]) for keys, values in self.layers]


@dataclass(frozen=True)
class Prefix:
    """Prompts that the thinker has read."""

    past: list[tuple[torch.Tensor, torch.Tensor]]  # [P, heads, L, D] of each layer
    inside: torch.Tensor  # bool [P, L]
    position: torch.Tensor  # int64 [P], rotary position of the first completion token
    log_probs: torch.Tensor  # [P, V] of the first completion token

    def rows(self, index: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of each row, [B, heads, L, D]."""
        return [(keys[index], values[index]) for keys, values in self.past]


@dataclass(frozen=True)
class Completion:
    """Sampled tokens, the end token included if there is one, and their log-probs."""

    token_ids: list[int]
    log_probs: list[float]


class ToyPolicy:
    """A thinker, how to sample from it, and how likely completions are under it."""

    def __init__(self, thinker: Any, end_token: int) -> None:
        self.thinker = thinker
        thinker.model.config._attn_implementation = SHARED
        self._end = end_token
        self._tokens = MediaTokens.from_config(thinker.config)
        self._never = torch.tensor(self._tokens.never_sampled)

    def read(self, prompts: Sequence[PromptInputs]) -> Prefix:
        """One pass over the prompts, towers included."""
        width = max(len(prompt.input_ids) for prompt in prompts)
        pads = [width - len(prompt.input_ids) for prompt in prompts]
        ids = torch.stack([_pad(p.input_ids, (pad, 0)) for p, pad in zip(prompts, pads, strict=True)])
        rotary = torch.stack([_pad(p.position_ids[1:], (pad, 0)) for p, pad in zip(prompts, pads, strict=True)], 1)
        inside = torch.arange(width) >= torch.tensor(pads)[:, None]
        keys = Keys()
        # A padding token sees itself, so that no row of the softmax is empty.
        sees = torch.ones(width, width).tril().bool() & inside[:, None, :] | torch.eye(width).bool()
        hidden = self._text(self._embed(ids, [prompt.features for prompt in prompts]), sees, rotary, keys)
        position = torch.tensor([int(prompt.position_ids[1:].max()) + 1 for prompt in prompts])
        return Prefix(keys.layers, inside, position, self._log_probs(hidden[:, -1]))

    def log_probs(self, prefix: Prefix, index: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probs of completions, with gradients where they are on.

        Args:
            prefix: the prompts.
            index: int64 [B], each row's prompt.
            tokens: int64 [B, R], padded on the right with anything.

        Returns:
            float32 [B, R]; what stands at padding means nothing.
        """
        first, width = prefix.log_probs[index][:, None], tokens.shape[1] - 1
        if width == 0:
            return first.gather(2, tokens[:, :, None])[..., 0]
        past = torch.ones(width, 1, dtype=torch.bool) & prefix.inside[index][:, None, :]
        own = torch.ones(width, width).tril().bool().expand(len(index), -1, -1)
        rotary = (prefix.position[index][:, None] + torch.arange(width)).expand(3, -1, -1)
        embedded = self.thinker.get_input_embeddings()(tokens[:, :-1])
        hidden = self._text(embedded, torch.cat([past, own], 2), rotary, Keys(prefix.rows(index)))
        every = torch.cat([first, self._log_probs(hidden)], 1)
        return every.gather(2, tokens[:, :, None])[..., 0]

    @torch.inference_mode()
    def sample(
        self, prefix: Prefix, index: torch.Tensor, max_tokens: int, generator: torch.Generator
    ) -> list[Completion]:
        """A completion at temperature 1 for each row of ``index`` [B]; finished rows leave the batch."""
        keys, inside = Keys(prefix.rows(index), max_tokens), prefix.inside[index]
        position, log_probs, rows = prefix.position[index], prefix.log_probs[index], torch.arange(len(index))
        tokens = torch.full((len(index), max_tokens), -1)
        chances = torch.zeros(len(index), max_tokens)
        for step in range(max_tokens):
            chosen = torch.multinomial(log_probs.exp(), 1, generator=generator)
            tokens[rows, step] = chosen[:, 0]
            chances[rows, step] = log_probs.gather(1, chosen)[:, 0]
            going = (chosen[:, 0] != self._end).nonzero()[:, 0]
            if not len(going) or step == max_tokens - 1:
                break
            if len(going) < len(rows):
                rows, chosen, position, inside = rows[going], chosen[going], position[going], inside[going]
                keys.keep(going)
            inside = _pad(inside, (0, 1), True)
            embedded = self.thinker.get_input_embeddings()(chosen)
            rotary = (position + step)[:, None].expand(3, -1, -1)
            log_probs = self._log_probs(self._text(embedded, inside[:, None, :], rotary, keys)[:, -1])
        lengths = (tokens >= 0).sum(1).tolist()
        return [Completion(tokens[i, :n].tolist(), chances[i, :n].tolist()) for i, n in enumerate(lengths)]

    def _text(self, embedded: torch.Tensor, sees: torch.Tensor, rotary: torch.Tensor, keys: Keys) -> torch.Tensor:
        """The text model. ``sees``: bool [B, queries, keys]; ``rotary``: [3, B, queries]."""
        output = self.thinker.model(
            inputs_embeds=embedded,
            attention_mask={"full_attention": sees[:, None]},
            position_ids=rotary,
            past_key_values=keys,
            use_cache=True,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def _log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = self.thinker.lm_head(hidden)
        return logits.index_fill(-1, self._never, MASKED_LOGIT).log_softmax(-1)

    def _embed(self, ids: torch.Tensor, features: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        """Embeddings [P, L, width], media in the places of their tokens."""
        thinker, joined = self.thinker, joined_features(features)
        embedded = thinker.get_input_embeddings()(ids)
        parts: list[tuple[int, torch.Tensor]] = []
        if "input_features" in joined:
            sounds = thinker.get_audio_features(joined["input_features"], joined["feature_attention_mask"])
            parts.append((self._tokens.audio, sounds.last_hidden_state))
        if "pixel_values" in joined:
            images = thinker.get_image_features(joined["pixel_values"], joined["image_grid_thw"])
            parts.append((self._tokens.image, images.pooler_output))
        if "pixel_values_videos" in joined:
            videos = thinker.get_video_features(joined["pixel_values_videos"], joined["video_grid_thw"])
            parts.append((self._tokens.video, videos.pooler_output))
        for token, values in parts:
            embedded = embedded.masked_scatter((ids == token)[..., None], values)
        return embedded


def joined_features(features: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Features of several prompts as one batch's; sounds are padded to the longest."""
    names = dict.fromkeys(name for own in features for name in own if name != UNUSED)
    joined = {}
    for name in names:
        values = [torch.as_tensor(own[name]) for own in features if name in own]
        if name in ("input_features", "feature_attention_mask"):
            width = max(value.shape[-1] for value in values)
            values = [_pad(value, (0, width - value.shape[-1])) for value in values]
        joined[name] = torch.cat(values)
    return joined


def _pad(tensor: torch.Tensor, pad: tuple[int, ...], value: Any = 0) -> torch.Tensor:
    return torch.nn.functional.pad(tensor, pad, value=value)
