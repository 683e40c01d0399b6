"""Which replicas take over servers that were launched early."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMReplica

from avatar_verl.adapter.named_actor import NamedActor
from avatar_verl.adapter.rollout import OmniReplica


def replica(is_reward_model: bool = False) -> Any:
    """A replica of rank 0 as verl's constructor leaves it, as far as launching reads it."""
    made: Any = object.__new__(OmniReplica)
    made.replica_rank, made.name_suffix = 0, ""
    made.is_reward_model, made.is_teacher_model = is_reward_model, False
    made.servers, made._server_handle, made._server_address = [], None, None
    return made


async def _launch(self: Any) -> None:
    self.servers, self._server_handle, self._server_address = ["own"], "own handle", "own address"


def test_a_reward_models_replica_leaves_the_rollouts_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vLLMReplica, "launch_servers", _launch)
    early = replica()
    early.servers, early._server_address = ["early"], "early address"
    launched: Future[Any] = Future()
    launched.set_result(early)
    monkeypatch.setattr(OmniReplica, "_early", {0: launched})

    judge, rollout = replica(is_reward_model=True), replica()
    asyncio.run(judge.launch_servers())
    asyncio.run(rollout.launch_servers())
    assert (judge.servers, judge._server_handle, judge._server_address) == (["own"], "own handle", "own address")
    assert (rollout.servers, rollout._server_address) == (["early"], "early address")
    assert rollout._server_handle.__reduce__() == (NamedActor, ("vllm_server_0_0",))
