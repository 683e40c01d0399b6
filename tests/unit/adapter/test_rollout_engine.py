"""A rollout server's process ends with its engine's."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, types
from vllm.v1.engine.async_llm import AsyncLLM
from avatar_verl.adapter import rollout

assert isinstance(AsyncLLM.errored, property)  # what is asked
rollout._ENGINE_INTERVAL_S = 0.05
server = rollout.OmniHttpServer.__new__(rollout.OmniHttpServer)
server.engine = types.SimpleNamespace(errored=False)


async def main():
    watch = asyncio.create_task(server._end_with_engine())
    await asyncio.sleep(0.3)
    print("alive", not watch.done(), flush=True)
    server.engine.errored = True
    await asyncio.sleep(30)
    print("still here", flush=True)


asyncio.run(main())
"""


def test_a_dead_engine_ends_its_server() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "alive True" in done.stdout
    assert "engine process died" in done.stdout
    assert "still here" not in done.stdout
