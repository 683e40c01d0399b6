"""An OpenAI-compatible chat endpoint over HTTP, asked so that no server can stall its caller; for judges and teachers.

Each request has a time limit from sending to the last byte, whatever trickles in between. Time-outs, broken
connections, 429 and 5xx are worth another try, after a growing, jittered wait or the server's ``Retry-After``.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

#: Client errors that are about one request, not about the server.
_REQUEST_FAULTS = frozenset({400, 413, 422})
_MAX_RETRY_AFTER_S = 120.0

Health = Literal["alive", "ailing", "busy"]


class ChatError(Exception):
    """No usable reply to one request.

    ``reason`` is a code to count: ``timeout``, ``unreachable``, ``bad_url``, ``http_<status>``, ``bad_reply``,
    ``cut_reply``, or a caller's own; ``health`` is what it says about the server.
    """

    def __init__(
        self, reason: str, health: Health = "ailing", retryable: bool = False, wait_s: float = 0.0, detail: str = ""
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.health = health
        self.retryable = retryable
        self.wait_s = wait_s  # the server asked to wait this long
        self.detail = detail  # the server's own words, cut


@dataclass(slots=True)
class ChatCost:
    """What an endpoint has cost so far. Written in one event loop only, read from any thread."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0  # summed over requests, also when they run side by side


class ChatEndpoint:
    """One endpoint, used from one event loop.

    Args:
        url: base, e.g. ``http://localhost:8000/v1``.
        api_key_env: environment variable that holds the key; "": none.
        timeout_s: of one request, from sending to the last byte.
        concurrency: requests under way.
        retries: tries after the first.
        backoff_s: before the first retry; doubles, with jitter.
        cost: counted into.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key_env: str,
        timeout_s: float,
        concurrency: int,
        retries: int,
        backoff_s: float,
        cost: ChatCost,
    ) -> None:
        key = os.environ.get(api_key_env, "") if api_key_env else ""
        self.url = url.rstrip("/") + "/chat/completions"
        self._timeout_s, self._retries, self._backoff_s = timeout_s, retries, backoff_s
        self._cost = cost
        self._slots = asyncio.Semaphore(concurrency)
        self._random = random.Random()  # its own, so that a run's seeded draws stay where they are
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=concurrency),
            trust_env=not _is_ours(url),
        )

    async def persist(self, attempt: Callable[[], Awaitable[str]]) -> str:
        """What ``attempt`` returns, tried again where its :class:`ChatError` is retryable; each try takes a slot.

        Raises:
            ChatError: of the last try.
        """
        tries = 0
        while True:
            try:
                async with self._slots:
                    return await attempt()
            except ChatError as error:
                if not error.retryable or tries == self._retries:
                    raise
                backoff = self._backoff_s * 2**tries * self._random.uniform(0.5, 1.0)
                tries += 1
                self._cost.retries += 1
                await asyncio.sleep(max(backoff, error.wait_s))

    async def post(self, body: dict[str, Any]) -> str:
        """Text of the reply's first choice; one try.

        Raises:
            ChatError: see there.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._cost.requests += 1
        try:
            # httpx limits each read; a server that sends a byte now and then would never run out.
            response = await asyncio.wait_for(self._http.post(self.url, json=body), self._timeout_s)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            raise ChatError("timeout", retryable=True) from None
        except httpx.InvalidURL as error:
            raise ChatError("bad_url", detail=str(error)) from None
        except httpx.HTTPError:
            raise ChatError("unreachable", retryable=True) from None
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
            raise ChatError("bad_reply", health="alive", retryable=True) from None
        if finish == "length":
            raise ChatError("cut_reply", health="alive")
        if not isinstance(content, str):
            raise ChatError("bad_reply", health="alive", retryable=True)
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


def _status_error(response: httpx.Response) -> ChatError:
    status = response.status_code
    try:
        wait_s = min(max(float(response.headers.get("Retry-After", 0)), 0.0), _MAX_RETRY_AFTER_S)
    except ValueError:  # the header may also be a date; the own backoff will do
        wait_s = 0.0
    health: Health = "busy" if status == 429 else "alive" if status in _REQUEST_FAULTS else "ailing"
    again = status == 429 or status >= 500
    return ChatError(f"http_{status}", health, again, wait_s, detail=response.text[:200])
