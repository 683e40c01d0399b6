"""One training step of the thinker on one GPU: time, tokens a second and peak memory, with and without AVATAR's part.

    python bench/gpu.py                                        # 3B and 7B shapes, full and LoRA; needs a GPU
    python bench/gpu.py --device cpu --size toy --rounds 2     # that it runs

Needs torch and transformers, no Ray, no vLLM. Weights are random in the released shapes, and each row is text, so that
only sizes matter. Without AVATAR: GRPO's advantages and the clipped loss on fresh rows. With it: half of the rows are
replayed with VCRS advantages and importance ratios, and all advantages are shaped. Without a GPU nothing is measured,
and the exit code is 3.
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from record import machine, report
from torch import nn

from avatar_verl.maths.advantages import group_advantages, vcrs_advantages
from avatar_verl.maths.importance import importance_ratio
from avatar_verl.maths.shaping import shape_advantages
from avatar_verl.memory.shapes import NAMES, thinker_config

NOTHING_MEASURED = 3
CLIP, STRENGTH, ALPHA = 0.2, 0.3, 0.6

#: A thinker of no use but to see that this script runs.
TOY: dict[str, Any] = {
    "text_config": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
    },
    "audio_config": {
        "d_model": 32,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "output_dim": 64,
    },
    "vision_config": {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64},
}


def shape_of(size: str) -> dict[str, Any]:
    """What Qwen2_5OmniThinkerConfig takes; the released shapes are those of the memory calculator."""
    return TOY if size == "toy" else thinker_config(size)


class LoraLinear(nn.Module):
    """A frozen linear layer and a trained update of low rank: y = W x + B A x."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.down = nn.Parameter(torch.randn(rank, base.in_features, **like) / math.sqrt(base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, **like))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + (x @ self.down.T) @ self.up.T


def build(size: str, rank: int, device: str, dtype: torch.dtype) -> nn.Module:
    """The thinker with random weights; ``rank`` 0 trains all of it, else adapters on the text model's linear layers."""
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    config = Qwen2_5OmniThinkerConfig(**shape_of(size))
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = Qwen2_5OmniThinkerForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(usual)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    if rank:
        model.requires_grad_(False)
        model.enable_input_require_grads()
        for module in list(model.model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, LoraLinear(child, rank))
    return model.train()


def batch_of(rows: int, prompt: int, response: int, vocabulary: int, device: str) -> dict[str, torch.Tensor]:
    """Random rows: ids [B, P + T], mask [B, T] with lengths from T / 2 to T, rewards, behaviour log-probs."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(response // 2, response + 1, (rows,), generator=generator)
    found = {
        "ids": torch.randint(0, min(vocabulary, 1000), (rows, prompt + response), generator=generator),
        "mask": (torch.arange(response) < lengths[:, None]).float(),
        "rewards": torch.rand(rows, generator=generator),
        "reference": torch.rand(rows, generator=generator),
        "behaviour": -torch.rand(rows, response, generator=generator) - math.log(vocabulary),
    }
    return {name: value.to(device) for name, value in found.items()}


def token_advantages(batch: dict[str, torch.Tensor], group: int, avatar: bool) -> torch.Tensor:
    """[B, T]. With AVATAR the second half of the rows is replayed, and all are shaped."""
    rewards, mask = batch["rewards"], batch["mask"]
    labels = [row // group for row in range(len(rewards))]
    if not avatar:
        return group_advantages(rewards, labels)[:, None] * mask
    half = len(rewards) // 2
    fresh = group_advantages(rewards[:half], labels[:half])
    replayed = vcrs_advantages(rewards[half:], batch["reference"][half:], ALPHA)
    return shape_advantages(torch.cat([fresh, replayed]), mask, STRENGTH)


def log_probs_of(model: nn.Module, ids: torch.Tensor, response: int) -> torch.Tensor:
    """[b, T] of the last T tokens. Logits of the prompt are not computed."""
    positions = torch.arange(ids.shape[1], device=ids.device).expand(3, *ids.shape)
    hidden = model.model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, -response - 1 : -1]).float()
    return logits.log_softmax(-1).gather(-1, ids[:, -response:, None]).squeeze(-1)


def make_step(
    model: nn.Module, batch: dict[str, torch.Tensor], group: int, micro: int, avatar: bool
) -> Callable[[], None]:
    """One optimiser step over the batch, micro-batch by micro-batch."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-6)
    response = batch["mask"].shape[1]

    def step() -> None:
        advantages = token_advantages(batch, group, avatar)
        tokens = batch["mask"].sum()
        for start in range(0, len(advantages), micro):
            rows = slice(start, start + micro)
            now, mask = log_probs_of(model, batch["ids"][rows], response), batch["mask"][rows]
            old = batch["behaviour"][rows] if avatar else now.detach()
            if avatar:
                importance_ratio(now.detach(), old, mask)  # what the run logs of replayed rows
            ratio = ((now - old) * mask).clamp(-20, 20).exp()
            gain = torch.minimum(ratio * advantages[rows], ratio.clamp(1 - CLIP, 1 + CLIP) * advantages[rows])
            (-(gain * mask).sum() / tokens).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def measure(step: Callable[[], None], rounds: int, device: str) -> dict[str, float | None]:
    """Median seconds of a step after one to warm up, and the most memory that it took."""
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else None
    return {"step_s": statistics.median(times[1:]), "most_s": max(times[1:]), "peak_GB": peak}


