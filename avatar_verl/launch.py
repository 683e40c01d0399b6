"""Start a run's driver as a process of its own, show how it goes, and leave nothing behind.

The driver's wall of log goes to ``log.txt``; how it goes is read from ``metrics.jsonl`` and shown by
:mod:`avatar_verl.progress`. Ctrl-C stops the driver and every process it started; the run can be resumed. SIGUSR1 asks
for a checkpoint behind the step under way and the end. A run without a new line of metrics for long is reported with
all its stacks, and ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import psutil

from avatar_verl.progress import View, make_view
from avatar_verl.run_folder import ask_to_stop, withdraw_stop
from avatar_verl.watchdog import report_stacks

#: Exit codes beside the driver's own.
HUNG, ASKED, INTERRUPTED = 74, 75, 130

GRACE_S = 20.0  # between asking the driver to stop and killing what is left
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
RUN_ID = "AVATAR_RUN_ID"  # environment variable by which the processes of a run know each other

#: What :func:`environment` may set and each process of a run needs. Ray hands it to workers on other machines, whose
#: environment is that of their node. No secrets: Ray shows and logs it.
FOR_WORKERS = (
    RUN_ID,
    "TOKENIZERS_PARALLELISM",
    "VLLM_NO_USAGE_STATS",
    "HYDRA_FULL_ERROR",
    "VERL_PLATFORM",
    "VERL_USE_EXTERNAL_MODULES",
    "VLLM_TARGET_DEVICE",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "VLLM_CPU_KVCACHE_SPACE",
)


def environment(device: str) -> dict[str, str]:
    """Environment of the driver and, through it, of every process of the run."""
    variables = dict(os.environ)
    variables.update(
        TOKENIZERS_PARALLELISM="false",
        RAY_USAGE_STATS_ENABLED="0",
        VLLM_NO_USAGE_STATS="1",
        HYDRA_FULL_ERROR="1",
        PYTHONUNBUFFERED="1",
    )
    if device == "cpu":
        variables.update(
            VERL_PLATFORM="cpu",
            VERL_USE_EXTERNAL_MODULES="avatar_verl.adapter.platform",
            VLLM_TARGET_DEVICE="cpu",
        )
        # Several processes share few cores: one thread each beats all of them fighting.
        variables.pop("CUDA_VISIBLE_DEVICES", None)  # Ray refuses worker slots that an empty list rules out
        variables.setdefault("OMP_NUM_THREADS", "1")
        variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would starve whom they wait for
        variables.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    return variables


class MetricLines:
    """Reads a growing file of JSON lines, from its present end on. A line that is not finished waits for the next look.

    A file under a new inode is an old one cut back or joined on resume, so it too is read from its end on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._open(os.SEEK_END)

    def _open(self, whence: int) -> None:
        if self._path.exists():
            self._file = self._path.open()
            self._file.seek(0, whence)

    def new(self) -> Iterator[dict[str, Any]]:
        if self._file is None:
            self._open(os.SEEK_SET)
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # verl's logger starts its file anew
        while (line := self._file.readline()).endswith("\n"):
            record = json.loads(line)
            yield {"step": record["step"], **record["data"]} if "data" in record else record
        self._file.seek(self._file.tell() - len(line.encode()))
        if self._path.exists() and self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino:
            self._file.close()
            self._open(os.SEEK_END)


def end_with_parent() -> Callable[[], object] | None:
    """What a child calls before it starts, to get SIGTERM when we die: by kill -9 or with our terminal (Linux only)."""
    if sys.platform != "linux":
        return None
    return functools.partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGTERM)


class _StandsStillError(RuntimeError):
    """No new line of metrics for longer than the run allows."""


def supervise(run: Path, module: str, device: str, total_steps: int, every: int = 1, hang_minutes: float = 0.0) -> int:
    """Run the driver to its end.

    Args:
        run: run folder.
        module: the driver, started as ``python -m module RUN``.
        device: "cpu" or "cuda".
        total_steps: of the whole run, for the ETA.
        every: without a terminal, a line is printed for each so many steps.
        hang_minutes: without a new line of metrics for so long the run counts as hung; 0: wait for ever.

    Returns:
        The driver's exit code; :data:`INTERRUPTED` after Ctrl-C, :data:`HUNG` after a hang, whose stacks are then in
        ``stacks.txt``. The driver itself ends with :data:`ASKED` behind the checkpoint that SIGUSR1 asks for.
    """
    withdraw_stop(run)
    lines, run_id = MetricLines(run / "metrics.jsonl"), uuid.uuid4().hex
    with (run / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(run)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment(device), RUN_ID: run_id},
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )
    try:
        with _listening(run), make_view(total_steps, every, run / "log.txt") as view:
            _follow(process, lines, view, 60 * hang_minutes or math.inf)
    except KeyboardInterrupt:
        print(f"stopping {module} ...", flush=True)
        return INTERRUPTED
    except _StandsStillError:
        looked_at = report_stacks(members(run_id), run / "stacks.txt")
        print(
            f"no step ended for {hang_minutes:g} minutes (run.hang_minutes): the run hangs and is stopped; "
            f"what its {looked_at} processes on this machine were doing is in {run / 'stacks.txt'}",
            flush=True,
        )
        return HUNG
    finally:
        stop(process, run_id)
    return process.returncode


@contextlib.contextmanager
def _listening(run: Path) -> Iterator[None]:
    """SIGTERM is Ctrl-C; SIGUSR1 asks the run to stop behind its next checkpoint."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def ask(*_: object) -> None:
        ask_to_stop(run)
        print("asked to stop: the step under way is finished and saved first", flush=True)

    previous = {
        number: signal.signal(number, does) for number, does in ((signal.SIGTERM, interrupt), (signal.SIGUSR1, ask))
    }
    try:
        yield
    finally:
        for number, does in previous.items():
            signal.signal(number, does)


def _follow(process: subprocess.Popen[bytes], lines: MetricLines, view: View, patience_s: float) -> None:
    moved = time.monotonic()
    while True:
        finished = process.poll() is not None
        for record in lines.new():
            moved = time.monotonic()
            view.show(record)
        if finished:
            return
        if time.monotonic() - moved > patience_s:
            raise _StandsStillError
        time.sleep(0.2)


def members(run_id: str) -> list[psutil.Process]:
    """All living processes of a run, orphans among them: each has inherited the run's id in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_ID) == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # another user's, or gone by now
            continue
    return found


def stop(process: subprocess.Popen[bytes], run_id: str) -> None:
    """End the driver and every process of its run: asked first, killed after :data:`GRACE_S` or a second Ctrl-C."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(GRACE_S)
    # Twice: a process may have started another one while the first look went on.
    for _ in range(2):
        left = members(run_id)
        for member in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(left, timeout=5)
    process.wait()
