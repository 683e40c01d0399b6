"""HTTP client of an OpenAI-compatible chat endpoint, made so that no server can stall or stop a run.

Each request has a time limit from sending to the last byte, whatever trickles in between. Time-outs, broken
connections, 429 and 5xx are tried again after a growing, jittered wait, or the server's ``Retry-After``. A circuit
breaker stops asking a dead server; a server that says 429 is busy, not dead.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from avatar_verl.config import JudgeReward
from avatar_verl.rewards.judge_breaker import CircuitBreaker

#: Client errors that are about one request, not about the server.
_REQUEST_FAULTS = frozenset({400, 413, 422})
_MAX_RETRY_AFTER_S = 60.0


Health = Literal["alive", "ailing", "busy"]


class JudgeError(Exception):
    """No usable reply. ``reason`` is the code that is counted; ``health`` is what it says about the server."""

    def __init__(self, reason: str, health: Health = "ailing", retryable: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.health = health
        self.retryable = retryable
        self.wait_s = wait_s  # the server asked to wait this long


@dataclass(slots=True)
class JudgeCost:
    """What the judge has cost so far. Written in the judge's thread only, read from any."""

    requests: int = 0
    retries: int = 0
    cache_hits: int = 0
    cache_errors: int = 0
    breaker_openings: int = 0
    images: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0  # summed over requests, also when they run side by side


class JudgeClient:
    """One endpoint, used from one event loop."""

    def __init__(self, settings: JudgeReward, cost: JudgeCost) -> None:
        self._settings = settings
        self._cost = cost
        self._breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_cooldown_s)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._random = random.Random()  # its own, so that the run's seeded draws stay where they are
        key = os.environ.get(settings.api_key_env, "") if settings.api_key_env else ""
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_connections=settings.concurrency),
            trust_env=not _is_ours(settings.endpoint),
        )
        self._url = settings.endpoint.rstrip("/") + "/chat/completions"

    async def ask(self, body: dict[str, Any], deadline: float) -> str:
        """Text of the reply.

        Args:
            body: the request.
            deadline: on the event loop's clock; no try starts after it.

        Raises:
            JudgeError: after the last try; reasons ``judge_timeout``, ``judge_unreachable``, ``judge_http_<status>``,
                ``judge_bad_body``, ``judge_cut``, ``judge_circuit_open``, ``judge_budget``.
        """
        attempt = 0
        while True:
            try:
                async with self._slots:
                    return await self._guarded(body, deadline)
            except JudgeError as error:
                if not error.retryable or attempt == self._settings.retries:
                    raise
                backoff = self._settings.backoff_s * 2**attempt * self._random.uniform(0.5, 1.0)
                attempt += 1
                self._cost.retries += 1
                await asyncio.sleep(max(backoff, error.wait_s))

    async def _guarded(self, body: dict[str, Any], deadline: float) -> str:
        """One try that the circuit breaker sees."""
        if asyncio.get_running_loop().time() >= deadline:
            raise JudgeError("judge_budget", health="busy")
        if not self._breaker.allow():
            raise JudgeError("judge_circuit_open", health="busy")
        try:
            content = await self._once(body)
        except JudgeError as error:
            if error.health == "alive":
                self._breaker.success()
            elif error.health == "ailing":
                self._breaker.failure()
            raise
        finally:
            self._cost.breaker_openings = self._breaker.times_opened
        self._breaker.success()
        return content

    async def _once(self, body: dict[str, Any]) -> str:
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._cost.requests += 1
        try:
            # httpx limits each read; a server that sends a byte now and then would never run out.
            response = await asyncio.wait_for(self._http.post(self._url, json=body), self._settings.timeout_s)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            raise JudgeError("judge_timeout", retryable=True) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise JudgeError("judge_unreachable", retryable=True) from None
        finally:
            self._cost.seconds += loop.time() - started
        if response.status_code != 200:
            raise _status_error(response)
        return self._content(response)

    def _content(self, response: httpx.Response) -> str:
        """Text of the first choice, usage counted."""
        try:
            reply = response.json()
            choice = reply["choices"][0]
            content, finish = choice["message"]["content"], choice.get("finish_reason")
            usage = reply.get("usage") or {}
            self._cost.prompt_tokens += int(usage.get("prompt_tokens") or 0)
            self._cost.completion_tokens += int(usage.get("completion_tokens") or 0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise JudgeError("judge_bad_body", health="alive", retryable=True) from None
        if finish == "length":
            raise JudgeError("judge_cut", health="alive")
        if not isinstance(content, str):
            raise JudgeError("judge_bad_body", health="alive", retryable=True)
        return content

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()


def _is_ours(endpoint: str) -> bool:
    """On this machine or this cluster, by address: a proxy for the world outside must not stand in between."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost"


def _status_error(response: httpx.Response) -> JudgeError:
    status = response.status_code
    try:
        wait_s = min(max(float(response.headers.get("Retry-After", 0)), 0.0), _MAX_RETRY_AFTER_S)
    except ValueError:  # the header may also be a date; the own backoff will do
        wait_s = 0.0
    health: Health = "busy" if status == 429 else "alive" if status in _REQUEST_FAULTS else "ailing"
    return JudgeError(f"judge_http_{status}", health, retryable=status == 429 or status >= 500, wait_s=wait_s)
