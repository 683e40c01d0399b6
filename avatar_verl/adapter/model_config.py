"""verl's model config for Qwen2.5-Omni: with a processor, and with towers that can be frozen.

Selected by ``actor_rollout_ref.model._target_``. ``model.path`` is the complete Omni folder, which vLLM serves;
``model.hf_config_path`` is a folder with the thinker's config alone (:func:`write_thinker_config`), by which the
trainer loads just the thinker from the same weights.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from verl.workers.config.model import HFModelConfig

#: Parts of the thinker by the name its module has.
PARTS = {"vision": "visual", "audio": "audio_tower", "text": "model"}


@dataclass
class OmniModelConfig(HFModelConfig):
    """``HFModelConfig`` that knows Qwen2.5-Omni's processor.

    Reason: verl 0.9.1's ``hf_processor`` does not know ``Qwen2_5OmniProcessor`` and returns None, with which training
    would go on with text alone.
    """

    freeze: list[str] = field(default_factory=list)  # of PARTS: parts whose weights stay as they are

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = set(self.freeze) - set(PARTS)
        if unknown:
            raise ValueError(f"model.freeze: unknown {sorted(unknown)}; known parts: {sorted(PARTS)}")
        if self.freeze and self.lora_adapter_path:
            raise ValueError("model.freeze: the adapters of model.lora_adapter_path would train all the same; drop one")
        if self.freeze and self.lora_rank > 0:
            # No adapter there at all: PEFT makes every adapter train again when the reference has run without them.
            frozen = rf"({'|'.join(PARTS[part] for part in self.freeze)})\..*"
            excluded = frozen if self.exclude_modules is None else f"({self.exclude_modules})|{frozen}"
            object.__setattr__(self, "exclude_modules", excluded)
        if self.load_tokenizer:
            assert self.local_tokenizer_path is not None
            from transformers import Qwen2_5OmniProcessor

            self.processor = Qwen2_5OmniProcessor.from_pretrained(self.local_tokenizer_path)


def write_thinker_config(model_path: str, folder: str | Path) -> Path:
    """Write the thinker's config of an Omni checkpoint into ``folder``, whole or not at all.

    Returns:
        ``folder``, to be given as ``model.hf_config_path``.

    Raises:
        ValueError: ``model_path`` is no Qwen2.5-Omni folder.
    """
    source = Path(model_path) / "config.json"
    try:
        config = json.loads(source.read_text())
    except FileNotFoundError:
        raise ValueError(f"{source} does not exist; model.path must be a complete Qwen2.5-Omni folder") from None
    thinker = config.get("thinker_config")
    if thinker is None:
        raise ValueError(f"{source} has no thinker_config; model.path must be a complete Qwen2.5-Omni folder")
    thinker = {**thinker, "model_type": "qwen2_5_omni_thinker"}
    thinker["architectures"] = ["Qwen2_5OmniThinkerForConditionalGeneration"]
    thinker.setdefault("tie_word_embeddings", False)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        json.dump(thinker, file, indent=2)
    os.replace(temporary, folder / "config.json")
    return folder
