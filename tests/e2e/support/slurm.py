"""A real SLURM on the loopback, in a folder: munged, slurmctld, and a slurmd for each node (Debian's packages)."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from support.ports import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")


def lacking() -> list[str]:
    """Why no SLURM can be started here; empty: it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    reasons = [f"{name} is not installed" for name in PROGRAMS if shutil.which(name, path=path) is None]
    return reasons if os.geteuid() == 0 else [*reasons, "slurmd starts jobs as their users, which only root can"]


_CONFIG = """
ClusterName=avatar
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
JobRequeue=1
KillWait=10
ReturnToService=2
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """Use as a context."""

    def __init__(self, nodes: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.names = [f"n{i + 1}" for i in range(nodes)]
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }

    def __enter__(self) -> SlurmCluster:
        try:
            self._configure()
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _configure(self) -> None:
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        each = f"NodeHostname={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN"
        nodes = "\n".join(f"NodeName={name} Port={free_port()} {each}" for name in self.names)
        config = _CONFIG.format(host=host, folder=self.folder, controller_port=free_port(), nodes=nodes)
        (self.folder / "slurm.conf").write_text(config)

    def _start_all(self) -> None:
        socket_file = self.folder / "munge.socket"
        files = [f"--{name}-file={self.folder / f'munge.{name}'}" for name in ("key", "pid", "log", "seed")]
        self._start("munged", "--foreground", "--force", f"--socket={socket_file}", *files)
        _wait(socket_file.exists, 20, "munged")
        self._start("slurmctld", "-D", "-i")
        for name in self.names:
            (self.folder / f"spool-{name}").mkdir()
            self._start("slurmd", "-D", "-N", name)
        idle = lambda: self("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == str(len(self.names))  # noqa: E731
        _wait(idle, 90, "nodes", self.logs)

    def _start(self, *command: str) -> None:
        log = (self.folder / f"{command[0]}-{len(self._daemons)}.out").open("wb")
        self._daemons.append(
            subprocess.Popen(
                list(command),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )

    def __call__(self, *command: str, **variables: str) -> str:
        """Run a SLURM command and return what it prints; a failing one prints its error."""
        done = subprocess.run(
            list(command), env={**self.environment, **variables}, capture_output=True, text=True, timeout=60
        )
        return done.stdout if done.returncode == 0 else done.stderr

    def state(self, job: str) -> str:
        """Of a job, as ``squeue`` names it; empty: it has ended."""
        return self("squeue", "-h", "-j", job, "-o", "%T").strip()

    def start_now(self, job: str, seconds: float = 60.0) -> None:
        """Start a job that was queued again at once, instead of the two minutes later that SLURM plans for it.

        slurmd refuses a job that it ended within the same second, which queues it once more.
        """
        deadline = time.monotonic() + seconds
        while self.state(job) == "PENDING":
            assert time.monotonic() < deadline, self.logs()
            time.sleep(2.0)
            self("scontrol", "update", f"JobId={job}", "StartTime=now")
            time.sleep(1.0)

    def logs(self) -> str:
        """Ends of the daemons' logs."""
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in self.folder.glob("slurm*.log"))

    def __exit__(self, *_: object) -> None:
        self("scancel", "--user=root", "--signal=KILL")
        self("scancel", "--user=root")
        time.sleep(2)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _wait(ready: object, seconds: float, what: str, logs: object = None) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come up\n{logs() if logs else ''}")  # type: ignore[operator]
        time.sleep(0.3)
