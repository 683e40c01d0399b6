"""A server that a judge's client has to live with: every third reply is right, then it falls silent for good."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RIGHT = json.dumps({"logical_consistency": 0.5, "cue_use": 1.0})
#: (status, what the model says); None: no reply.
TURNS: tuple[tuple[int, str] | None, ...] = (
    (200, RIGHT),
    (500, ""),
    (200, "I would say 9 of 10."),
    (200, RIGHT),
    (200, '{"logical_consistency": 0.5}'),
    (429, ""),
    (200, RIGHT),
    (200, RIGHT[:20]),
    None,
)


class FaultyJudge(ThreadingHTTPServer):
    """``asked``: requests so far; from ``dies_at`` on none is answered."""

    daemon_threads = True

    def __init__(self, dies_at: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.dies_at, self.asked = dies_at, 0
        self.released, self._lock = threading.Event(), threading.Lock()

    def turn(self) -> tuple[int, str] | None:
        with self._lock:
            number, self.asked = self.asked, self.asked + 1
        return TURNS[number % len(TURNS)] if number < self.dies_at else None


class _Handler(BaseHTTPRequestHandler):
    server: FaultyJudge

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        turn = self.server.turn()
        if turn is None:
            self.server.released.wait(60)
            return
        code, text = turn
        body = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def faulty_judge(dies_at: int) -> Iterator[FaultyJudge]:
    """Serve from a thread until the block ends."""
    server = FaultyJudge(dies_at)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
