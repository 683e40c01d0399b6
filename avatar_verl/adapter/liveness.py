"""Ends the driver soon after a process that it needs has died, whatever the driver is waiting for.

Ray tells whoever waits for a call of a dead actor. verl's synchronous trainer, though, waits for rollouts by polling
TransferQueue, for ever if the agent loop worker that would put them there is gone; and TransferQueue's clients wait on
sockets, for minutes if a storage unit is gone and for ever if its controller is. Here a thread asks Ray who died.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from avatar_verl.run_folder import write_json

INTERVAL_S = 2.0
GRACE_S = 20.0  # from the error in the driver's main thread to the end by force: cleaning up may wait for the dead
_SIGNAL = signal.SIGUSR2

#: Processes of Ray itself that nothing goes on without; others, such as the dashboard, may be missing.
_DAEMONS = ("gcs_server", "raylet")


class LostProcessError(RuntimeError):
    """A process of the run died by itself."""


def lost_daemon() -> str:
    """Which of Ray's own processes died, of those that this process has started; empty: none. Asks nobody."""
    from ray._private import worker

    node: Any = worker._global_node
    for kind, process in node.dead_processes() if node is not None else ():
        if kind in _DAEMONS:
            return f"Ray's {kind} (pid {process.pid}) died"
    return ""


def lost_actor() -> str:
    """Which actor of this run died without being asked to: its process, for want of memory too, or its node.

    From Ray's internals: its public listing of actors needs the dashboard. Ray's head is asked, and a head that dies
    meanwhile leaves the call waiting.
    """
    import ray
    from ray._private import state

    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    for actor in state.actors(job_id=job, actor_state_name="DEAD").values():
        if cause := _died(actor["DeathCause"]):
            place = f"pid {actor['Pid']} on {actor['Address']['IPAddress']}"
            return f"the actor {actor['ActorClassName']} ({place}) died: {cause}"
    return ""


def _died(cause: Any) -> str:
    """Ray's words for a death that nobody asked for; a constructor that fails tells its caller more than we could."""
    if cause.HasField("oom_context"):
        return str(cause.oom_context.error_message)
    context = cause.actor_died_error_context
    unasked = (context.WORKER_DIED, context.NODE_DIED)
    if cause.HasField("actor_died_error_context") and context.reason in unasked:
        return str(context.error_message).partition(" Some common causes")[0]
    return ""


@contextmanager
def watched(run: Path) -> Iterator[None]:
    """Raise :class:`LostProcessError` inside the block, which the main thread runs, once a process is lost.

    Compiled code that it meets may make another error of it, and what calls the dead raises its own; from the block
    comes :class:`LostProcessError` all the same.

    Whoever swallows it, or waits for the dead on the way out, is ended by force :data:`GRACE_S` later, with exit code 1
    and ``error.json`` in the run's folder.
    """
    over = threading.Event()
    found: list[str] = []

    def fail(_: int, __: FrameType | None) -> None:
        raise LostProcessError(found[0])

    previous = signal.signal(_SIGNAL, fail)
    for look in (lost_daemon, lost_actor):  # a thread each: the second may wait for the head that the first sees die
        threading.Thread(target=_watch, args=(look, run, over, found), daemon=True, name=look.__name__).start()
    try:
        yield
    except Exception as error:
        if found and not isinstance(error, LostProcessError):
            raise LostProcessError(found[0]) from error
        raise
    finally:
        over.set()
        signal.signal(_SIGNAL, previous)


def _watch(look: Callable[[], str], run: Path, over: threading.Event, found: list[str]) -> None:
    import ray

    while not over.wait(INTERVAL_S):
        try:
            lost = look() if ray.is_initialized() else ""
        except Exception:  # Ray is being shut down, or its head does not answer: then who waits for it is told
            traceback.print_exc()
            continue
        if lost and not found and not over.is_set():
            print(f"[AVATAR] {lost}; the run ends", flush=True)
            found.append(lost)
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            threading.Event().wait(GRACE_S)
            _end(run, lost)


def _end(run: Path, lost: str) -> None:
    print(f"[AVATAR] no end after {GRACE_S:.0f} s: ended by force", flush=True)
    if not (run / "error.json").exists():
        write_json(run / "error.json", {"type": LostProcessError.__name__, "message": lost})
    os._exit(1)
