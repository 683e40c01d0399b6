"""Changes to fields of rows that lie in TransferQueue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta


def put_rewards(batch: KVBatchMeta, rewards: Sequence[float]) -> None:
    """Give each row another total reward: ``rm_scores`` [T] holds it at the last response token, zeros before."""
    rows = [torch.zeros_like(row) for row in _get(batch, "rm_scores")]
    for row, reward in zip(rows, rewards, strict=True):
        row[-1] = reward
    _put(batch, "rm_scores", rows)


def mute_replayed(batch: KVBatchMeta) -> KVBatchMeta:
    """Take the replayed rows out of this update by an empty mask; their places in the mini-batches stay."""
    masks = _get(batch, "response_mask")
    muted = [torch.zeros_like(row) if tag.get("replayed") else row for row, tag in zip(masks, batch.tags, strict=True)]
    _put(batch, "response_mask", muted)
    batch.fields = None
    return batch


def _get(batch: KVBatchMeta, field: str) -> list[torch.Tensor]:
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=[field])
    return list(data[field].unbind())


def _put(batch: KVBatchMeta, field: str, rows: list[torch.Tensor]) -> None:
    nested = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict({field: nested}, len(rows)))
