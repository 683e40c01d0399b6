"""Sizes of a thinker: of the public checkpoints by name, or of a model folder; counted on the meta device."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The numbers of the released ``thinker_config``s that shapes depend on (Qwen/Qwen2.5-Omni-3B and -7B). Compared with
#: public quotations of both ``config.json``s, since the originals were out of reach: all numbers of 3B (those of commit
#: f75b40e3 in ApxInf's test data), text and audio of 7B, and its vision's depth and heads (rtp-llm's test data,
#: QwenLM/Qwen2.5-Omni#296); the vision's widths are the same for both in XTuner's Qwen2.5-Omni configuration, which
#: notes the output's as the one that differs. What :func:`measure` counts for 7B fits the technical report (arXiv
#: 2503.20215): 676 million for vision, where it says 675; output layers are not tied.
_TOWERS = {
    "vision_config": {"hidden_size": 1280, "depth": 32, "num_heads": 16, "intermediate_size": 3420},
    "audio_config": {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120},
}
_TEXT: dict[str, dict[str, int]] = {
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
}
NAMES = tuple(_TEXT)


@dataclass(frozen=True)
class Shape:
    """What the arithmetic needs of a model. Counts are parameters; widths are numbers of features."""

    parameters: int
    text: int
    vision: int
    audio: int
    lora: int  # adapters of the rank asked for; 0: none
    layer: int  # one decoder layer
    root: int  # token embedding and output layer: gathered together
    width: int  # of the decoder
    inner: int  # of a decoder layer's feed-forward part
    layers: int
    kv_width: int  # keys, and as many values, of one token in one layer
    vocabulary: int
    vision_width: int
    vision_layers: int
    patch: int  # pixel values of one patch


def thinker_config(model: str) -> dict[str, Any]:
    """Of a name in :data:`NAMES`, or of a folder with Qwen2.5-Omni's ``config.json``.

    Raises:
        ValueError: neither.
    """
    if model.lower() in _TEXT:
        text = _TEXT[model.lower()]
        vision = {**_TOWERS["vision_config"], "out_hidden_size": text["hidden_size"]}
        audio = {**_TOWERS["audio_config"], "output_dim": text["hidden_size"]}
        return {"text_config": text, "vision_config": vision, "audio_config": audio}
    file = Path(model) / "config.json"
    if not file.is_file():
        raise ValueError(f"{model} is neither one of {', '.join(NAMES)} nor a model folder with config.json")
    config = json.loads(file.read_text())
    found = config.get("thinker_config", config)
    if "text_config" not in found:
        raise ValueError(f"{file} has no thinker_config: this is no Qwen2.5-Omni")
    return dict(found)


@functools.cache
def measure(model: str, lora_rank: int = 0, lora_targets: str = "") -> Shape:
    """Build the thinker without memory for its weights, and count.

    Args:
        model: name or folder, as for :func:`thinker_config`.
        lora_rank: 0 for full training.
        lora_targets: regular expression over module names, as peft's ``target_modules``.

    Raises:
        ValueError: the model is not known.
    """
    import torch
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    given = {**thinker_config(model)}
    config = Qwen2_5OmniThinkerConfig(
        **{part: given[part] for part in ("text_config", "vision_config", "audio_config")},
        tie_word_embeddings=bool(given.get("tie_word_embeddings", False)),
    )
    with torch.device("meta"):
        thinker = Qwen2_5OmniThinkerForConditionalGeneration(config)
    text: Any = config.text_config
    vision: Any = config.vision_config
    embedding = text.vocab_size * text.hidden_size
    adapters = 0
    for name, module in thinker.named_modules():
        if lora_rank and isinstance(module, torch.nn.Linear) and re.fullmatch(lora_targets, name):
            adapters += lora_rank * (module.in_features + module.out_features)
    head_width = text.hidden_size // text.num_attention_heads
    return Shape(
        parameters=_count(thinker),
        text=_count(thinker.model) + (0 if config.tie_word_embeddings else _count(thinker.lm_head)),
        vision=_count(thinker.visual),
        audio=_count(thinker.audio_tower),
        lora=adapters,
        layer=_count(thinker.model.layers[0]),
        root=embedding if config.tie_word_embeddings else 2 * embedding,
        width=text.hidden_size,
        inner=text.intermediate_size,
        layers=text.num_hidden_layers,
        kv_width=text.num_key_value_heads * head_width,
        vocabulary=text.vocab_size,
        vision_width=vision.hidden_size,
        vision_layers=vision.depth,
        patch=vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
    )


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
