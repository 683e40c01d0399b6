"""A judge behind verl's own router: what the router passes on, and what a run's configuration says afterwards."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import uvicorn
from omegaconf import OmegaConf
from verl.experimental.reward_loop.router.naive_router import NaiveRouter

from avatar_verl.adapter.judge_pool import connect_judge
from avatar_verl.config import JudgeReward
from avatar_verl.rewards.judge import Judge
from avatar_verl.types import RewardPart, Sample

SCORES = {"logical_consistency": 0.5, "cue_use": 1.0}


class Engine(ThreadingHTTPServer):
    """Stands for vLLM's server: names its model, and judges as long as ``status`` is 200."""

    status = 200
    asked: list[dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        assert self.path == "/v1/models"
        self._reply(200, {"object": "list", "data": [{"id": "/models/judge"}]})

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        choice = {"index": 0, "message": {"content": json.dumps(SCORES)}, "finish_reason": "stop"}
        self._reply(self.server.status, {"choices": [choice], "usage": {}})

    def _reply(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def engine() -> Iterator[Engine]:
    server = Engine(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.asked = True, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def router(engine: Engine) -> Iterator[str]:
    """Address of verl's router in front of the engine, in the form that verl gives it."""
    app = NaiveRouter([f"http://127.0.0.1:{engine.server_address[1]}"]).app
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def run_config(endpoint: str) -> Any:
    return OmegaConf.create({"avatar": {"reward": {"judge": {"endpoint": endpoint, "model": "InternVL"}}}})


def connected(router: str, **changes: Any) -> Judge:
    config = run_config("pool")
    connect_judge(config, router)
    found = dict(config.avatar.reward.judge)
    assert found == {"endpoint": f"http://{router}/v1", "model": "/models/judge"}
    return Judge(JudgeReward.model_validate({**found, "frames": 0, "backoff_s": 0.01, "budget_s": 40.0, **changes}))


def sample(think: str) -> Sample:
    return Sample(f"<think>{think}</think><answer>B</answer>", "B", "free_text", question="Which one?")


def test_a_judge_of_the_pool_scores_through_the_router(engine: Engine, router: str) -> None:
    judge = connected(router)
    assert judge.score_many([sample("A low beep."), sample("A red bar.")]) == [RewardPart(0.75, "judged")] * 2
    judge.close()
    assert [body["model"] for body in engine.asked] == ["/models/judge"] * 2
    assert all(body["response_format"]["type"] == "json_schema" for body in engine.asked)


def test_an_error_behind_the_router_is_counted_and_the_sample_has_no_judge_part(engine: Engine, router: str) -> None:
    engine.status = 400
    judge = connected(router, retries=1)
    assert judge.score_many([sample("A low beep.")]) == [RewardPart(0.0, "judge_http_500", present=False)]
    judge.close()
    assert len(engine.asked) == 2, "the router hides that it was the request's fault, so it is tried again"


def test_without_a_pool_nothing_changes() -> None:
    for endpoint in ("", "http://judge:8001/v1"):
        config = run_config(endpoint)
        connect_judge(config, None)
        assert config == run_config(endpoint)


def test_a_pool_that_does_not_answer_stops_the_run(engine: Engine) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.HTTPError):
            connect_judge(run_config("pool"), f"127.0.0.1:{nobody.getsockname()[1]}")
