"""Client of the judge's endpoint, made so that no server can stall or stop a run.

A circuit breaker stops asking a dead server; a server that says 429 is busy, not dead. The rest is
:mod:`avatar_verl.chat`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from avatar_verl.chat import ChatCost, ChatEndpoint, ChatError
from avatar_verl.config import JudgeReward
from avatar_verl.rewards.judge_breaker import CircuitBreaker


class JudgeError(Exception):
    """No judgement. ``reason`` is the code that is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class JudgeCost(ChatCost):
    """What the judge has cost so far. Written in the judge's thread only, read from any."""

    cache_hits: int = 0
    cache_errors: int = 0
    breaker_openings: int = 0
    images: int = 0


class JudgeClient:
    """One endpoint, used from one event loop."""

    def __init__(self, settings: JudgeReward, cost: JudgeCost) -> None:
        self._cost = cost
        self._breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_cooldown_s)
        self._endpoint = ChatEndpoint(
            settings.endpoint,
            api_key_env=settings.api_key_env,
            timeout_s=settings.timeout_s,
            concurrency=settings.concurrency,
            retries=settings.retries,
            backoff_s=settings.backoff_s,
            cost=cost,
        )

    async def ask(self, body: dict[str, Any], deadline: float) -> str:
        """Text of the reply.

        Args:
            body: the request.
            deadline: on the event loop's clock; no try starts after it.

        Raises:
            JudgeError: after the last try; reasons are those of :class:`avatar_verl.chat.ChatError` and
                ``circuit_open`` and ``budget``, each behind ``judge_``.
        """
        try:
            return await self._endpoint.persist(lambda: self._guarded(body, deadline))
        except ChatError as error:
            raise JudgeError(f"judge_{error.reason}") from None

    async def _guarded(self, body: dict[str, Any], deadline: float) -> str:
        """One try that the circuit breaker sees."""
        if asyncio.get_running_loop().time() >= deadline:
            raise ChatError("budget", health="busy")
        if not self._breaker.allow():
            raise ChatError("circuit_open", health="busy")
        try:
            content = await self._endpoint.post(body)
        except ChatError as error:
            if error.health == "alive":
                self._breaker.success()
            elif error.health == "ailing":
                self._breaker.failure()
            raise
        finally:
            self._cost.breaker_openings = self._breaker.times_opened
        self._breaker.success()
        return content

    async def close(self) -> None:
        """Close connections."""
        await self._endpoint.close()