def measure_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    rows = []
    for size in options.size:
        for rank in (0, options.rank):
            for avatar in (False, True):
                about = {
                    "size": size,
                    "trained": f"LoRA {rank}" if rank else "full",
                    "avatar": "with" if avatar else "without",
                }
                found = _one(options, size, rank, avatar, dtype)
                rows.append({**about, **found})
                print(rows[-1], flush=True)
    return rows


def _one(options: argparse.Namespace, size: str, rank: int, avatar: bool, dtype: torch.dtype) -> dict[str, Any]:
    """A row of the table. A model that does not fit is a result too."""
    empty = {"trained_M": None, "step_s": None, "most_s": None, "peak_GB": None, "tokens_per_s": None}
    try:
        model = build(size, rank, options.device, dtype)
        vocabulary = shape_of(size)["text_config"]["vocab_size"]
        batch = batch_of(options.rows, options.prompt, options.response, vocabulary, options.device)
        found = measure(make_step(model, batch, options.group, options.micro, avatar), options.rounds, options.device)
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        tokens = options.rows * (options.prompt + options.response)
        speed = tokens / found["step_s"] if found["step_s"] else None
        return {"trained_M": trained / 1e6, **found, "tokens_per_s": speed, "note": ""}
    except torch.cuda.OutOfMemoryError:
        return {**empty, "note": "out of memory"}
    finally:
        gc.collect()
        if options.device == "cuda":
            torch.cuda.empty_cache()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--size", nargs="+", choices=["toy", *NAMES], default=list(NAMES))
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--micro", type=int, default=2, help="rows of a micro-batch")
    parser.add_argument("--prompt", type=int, default=2048, help="tokens; a clip of 32 frames with its sound")
    parser.add_argument("--response", type=int, default=512, help="tokens")
    parser.add_argument("--rank", type=int, default=64, help="of LoRA")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("missing: there is no GPU here, so nothing was measured")
        return NOTHING_MEASURED
    where = machine()
    if options.device == "cuda":
        where |= {"gpu": torch.cuda.get_device_name(), "gpu_GB": torch.cuda.get_device_properties(0).total_memory / 1e9}
    settings = {name: value for name, value in vars(options).items() if name != "size"}
    settings |= {
        "torch": torch.__version__,
        "gradient_checkpointing": True,
        "optimiser": "AdamW, states in the weights' type",
    }
    report("gpu" if options.device == "cuda" else "gpu_on_cpu", settings, where, measure_all(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
