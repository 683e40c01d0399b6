"""The FSDP2 engine for the thinker, on GPUs and on the CPU.

Registered beside verl's own (by vendor on GPUs, by device on the CPU), so verl picks it through its registry. What it
changes, method by method:

``_build_module``          freezes the parts named in ``model.freeze``
``_build_fsdp_module``     the reference model on a CPU is not "offloaded to the CPU" (pinned memory needs a GPU)
``prepare_model_inputs``   a micro-batch without images, videos or sound gets tiny ones, where ranks must march together
``prepare_model_outputs``  masks ids the rollout never samples; takes the tiny ones off again
``get_per_tensor_param``   names weights as vLLM's Qwen2.5-Omni wants them
``save_checkpoint``        with adapters, the Hugging Face folder holds merged weights
``_merged_lora_...``       every adapter is merged, in the trainer's dtype (:mod:`avatar_verl.adapter.lora`)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id
from verl.utils.fsdp_utils import fsdp_version, offload_fsdp_model_to_cpu
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from avatar_verl.adapter.lora import merged_parameters, write_merged
from avatar_verl.adapter.model_config import PARTS
from avatar_verl.adapter.towers import TowerPadding, pad_towers
from avatar_verl.omni.tokens import MediaTokens

#: Finite, so that entropy (probability times logit) stays finite; far below any logit in any of our dtypes.
MASKED_LOGIT = -1e4


class OmniEngine(FSDPEngineWithLMHead):
    """See the module's docstring."""

    _media_tokens: MediaTokens | None = None

    @property
    def media_tokens(self) -> MediaTokens:
        if self._media_tokens is None:
            self._media_tokens = MediaTokens.from_config(self.model_config.hf_config)
        return self._media_tokens

    def _build_module(self) -> torch.nn.Module:
        module = super()._build_module()
        for part in getattr(self.model_config, "freeze", []):  # of adapters: OmniModelConfig
            module.get_submodule(PARTS[part]).requires_grad_(False)
        return module

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        if torch.cuda.is_available() or not self.engine_config.forward_only:
            return super()._build_fsdp_module(module)
        object.__setattr__(self.engine_config, "forward_only", False)
        try:
            return super()._build_fsdp_module(module)
        finally:
            object.__setattr__(self.engine_config, "forward_only", True)

    def prepare_model_inputs(self, micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, output_args = super().prepare_model_inputs(micro_batch)
        # The thinker takes it as a keyword for its own positions only; ours are given.
        inputs.pop("video_second_per_grid", None)
        if torch.distributed.get_world_size() > 1:
            output_args["tower_padding"] = pad_towers(
                inputs,
                self.media_tokens,
                self.model_config.hf_config,
                packed=tu.get_non_tensor_data(data=micro_batch, key="use_remove_padding", default=True),
            )
        return inputs, output_args

    def prepare_model_outputs(
        self, output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, Any]:
        padding: TowerPadding | None = output_args.pop("tower_padding", None)
        never = torch.tensor(self.media_tokens.never_sampled, device=output.logits.device)
        output.logits.index_fill_(-1, never, MASKED_LOGIT)  # in place: a copy of [T, V] is gigabytes
        if padding is not None:
            output.logits = padding.remove(output.logits)
        return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)

    def get_per_tensor_param(  # type: ignore[override]  # the base class is behind its own FSDP engine
        self, layered_summon: bool = False, base_sync_done: bool = False, **kwargs: Any
    ) -> tuple[Iterator[tuple[str, torch.Tensor]], Any]:
        """vLLM's loader maps ``thinker.`` to its own names; the trainer holds the thinker alone."""
        parameters, peft_config = super().get_per_tensor_param(layered_summon, base_sync_done, **kwargs)
        return ((f"thinker.{name}", tensor) for name, tensor in parameters), peft_config

    def _merged_lora_per_tensor_param(self) -> Iterator[tuple[str, torch.Tensor]]:
        if fsdp_version(self.module) == 1:
            yield from super()._merged_lora_per_tensor_param()
            return
        try:
            yield from merged_parameters(self.module, get_device_id())
        finally:
            if self._is_offload_param:
                offload_fsdp_model_to_cpu(self.module)

    def save_checkpoint(self, local_path: str, *args: Any, **kwargs: Any) -> None:
        """verl's checkpoint; with adapters, its Hugging Face folder holds the merged weights."""
        super().save_checkpoint(local_path, *args, **kwargs)
        if self._is_lora and self.checkpoint_manager.should_save_hf_model:
            write_merged(self.module, get_device_id(), Path(local_path) / "huggingface", writer=self.rank == 0)
            torch.distributed.barrier()


def register() -> None:
    """Put the engine into verl's registry. Calling it again does nothing."""
    taken = EngineRegistry._engines["language_model"]["fsdp2"]
    if "cpu" not in taken:
        EngineRegistry.register(model_type="language_model", backend=["fsdp2"], device="cpu")(OmniEngine)
    if ("cuda", "nvidia") not in taken:
        EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cuda", vendor="nvidia")(
            OmniEngine
        )
