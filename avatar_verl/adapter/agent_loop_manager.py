"""The workers of the rollout, started early, and the manager that spreads prompts and replayed completions."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ

from avatar_verl.adapter.agent_loop import OmniAgentLoopWorker
from avatar_verl.replay.entry import Entry


class LateAgentLoopWorker(OmniAgentLoopWorker):
    """An agent loop worker whose process imports everything at once and is given its clients later."""

    def __init__(self) -> None: ...

    def start(self, *args: Any) -> None:
        """What ``__init__`` does elsewhere."""
        OmniAgentLoopWorker.__init__(self, *args)


def start_workers(config: Any) -> list[Any]:
    """Start the workers' processes, round robin over the nodes, and return their handles without waiting.

    Their imports take many seconds. Started before the trainer, they overlap with those of the other processes.
    """
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    worker = ray.remote(LateAgentLoopWorker)
    strategies = ray.util.scheduling_strategies
    return [
        worker.options(
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node_id=nodes[i % len(nodes)], soft=True)
        ).remote()
        for i in range(config.actor_rollout_ref.rollout.agent.num_workers)
    ]


class OmniAgentLoopManager(AgentLoopManagerTQ):
    """verl's manager over our workers, which :func:`start_workers` has started."""

    agent_loop_workers: list[Any]  # handles of LateAgentLoopWorker

    def __init__(self, workers: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._started = workers

    async def _init_agent_loop_workers(self) -> None:
        self.agent_loop_workers = self._started
        clients = (self.llm_client, self.teacher_client, self.reward_loop_worker_handles)
        await asyncio.gather(*(worker.start.remote(self.config, *clients) for worker in self.agent_loop_workers))

    def rebuild(self, drawn: list[tuple[Entry, str]], step: int) -> list[tuple[Any, Any]]:
        """Spread replayed completions over the workers and return at once, (worker, future) of each part."""
        workers = self.agent_loop_workers
        placed = [(place, entry, label) for place, (entry, label) in enumerate(drawn)]
        parts = [placed[i :: len(workers)] for i in range(len(workers))]
        return [(w, w.rebuild.remote(part, step)) for w, part in zip(workers, parts, strict=True) if part]

    def replay(self, rebuilding: list[tuple[Any, Any]]) -> tuple[list[Any], list[tuple[int, str]]]:
        """Wait for what :meth:`rebuild` began, then as :meth:`OmniAgentLoopWorker.replay` of all workers together."""
        ray.get([future for _, future in rebuilding])
        rows: list[Any] = []
        failures: list[tuple[int, str]] = []
        for done, failed in ray.get([worker.replay.remote() for worker, _ in rebuilding]):
            rows.extend(done)
            failures.extend(failed)
        return rows, failures

    def take_reports(self) -> list[dict[str, Any]]:
        """Reports of all workers since the last call."""
        taken = ray.get([worker.take_reports.remote() for worker in self.agent_loop_workers])
        return [report for reports in taken for report in reports]
