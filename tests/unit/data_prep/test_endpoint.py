"""The client against a real server on the loopback interface."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from avatar_verl.chat import ChatError
from data_prep.teacher.endpoint import PATIENCE, Endpoint, EndpointDown, EndpointSettings


def reply_with(text: str, finish: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}


def ask(server: Any, count: int = 1, **settings: Any) -> list[str | BaseException]:
    chosen = EndpointSettings(**{"url": server.url, "model": "m", "backoff_s": 0.01, **settings})

    async def run() -> list[str | BaseException]:
        async with Endpoint(chosen) as endpoint:
            messages = [{"role": "user", "content": "hi"}]
            return await asyncio.gather(*(endpoint.ask(messages, 0.2) for _ in range(count)), return_exceptions=True)

    return asyncio.run(run())


def test_the_request_is_openais(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sesame")
    server.reply = lambda _: (200, reply_with("  look closely \n"), {})

    assert ask(server, api_key_env="TEACHER_KEY", max_tokens=33) == ["look closely"]
    assert server.keys == ["Bearer sesame"]
    assert server.requests == [
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.2, "max_tokens": 33}
    ]


def test_busy_and_broken_servers_are_asked_again(server: Any) -> None:
    replies = iter(
        [(429, "slow", {"Retry-After": "0.2"}), (503, "", {}), (200, "no json", {}), (200, reply_with("ok"), {})]
    )
    server.reply = lambda _: next(replies)

    assert ask(server) == ["ok"]
    assert server.starts[1] - server.starts[0] >= 0.2


@pytest.mark.parametrize(
    ("reply", "reason", "requests"),
    [
        ((400, "bad", {}), "http_400", 1),
        ((500, "", {}), "http_500", 3),
        ((200, reply_with("half", "length"), {}), "cut_reply", 1),
        ((200, reply_with("  "), {}), "bad_reply", 3),
        ((200, {"choices": []}, {}), "bad_reply", 3),
        ((200, [1], {}), "bad_reply", 3),
    ],
)
def test_what_cannot_be_had_has_a_reason(server: Any, reply: Any, reason: str, requests: int) -> None:
    server.reply = lambda _: reply

    (error,) = ask(server, retries=2)

    assert isinstance(error, ChatError)
    assert error.reason == reason
    assert len(server.requests) == requests


def test_a_slow_server_runs_out_of_time(server: Any) -> None:
    server.reply = lambda _: (time.sleep(0.5), (200, reply_with("late"), {}))[1]

    (error,) = ask(server, retries=0, timeout_s=0.1)

    assert isinstance(error, ChatError)
    assert error.reason == "timeout"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_will_not_change_ends_it(server: Any, status: int) -> None:
    server.reply = lambda _: (status, "go away", {})

    (error,) = ask(server)

    assert isinstance(error, EndpointDown)
    assert "go away" in str(error)
    assert len(server.requests) == 1


def test_a_server_that_fails_all_the_time_is_given_up_on(server: Any) -> None:
    server.reply = lambda _: (500, "", {})

    errors = ask(server, count=PATIENCE, retries=50, concurrency=4, backoff_s=0.001)

    assert any(isinstance(error, EndpointDown) for error in errors)
    assert len(server.requests) <= PATIENCE + 4


def test_no_server_at_all_is_unreachable() -> None:
    chosen = EndpointSettings(url="http://127.0.0.1:9/v1", model="m", retries=1, backoff_s=0.001)

    async def run() -> str:
        async with Endpoint(chosen) as endpoint:
            return await endpoint.ask([], 0.0)

    with pytest.raises(ChatError) as caught:
        asyncio.run(run())
    assert caught.value.reason == "unreachable"


def test_no_more_requests_are_under_way_than_allowed(server: Any) -> None:
    server.reply = lambda _: (time.sleep(0.05), (200, reply_with("ok"), {}))[1]

    assert ask(server, count=12, concurrency=3) == ["ok"] * 12
    assert server.most_at_once == 3


def test_requests_are_begun_no_faster_than_allowed(server: Any) -> None:
    assert ask(server, count=4, per_minute=300) == ["fine"] * 4

    # 300 a minute: one every 0.2 s; the fourth begins 0.6 s after the first, give or take a busy machine.
    assert max(server.starts) - min(server.starts) >= 0.4


def test_an_empty_key_is_said_before_anything_is_sent(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEACHER_KEY", raising=False)

    with pytest.raises(EndpointDown, match="TEACHER_KEY"):
        ask(server, api_key_env="TEACHER_KEY")
