"""Weights from training ranks to separated rollout replicas by gloo: verl's checkpoint engine without a GPU.

verl's own engines need one (``nccl``, ``nixl`` and others); where there is one they are far faster. Registered as
``gloo`` when verl imports this module, which ``rollout.checkpoint_engine.custom_backend_module`` names.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import ray
import torch
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore  # type: ignore[attr-defined]  # public names
from verl.checkpoint_engine.base import (
    CheckpointEngine,
    CheckpointEngineRegistry,
    TensorMeta,
    merge_weight_chunks,
    split_weight_chunks,
)

_PATIENCE = timedelta(minutes=10)  # for the others of the group
_HEADER = 1024  # bytes of a chunk's header: JSON, filled up with spaces; all spaces behind the last chunk


@CheckpointEngineRegistry.register("gloo")
class GlooCheckpointEngine(CheckpointEngine):
    """Training rank 0 broadcasts to all rollout ranks; a group lives for one transfer.

    Args:
        bucket_size: bytes of the largest chunk; a larger weight goes in several.
        is_master: whether this is training rank 0.
    """

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self.bucket_size = bucket_size
        self.is_master = is_master
        self._store: TCPStore | None = None
        self._group: Any = None  # a ProcessGroupGloo; none at training ranks but the first

    def prepare(self) -> dict[str, Any]:
        """Where the ranks of the group meet; only the master knows."""
        if not self.is_master:
            return {}
        host = ray.util.get_node_ip_address().strip("[]")
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
        return {"host": host, "port": self._store.port}

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[dict[str, Any]]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Rank 0 sends, 1 to ``rollout_world_size`` receive, the other training ranks (-1) are not in the group."""
        meeting, ranks = metadata[0], 1 + rollout_world_size

        def arguments(own: list[int]) -> dict[str, list[Any]]:
            return {"rank": own, "ranks": [ranks] * len(own), "meeting": [meeting] * len(own)}

        return arguments([0] + [-1] * (actor_wg_world_size - 1)), arguments(list(range(1, ranks)))

    def init_process_group(self, rank: int, ranks: int, meeting: dict[str, Any]) -> None:  # type: ignore[override]
        """All of the group must call it at the same time."""
        if rank < 0:
            return
        store = self._store or TCPStore(meeting["host"], meeting["port"], is_master=False)
        self._group = ProcessGroupGloo(PrefixStore("weights", store), rank, ranks, _PATIENCE)

    def finalize(self) -> None:
        self._group = self._store = None

    def _broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
        self._group.broadcast(tensor, 0).wait()
        return tensor

    async def send_weights(self, weights: Any, global_steps: int | None = None) -> dict[str, Any]:
        """Called by every training rank with an iterator of (name, weight): each is gathered from all of them."""
        if self._group is None:
            for _ in weights:
                pass
            return {}
        async for meta, chunk in split_weight_chunks(weights, self.bucket_size):
            assert chunk is not None
            self._broadcast(_header(meta))
            self._broadcast(chunk.cpu())
        self._broadcast(torch.full([_HEADER], ord(" "), dtype=torch.uint8))
        return {}

    async def receive_weights(self, global_steps: int | None = None) -> Any:
        """Yields (name, weight), in the sender's order and dtypes."""
        chunks: Any = self._chunks()
        async for name, weight in merge_weight_chunks(chunks, self.bucket_size):
            yield name, weight

    async def _chunks(self) -> AsyncIterator[tuple[TensorMeta, torch.Tensor]]:
        while meta := _meta(self._broadcast(torch.empty(_HEADER, dtype=torch.uint8))):
            yield meta, self._broadcast(torch.empty(meta.chunk_size, dtype=torch.uint8))


def _header(meta: TensorMeta) -> torch.Tensor:
    dtype = str(meta.dtype).removeprefix("torch.")
    text = json.dumps([meta.name, list(meta.shape), dtype, meta.chunk_offset, meta.chunk_size]).encode()
    if len(text) > _HEADER:
        raise ValueError(f"{meta.name}: the header of this weight is longer than {_HEADER} bytes")
    return torch.frombuffer(bytearray(text.ljust(_HEADER)), dtype=torch.uint8)


def _meta(header: torch.Tensor) -> TensorMeta | None:
    text = bytes(header.tolist()).strip()
    if not text:
        return None
    name, shape, dtype, offset, size = json.loads(text)
    return TensorMeta(name, torch.Size(shape), getattr(torch, dtype), offset, size, offset=0)
