"""A node of Ray that comes up too late is started again, and nothing of the first start is left."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys, types
import psutil, ray
from ray._private import node, services
from avatar_verl.adapter.compat import init_ray

late, starts, real = int(sys.argv[1]), [], services.get_node
clock = types.SimpleNamespace(now=0.0, sleep=node.time.sleep, time=node.time.time, monotonic=lambda: clock.now)


def get_node(*arguments):
    ours = [p.pid for p in psutil.Process().children(recursive=True) if "gcs_server" in " ".join(p.cmdline())]
    if not starts or starts[-1] != ours:
        starts.append(ours)
    if len(starts) <= late:
        clock.now += 31.0  # Ray looks once, and its 30 s are over
        raise RuntimeError("no node yet")
    return real(*arguments)


node.time, services.get_node = clock, get_node
try:
    init_ray(num_cpus=1, include_dashboard=False, object_store_memory=10**8)
    print("cpus", ray.cluster_resources()["CPU"])
except Exception as error:
    print("raised", error)
print("starts", len(starts), "heads", [len(start) for start in starts], flush=True)
"""


@pytest.mark.parametrize(
    ("late", "words"),
    [
        (0, ["cpus 1.0", "starts 1 heads [1]"]),
        (1, ["start 2 of 3", "cpus 1.0", "starts 2 heads [1, 1]"]),
        (3, ["start 3 of 3", "raised The current node timed out during startup", "starts 3 heads [1, 1, 1]"]),
    ],
)
def test_a_late_node_is_started_again_alone(late: int, words: list[str]) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-c", PROGRAM, str(late)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    for expected in words:
        assert expected in done.stdout, done.stdout + done.stderr


def test_another_error_is_not_tried_again() -> None:
    import ray

    from avatar_verl.adapter.compat import init_ray

    with pytest.raises(RuntimeError, match="nonsense"):
        init_ray(nonsense=True)
    assert not ray.is_initialized()
