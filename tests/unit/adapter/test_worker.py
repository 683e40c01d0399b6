"""Position ids get their ragged dimension back, however TransferQueue packed them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

from avatar_verl.adapter.worker import OmniActorRolloutRefWorker, OmniTrainingWorker, fix_position_ids


def packed(lengths: list[int]) -> tuple[TensorDict, list[torch.Tensor]]:
    """Rows [4, L] as TransferQueue returns them."""
    rows = [torch.arange(4 * length).view(4, length) + 100 * i for i, length in enumerate(lengths)]
    nested = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
    return TensorDict({"position_ids": nested}, batch_size=len(lengths)), rows


@pytest.mark.parametrize("lengths", [[5, 7], [5, 5], [6], [4, 4], [4, 4, 4]], ids=str)
def test_rows_are_split_at_their_ends(lengths: list[int]) -> None:
    data, rows = packed(lengths)
    fix_position_ids(data)
    positions = data["position_ids"]
    assert positions._ragged_idx == 2
    for found, row in zip(positions.unbind(), rows, strict=True):
        assert found.tolist() == row.tolist()
    # What an engine does with them: all rows behind each other, [4, sum of lengths].
    assert positions.values().tolist() == torch.cat(rows, dim=1).tolist()


def test_equal_lengths_are_packed_wrongly_without_it() -> None:
    """Why the repair is there: verl would read a tensor of [8, 5] as [4, tokens]."""
    data, rows = packed([5, 5])
    assert data["position_ids"].values().shape == (8, 5)
    fix_position_ids(data)
    micro_batches = tu.chunk_tensordict(data, 2)
    assert [m["position_ids"].values().tolist() for m in micro_batches] == [row.tolist() for row in rows]


@pytest.mark.parametrize(
    "positions",
    [
        torch.nested.as_nested_tensor([torch.arange(3), torch.arange(3)], layout=torch.jagged),
        torch.arange(12).view(2, 2, 3),
    ],
    ids=["plain positions", "dense"],
)
def test_anything_else_is_left_alone(positions: torch.Tensor) -> None:
    data = TensorDict({"position_ids": positions}, batch_size=2)
    fix_position_ids(data)
    assert data["position_ids"].shape == positions.shape
    assert torch.equal(
        data["position_ids"].to_padded_tensor(0) if positions.is_nested else data["position_ids"],
        positions.to_padded_tensor(0) if positions.is_nested else positions,
    )


def test_no_positions_no_harm() -> None:
    fix_position_ids(TensorDict({}, batch_size=2))


def test_the_colocated_worker_is_built_of_ours() -> None:
    assert OmniActorRolloutRefWorker.actor_worker_cls is OmniTrainingWorker
    assert OmniActorRolloutRefWorker.ref_worker_cls is OmniTrainingWorker


def test_a_rank_alone_starts_though_its_port_was_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        own = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        code = (
            "import torch\nfrom avatar_verl.adapter.worker import join_ranks\njoin_ranks()\n"
            "x = torch.ones(2)\ntorch.distributed.all_reduce(x)\nprint(x.tolist(), torch.distributed.get_world_size())"
        )
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "[1.0, 1.0] 1"
