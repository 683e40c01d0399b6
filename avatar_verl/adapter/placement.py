"""Does a Ray cluster hold what a run asks for? verl's placement groups would wait for it without a word.

A run needs on each of ``trainer.nnodes`` nodes ``trainer.n_gpus_per_node`` GPUs, and beside each of them CPU slots. A
judge in verl's reward-model pool needs GPUs of its own, on the same nodes or others. Nodes that are still on their way
are waited for, aloud.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: verl puts so many CPU slots beside each GPU (``ResourcePoolManager.max_colocate_count`` of 0.9.1).
CPUS_PER_GPU = 3


class PlacementError(RuntimeError):
    """The cluster does not hold what the run asks for."""


@dataclass(frozen=True)
class Needs:
    """What a run asks of a cluster."""

    nodes: int
    gpus_per_node: int
    pool_nodes: int = 0
    pool_gpus_per_node: int = 0

    @classmethod
    def of(cls, config: Any) -> Needs:
        """Read off a run's configuration (a mapping or Hydra's)."""
        trainer, pool = config["trainer"], config.get("reward", {}).get("reward_model", {})
        own = pool.get("enable") and pool.get("enable_resource_pool")
        judge = (int(pool["nnodes"]), int(pool["n_gpus_per_node"])) if own else (0, 0)
        return cls(int(trainer["nnodes"]), int(trainer["n_gpus_per_node"]), *judge)

    @property
    def parts(self) -> list[int]:
        """GPUs that must be on one node, the largest first; each has :data:`CPUS_PER_GPU` CPU slots beside it."""
        return sorted([self.gpus_per_node] * self.nodes + [self.pool_gpus_per_node] * self.pool_nodes, reverse=True)

    def __str__(self) -> str:
        text = (
            f"{self.nodes} nodes with {self.gpus_per_node} GPU and {CPUS_PER_GPU * self.gpus_per_node} CPU slots each"
        )
        pool = f"{self.pool_nodes} with {self.pool_gpus_per_node} GPU and {CPUS_PER_GPU * self.pool_gpus_per_node}"
        return f"{text}, and for the judge's pool {pool}" if self.pool_nodes else text


def _fits(parts: Sequence[int], nodes: Sequence[Mapping[str, float]], cpus_per_gpu: int) -> bool:
    """Whether each part finds a node; the fullest node that still holds it gets it."""
    free = [[node.get("GPU", 0), node.get("CPU", 0)] for node in nodes]
    for gpus in parts:
        able = [room for room in free if room[0] >= gpus and room[1] >= cpus_per_gpu * gpus]
        if not able:
            return False
        room = min(able)
        room[0] -= gpus
        room[1] -= cpus_per_gpu * gpus
    return True


def missing(needs: Needs, nodes: Sequence[Mapping[str, float]]) -> str:
    """What keeps a run from being placed, with what to do; empty: nothing.

    Args:
        needs: of the run.
        nodes: total resources of each living node, by Ray's names ("GPU", "CPU").
    """
    if _fits(needs.parts, nodes, CPUS_PER_GPU):
        return ""
    there = ", ".join(f"{node.get('GPU', 0):g} GPU / {node.get('CPU', 0):g} CPU" for node in nodes) or "none"
    if _fits(needs.parts, nodes, 0):
        slots = CPUS_PER_GPU * (needs.gpus_per_node + needs.pool_gpus_per_node)
        advice = f"start the nodes with --num-cpus={slots} or more (slots, not cores)"
    else:
        advice = "start more nodes, or lower trainer.nnodes or trainer.n_gpus_per_node"
        if needs.pool_nodes:
            advice += ", or reward.reward_model.n_gpus_per_node: the pool's GPUs are not those of the trainer"
    return f"the run needs {needs}; the cluster's nodes have: {there}. To do: {advice}"


def wait_until_placeable(
    needs: Needs,
    living_nodes: Callable[[], Sequence[Mapping[str, float]]],
    timeout_s: float,
    every_s: float = 5.0,
) -> None:
    """Wait for nodes that are still joining.

    Raises:
        PlacementError: after ``timeout_s``, with what is missing.
    """
    deadline = time.monotonic() + timeout_s
    while problem := missing(needs, living_nodes()):
        if time.monotonic() >= deadline:
            raise PlacementError(problem)
        print(f"waiting for nodes: {problem}", flush=True)
        time.sleep(min(every_s, max(0.0, deadline - time.monotonic())))


def ray_nodes() -> list[dict[str, float]]:
    """Total resources of each living node of the cluster this process has joined."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
