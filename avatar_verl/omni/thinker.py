"""The thinker, read alone from a complete checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_thinker(model: Path, dtype: str, device: str) -> Any:
    """transformers' thinker of a Qwen2.5-Omni folder, for inference; its ``config`` is the thinker's.

    Args:
        model: folder of the checkpoint, whole or thinker only.
        dtype: name of a torch dtype.
        device: where the weights go.

    Raises:
        ValueError: the folder lacks weights of the thinker (transformers would make some up).
    """
    import torch
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniThinkerForConditionalGeneration

    omni: Any = Qwen2_5OmniConfig.from_pretrained(model)
    loaded: Any = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        model, config=omni.thinker_config, dtype=getattr(torch, dtype), output_loading_info=True
    )
    thinker, report = loaded
    if report["missing_keys"]:
        raise ValueError(f"{model} lacks weights of the thinker: {sorted(report['missing_keys'])[:3]}")
    return thinker.eval().to(device)
