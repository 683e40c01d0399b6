"""Plain transformers: one prompt at a time, slow and without surprises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from avatar_verl.inference.engine import Completion, OnText, Request
from avatar_verl.omni.prompt import PromptInputs
from avatar_verl.omni.thinker import load_thinker
from avatar_verl.omni.tokens import MediaTokens


class _Stream:
    """Passes the text so far on, token by token; the shape transformers asks of a streamer."""

    def __init__(self, key: str, tokenizer: Any, on_text: OnText) -> None:
        self._key, self._tokenizer, self._on_text = key, tokenizer, on_text
        self._ids: list[int] = []
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self._ids.extend(value.flatten().tolist())
        self._on_text(self._key, self._tokenizer.decode(self._ids, skip_special_tokens=True))

    def end(self) -> None:
        return


class TransformersEngine:
    """See :class:`avatar_verl.inference.engine.Engine`."""

    def __init__(self, model: Path, device: str, dtype: str, max_model_len: int) -> None:
        from transformers import AutoTokenizer

        self._thinker = load_thinker(model, dtype, device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._device = device
        self._never = list(MediaTokens.from_config(self._thinker.config).never_sampled)
        self._max_model_len = max_model_len

    def refuses(self, request: Request) -> str | None:
        """See the protocol."""
        return "too_long" if len(request.prompt.input_ids) + request.max_tokens > self._max_model_len else None

    @torch.no_grad()
    def generate(self, requests: Iterable[Request], on_text: OnText | None = None) -> Iterator[Completion]:
        """See the protocol."""
        for request in requests:
            yield self._complete(request, on_text)

    def _features(self, prompt: PromptInputs) -> dict[str, torch.Tensor]:
        """Pictures and sound in the weights' dtype; grids and the time base as they are."""
        features = {name: torch.as_tensor(value).to(self._device) for name, value in prompt.features.items()}
        for name in ("pixel_values", "pixel_values_videos", "input_features"):
            if name in features:
                features[name] = features[name].to(self._thinker.dtype)
        return features

    def _complete(self, request: Request, on_text: OnText | None) -> Completion:
        prompt = request.prompt
        ids = prompt.input_ids.unsqueeze(0).to(self._device)
        sampling: dict[str, Any] = {"do_sample": False}
        if request.temperature > 0:
            torch.manual_seed(request.seed or 0)
            sampling = {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p, "top_k": 0}
        output = self._thinker.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            use_audio_in_video=prompt.media.use_audio_in_video,
            max_new_tokens=request.max_tokens,
            suppress_tokens=self._never,
            eos_token_id=self._tokenizer.eos_token_id,
            pad_token_id=self._tokenizer.pad_token_id,
            streamer=None if on_text is None else _Stream(request.key, self._tokenizer, on_text),
            **sampling,
            **self._features(prompt),
        )
        token_ids = output[0, ids.shape[1] :].tolist()
        text = self._tokenizer.decode(token_ids, skip_special_tokens=True)
        ended = bool(token_ids) and token_ids[-1] == self._tokenizer.eos_token_id
        return Completion(request.key, text, tuple(token_ids), not ended)
