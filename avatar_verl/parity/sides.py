"""The two sides of the comparison: the same prompt through vLLM and through transformers' thinker.

Letters: L tokens of the prompt with its placeholders expanded, R tokens of the completion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from avatar_verl.adapter.compat import align_vllm_interleaving, align_vllm_positions
from avatar_verl.omni.positions import extend_positions
from avatar_verl.omni.prompt import PromptInputs
from avatar_verl.omni.thinker import load_thinker
from avatar_verl.omni.tokens import MediaTokens

#: What a side read from the media: shapes and the time base. Name here -> (name in our features, name in vLLM's).
_FACTS = {
    "image_grid_thw": ("image_grid_thw", "image_grid_thw"),
    "video_grid_thw": ("video_grid_thw", "video_grid_thw"),
    "second_per_grid": ("video_second_per_grid", "second_per_grid_ts"),
    "mel_frames": ("feature_attention_mask", "audio_feature_lengths"),
}


@dataclass(frozen=True)
class View:
    """One prompt and its completion as one side sees them."""

    ids: list[int]  # L + R
    positions: torch.Tensor  # int64 [3, L]: time, height, width
    facts: dict[str, list[Any]]  # see _FACTS; absent kinds are left out
    log_probs: torch.Tensor  # float64 [L + R - 1], of tokens 1 to L + R - 1, nats


class RolloutSide:
    """vLLM's offline engine, in this process, set up as a run's rollout server is."""

    def __init__(self, model: Path, dtype: str, max_model_len: int, align: bool, device: str = "cpu") -> None:
        from vllm import LLM

        if align:
            align_vllm_interleaving()
        options: dict[str, Any] = {"dtype": dtype}
        if device != "cpu":
            options["gpu_memory_utilization"] = 0.5  # the trainer's model is there already
        self._llm: Any = LLM(
            model=str(model),
            **options,
            enforce_eager=True,
            max_model_len=max_model_len,
            max_num_batched_tokens=max(2048, max_model_len),
            limit_mm_per_prompt={"image": 8, "video": 4, "audio": 4},
            enable_prefix_caching=False,
            mm_processor_cache_gb=0,
            disable_log_stats=True,
        )
        config = self._llm.llm_engine.model_config.hf_config
        thinker = getattr(config, "thinker_config", config)
        never = set(MediaTokens.from_config(thinker).never_sampled)
        self._sampled = [token for token in range(thinker.text_config.vocab_size) if token not in never]
        self._asked: list[tuple[torch.Tensor, list[Any]]] = []
        self._llm.apply_model(lambda net: self._watch(net, thinker if align else None))

    def _watch(self, net: Any, thinker: Any) -> None:
        """Keep what vLLM computes positions from, and the positions."""
        if thinker is not None:
            align_vllm_positions(net, thinker)
        inner = net.get_mrope_input_positions

        def get_mrope_input_positions(input_tokens: list[int], mm_features: list[Any], **kwargs: Any) -> Any:
            positions, delta = inner(input_tokens, mm_features, **kwargs)
            self._asked.append((positions, mm_features))
            return positions, delta

        net.get_mrope_input_positions = get_mrope_input_positions

    def run(self, prompt: PromptInputs, num_tokens: int) -> View:
        """Complete the prompt greedily by ``num_tokens`` tokens at most."""
        from vllm import SamplingParams

        self._asked.clear()
        media = {name.removesuffix("s"): items for name, items in prompt.rollout_media.items()}
        request = {
            "prompt_token_ids": prompt.compact_ids,
            "multi_modal_data": media,
            "mm_processor_kwargs": prompt.processor_kwargs,
        }
        sampling = SamplingParams(
            max_tokens=num_tokens, temperature=0.0, logprobs=0, prompt_logprobs=0, allowed_token_ids=self._sampled
        )
        (output,) = self._llm.generate([request], sampling, use_tqdm=False)
        (completion,) = output.outputs
        tokens = [*output.prompt_token_ids, *completion.token_ids]
        tables = [*output.prompt_logprobs[1:], *completion.logprobs]
        log_probs = [table[token].logprob for token, table in zip(tokens[1:], tables, strict=True)]
        positions, features = self._asked[0]
        return View(tokens, positions, _rollout_facts(features), torch.tensor(log_probs, dtype=torch.float64))


class TrainerSide:
    """The thinker that is trained, from the same folder."""

    def __init__(self, model: Path, dtype: str, device: str) -> None:
        self._thinker = load_thinker(model, dtype, device)
        self.config = self._thinker.config
        self._device = device

    @torch.no_grad()
    def run(self, prompt: PromptInputs, completion: list[int]) -> View:
        """Log-probs of the prompt and of a completion that is given."""
        ids = torch.cat([prompt.input_ids, torch.tensor(completion, dtype=torch.int64)])
        positions = extend_positions(prompt.position_ids, len(completion))
        features = {k: v.to(self._device) for k, v in prompt.features.items() if k != "video_second_per_grid"}
        logits = self._thinker(
            input_ids=ids.unsqueeze(0).to(self._device),
            position_ids=positions.unsqueeze(1).to(self._device),
            attention_mask=torch.ones_like(ids).unsqueeze(0).to(self._device),
            use_cache=False,
            **features,
        ).logits[0, :-1]
        table = torch.log_softmax(logits.float(), dim=-1).cpu()
        log_probs = table.gather(1, ids[1:, None])[:, 0].double()
        return View(ids.tolist(), prompt.position_ids[1:], _trainer_facts(prompt.features), log_probs)


def _trainer_facts(features: dict[str, torch.Tensor]) -> dict[str, list[Any]]:
    facts = {name: torch.as_tensor(features[ours]) for name, (ours, _) in _FACTS.items() if ours in features}
    if "mel_frames" in facts:
        facts["mel_frames"] = facts["mel_frames"].sum(-1)
    return {name: value.tolist() for name, value in facts.items()}


def _rollout_facts(mm_features: list[Any]) -> dict[str, list[Any]]:
    facts: dict[str, list[Any]] = {}
    for feature in sorted(mm_features, key=lambda f: f.mm_position.offset):
        for name, (_, theirs) in _FACTS.items():
            if theirs in feature.data:
                facts.setdefault(name, []).append(torch.as_tensor(feature.data[theirs].data).tolist())
    return facts
