"""Supervised training on a Ray cluster: verl's SFT trainer, one rank an actor, placed as reinforcement learning is.

The ranks do what torchrun's do, with the same numbers; Ray brings them to several nodes by one command, on the cluster
that later stages use. verl's own ``sft_trainer_ray`` is not taken: it builds every batch, pixels and sound included, in
the driver and sends it through the object store, while here each rank decodes its own rows.
"""

from __future__ import annotations

from pathlib import Path

import ray
from omegaconf import DictConfig
from verl.single_controller.base.decorator import Dispatch, register
from verl.single_controller.base.worker import Worker
from verl.single_controller.ray import RayClassWithInitArgs, RayResourcePool, RayWorkerGroup

from avatar_verl.adapter.driver import join_ray


class _Rank(Worker):
    """One rank; verl has set RANK, WORLD_SIZE and the address of rank 0 before this is made."""

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)  # type: ignore[attr-defined]  # verl adds the modes at run time
    def train(self, run: str) -> None:
        from avatar_verl.adapter.sft import train_rank

        train_rank(Path(run))


def train_on_ray(config: DictConfig, run: Path) -> None:
    """Train to the end on ``trainer.nnodes`` x ``trainer.n_gpus_per_node`` ranks; the run folder is shared by nodes.

    Raises:
        PlacementError: the cluster does not hold the ranks.
        ray.exceptions.RayTaskError: the first rank that failed, with its own error.
    """
    join_ray(config)
    try:
        pool = RayResourcePool([config.trainer.n_gpus_per_node] * config.trainer.nnodes, max_colocate_count=1)
        ranks = RayWorkerGroup(
            pool, RayClassWithInitArgs(ray.remote(_Rank)), device_name=config.trainer.device, name_prefix="sft"
        )
        ranks.train(str(run))  # type: ignore[attr-defined]  # bound from _Rank
    finally:
        ray.shutdown()
