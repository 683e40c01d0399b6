"""The chat endpoint of a teacher, asked no faster than allowed, and given up on when it is down."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any

from avatar_verl.chat import ChatCost, ChatEndpoint, ChatError

#: Failures in a row after which the server counts as down, so that a hundred thousand rows do not fail one by one.
PATIENCE = 20

#: The key, the URL or the model name is wrong: the next request will fail too.
_FATAL = frozenset({"http_401", "http_403", "http_404", "bad_url"})


class EndpointDown(RuntimeError):
    """The server refuses everybody, or has not answered for a while; the user has to act."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Where, and how fast."""

    url: str  # base, e.g. http://localhost:8000/v1
    model: str
    api_key_env: str = ""  # environment variable that holds the key
    concurrency: int = 8  # requests under way
    per_minute: float = 0.0  # requests begun in a minute; 0: no limit
    timeout_s: float = 120.0  # of one request, from sending to the last byte
    retries: int = 4
    backoff_s: float = 1.0  # before the first retry; doubles, with jitter
    max_tokens: int = 256  # of a reply


class Endpoint:
    """One endpoint, used from one event loop; a context manager."""

    def __init__(self, settings: EndpointSettings) -> None:
        if settings.api_key_env and not os.environ.get(settings.api_key_env):
            raise EndpointDown(f"the environment variable {settings.api_key_env} is empty")
        self._settings = settings
        self._chat = ChatEndpoint(
            settings.url,
            api_key_env=settings.api_key_env,
            timeout_s=settings.timeout_s,
            concurrency=settings.concurrency,
            retries=settings.retries,
            backoff_s=settings.backoff_s,
            cost=ChatCost(),
        )
        self._next_start = 0.0
        self._failures = 0  # in a row
        self._down = ""  # why nothing is sent any more

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._chat.close()

    async def ask(self, messages: list[dict[str, Any]], temperature: float) -> str:
        """The text of the reply, without the space around it.

        Raises:
            ChatError: after the last try.
            EndpointDown: a refusal that will not change, or too many failures in a row.
        """
        body = {
            "model": self._settings.model,
            "messages": messages,
            "temperature": temperature,
            "max_tokens": self._settings.max_tokens,
        }
        return await self._chat.persist(lambda: self._once(body))

    async def _once(self, body: dict[str, Any]) -> str:
        await self._wait_for_turn()
        if self._down:
            raise EndpointDown(self._down)
        try:
            text = (await self._chat.post(body)).strip()
            if not text:
                raise ChatError("bad_reply", retryable=True)
        except ChatError as error:
            self._count_failure(error)
            raise
        self._failures = 0
        return text

    def _count_failure(self, error: ChatError) -> None:
        """Raise :class:`EndpointDown` where asking on is no use."""
        if error.reason == "http_429":  # busy, not down
            return
        self._failures += 1
        if error.reason in _FATAL:
            self._down = f"{self._chat.url}: {error}"
        elif self._failures >= PATIENCE:
            self._down = f"{self._chat.url}: {self._failures} failures in a row, the last one {error.reason}"
        if self._down:
            raise EndpointDown(self._down)

    async def _wait_for_turn(self) -> None:
        if self._settings.per_minute > 0:
            now = asyncio.get_running_loop().time()
            start = max(now, self._next_start)
            self._next_start = start + 60.0 / self._settings.per_minute
            await asyncio.sleep(start - now)
