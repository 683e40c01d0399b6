"""One job of ``recipe/launch/slurm.sbatch`` on a SLURM that a test has started."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from support.ports import free_port
from support.slurm import SlurmCluster

ROOT = Path(__file__).parents[3]


class Batch:
    """Submitted as soon as it is made; its log is added to that of earlier jobs of the same outputs folder."""

    def __init__(self, slurm: SlurmCluster, outputs: Path, words: Sequence[str], **variables: str) -> None:
        """``words``: stage and overrides; ``variables``: what the script reads beside the defaults here."""
        self._slurm, self._log = slurm, outputs / "job.log"
        outputs.mkdir(exist_ok=True)
        self._begin = len(self._read())
        # Other jobs of this machine may number from 1 as well.
        ports = {name: str(free_port()) for name in ("GCS_PORT", "DASHBOARD_PORT", "CLIENT_PORT")}
        given = {"OUTPUTS": str(outputs), "PROFILE": "cpu", "GPUS_PER_NODE": "1", "INTERFACE": "lo"}
        given |= {"RAY_TMP": str(slurm.folder), **ports, **variables}
        places = [f"--chdir={ROOT}", f"--output={self._log}"]
        script = str(ROOT / "recipe" / "launch" / "slurm.sbatch")
        self.number = slurm("sbatch", "--parsable", *places, script, *words, **given).strip()
        assert self.number.isdigit(), self.number

    def _read(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def log(self) -> str:
        """What the job has printed so far, over all its starts."""
        return self._read()[self._begin :]

    @property
    def state(self) -> str:
        """As squeue names it; empty: the job has left the queue."""
        return self._slurm.state(self.number)

    def near_the_limit(self) -> None:
        """Move the time limit so near that SLURM sends its signal at its next look, within half a minute."""
        # The lead of --signal, as the script has it.
        self._slurm("scontrol", "update", f"JobId={self.number}", "TimeLimit=15")

    def start_again(self) -> None:
        """Start a job that was queued again, with the time that it had at first."""
        self._slurm("scontrol", "update", f"JobId={self.number}", "TimeLimit=1440")
        self._slurm.start_now(self.number)

    def outcome(self) -> str:
        """State and exit code as SLURM remembers them, e.g. ``FAILED 4:0``."""
        shown = self._slurm("scontrol", "show", "job", self.number)
        found = re.search(r"JobState=(\w+).*?ExitCode=(\S+)", shown, re.DOTALL)
        return f"{found[1]} {found[2]}" if found else shown

    def ended(self) -> bool:
        return self.state not in ("RUNNING", "PENDING", "CONFIGURING", "COMPLETING")

    def wait_for(self, condition: Callable[[], bool], seconds: float = 120.0) -> float:
        """Wait until it holds; returns the seconds that took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + seconds, self.log + self._slurm.logs()
            time.sleep(0.2)
        return time.monotonic() - began
