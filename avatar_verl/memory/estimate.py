"""The arithmetic: bytes on one GPU in the two phases of a step, and bytes on one node's host.

The trainer's shards are there in both phases. In the update vLLM sleeps; in the rollout it holds its share of the GPU.
A separated rollout has GPUs of its own: then the update is one GPU of the training and the rollout one of the others.
What is counted, and what is a rule of thumb (named so below, and not measured on a GPU by us), stands with each line.
"""

from __future__ import annotations

from dataclasses import dataclass

from avatar_verl.memory.plan import Plan
from avatar_verl.memory.shapes import Shape

GIB = 1 << 30
Lines = dict[str, float]

#: Rules of thumb, bytes.
CONTEXT = 1.5 * GIB  # CUDA contexts, NCCL buffers and the allocator's holes of the two processes on one GPU
ASLEEP = 1.0 * GIB  # what vLLM keeps asleep: its context and CUDA graphs
PROCESS = 6.0 * GIB  # host memory of a process that has imported torch and has a CUDA context, two for each GPU
AGENT = 3.0 * GIB  # host memory of an agent loop worker with its decoder
ROLLOUT_WORK = 2.0 * GIB  # vLLM's activations and logits while it computes
#: Copies of the logits alive at the peak, in the compute dtype: logits, their gradient, entropy in float32.
LOGIT_COPIES = 4

HEADROOM = 0.95  # of the GPU; the rest is lost to fragments


@dataclass(frozen=True)
class Estimate:
    """Bytes by line, and what follows from them."""

    update: Lines  # one GPU
    rollout: Lines  # one GPU
    host: Lines  # one node of the training
    rollout_host: Lines  # one node of a separated rollout; empty where it has no node of its own
    kv_tokens: int  # tokens whose keys and values fit into one rollout replica
    sequences: float  # of the longest kind that fit at once into one rollout replica

    def problems(self, gpu_bytes: float, host_bytes: float) -> list[str]:
        """What does not fit, with what to change; empty: it fits."""
        found = []
        limit = HEADROOM * gpu_bytes
        for phase, lines in (("update", self.update), ("rollout", self.rollout)):
            if sum(lines.values()) > limit:
                found.append(f"{phase}: {_gib(lines)} GiB of {limit / GIB:.1f} on a GPU; {_advice(lines)}")
        if self.sequences < 1:
            found.append(
                f"rollout: room for {self.kv_tokens} tokens of keys and values, not for one sequence; raise "
                "rollout.gpu_memory_utilization or rollout.tensor_model_parallel_size, or lower rollout.max_model_len"
            )
        for kind, lines in (("host", self.host), ("rollout host", self.rollout_host)):
            if sum(lines.values()) > host_bytes:
                found.append(f"{kind}: {_gib(lines)} GiB of {host_bytes / GIB:.1f} on a node; {_advice(lines)}")
        return found


def _gib(lines: Lines) -> str:
    return f"{sum(lines.values()) / GIB:.1f}"


_ADVICE = {
    "logits": "lower actor.ppo_max_token_len_per_gpu",
    "activations": "lower actor.ppo_max_token_len_per_gpu",
    "vision activations": "lower avatar.media.max_frames or actor.ppo_max_token_len_per_gpu",
    "vLLM": "lower rollout.gpu_memory_utilization, or let the rollout sleep",
    "weights": "use more GPUs, or actor.fsdp_config.param_offload",
    "gathered weights": "use LoRA, or a smaller model",
    "gradients": "use LoRA, or more GPUs",
    "optimiser": "use LoRA, more GPUs, or actor.fsdp_config.optimizer_offload",
    "batch with media": "lower data.train_batch_size or avatar.media.max_frames",
}


def _advice(lines: Lines) -> str:
    largest = max(lines, key=lambda name: lines[name])
    return f"most of it {largest}: {_ADVICE.get(largest, 'use more or larger machines')}"


