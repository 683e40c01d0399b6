"""The judge served by verl's own reward-model pool: GPUs of the run's cluster that are set apart for it.

verl starts the servers and a router in front of them, and tells its driver the router's address; what goes through it
is the OpenAI protocol. Here the address and the model's name find their way into the configuration that the rollout
workers get, so that everything else about the judge stays as with any other endpoint. One difference: the router
answers 500 whatever a server's error was.
"""

from __future__ import annotations

from typing import Any

import httpx

from avatar_verl.config import JUDGE_POOL

_TIMEOUT_S = 60.0  # the pool is up when verl says its address


def connect_judge(config: Any, router_address: str | None) -> None:
    """Put the pool's address and the name of its model into ``avatar.reward.judge``, where that names the pool.

    Args:
        config: of the run; changed in place, before rollout workers get it.
        router_address: ``host:port`` from verl; None without a pool.

    Raises:
        httpx.HTTPError: the pool does not answer.
    """
    judge = config.avatar.reward.judge
    if judge.endpoint != JUDGE_POOL:
        return
    assert router_address, "verl started no reward-model pool"
    judge.endpoint = f"http://{router_address}/v1"
    reply = httpx.get(f"{judge.endpoint}/models", timeout=_TIMEOUT_S, trust_env=False)
    reply.raise_for_status()
    judge.model = reply.json()["data"][0]["id"]
    print(f"[AVATAR] judge: {judge.model}, verl's reward-model pool at {router_address}", flush=True)
