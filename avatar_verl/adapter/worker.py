"""verl's training worker, with two repairs that must sit around the engine."""

from __future__ import annotations

import os
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils.device import get_device_name
from verl.utils.tensordict_utils import nested_tensor_from_tensor_list
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker


def fix_position_ids(data: TensorDict) -> None:
    """Give nested position ids [B, 4, L] their ragged dimension back.

    TransferQueue packs rows by ``as_nested_tensor``. When all rows of a rank have the same length, or there is one
    row, torch takes dimension 1 for the ragged one, while verl expects dimension 2 and splits wrongly.
    """
    positions = data.get("position_ids", None)
    if not isinstance(positions, torch.Tensor) or not positions.is_nested or positions.dim() != 3:
        return
    if positions._ragged_idx == 1:  # type: ignore[attr-defined]  # of nested tensors only
        data["position_ids"] = nested_tensor_from_tensor_list(list(positions.unbind()), ragged_idx=2)


def use_all_cores() -> None:
    """Give this process its share of the machine's cores.

    Every other process of a CPU run keeps to one thread: they mostly wait for each other. While ranks compute nobody
    else does, so a step on two cores takes about half as long.
    """
    if get_device_name() != "cpu":
        return
    ranks_here = int(os.environ.get("RAY_LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_WORLD_SIZE") or 1)
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks_here))


def join_ranks() -> None:
    """Make the process group of a CPU run: gloo, where verl would ask for two backends of one device.

    A rank that is alone meets nobody and takes no port: verl chose one long ago, and another process, such as a rollout
    server that starts beside this one, may have taken it meanwhile.
    """
    if get_device_name() != "cpu" or torch.distributed.is_initialized():
        return
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = torch.distributed.HashStore() if ranks == 1 else None  # type: ignore[attr-defined]  # a public name
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)


class OmniTrainingWorker(TrainingWorker):
    """Joins the ranks before verl does, and repairs position ids."""

    def __init__(self, config: Any) -> None:
        use_all_cores()
        join_ranks()
        super().__init__(config)

    def train_mini_batch(self, data: TensorDict) -> TensorDict:
        fix_position_ids(data)
        return super().train_mini_batch(data)

    def infer_batch(self, data: TensorDict) -> TensorDict:
        fix_position_ids(data)
        return super().infer_batch(data)


class OmniActorRolloutRefWorker(ActorRolloutRefWorker):
    """The colocated worker, built of our training worker."""

    actor_worker_cls = OmniTrainingWorker
    ref_worker_cls = OmniTrainingWorker