def estimate(shape: Shape, plan: Plan, gpu_bytes: float) -> Estimate:
    """All of it for one model and one configuration, on GPUs of a size."""
    trained = shape.parameters if plan.full_training else shape.lora
    held = shape.parameters + (0 if plan.full_training else shape.lora)
    weights = held * plan.trainer_bytes / plan.ranks
    states = 2 * trained * plan.trainer_bytes / plan.ranks  # AdamW's two, in the parameters' own dtype
    resident = {
        "weights": 0.0 if plan.offload_parameters else weights,
        "optimiser": 0.0 if plan.offload_optimizer else states,
        "context": CONTEXT,
    }
    budget = plan.rollout_share * gpu_bytes
    update = {
        **resident,
        "weights": weights,  # offloaded ones come back for the update
        "optimiser": states,
        "gradients": trained * plan.trainer_bytes / plan.ranks,
        "gathered weights": plan.compute_bytes * (shape.root + 2 * shape.layer),  # the next layer is fetched ahead
        **_activations(shape, plan),
        "vLLM": ASLEEP if plan.rollout_sleeps else budget,
    }
    rollout = {**resident, "vLLM": budget, "buckets": 2.0 * plan.bucket_bytes}
    if plan.rollout_nodes:
        update["vLLM"] = 0.0
        # two to receive from the training ranks, one to hand over to vLLM's process
        rollout = {"context": CONTEXT, "vLLM": budget, "buckets": 3.0 * plan.bucket_bytes}
    kv_tokens = _kv_tokens(shape, plan, budget)
    host, rollout_host = _host(shape, plan, weights, states)
    return Estimate(update, rollout, host, rollout_host, kv_tokens, kv_tokens / plan.rollout_tokens)


def _activations(shape: Shape, plan: Plan) -> Lines:
    """Of one micro-batch, in the compute dtype: inputs of each layer, or all of each layer without checkpointing."""
    size = plan.compute_bytes
    inside = 6 * shape.width + 2 * shape.kv_width + 3 * shape.inner  # of one token in one layer, rule of thumb
    per_token = shape.width * shape.layers + inside if plan.checkpointing else inside * shape.layers
    patches = plan.tokens * plan.prompt / plan.row * 4  # at worst each token of a prompt is four merged patches
    vision_inside = 6 * shape.vision_width + 3 * 2.7 * shape.vision_width
    per_patch = shape.vision_width * shape.vision_layers + vision_inside
    if not plan.checkpointing:
        per_patch = vision_inside * shape.vision_layers
    return {
        "activations": size * plan.tokens * per_token,
        "vision activations": patches * (size * per_patch + 4 * shape.patch),  # pixels come in float32
        "logits": LOGIT_COPIES * size * plan.tokens * float(shape.vocabulary),
    }


def _kv_tokens(shape: Shape, plan: Plan, budget: float) -> int:
    """Keys and values, two vectors a layer and token, split over the ranks of a replica beside the weights."""
    room = budget - shape.parameters * plan.rollout_bytes / plan.tensor_parallel - ROLLOUT_WORK
    per_token = 2 * shape.layers * shape.kv_width * plan.rollout_bytes / plan.tensor_parallel
    return max(0, int(room / per_token))


def _host(shape: Shape, plan: Plan, weights: float, states: float) -> tuple[Lines, Lines]:
    """Of one training node, and of one node of a separated rollout that has its own."""
    gpus = plan.gpus_per_node
    patches = plan.frames / 2 * plan.pixels / 14**2  # two frames share a patch of 14 x 14 pixels
    sound = 128 * 100 * plan.audio_seconds  # mel bands times hops of 10 ms
    features = 4 * (patches * shape.patch + sound)
    agents = plan.agent_workers / plan.all_nodes * AGENT
    batch = 2 * plan.rows * features / plan.all_nodes  # stored once, and once more on its way
    processes = (1 if plan.rollout_nodes else 2) * gpus * PROCESS
    rollout = 2 * plan.rollout_gpus * PROCESS
    training = {
        "processes": processes + (rollout if plan.one_machine else 0.0) + agents,
        "reference": gpus * weights if plan.reference else 0.0,  # FSDP2 keeps it on the host between layers
        "offloaded": gpus * (weights * plan.offload_parameters + states * plan.offload_optimizer),
        "batch with media": batch,
        "whole weights": float(shape.parameters * plan.trainer_bytes),  # rank 0 loads them, and gathers them to save
    }
    if plan.one_machine or not plan.rollout_nodes:
        return training, {}
    return training, {"processes": rollout + agents, "batch with media": batch}
