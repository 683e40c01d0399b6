"""A Ray cluster of several real nodes on this machine: a head without GPUs, and workers with one slot each."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from support.ports import free_port

RAY = str(Path(sys.executable).with_name("ray"))
START_S = 180.0  # for one node; idle it takes ten seconds


class RayCluster:
    """Use as a context. Every node is a process of its own (``ray start --block``) that asks for a token.

    Node i has the address 127.0.0.(2 + i), as if each were another machine.
    """

    def __init__(self, workers: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: sockets lie under it
        self._port, self._dashboard = free_port(), free_port()
        self._workers = workers
        self._nodes: list[subprocess.Popen[bytes]] = []
        self.address = f"http://127.0.0.1:{self._dashboard}"
        self.gcs = f"127.0.0.2:{self._port}"
        self.token = secrets.token_hex(32)

    def environment(self, token: bool = True) -> dict[str, str]:
        """For whoever talks to the cluster. Our code is not on its path: it has to travel with the job."""
        left_out = ("PYTHONPATH", "RAY_ADDRESS", "CUDA_VISIBLE_DEVICES")
        variables = {name: value for name, value in os.environ.items() if name not in left_out}
        # A slow machine is no reason to give a node up.
        variables.update(RAY_health_check_failure_threshold="100", RAY_AUTH_MODE="token", OMP_NUM_THREADS="1")
        variables["PATH"] = f"{Path(RAY).parent}:{os.environ['PATH']}"
        # Nobody's own token in the home folder comes to help.
        variables["RAY_AUTH_TOKEN_PATH"] = str(self._folder / "no-token")
        if token:
            variables["RAY_AUTH_TOKEN"] = self.token
        return variables

    def _start(self, *arguments: str) -> None:
        common = ["--block", "--disable-usage-stats", "--dashboard-agent-listen-port=0", "--num-cpus=8"]
        common += [f"--node-ip-address=127.0.0.{2 + len(self._nodes)}", "--object-store-memory=200000000"]
        common += [f"--temp-dir={self._folder / str(len(self._nodes))}"]  # nodes of one machine would share a folder
        log = (self._folder / f"node-{len(self._nodes)}.log").open("wb")
        self._nodes.append(
            subprocess.Popen(
                [RAY, "start", *common, *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        self._wait_for_all()

    def living(self) -> int:
        """How many nodes the dashboard lists as alive; 0 where it does not answer yet."""
        try:
            answer = httpx.get(
                f"{self.address}/api/v0/nodes", headers={"Authorization": f"Bearer {self.token}"}, timeout=5
            )
        except httpx.TransportError:
            return 0
        return answer.text.count('"ALIVE"') if answer.status_code == 200 else 0

    def _wait_for_all(self) -> None:
        deadline = time.monotonic() + START_S
        while self.living() < len(self._nodes):
            if any(node.poll() is not None for node in self._nodes) or time.monotonic() > deadline:
                raise AssertionError(f"node {len(self._nodes) - 1} did not come up\n{self.logs()}")
            time.sleep(0.5)

    def logs(self) -> str:
        """What the nodes have printed."""
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self._folder.glob("node-*.log")))

    def __enter__(self) -> RayCluster:
        try:
            self._start(
                "--head",
                f"--port={self._port}",
                "--num-gpus=0",
                "--include-dashboard=true",
                "--dashboard-host=127.0.0.1",
                f"--dashboard-port={self._dashboard}",
                f"--ray-client-server-port={free_port()}",
            )
            for _ in range(self._workers):
                self._start(f"--address={self.gcs}", "--num-gpus=1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        family = [child for node in self._nodes for child in _family(node.pid)]
        for node in reversed(self._nodes):
            node.send_signal(signal.SIGTERM)
        psutil.wait_procs(family, timeout=15)
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for node in self._nodes:
            node.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
