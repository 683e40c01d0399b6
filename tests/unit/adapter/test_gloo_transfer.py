"""Weights go from training rank 0 to every rollout rank, bit for bit, in the steps that verl's manager takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from avatar_verl.adapter.gloo_transfer import GlooCheckpointEngine, _header, _meta

BUCKET = 1024
WEIGHTS = {
    "thinker.lm_head.weight": torch.randn(100, 7),  # 2800 bytes: three chunks
    "scalar": torch.tensor(3.25),
    "half": torch.randn(5, 3).to(torch.bfloat16),
    "full chunk": torch.randn(BUCKET // 4),
    "counts": torch.arange(4),
}


class Consumed(Iterator[tuple[str, torch.Tensor]]):
    """Weights as an engine gives them, one by one; gathering each is work of all training ranks."""

    def __init__(self) -> None:
        self.left = list(WEIGHTS.items())

    def __next__(self) -> tuple[str, torch.Tensor]:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


async def received(engine: GlooCheckpointEngine) -> dict[str, torch.Tensor]:
    return {name: weight.clone() async for name, weight in engine.receive_weights(global_steps=1)}


def transfer(senders: list[GlooCheckpointEngine], receivers: list[GlooCheckpointEngine]) -> tuple[list[Any], list[Any]]:
    """What verl's CheckpointEngineManager does, each rank in a thread: what is left unsent, and what arrived."""
    everyone = [*senders, *receivers]
    metadata = [engine.prepare() for engine in everyone]
    ours, theirs = GlooCheckpointEngine.build_topology(len(senders), len(receivers), metadata)
    places = [{key: values[i] for key, values in ours.items()} for i in range(len(senders))]
    places += [{key: values[i] for key, values in theirs.items()} for i in range(len(receivers))]
    weights = [Consumed() for _ in senders]
    with ThreadPoolExecutor(len(everyone)) as pool:
        for done in [pool.submit(e.init_process_group, **place) for e, place in zip(everyone, places, strict=True)]:
            done.result(60)
        sent = [pool.submit(asyncio.run, e.send_weights(w)) for e, w in zip(senders, weights, strict=True)]
        arrived = [pool.submit(asyncio.run, received(engine)) for engine in receivers]
        assert [done.result(60) for done in sent] == [{}] * len(senders)
        found = [done.result(60) for done in arrived]
    for engine in everyone:
        engine.finalize()
    return [w.left for w in weights], found


def test_every_rollout_rank_gets_every_weight_twice_over() -> None:
    senders = [GlooCheckpointEngine(BUCKET, is_master=i == 0) for i in range(2)]
    receivers = [GlooCheckpointEngine(BUCKET) for _ in range(2)]
    for _ in range(2):  # a transfer leaves nothing behind that the next one would trip over
        left, arrived = transfer(senders, receivers)
        assert left == [[], []], "the second training rank has to gather along"
        for weights in arrived:
            assert list(weights) == list(WEIGHTS)
            for name, weight in WEIGHTS.items():
                assert weights[name].dtype == weight.dtype
                assert weights[name].shape == weight.shape
                assert torch.equal(weights[name], weight), name
        WEIGHTS["scalar"] += 1


def test_a_name_too_long_for_its_header_is_an_error() -> None:
    class Meta:
        name, shape, dtype, chunk_offset, chunk_size = "x" * 2000, torch.Size([1]), torch.float32, 0, 4

    with pytest.raises(ValueError, match="longer than 1024 bytes"):
        _header(Meta)  # type: ignore[arg-type]
    Meta.name = "é" * 100  # type: ignore[misc]
    found = _meta(_header(Meta))  # type: ignore[arg-type]
    assert found is not None
    assert (found.name, found.shape, found.dtype, found.chunk_size) == ("é" * 100, torch.Size([1]), torch.float32, 4)
