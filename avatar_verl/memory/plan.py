"""What of a run's configuration decides about memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avatar_verl.config import separated_rollout

_BYTES = {"bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2, "fp32": 4, "float32": 4}


@dataclass(frozen=True)
class Plan:
    """Sizes in tokens, rows and bytes, as the configuration gives them."""

    nodes: int  # of the training
    gpus_per_node: int
    trainer_bytes: int  # of one parameter in the trainer
    compute_bytes: int  # of one, gathered for the forward pass, and of activations
    rollout_bytes: int  # of one parameter in vLLM
    full_training: bool  # no adapters: every parameter has a gradient and two states of the optimiser
    reference: bool  # a second copy of the weights; with adapters the policy without them serves
    offload_parameters: bool
    offload_optimizer: bool
    checkpointing: bool  # activations are computed again in the backward pass
    tokens: int  # of one micro-batch
    row: int  # tokens of the longest row
    prompt: int  # of them, in the prompt
    rollout_nodes: int  # of a rollout with GPUs of its own; 0: it shares those of the training
    rollout_gpus: int  # of each of them
    tensor_parallel: int
    rollout_share: float  # of the GPU, that vLLM takes
    rollout_sleeps: bool
    rollout_tokens: int  # of the longest sequence
    bucket_bytes: int  # of weights on their way to the rollout
    rows: int  # of one step, replayed ones included
    frames: int  # of a video
    pixels: int  # of a frame
    audio_seconds: float  # of a prompt's sound, as far as the prompt's length allows
    agent_workers: int

    @property
    def ranks(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def one_machine(self) -> bool:
        """Whether training and separated rollout share a node: together they need no more than eight GPUs."""
        return self.nodes == self.rollout_nodes == 1 and self.gpus_per_node + self.rollout_gpus <= 8

    @property
    def all_nodes(self) -> int:
        return 1 if self.one_machine else self.nodes + self.rollout_nodes

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Plan:
        """Of a composed configuration of reinforcement learning, as plain containers."""
        part, data, trainer = config["actor_rollout_ref"], config["data"], config["trainer"]
        model, actor, rollout = part["model"], part["actor"], part["rollout"]
        media, replay = config["avatar"]["media"], config["avatar"]["replay"]
        row = data["max_prompt_length"] + data["max_response_length"]
        fsdp, lora = actor["fsdp_config"], int(model.get("lora_rank", 0) or 0)
        rollout_nodes, rollout_gpus = separated_rollout(config)
        dynamic = bool(actor["use_dynamic_bsz"])
        tokens = actor["ppo_max_token_len_per_gpu"] if dynamic else actor["ppo_micro_batch_size_per_gpu"] * row
        return cls(
            nodes=int(trainer["nnodes"]),
            gpus_per_node=int(trainer["n_gpus_per_node"]),
            trainer_bytes=_BYTES[str(fsdp["model_dtype"])],
            compute_bytes=_BYTES[str((fsdp.get("mixed_precision") or {}).get("param_dtype", "bf16"))],
            rollout_bytes=_BYTES[str(rollout["dtype"])],
            full_training=lora == 0,
            reference=lora == 0 and bool(actor["use_kl_loss"]),
            offload_parameters=bool(fsdp["param_offload"]),
            offload_optimizer=bool(fsdp["optimizer_offload"]),
            checkpointing=bool(model["enable_gradient_checkpointing"]),
            tokens=int(tokens),
            row=int(row),
            prompt=int(data["max_prompt_length"]),
            rollout_nodes=rollout_nodes,
            rollout_gpus=rollout_gpus,
            tensor_parallel=int(rollout["tensor_model_parallel_size"]),
            rollout_share=float(rollout["gpu_memory_utilization"]),
            rollout_sleeps=bool(rollout["enable_sleep_mode"]) and bool(rollout["free_cache_engine"]),
            rollout_tokens=int(rollout["max_model_len"] or row),
            bucket_bytes=int(rollout["checkpoint_engine"]["update_weights_bucket_megabytes"]) << 20,
            rows=int(data["train_batch_size"]) * (int(rollout["n"]) + int(replay["off_policy_batches"])),
            frames=int(media["max_frames"]),
            pixels=int(media["max_pixels"]),
            audio_seconds=min(float(media["max_audio_seconds"]), data["max_prompt_length"] / 25),
            agent_workers=int(rollout["agent"]["num_workers"]),
        )
