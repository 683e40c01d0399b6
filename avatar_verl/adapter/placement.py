"""Does a Ray cluster hold what a run asks for? verl's placement groups would wait for it without a word.

A run needs on each of ``trainer.nnodes`` nodes ``trainer.n_gpus_per_node`` GPUs, and beside each of them CPU slots. A
judge in verl's reward-model pool and a separated rollout need GPUs of their own, on the same nodes or others. Nodes
that are still on their way are waited for, aloud.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avatar_verl.config import separated_rollout

#: verl puts so many CPU slots beside each GPU (``ResourcePoolManager.max_colocate_count`` of 0.9.1), and so many beside
#: each of a replica that has GPUs of its own (``RolloutReplica.init_standalone``).
CPUS_PER_GPU, CPUS_PER_ROLLOUT_GPU = 3, 2


class PlacementError(RuntimeError):
    """The cluster does not hold what the run asks for."""


@dataclass(frozen=True)
class Needs:
    """What a run asks of a cluster."""

    nodes: int
    gpus_per_node: int
    pool_nodes: int = 0
    pool_gpus_per_node: int = 0
    rollout_parts: int = 0  # of replicas; a part lies on one node, a node may hold several
    rollout_gpus_per_part: int = 0

    @classmethod
    def of(cls, config: Any) -> Needs:
        """Read off a run's configuration (a mapping or Hydra's)."""
        trainer, pool = config["trainer"], config.get("reward", {}).get("reward_model", {})
        own = pool.get("enable") and pool.get("enable_resource_pool")
        judge = (int(pool["nnodes"]), int(pool["n_gpus_per_node"])) if own else (0, 0)
        return cls(int(trainer["nnodes"]), int(trainer["n_gpus_per_node"]), *judge, *_rollout_parts(config))

    @property
    def parts(self) -> list[tuple[int, int]]:
        """GPUs that must be on one node, with the CPU slots beside them; the largest first."""
        kinds = (
            (self.nodes, self.gpus_per_node, CPUS_PER_GPU),
            (self.pool_nodes, self.pool_gpus_per_node, CPUS_PER_GPU),
            (self.rollout_parts, self.rollout_gpus_per_part, CPUS_PER_ROLLOUT_GPU),
        )
        return sorted(((gpus, slots * gpus) for count, gpus, slots in kinds for _ in range(count)), reverse=True)

    def __str__(self) -> str:
        text = (
            f"{self.nodes} nodes with {self.gpus_per_node} GPU and {CPUS_PER_GPU * self.gpus_per_node} CPU slots each"
        )
        if self.pool_nodes:
            pool = f"{self.pool_nodes} with {self.pool_gpus_per_node} GPU and {CPUS_PER_GPU * self.pool_gpus_per_node}"
            text += f", and for the judge's pool {pool}"
        if self.rollout_parts:
            gpus = self.rollout_gpus_per_part
            each = f"{gpus} GPU and {CPUS_PER_ROLLOUT_GPU * gpus} CPU slots each"
            text += f", and for the separated rollout {self.rollout_parts} parts with {each}"
        return text


def _rollout_parts(config: Any) -> tuple[int, int]:
    """(number, GPUs of each): a replica is one part, or one on each node where it takes several whole ones."""
    nodes, gpus = separated_rollout(config)
    if not nodes:
        return 0, 0
    rollout = config["actor_rollout_ref"]["rollout"]
    sizes = [rollout.get(f"{kind}_parallel_size") or 1 for kind in ("tensor_model", "data", "pipeline_model")]
    replica = math.prod(int(size) for size in sizes)
    part = min(gpus, replica)
    return nodes * gpus // replica * (replica // part), part


def _fits(parts: Sequence[tuple[int, int]], nodes: Sequence[Mapping[str, float]]) -> bool:
    """Whether each part finds a node; the fullest node that still holds it gets it."""
    free = [[node.get("GPU", 0), node.get("CPU", 0)] for node in nodes]
    for gpus, slots in parts:
        able = [room for room in free if room[0] >= gpus and room[1] >= slots]
        if not able:
            return False
        room = min(able)
        room[0] -= gpus
        room[1] -= slots
    return True


def missing(needs: Needs, nodes: Sequence[Mapping[str, float]]) -> str:
    """What keeps a run from being placed, with what to do; empty: nothing.

    Args:
        needs: of the run.
        nodes: total resources of each living node, by Ray's names ("GPU", "CPU").
    """
    if _fits(needs.parts, nodes):
        return ""
    there = ", ".join(f"{node.get('GPU', 0):g} GPU / {node.get('CPU', 0):g} CPU" for node in nodes) or "none"
    if _fits([(gpus, 0) for gpus, _ in needs.parts], nodes):
        most = min(max(node.get("GPU", 0) for node in nodes), sum(gpus for gpus, _ in needs.parts))
        slots = CPUS_PER_GPU * int(most)
        advice = f"start the nodes with --num-cpus={slots} or more (slots, not cores)"
    else:
        advice = "start more nodes, or lower trainer.nnodes or trainer.n_gpus_per_node"
        if needs.pool_nodes:
            advice += ", or reward.reward_model.n_gpus_per_node: the pool's GPUs are not those of the trainer"
        if needs.rollout_parts:
            advice += ", or the same of actor_rollout_ref.rollout"
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
