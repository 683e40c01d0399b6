"""A driver that waits for a dead process ends, whatever it waits on; deaths that were asked for do not count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = """
import os, signal, sys, threading, time
from pathlib import Path
import ray
from avatar_verl.adapter import liveness
from avatar_verl.adapter.compat import init_ray

liveness.INTERVAL_S, liveness.GRACE_S = 0.2, 2.0 if sys.argv[3] == "deaf" else 60.0
init_ray(num_cpus=4, include_dashboard=False, object_store_memory=10**8)


@ray.remote(num_cpus=0)
class Storage:
    def pid(self):
        return os.getpid()


def lose():
    if sys.argv[2] == "actor":
        os.kill(pid, signal.SIGKILL)
    else:
        os.kill(ray._private.worker._global_node.all_processes[sys.argv[2]][0].process.pid, signal.SIGKILL)


with liveness.watched(Path(sys.argv[1])):
    needed, dismissed, forgotten = Storage.remote(), Storage.remote(), Storage.remote()
    pid, *_ = ray.get([actor.pid.remote() for actor in (needed, dismissed, forgotten)])
    ray.kill(dismissed)
    del forgotten
    time.sleep(2)
    print("nobody is missed", flush=True)
    lose()
    try:
        threading.Event().wait()  # as for a row that nobody will put into the queue
    except liveness.LostProcessError as error:
        print("told:", error, flush=True)
        if sys.argv[3] == "deaf":
            threading.Event().wait()
        if sys.argv[3] == "garbled":
            raise SystemError("a result with an exception set") from error
print("over", flush=True)
"""


def run(folder: Path, victim: str, manner: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DRIVER, str(folder), victim, manner]
    variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("victim", "words"), [("actor", "the actor Storage (pid "), ("gcs_server", "Ray's gcs_server (pid ")]
)
def test_who_died_is_told_to_a_driver_that_waits_for_ever(victim: str, words: str, tmp_path: Path) -> None:
    done = run(tmp_path, victim, "obedient")
    assert "nobody is missed" in done.stdout, done.stdout + done.stderr
    assert f"told: {words}" in done.stdout, done.stdout + done.stderr
    assert "no end after" not in done.stdout


def test_an_error_that_came_of_it_is_named_after_the_lost_process(tmp_path: Path) -> None:
    done = run(tmp_path, "actor", "garbled")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("avatar_verl.adapter.liveness.LostProcessError: the actor Storage (pid "), done.stderr


def test_a_driver_that_goes_on_waiting_is_ended_by_force(tmp_path: Path) -> None:
    done = run(tmp_path, "actor", "deaf")
    assert done.returncode == 1
    assert "no end after 2 s: ended by force" in done.stdout
    error = json.loads((tmp_path / "error.json").read_text())
    assert error["type"] == "LostProcessError"
    assert "the actor Storage (pid " in error["message"]
